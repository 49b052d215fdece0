"""What the tests of answers share: a responder without sockets, and queries byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from ipaddress import ip_address

import dns.message
import dns.rdatatype

from balancer.config.slices import finish
from balancer.dns import codes
from balancer.dns.cookies import Cookies
from balancer.dns.geo.building import building
from balancer.dns.geo.prefixes import Territory
from balancer.dns.geo.settings import PlaceSettings, clients
from balancer.dns.pools import PoolName
from balancer.dns.responder import Responder, World
from balancer.dns.served import Served
from balancer.dns.values import answer_line
from balancer.dns.zone import Zone
from balancer.pool.pool import Pool
from tests.dns.zones import ORIGIN, n, sound

CLIENT = "192.0.2.77"
NOW = 1_800_000_000
SECRET = bytes(range(16))


def option(code: int, data: bytes = b"") -> bytes:
    """An option of EDNS."""
    return struct.pack("!HH", code, len(data)) + data


def opt(options: bytes = b"", size: int = 1232, ttl: int = 0) -> bytes:
    """An OPT record; `ttl` has its version and flags."""
    return b"\0" + struct.pack("!HHIH", 41, size, ttl, len(options)) + options


def query(
    name: bytes, qtype: int = codes.A, tail: bytes = b"", flags: int = 0, qclass: int = 1
) -> bytes:
    """A query; `tail` is a record behind its question, or nothing."""
    header = struct.pack("!6H", 0x1234, flags, 1, 0, 0, bool(tail))
    return header + name + struct.pack("!HH", qtype, qclass) + tail


def read(answer: object) -> dns.message.Message:
    """What dnspython makes of an answer, to its last byte."""
    assert isinstance(answer, bytes), answer
    return dns.message.from_wire(answer, ignore_trailing=False)


def records(answer: object) -> list[list[str]]:
    """Every record of the three sections, as text in a firm order."""
    message = read(answer)
    return [
        sorted(line for rrset in section for line in rrset.to_text().split("\n"))
        for section in (message.answer, message.authority, message.additional)
    ]


def bare_responder(unix: Callable[[], float] = lambda: float(NOW)) -> Responder:
    """One that has no zone, at a clock that stands still."""
    world = World(lambda host: ip_address(host).packed, lambda: 10.0, unix)
    return Responder(Cookies(SECRET), world, b"here")


def pool_names(lines: Mapping[str, tuple[str, Pool]], ttl: int = 30) -> dict[bytes, PoolName]:
    """Names that follow pools, each by its line of `answers` without name and pool."""
    return {
        n(name): PoolName(answer_line(f"{name} pool=web {text}"), pool, ttl)
        for name, (text, pool) in lines.items()
    }


def served(
    text: str = "",
    lines: Mapping[str, tuple[str, Pool]] | None = None,
    territory: Territory | None = None,
) -> Served:
    """The zone of `HEAD`, the text and the lines."""
    tree = sound(text).tree
    assert tree is not None
    names = pool_names(lines or {})
    zone = Zone(tree, names)
    made = Served(ORIGIN, zone)
    made.renew(zone, names)
    made.territory = territory
    return made


def territory(**networks: str) -> Territory:
    """A place for each keyword, of these networks."""
    places = {name: PlaceSettings(networks=(clients(text),)) for name, text in networks.items()}
    return finish(building(places, None))


def serving(*zones: Served) -> Responder:
    """A responder for these zones."""
    made = bare_responder()
    made.serve(zones)
    return made
