"""
What the kernel says of its IPv4 routes (rtnetlink(7)): messages read to where a prefix goes. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

GROUP = 0x40
"""RTMGRP_IPV4_ROUTE: whoever binds to it is told of each change."""

_NEW_ROUTE, _DEL_ROUTE = 24, 25
_DESTINATION, _GATEWAY, _MULTIPATH = 1, 5, 9


def changes(data: bytes) -> Iterator[tuple[str, frozenset[str]]]:
    """Each prefix that a datagram tells of, with its next hops now: none if its route went."""
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if not 16 <= length <= len(data):
            return
        if kind in (_NEW_ROUTE, _DEL_ROUTE) and length >= 28:
            attributes = dict(_attributes(data[28:length]))
            prefix = f"{IPv4Address(attributes.get(_DESTINATION, bytes(4)))}/{data[17]}"
            yield prefix, frozenset(_hops(attributes) if kind == _NEW_ROUTE else ())
        data = data[_aligned(length):]


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if not 4 <= length <= len(data):
            return
        yield kind, data[4:length]
        data = data[_aligned(length):]


def _hops(attributes: dict[int, bytes]) -> Iterator[str]:
    if _GATEWAY in attributes:
        yield str(IPv4Address(attributes[_GATEWAY]))
    data = attributes.get(_MULTIPATH, b"")
    while len(data) >= 8:
        # struct rtnexthop: length, flags, hops, device; then attributes
        (length,) = struct.unpack_from("=H", data)
        if not 8 <= length <= len(data):
            return
        yield from _hops(dict(_attributes(data[8:length])))
        data = data[_aligned(length):]
