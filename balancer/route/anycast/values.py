"""
How values of `[anycast NAME]` are written: neighbors, prefixes, communities and the like. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, ip_address
from typing import Final

from attrs import frozen

from balancer.config.values import (
    Endpoint,
    Network,
    NotBuilt,
    Unreadable,
    duration_within,
    integer,
    listen_endpoint,
    modifiers,
    network,
    path,
)
from balancer.route.anycast.damping import Damping

MAX_PREFIXES: Final = 256
"""Prefixes of one section. An anycast service has a handful; a whole table is a router's work."""

MAX_COMMUNITIES: Final = 32

MAX_PREPEND: Final = 20
"""Repeats of our AS: what routers of the world drop for its length begins at some 50."""

AS_TRANS: Final = 23456
"""Nobody's AS (RFC 6793, 9)."""

MOST_32_BITS: Final = 2**32 - 1

_WELL_KNOWN: Final = {
    "graceful-shutdown": "65535:0",
    "blackhole": "65535:666",
    "no-export": "65535:65281",
    "no-advertise": "65535:65282",
    "no-peer": "65535:65284",
}
"""RFC 8326, RFC 7999, RFC 1997, RFC 3765."""

_DEVICE: Final = re.compile(r"[^\s/:]{1,15}")
"""What the kernel takes for a name of a device (dev_valid_name)."""

_DAMPING: Final = re.compile(r"([0-9]{1,3}) in (\S+)")


@frozen
class NeighborLine:
    """A router that we speak BGP with. `hold_time` in seconds; 0 for what is not given."""

    address: str
    asn: int
    password_file: str = ""
    multihop: int = 0
    ttl_security: int = 0
    hold_time: int = 30

    @property
    def version(self) -> int:
        """4 or 6: it gets prefixes of that family."""
        return ip_address(self.address).version


def as_number(text: str) -> int:
    """An AS number that may be somebody's."""
    number = integer(1, MOST_32_BITS - 1)(text)
    if number == AS_TRANS:
        raise Unreadable(f"an AS number other than {AS_TRANS}", text)
    return number


def _hold_time(text: str) -> int:
    # RFC 4271 4.2: 0 or at least 3 s. With 0, silence would never be noticed.
    seconds = duration_within("3s", "65535s")(text)
    if seconds != int(seconds):
        raise Unreadable("whole seconds", text)
    return int(seconds)


def address(text: str) -> str:
    """An IP address without a zone, in its shortest form."""
    try:
        if "%" in text:
            raise NotBuilt(text)
        return str(ip_address(text))
    except NotBuilt:
        raise
    except ValueError:
        raise Unreadable("an IP address such as 192.0.2.1 or 2001:db8::1", text) from None


def neighbor(text: str) -> NeighborLine:
    """`ADDRESS as=N [password-file=P] [multihop=N] [ttl-security=N] [hold-time=30s]`."""
    first, *words = text.split() or [""]
    if not words:
        raise Unreadable("ADDRESS as=N, such as 192.0.2.1 as=65001", text)
    where = address(first)
    keys: Mapping[str, Callable[[str], object]] = {
        "as": as_number,
        "password-file": path,
        "multihop": integer(2, 255),
        "ttl-security": integer(1, 254),
        "hold-time": _hold_time,
    }
    found = modifiers(words, keys)
    if "as" not in found:
        raise Unreadable("ADDRESS as=N", text)
    if "multihop" in found and "ttl-security" in found:
        raise Unreadable("multihop= or ttl-security=, not both", text)
    asn = found.pop("as")
    return NeighborLine(where, asn, **{key.replace("-", "_"): v for key, v in found.items()})


def other_site(text: str) -> Endpoint:
    """`http://ADDRESS:PORT/`: another site's admin."""
    expected = "the admin address of another site such as http://192.0.2.9:9180/"
    if not text.startswith("http://"):
        raise Unreadable(expected, text)
    try:
        found = listen_endpoint(text.removeprefix("http://").removesuffix("/"))
    except Unreadable:
        raise Unreadable(expected, text) from None
    if not found.port or ip_address(found.host).is_unspecified:
        raise Unreadable(expected, text)
    return found


def prefixes(text: str) -> tuple[Network, ...]:
    """Networks with spaces or commas between them, each once."""
    words = text.replace(",", " ").split()
    if not words:
        raise Unreadable("prefixes such as 192.0.2.53/32 2001:db8::53/128")
    found = tuple(dict.fromkeys(network(word) for word in words))
    if len(found) > MAX_PREFIXES:
        raise Unreadable(f"at most {MAX_PREFIXES} prefixes", f"{len(found)} of them")
    for each in found:
        if each.prefixlen == 0:
            raise Unreadable("a prefix that is not the whole internet", str(each))
        if each.is_multicast or each.is_loopback or each.is_link_local:
            raise Unreadable("a prefix of unicast addresses that may be routed", str(each))
    return found


def communities(text: str) -> tuple[str, ...]:
    """Communities of RFC 1997 (65000:100), RFC 8092 (65000:1:2), and a few by name."""
    found = [_community(word) for word in text.replace(",", " ").split()]
    if not 0 < len(found) <= MAX_COMMUNITIES:
        raise Unreadable(f"1 to {MAX_COMMUNITIES} communities such as 65000:100", text)
    return tuple(dict.fromkeys(found))


def _community(word: str) -> str:
    if word in _WELL_KNOWN:
        return _WELL_KNOWN[word]
    parts = word.split(":")
    most = {2: 65535, 3: MOST_32_BITS}.get(len(parts), -1)
    if not all(re.fullmatch(r"[0-9]{1,10}", part) and int(part) <= most for part in parts):
        expected = f"a community such as 65000:100, 65000:1:2, {', '.join(_WELL_KNOWN)}"
        raise Unreadable(expected, word)
    return ":".join(str(int(part)) for part in parts)


def damping(text: str) -> Damping:
    """`3 in 1m`."""
    match = _DAMPING.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= 100:
        raise Unreadable("a number of withdrawals from 1 to 100 and a time, such as 3 in 1m")
    return Damping(int(match[1]), duration_within("1s", "1d")(match[2]))


def next_hop(text: str) -> str:
    """`self` or an IP address."""
    if not text:
        raise Unreadable("self, or an IP address such as 192.0.2.1", text)
    return text if text == "self" else address(text)


def router_id(text: str) -> str:
    """Four bytes, not zero, written as an IPv4 address (RFC 6286, 2.1)."""
    expected = "four bytes that are not zero, such as 192.0.2.1"
    try:
        found = IPv4Address(text)
    except ValueError:
        raise Unreadable(expected, text) from None
    if int(found) == 0:
        raise Unreadable(expected, text)
    return str(found)


def device(text: str) -> str:
    """A network device's name."""
    if _DEVICE.fullmatch(text) is None or text in (".", ".."):
        raise Unreadable("the name of a network device such as lo")
    return text
