"""
A pool looked at once, for all names that follow it. Pure.

A pool of thousands of servers may have thousands of names: what is the same for all of them is
found out here, when the first one asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, NamedTuple

from balancer.dns.codes import AAAA, A
from balancer.dns.standing import Standing, shortest_turn, stand, time_to_turn
from balancer.pool.pool import Pool
from balancer.pool.server import Server

NOBODY: Final = ("0.0.0.0", "::")
"""Hosts of servers whose DNS name was never resolved: no address to give to anybody."""

SIZES: Final = {A: 4, AAAA: 16}
"""Bytes of an address by type."""


class Target(NamedTuple):
    """An address that may be answered: in wire form, with the weight of the servers that have it,
    and the place of the first of them. A plain tuple: thousands are compared at each change."""

    data: bytes
    weight: int
    place: str


Targets = tuple[Target, ...]


class Survey:
    """What the pool comes to now. `remembered`: see `standing.stand`. Of what is as it was in the
    survey `before`, this one has the very same, so that who compares the two need not look at each
    of thousands of addresses."""

    def __init__(
        self, pool: Pool, remembered: frozenset[str], before: Survey | None = None
    ) -> None:
        self.pool = pool
        self.turn = shortest_turn(pool.servers, pool.scale, pool.settings.interval)
        """Seconds until a verdict may turn, None if none is about to."""
        self.remembered = remembered
        self.revision = pool.revision
        self._standing: dict[str, Standing] = {}
        self._own: dict[str, dict[str, Target]] = {}
        self._targets: dict[tuple[str, int, bool], tuple[Target, ...]] = {}
        self._compared: dict[tuple[int, int], tuple[Targets, Targets, bool]] = {}
        self._before: Mapping[tuple[str, int, bool], tuple[Target, ...]] = (
            {} if before is None else before._targets
        )

    def standing(self, when_down: str) -> Standing:
        """Who is answered."""
        found = self._standing.get(when_down)
        if found is None:
            found = self._standing[when_down] = stand(self.pool, when_down, self.remembered)
        return found

    def own(self, name: str, when_down: str) -> Target | None:
        """The address of the server of that name, None unless it is answered. One that has no
        address to give is answered by none: its data are empty."""
        found = self._own.get(when_down)
        if found is None:
            found = self._own[when_down] = {
                server.name: Target(packed(server), server.effective_weight, server.settings.place)
                for server in self.standing(when_down).servers
            }
        return found.get(name)

    def turn_of(self, name: str) -> float | None:
        """Seconds until that server's verdict may turn, None if it is not about to."""
        pool = self.pool
        return time_to_turn(pool.server(name), pool.scale, pool.settings.interval)

    def targets(self, when_down: str, qtype: int, placed: bool) -> tuple[Target, ...]:
        """The addresses of that type, each once; with `placed`, once for each place."""
        key = (when_down, qtype, placed)
        found = self._targets.get(key)
        if found is None:
            found = _targets(self.standing(when_down).servers, qtype, placed)
            before = self._before.get(key)
            found = self._targets[key] = before if before == found else found
        return found

    def same(self, before: Targets, now: Targets) -> bool:
        """Whether these are equal: found out once for all names that have the same two, since each
        of thousands of names would look at thousands of addresses."""
        if before is now or len(now) <= 1:
            return before == now
        key = (id(before), id(now))
        known = self._compared.get(key)
        if known is None:
            # Both are kept, so that nothing else gets their numbers.
            known = self._compared[key] = (before, now, before == now)
        return known[2]


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
            found[key] = known._replace(weight=known.weight + weight)
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
