"""
Writes a database in MaxMind's format 2.0 from a few networks, so that nobody's data need be kept.

Pure. Source: https://maxmind.github.io/MaxMind-DB/. Networks must not overlap.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network

MARKER = b"\xab\xcd\xefMaxMind.com"
RECORD_BITS = 24
_IPV4_AT = 96
"""Bits of ::/96, below which IPv4 stands in a tree of IPv6."""

_TEXT, _DOUBLE, _UINT16, _UINT32, _MAP, _UINT64, _ARRAY = 2, 3, 5, 6, 7, 9, 11
_WIDE = {"node_count": _UINT32, "build_epoch": _UINT64}
"""Entries of the metadata that must be of these types; the other numbers are small."""

Network = IPv4Network | IPv6Network
Value = str | int | float | Mapping[str, "Value"] | list["Value"]


def encoded(value: Value) -> bytes:
    """A value of the data section."""
    match value:
        case str():
            raw = value.encode()
            return _control(_TEXT, len(raw)) + raw
        case int():
            return _integer(value, _UINT16)
        case float():
            return _control(_DOUBLE, 8) + struct.pack("!d", value)
        case list():
            return _control(_ARRAY, len(value)) + b"".join(map(encoded, value))
        case _:
            return _control(_MAP, len(value)) + b"".join(
                encoded(key) + (_integer(each, _WIDE[key]) if key in _WIDE else encoded(each))
                for key, each in value.items())


def _integer(value: Value, kind: int) -> bytes:
    assert isinstance(value, int)
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return _control(kind, len(raw)) + raw


def _control(kind: int, size: int) -> bytes:
    """The byte before a value, or two or three: its kind and size."""
    more = b""
    if size >= 29:
        if size >= 29 + 256:
            raise ValueError(f"expected at most 284 bytes in a value, got {size}")
        more, size = bytes([size - 29]), 29
    if kind <= 7:
        return bytes([kind << 5 | size]) + more
    return bytes([size, kind - 7]) + more


class _Tree:
    """The search tree: nodes of two records, each a node's number, a value's place or nothing."""

    def __init__(self) -> None:
        self.nodes: list[list[int | bytes | None]] = [[None, None]]

    def put(self, bits: int, length: int, value: bytes) -> None:
        at = 0
        for shift in range(length - 1, 0, -1):
            side = bits >> shift & 1
            below = self.nodes[at][side]
            if below is None:
                self.nodes.append([None, None])
                below = self.nodes[at][side] = len(self.nodes) - 1
            if not isinstance(below, int):
                raise ValueError("expected networks that do not overlap")
            at = below
        self.nodes[at][bits & 1] = value

    def wire(self, places: Mapping[bytes, int]) -> bytes:
        """Three bytes for each record; what is not known points to the number of nodes."""
        count = len(self.nodes)
        numbers = [each if isinstance(each, int) else count if each is None
                   else count + 16 + places[each] for node in self.nodes for each in node]
        return b"".join(number.to_bytes(RECORD_BITS // 8, "big") for number in numbers)


def database(entries: Iterable[tuple[Network, Value]], kind: str = "GeoLite2-City") -> bytes:
    """The file's bytes. `kind` is the type that it says it is of."""
    tree, places, data = _Tree(), dict[bytes, int](), bytearray()
    for network, value in entries:
        length = network.prefixlen + (_IPV4_AT if network.version == 4 else 0)
        wire = encoded(value)
        if wire not in places:
            places[wire] = len(data)
            data += wire
        tree.put(int(network.network_address) >> network.max_prefixlen - network.prefixlen,
                 length, wire)
    about: Value = {
        "node_count": len(tree.nodes), "record_size": RECORD_BITS, "ip_version": 6,
        "database_type": kind, "languages": ["en"], "binary_format_major_version": 2,
        "binary_format_minor_version": 0, "build_epoch": 1704067200,
        "description": {"en": "Made for tests"}}
    return tree.wire(places) + bytes(16) + bytes(data) + MARKER + encoded(about)


def city(country: str, continent: str, latitude: float, longitude: float) -> Value:
    """The value of a network, as far as anybody reads it."""
    return {"continent": {"code": continent}, "country": {"iso_code": country},
            "location": {"latitude": latitude, "longitude": longitude}}
