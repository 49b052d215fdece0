"""
Next hop objects (linux/nexthop.h): single ones, groups with weights, resilient groups. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

from attrs import frozen

from balancer.kernel.netlink import (
    ACK,
    CREATE,
    DUMP,
    NESTED,
    REPLACE,
    Malformed,
    Message,
    attribute,
    attributes,
    number,
    pack,
)

NEW: Final = 104
DELETE: Final = 105
GET: Final = 106

MAX_WEIGHT: Final = 256
"""The greatest weight in a group: the kernel keeps it less one, in a byte."""

_INET: Final = 2
_INET6: Final = 10

_HEADER: Final = struct.Struct("=BBBBI")  # nhmsg: family, scope, protocol, reserved, flags
_ENTRY: Final = struct.Struct("=IBBH")  # nexthop_grp: id, weight - 1, high byte of it, reserved
_U16: Final = struct.Struct("=H")
_U32: Final = struct.Struct("=I")

_ID, _GROUP, _GROUP_TYPE, _OIF, _GATEWAY, _RES_GROUP = 1, 2, 3, 5, 6, 12
_BUCKETS, _IDLE_TIMER, _UNBALANCED_TIMER = 1, 2, 3
_HASH_THRESHOLD, _RESILIENT = 0, 1

_TICKS: Final = 100.0
"""Ticks of a timer in a second: USER_HZ, the same on every machine that Debian knows."""


@frozen
class Hop:
    """A neighbour on a link: `device` is the link's index."""

    id: int
    gateway: str
    device: int
    protocol: int


@frozen
class Resilient:
    """A fixed number of buckets, each of which keeps its next hop while that is in the group and
    the bucket was used within `idle` seconds. After `unbalanced` seconds (0: never) out of balance,
    used ones move too."""

    buckets: int
    idle: float
    unbalanced: float


@frozen
class Group:
    """Next hops by their ids with weights of 1 to 256. Without `resilient`, flows are spread by
    their hash alone, and many of them move whenever the group changes."""

    id: int
    hops: tuple[tuple[int, int], ...]
    protocol: int
    resilient: Resilient | None = None


@frozen
class Other:
    """An object that is neither: a blackhole, an FDB entry, a link without a gateway."""

    id: int
    protocol: int


def put_hop(hop: Hop, sequence: int, *, replace: bool = False) -> bytes:
    """Make the next hop, or give that of the same id this gateway and link."""
    address = ip_address(hop.gateway)
    family = _INET if address.version == 4 else _INET6
    payload = _HEADER.pack(family, 0, hop.protocol, 0, 0)
    payload += attribute(_ID, _U32.pack(hop.id)) + attribute(_GATEWAY, address.packed)
    payload += attribute(_OIF, _U32.pack(hop.device))
    return pack(NEW, ACK | CREATE | (REPLACE if replace else 0), sequence, payload)


def put_group(group: Group, sequence: int) -> bytes:
    """Make the group, or give that of the same id these next hops. The kernel refuses to change a
    group's type and the number of its buckets."""
    entries = b"".join(_ENTRY.pack(each, weight - 1, 0, 0) for each, weight in group.hops)
    kind = _HASH_THRESHOLD if group.resilient is None else _RESILIENT
    payload = _HEADER.pack(0, 0, group.protocol, 0, 0)
    payload += attribute(_ID, _U32.pack(group.id)) + attribute(_GROUP, entries)
    payload += attribute(_GROUP_TYPE, _U16.pack(kind))
    if group.resilient is not None:
        payload += _resilient(group.resilient)
    return pack(NEW, ACK | CREATE | REPLACE, sequence, payload)


def _resilient(options: Resilient) -> bytes:
    nest = attribute(_BUCKETS, _U16.pack(options.buckets))
    nest += attribute(_IDLE_TIMER, _U32.pack(round(options.idle * _TICKS)))
    nest += attribute(_UNBALANCED_TIMER, _U32.pack(round(options.unbalanced * _TICKS)))
    return attribute(_RES_GROUP | NESTED, nest)


def drop(id: int, sequence: int) -> bytes:
    """Remove a next hop or a group. Whatever routes went through it alone goes with it."""
    payload = _HEADER.pack(0, 0, 0, 0, 0) + attribute(_ID, _U32.pack(id))
    return pack(DELETE, ACK, sequence, payload)


def dump(sequence: int) -> bytes:
    """Ask for all objects."""
    return pack(GET, DUMP, sequence, _HEADER.pack(0, 0, 0, 0, 0))


def read(message: Message) -> Hop | Group | Other:
    """The object that a `NEW` or `DELETE` message is about. Raises `Malformed`."""
    if len(message.payload) < _HEADER.size:
        raise Malformed(f"expected a next hop of 8 bytes, got {len(message.payload)}")
    protocol = _HEADER.unpack_from(message.payload)[2]
    found = attributes(message.payload[_HEADER.size :])
    id, gateway = number(found.get(_ID)), found.get(_GATEWAY, b"")
    if _GROUP in found:
        hops = tuple(_entries(found[_GROUP]))
        options = None
        if number(found.get(_GROUP_TYPE)) == _RESILIENT:
            options = _options(found.get(_RES_GROUP, b""))
        return Group(id, hops, protocol, options)
    if len(gateway) in (4, 16):
        return Hop(id, str(ip_address(gateway)), number(found.get(_OIF)), protocol)
    return Other(id, protocol)


def _entries(data: bytes) -> Iterator[tuple[int, int]]:
    if len(data) % _ENTRY.size:
        raise Malformed(f"expected next hops of 8 bytes each, got {len(data)}")
    for id, low, high, _ in _ENTRY.iter_unpack(data):
        yield id, (high << 8 | low) + 1


def _options(data: bytes) -> Resilient:
    found = attributes(data)
    idle, unbalanced = number(found.get(_IDLE_TIMER)), number(found.get(_UNBALANCED_TIMER))
    return Resilient(number(found.get(_BUCKETS)), idle / _TICKS, unbalanced / _TICKS)
