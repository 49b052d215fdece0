"""
The same key to the same server: Maglev's table, and what happens when its server cannot.

A table is made of names, weights and the seed alone, never of verdicts: a server that goes down is
skipped, so that its slots spread over the others and no other slot moves, and it gets them all
back. So every balancer of a site agrees, whatever it has seen before.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from itertools import chain

from balancer.pool.maglev import SLOTS, building
from balancer.pool.roundrobin import RoundRobin
from balancer.pool.schedulers import Plain
from balancer.pool.server import Server

WALK = 512
"""Slots that are looked at after the key's own (25 us). With one server of 100 left, 0.6 % of keys
go on to the order of names."""

SlotOf = Callable[[bytes], int]
Recipe = tuple[tuple[str, int], ...]
"""What a table is made of, with the seed: names, in order, and weights."""


class Group:
    """
    Servers that share a table: those without `backup`, or the backups.

    The first table is built when it is needed, later ones in slices beside the one in force.
    Slow start does not count: where a key goes must not depend on when a server came back.
    """

    def __init__(self, servers: Sequence[Server], seed: str) -> None:
        self._members = sorted(servers, key=lambda server: server.name)
        self.servers = self._members  # of the table in force: some may be gone, some not yet in it
        self._seed = seed
        self._table: array[int] | None = None
        self._recipe: Recipe | None = None  # of the table in force
        self._wanted: Recipe | None = None  # of the slices under way
        self._slices: Generator[None, None, array[int]] | None = None

    @property
    def table(self) -> array[int]:
        """Indexes into `servers`, SLOTS of them or none; built now if there is none in force."""
        while self._table is None:
            if self._slices is None:
                self.refresh()
            self.advance()
        return self._table

    @property
    def built(self) -> bool:
        """Whether there is a table in force."""
        return self._table is not None

    def enlist(self, servers: Sequence[Server]) -> None:
        """From now on these share a table. The one in force serves until theirs is built; who has
        the name of another has its slots at once."""
        self._members = sorted(servers, key=lambda server: server.name)
        if self._table is None:
            self.servers = self._members
        else:
            named = {server.name: server for server in servers}
            self.servers = [named.get(server.name, server) for server in self.servers]
        self.refresh()

    def refresh(self) -> None:
        """Start slices if names and weights are not those of the table in force or under way."""
        recipe = tuple((server.name, server.weight) for server in self._members)
        if recipe == self._recipe:
            self._slices = self._wanted = None
        elif recipe != self._wanted:
            names, weights = [name for name, _ in recipe], [weight for _, weight in recipe]
            self._slices = building(names, weights, self._seed)
            self._wanted = recipe

    def advance(self) -> bool:
        """One slice; True: more is left."""
        if self._slices is None:
            return False
        try:
            next(self._slices)
        except StopIteration as done:
            self._table, self._recipe = done.value, self._wanted
            self.servers = self._members
            self._slices = self._wanted = None
        return self._slices is not None


class Keyed(Plain):
    """Consistent hashing; a key that is absent (None) takes the next turn of round-robin."""

    def __init__(self, servers: Sequence[Server], seed: str, slot_of: SlotOf) -> None:
        """`servers` are all of the pool's, `slot_of` gives a key's slot."""
        self._slot_of = slot_of
        self._main = Group([server for server in servers if not server.backup], seed)
        self._backup = Group([server for server in servers if server.backup], seed)
        self._group = self._main
        self._rest: list[Server] = []
        self._keyless = RoundRobin()

    @property
    def built(self) -> bool:
        """Whether both tables are."""
        return self._main.built and self._backup.built

    def enlist(self, servers: Sequence[Server]) -> None:
        """Have the tables of these built; those in force serve until then."""
        self._main.enlist([server for server in servers if not server.backup])
        self._backup.enlist([server for server in servers if server.backup])

    def rebuild(self, servers: Sequence[Server]) -> None:
        """Mark what to skip is the pool's part (`candidate`); here weights are compared."""
        self._keyless.rebuild(servers)
        self._rest = sorted(servers, key=lambda server: server.name)
        backups_alone = bool(servers) and all(server.backup for server in servers)
        self._group = self._backup if backups_alone else self._main
        self._main.refresh()
        self._backup.refresh()

    def advance(self) -> bool:
        """A slice of the tables, the one in use first."""
        return self._main.advance() or self._backup.advance()

    def choose(self, key: bytes | None, tried: Collection[Server] = ()) -> Server | None:
        """The server of the key's slot, or else the next that can."""
        if key is None:
            return self._keyless.choose(None, tried)
        if not self._rest:
            return None
        table = self._group.table
        slot = self._slot_of(key)
        if table:
            server = self._group.servers[table[slot]]
            if server.candidate and server.in_flight < server.limit and not tried:
                return server
        for server in self._from(slot):
            if server.in_flight < server.limit and server not in tried:
                return server
        return None

    def rank(self, key: bytes | None) -> Iterator[Server]:
        """The order in which the table and then the names give servers."""
        if key is None:
            return self._keyless.rank(None)
        order = dict.fromkeys(self._from(self._slot_of(key)))
        return (server for server in order if server.in_flight < server.limit)

    def slots(self) -> list[Server]:
        """Every slot's server as `choose` gives it while none is full: what a kernel's map needs.
        Empty if nobody may get work. About 10 ms."""
        if not self._rest:
            return []
        servers, table = self._group.servers, self._group.table
        if not table:
            return [self._rest[slot % len(self._rest)] for slot in range(SLOTS)]
        given: list[Server] = [servers[0]] * SLOTS
        found, at = None, 2 * SLOTS
        for position in range(min(SLOTS + WALK, 2 * SLOTS) - 1, -1, -1):
            slot = position if position < SLOTS else position - SLOTS
            server = servers[table[slot]]
            if server.candidate:
                found, at = server, position
            if position < SLOTS:
                near = found is not None and at - position <= WALK
                given[slot] = found if found and near else self._rest[slot % len(self._rest)]
        return given

    def _from(self, slot: int) -> Iterator[Server]:
        """Candidates from a slot on; servers repeat."""
        servers, table = self._group.servers, self._group.table
        walked: Iterator[Server] = iter(())
        if table:
            window = table[slot : slot + WALK + 1]
            window.extend(table[: WALK + 1 - len(window)])
            walked = (servers[index] for index in window if servers[index].candidate)
        start = slot % max(len(self._rest), 1)
        return chain(walked, self._rest[start:], self._rest[:start])
