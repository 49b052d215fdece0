"""
A pool looked at once, for all names that follow it. Pure.

A pool of thousands of servers may have thousands of names: what is the same for all of them is
found out here, when the first one asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from attrs import evolve, frozen

from balancer.dns.codes import AAAA, A
from balancer.dns.standing import Standing, shortest_turn, stand
from balancer.pool.pool import Pool
from balancer.pool.server import Server

NOBODY: Final = ("0.0.0.0", "::")
"""Hosts of servers whose DNS name was never resolved: no address to give to anybody."""

SIZES: Final = {A: 4, AAAA: 16}
"""Bytes of an address by type."""


@frozen
class Target:
    """An address that may be answered: in wire form, with the weight of the servers that have it,
    and the place of the first of them."""

    data: bytes
    weight: int
    place: str


class Survey:
    """What the pool comes to now. `remembered`: see `standing.stand`."""

    def __init__(self, pool: Pool, remembered: frozenset[str]) -> None:
        self.pool = pool
        self.revision = pool.revision
        self.turn = shortest_turn(pool.servers, pool.scale, pool.settings.interval)
        """Seconds until a verdict may turn, None if none is about to."""
        self._remembered = remembered
        self._standing: dict[str, Standing] = {}
        self._names: dict[str, frozenset[str]] = {}
        self._targets: dict[tuple[str, int, bool], tuple[Target, ...]] = {}

    def standing(self, when_down: str) -> Standing:
        """Who is answered."""
        found = self._standing.get(when_down)
        if found is None:
            pool = self.pool
            panic = pool.settings.panic
            found = stand(pool.name, pool.servers, panic, when_down, self._remembered)
            self._standing[when_down] = found
        return found

    def stands(self, name: str, when_down: str) -> bool:
        """Whether the server of that name is answered."""
        names = self._names.get(when_down)
        if names is None:
            names = frozenset(server.name for server in self.standing(when_down).servers)
            self._names[when_down] = names
        return name in names

    def targets(self, when_down: str, qtype: int, placed: bool) -> tuple[Target, ...]:
        """The addresses of that type, each once; with `placed`, once for each place."""
        key = (when_down, qtype, placed)
        found = self._targets.get(key)
        if found is None:
            found = _targets(self.standing(when_down).servers, qtype, placed)
            self._targets[key] = found
        return found

    def own(self, name: str, qtype: int) -> tuple[Target, ...]:
        """The address of one server, if it has one of that type."""
        return _targets((self.pool.server(name),), qtype, False)


def _targets(servers: Sequence[Server], qtype: int, placed: bool) -> tuple[Target, ...]:
    """Each address once (RFC 2181 5), however many servers have it."""
    found: dict[tuple[bytes, str], Target] = {}
    size = SIZES[qtype]
    for server in servers:
        data = packed(server)
        if len(data) != size:
            continue
        place, weight = server.settings.place, server.effective_weight
        # One address in two places is one for each of them.
        key = (data, place if placed else "")
        known = found.get(key)
        if known is None:
            found[key] = Target(data, weight, place)
        else:
            found[key] = evolve(known, weight=known.weight + weight)
    return tuple(found.values())


def packed(server: Server) -> bytes:
    """The server's address as 4 or 16 bytes; empty if it has none, or none that a client could
    use: a unix socket, a DNS name that was never resolved."""
    return _packed(server.address.host)


@lru_cache(65536)  # more than servers: 2 us each, at every change of a pool of thousands
def _packed(host: str) -> bytes:
    if host in NOBODY:
        return b""
    try:
        return ip_address(host.partition("%")[0]).packed
    except ValueError:
        return b""
