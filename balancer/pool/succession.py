"""
The scheduler in force, and the one that takes its place as soon as its tables are built.

Knows schedulers and what of a pool's settings they depend on; the pool says who may get work.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from balancer.pool.algorithms import scheduler, sort_of
from balancer.pool.schedulers import Scheduler
from balancer.pool.server import Server
from balancer.pool.settings import PoolSettings


class Succession:
    """`present` decides. What follows it is built in slices beside it, so that no turn of the
    reactor gets long and nobody waits for a table."""

    def __init__(self, settings: PoolSettings, servers: Sequence[Server], random: Random) -> None:
        """`servers` are all of the pool's. ValueError: there is no such algorithm."""
        self._random = random
        self._sort = sort_of(settings)
        self.present: Scheduler = scheduler(settings, servers, random)
        self._next: tuple[tuple[str, str], Scheduler] | None = None

    def follow(self, settings: PoolSettings, servers: Sequence[Server]) -> None:
        """These are the settings from now on, and all of the pool's servers. Call `rebuild` before
        a choice. ValueError, and nothing is changed: there is no such algorithm."""
        sort = sort_of(settings)
        if sort == self._sort:
            self._next = None
        elif self._next is None or self._next[0] != sort:
            self._next = sort, scheduler(settings, servers, self._random)

    def enlist(self, servers: Sequence[Server]) -> None:
        """The pool has these servers, with the lines that they have now."""
        self.present.enlist(servers)
        if self._next is not None:
            self._next[1].enlist(servers)

    def rebuild(self, candidates: Sequence[Server]) -> None:
        """`candidates` may get work from now on."""
        if self._next is not None:
            self._next[1].rebuild(candidates)
            if self._succeed():
                return
        self.present.rebuild(candidates)

    def advance(self) -> bool:
        """A slice of what is being built; True: more is left."""
        if self._next is None:
            return self.present.advance()
        self._next[1].advance()
        return not self._succeed()

    def _succeed(self) -> bool:
        if self._next is None or not self._next[1].built:
            return False
        self._sort, self.present = self._next
        self._next = None
        return True
