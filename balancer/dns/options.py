"""
EDNS (RFC 6891): the OPT record and its options, as values and as bytes.

Knows what options look like and when a query's are broken. Must not know what is answered to them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import attrs

from balancer.dns import codes

SMALLEST: Final = 512
"""Bytes that every asker takes over UDP: a lower size counts as this one (RFC 6891 6.2.3)."""

MOST_REMEMBERED: Final = 1024
"""OPT records whose reading is remembered: resolvers repeat theirs, cookie and all. As many as the
resolvers that bring most of a zone's queries; at 0.5 KB each this stays under 1 MB."""

LONGEST_REMEMBERED: Final = 96
"""Bytes of such a record's data: a cookie of 40, a subnet of 20 and a few empty options."""

MOST_OPTIONS: Final = 32
"""Options in one query: IANA has given out some 20 codes, and askers send four or five. 64 KB of
empty ones would take 8 ms."""

MOST_TEXT: Final = 200
"""Bytes of an extended error's text (RFC 8914), lest it crowd out the answer."""

# By family (IANA's address family numbers): bytes of an address.
_WIDTHS: Final = {1: 4, 2: 16}

_PAIR: Final = struct.Struct("!HH")
_FAMILY: Final = struct.Struct("!HBB")
_DO: Final = 0x8000


class BadOptions(ValueError):
    """A query's OPT record breaks a rule for which its RFC asks FORMERR; the text names it."""


@attrs.frozen(slots=True)
class Subnet:
    """
    The network of a client (RFC 7871 6): family 1 (IPv4) or 2 (IPv6), `source` bits of its address
    known, and the address of 4 or 16 bytes, zero beyond them. With `source` 0 the asker wants the
    client's address not to be used (7.1.2).
    """

    family: int
    source: int
    address: bytes

    def text(self) -> str:
        """As `192.0.2.0/24`."""
        kind = IPv4Address if self.family == 1 else IPv6Address
        return f"{kind(self.address)}/{self.source}"


@attrs.frozen(slots=True)
class Edns:
    """
    What a query's OPT record says. `size` is never below 512; `cookie` is the whole option, client
    and server part. Of a version that is not 0 the options are not read: they may mean other things
    there, and the answer is BADVERS (RFC 6891 6.1.3).
    """

    size: int
    version: int
    do: bool
    cookie: bytes | None
    nsid: bool
    subnet: Subnet | None
    keepalive: bool
    padding: bool


def read_options(rdata: bytes, size: int = SMALLEST, ttl: int = 0, tcp: bool = False) -> Edns:
    """
    Read an OPT record: its data, its class (`size`) and its TTL (version and flags). Of a repeated
    option the first counts, unknown ones are passed over. Raises `BadOptions`.
    """
    if len(rdata) > LONGEST_REMEMBERED:
        return _read(rdata, size, ttl, tcp)
    return _remembered(rdata, size, ttl, tcp)


def _read(rdata: bytes, size: int, ttl: int, tcp: bool) -> Edns:
    version = ttl >> 16 & 0xFF
    found: dict[int, bytes] = {}
    if version == 0:
        for code, data in _walk(rdata):
            found.setdefault(code, data)
    keepalive = found.get(codes.OPTION_KEEPALIVE)
    if keepalive and tcp:
        msg = "a query's keepalive option without data (RFC 7828 3.2.1)"
        raise BadOptions(msg)
    return Edns(
        size=max(size, SMALLEST),
        version=version,
        do=bool(ttl & _DO),
        cookie=_cookie(found.get(codes.OPTION_COOKIE)),
        nsid=codes.OPTION_NSID in found,
        subnet=_subnet(found.get(codes.OPTION_SUBNET)),
        # Over UDP it is to be ignored, whatever it holds (RFC 7828 3.2.1).
        keepalive=tcp and keepalive is not None,
        padding=codes.OPTION_PADDING in found,
    )


# Sound ones only: what raises is not remembered.
_remembered = lru_cache(MOST_REMEMBERED)(_read)


