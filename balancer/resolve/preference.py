"""
Which of a name's addresses is taken: RFC 6724 6 as far as it tells IPv6 from IPv4. Pure.

The rules 1 (is there a route), 2 (scopes), 5 and 6 (labels and precedences of the default table)
and 8 decide. Rule 9, the longest common prefix, is left out: it defeats a DNS server that spreads
load. Where the rules see no difference, the address that is in use stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_Address = IPv4Address | IPv6Address

# RFC 6724 2.1, the default policy table: prefix, precedence, label; the longest prefix first.
_POLICY = tuple(
    (IPv6Network(prefix), precedence, label)
    for prefix, precedence, label in (
        ("::1/128", 50, 0),
        ("::ffff:0:0/96", 35, 4),
        ("::/96", 1, 3),
        ("2001::/32", 5, 5),
        ("2002::/16", 30, 2),
        ("3ffe::/16", 1, 12),
        ("fec0::/10", 1, 11),
        ("fc00::/7", 3, 13),
        ("::/0", 40, 1),
    )
)


def best(
    addresses: Sequence[str], present: str | None, source_of: Callable[[str], str | None]
) -> str:
    """
    The address to use out of `addresses`, at least one; `present` is the one in use.

    `source_of` says from which address one would be reached, None: not at all. It is asked only if
    there are addresses of both families.
    """
    if len({":" in each for each in addresses}) > 1:
        ranks = {each: _rank(each, source_of(each)) for each in addresses}
        most = max(ranks.values())
        addresses = [each for each in addresses if ranks[each] == most]
    return present if present in addresses and present is not None else addresses[0]


def _rank(address: str, source: str | None) -> tuple[bool, bool, bool, int, int]:
    """What sorts addresses; the greatest is the best."""
    to = ip_address(address)
    precedence, label = _policy(to)
    if source is None:
        return False, False, False, precedence, -_scope(to)
    by = ip_address(source)
    scopes, labels = _scope(to) == _scope(by), label == _policy(by)[1]
    return True, scopes, labels, precedence, -_scope(to)


def _policy(address: _Address) -> tuple[int, int]:
    """Precedence and label."""
    if isinstance(address, IPv4Address):
        address = IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    plain = IPv6Address(int(address))  # without a zone
    return next((precedence, label) for net, precedence, label in _POLICY if plain in net)


def _scope(address: _Address) -> int:
    """RFC 6724 3.1 and 3.2: link-local (loopback, too), site-local, or global."""
    if address.is_link_local or address.is_loopback:
        return 2
    return 5 if isinstance(address, IPv6Address) and address.is_site_local else 14
