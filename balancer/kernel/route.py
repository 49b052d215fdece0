"""
Routes that go through next hop objects, and the way to a neighbour (linux/rtnetlink.h). Pure.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address, ip_network
from typing import Final

from attrs import frozen

from balancer.kernel.netlink import (
    ACK,
    CREATE,
    DUMP,
    EXCLUSIVE,
    REPLACE,
    Malformed,
    Message,
    attribute,
    attributes,
    number,
    pack,
)

NEW: Final = 24
DELETE: Final = 25
GET: Final = 26

MAIN: Final = 254
"""The number of the table `main`."""

_INET: Final = 2
_INET6: Final = 10
_UNICAST: Final = 1

_HEADER: Final = struct.Struct("=BBBBBBBBI")
# rtmsg: family, length of destination and source, TOS, table, protocol, scope, type, flags
_U32: Final = struct.Struct("=I")

_DST, _OIF, _GATEWAY, _PRIORITY, _TABLE, _VIA, _NH_ID = 1, 4, 5, 6, 15, 18, 30


@frozen
class Route:
    """A prefix that goes through the next hop or group `through` (0: through none by id)."""

    prefix: str
    table: int
    through: int
    protocol: int


@frozen
class Way:
    """How packets to an address leave: by which link, and whether through a gateway."""

    device: int
    direct: bool


def put(route: Route, sequence: int, *, replace: bool = False) -> bytes:
    """Add the route; with `replace`, in place of whatever the table has for the prefix. Without,
    the kernel says EEXIST then."""
    flags = ACK | CREATE | (REPLACE if replace else EXCLUSIVE)
    return pack(NEW, flags, sequence, _payload(route, route.protocol))


def drop(route: Route, sequence: int) -> bytes:
    """Remove that very route."""
    return pack(DELETE, ACK, sequence, _payload(route, route.protocol))


def _payload(route: Route, protocol: int) -> bytes:
    network = ip_network(route.prefix)
    family = _INET if network.version == 4 else _INET6
    table = route.table if route.table < 256 else 0
    header = (family, network.prefixlen, 0, 0, table, protocol, 0, _UNICAST, 0)
    payload = _HEADER.pack(*header) + attribute(_DST, network.network_address.packed)
    payload += attribute(_TABLE, _U32.pack(route.table))
    if route.through:
        payload += attribute(_NH_ID, _U32.pack(route.through))
    return payload


def dump(version: int, protocol: int, sequence: int) -> bytes:
    """Ask for all routes of that IP version with that protocol number. The kernel picks them out
    where the socket has asked for strict checks; elsewhere it gives all."""
    family = _INET if version == 4 else _INET6
    return pack(GET, DUMP, sequence, _HEADER.pack(family, 0, 0, 0, 0, protocol, 0, 0, 0))


def way(address: str, sequence: int) -> bytes:
    """Ask how packets to `address` leave."""
    target = ip_address(address)
    family, length = (_INET, 32) if target.version == 4 else (_INET6, 128)
    header = _HEADER.pack(family, length, 0, 0, 0, 0, 0, 0, 0)
    return pack(GET, 0, sequence, header + attribute(_DST, target.packed))


def read(message: Message) -> Route:
    """The route that a `NEW` or `DELETE` message is about. Raises `Malformed`."""
    family, length, table, protocol, found = _parts(message)
    size = 4 if family == _INET else 16
    destination = found.get(_DST, bytes(size))
    if family not in (_INET, _INET6) or len(destination) != size or length > size * 8:
        raise Malformed(f"expected a route of IP, got family {family} and length {length}")
    prefix = f"{ip_address(destination)}/{length}"
    full = number(found[_TABLE]) if _TABLE in found else table
    return Route(prefix, full, number(found.get(_NH_ID)), protocol)


def read_way(message: Message) -> Way:
    """The answer to `way`. Raises `Malformed`."""
    *_, found = _parts(message)
    return Way(number(found.get(_OIF)), _GATEWAY not in found and _VIA not in found)


def _parts(message: Message) -> tuple[int, int, int, int, dict[int, bytes]]:
    if len(message.payload) < _HEADER.size:
        raise Malformed(f"expected a route of 12 bytes, got {len(message.payload)}")
    family, length, _, _, table, protocol, *_ = _HEADER.unpack_from(message.payload)
    return family, length, table, protocol, dict(attributes(message.payload[_HEADER.size :]))