def _walk(rdata: bytes) -> Iterator[tuple[int, bytes]]:
    at, end, seen = 0, len(rdata), 0
    while at < end:
        seen += 1
        if seen > MOST_OPTIONS:
            msg = f"at most {MOST_OPTIONS} options"
            raise BadOptions(msg)
        if end - at < 4:
            msg = "an option's code and length"
            raise BadOptions(msg)
        code, length = _PAIR.unpack_from(rdata, at)
        at += 4 + length
        if at > end:
            msg = "an option within its record"
            raise BadOptions(msg)
        yield code, rdata[at - length : at]


def _cookie(data: bytes | None) -> bytes | None:
    if data is not None and not (len(data) == 8 or 16 <= len(data) <= 40):
        msg = f"a cookie of 8 or 16 to 40 bytes (RFC 7873 5.2.2), not {len(data)}"
        raise BadOptions(msg)
    return data


def _subnet(data: bytes | None) -> Subnet | None:
    """RFC 7871 6 and 7.2.1: a server must refuse what it cannot read."""
    if data is None:
        return None
    if len(data) < 4:
        msg = "a client subnet's family, prefix length and scope"
        raise BadOptions(msg)
    family, source, scope = _FAMILY.unpack_from(data)
    if scope:
        msg = f"a client subnet of scope 0 in a query, not {scope}"
        raise BadOptions(msg)
    if family == 0 and source == 0 and len(data) == 4:
        # No family and no bits: some resolvers say so that they have no address to give. BIND
        # accepts this too.
        return None
    width = _WIDTHS.get(family)
    if width is None or source > 8 * width:
        msg = f"a client subnet of family 1 or 2 and no longer than that, not {family}/{source}"
        raise BadOptions(msg)
    return Subnet(family, source, _address(data[4:], source).ljust(width, b"\0"))


def _address(data: bytes, source: int) -> bytes:
    if len(data) != (source + 7) // 8:
        msg = f"{(source + 7) // 8} bytes of address for /{source}, not {len(data)}"
        raise BadOptions(msg)
    if source % 8 and data[-1] & 0xFF >> source % 8:
        msg = f"a client subnet without bits beyond its /{source}"
        raise BadOptions(msg)
    return data


def _option(code: int, data: bytes) -> bytes:
    return _PAIR.pack(code, len(data)) + data


def error_option(code: int, text: str = "") -> bytes:
    """An extended error (RFC 8914): why an answer is what it is. A long text is cut."""
    cut = text.encode()[:MOST_TEXT].decode(errors="ignore").encode()
    return _option(codes.OPTION_ERROR, code.to_bytes(2, "big") + cut)


def cookie_option(cookie: bytes) -> bytes:
    """A cookie, client and server part (RFC 7873 4)."""
    return _option(codes.OPTION_COOKIE, cookie)


def nsid_option(name: bytes) -> bytes:
    """Which server this is (RFC 5001)."""
    return _option(codes.OPTION_NSID, name)


def subnet_option(subnet: Subnet, scope: int) -> bytes:
    """The query's own subnet, and for how long a prefix the answer holds (RFC 7871 7.2.1)."""
    octets = subnet.address[: (subnet.source + 7) // 8]
    return _option(codes.OPTION_SUBNET, _FAMILY.pack(subnet.family, subnet.source, scope) + octets)


def keepalive_option(seconds: float) -> bytes:
    """How long an idle connection stays, sent in units of 100 ms (RFC 7828 3.1)."""
    tenths = min(max(round(seconds * 10), 0), 0xFFFF)
    return _option(codes.OPTION_KEEPALIVE, tenths.to_bytes(2, "big"))


def opt_record(
    size: int, rcode_high: int = 0, version: int = 0, do: bool = False, options: bytes = b""
) -> bytes:
    """
    The OPT record of an answer: `size` is what we take over UDP, `rcode_high` the rcode's bits
    above its lowest four (RFC 6891 6.1.3), `do` the query's own (RFC 3225 3).
    """
    return b"\0" + struct.pack(
        "!HHBBHH", codes.OPT, size, rcode_high, version, _DO if do else 0, len(options)
    ) + options
