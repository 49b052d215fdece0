"""
What a scheduler is: it puts the servers that may get work into an order.

The pool says which servers those are; a scheduler leaves out the full and the tried ones itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

from balancer.pool.server import Server

Finished = Callable[[Server], None]
Observed = Callable[[Server, float, float], None]


class Scheduler(Protocol):
    """An algorithm at work for one pool."""

    @property
    def finished(self) -> Finished | None:
        """Called after a server's `in_flight` fell, if the order depends on it."""

    @property
    def observed(self) -> Observed | None:
        """Called with (server, latency, now) of each answer, if the order depends on it."""

    @property
    def built(self) -> bool:
        """Whether it can choose without building something long first."""

    def enlist(self, servers: Sequence[Server]) -> None:
        """From now on the pool has these servers, whether they may get work or not. `rebuild`
        follows before any choice."""

    def rebuild(self, servers: Sequence[Server]) -> None:
        """From now on `servers` may get work, with their present weights. Pays for all that can be
        decided before a choice."""

    def choose(self, key: bytes | None, tried: Collection[Server] = ()) -> Server | None:
        """The best server that is below its limit and not in `tried`; None: nobody."""

    def rank(self, key: bytes | None) -> Iterator[Server]:
        """Servers below their limits, best first, starting with what `choose` would give.
        Changes nothing; valid until anything else is called."""

    def advance(self) -> bool:
        """Do a slice (a few milliseconds at most) of work that was put off; True: more is left."""


class Plain:
    """A scheduler's answers where it puts nothing off and follows neither load nor latency."""

    @property
    def finished(self) -> Finished | None:
        """Nothing to learn from ended work."""
        return None

    @property
    def observed(self) -> Observed | None:
        """Nothing to learn from latency."""
        return None

    @property
    def built(self) -> bool:
        """At any time."""
        return True

    def enlist(self, servers: Sequence[Server]) -> None:
        """Those who may get work are all that matters."""

    def advance(self) -> bool:
        """Nothing is left to do."""
        return False


class First(Plain):
    """The first server, in the site file's order, that has room: fills one before the next."""

    def __init__(self) -> None:
        self._servers: Sequence[Server] = ()

    def rebuild(self, servers: Sequence[Server]) -> None:
        """Take the order as it comes."""
        self._servers = servers

    def choose(self, key: bytes | None, tried: Collection[Server] = ()) -> Server | None:
        """The first one with room."""
        for server in self._servers:
            if server.in_flight < server.limit and server not in tried:
                return server
        return None

    def rank(self, key: bytes | None) -> Iterator[Server]:
        """The site file's order."""
        return (server for server in self._servers if server.in_flight < server.limit)
