"""Work that waits for a server with room: first in, first out, bounded. Knows no servers."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Iterator
from typing import Any, Protocol


class Waiter(Protocol):
    """
    Whoever waits. `deadline` (seconds, the clock of `now`) is read when it is enqueued and after.

    An attribute `key: bytes | None`, if there is one, is the key that `Pool.admit` chooses by. An
    attribute `tried`, if there is one, has servers that it is not given: they have failed it.
    `admitted` is called by whoever called `finish` or `admit`, never by the pool.
    """

    @property
    def deadline(self) -> float:
        """When waiting is over."""

    def admitted(self, server: Any, now: float) -> None:
        """Go on with `server`, on which work is already begun."""


def tried_by(waiter: Waiter) -> Collection[Any]:
    """The servers that have failed it."""
    tried: Collection[Any] = getattr(waiter, "tried", ())
    return tried


class Queue:
    """At most `bound` waiters, known by identity."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        # Ordered by links: a dict walks over the holes that its removed first keys leave. The same
        # one for ever, so that the hot path may ask it whether anybody waits; nobody else writes.
        self.waiters: OrderedDict[int, Waiter] = OrderedDict()
        self._soonest = math.inf

    def __len__(self) -> int:
        return len(self.waiters)

    def add(self, waiter: Waiter) -> bool:
        """Let it wait at the end; False if the queue is full or it waits already."""
        if len(self.waiters) >= self.bound or id(waiter) in self.waiters:
            return False
        self.waiters[id(waiter)] = waiter
        self._soonest = min(self._soonest, waiter.deadline)
        return True

    def forget(self, waiter: Waiter) -> bool:
        """It waits no more; False if it did not wait."""
        return self.waiters.pop(id(waiter), None) is not None

    def first(self, now: float, server: Any) -> Waiter | None:
        """The first whose deadline is not past and whom `server` has not failed; it stays."""
        for waiter in self.waiters.values():
            if waiter.deadline > now and server not in tried_by(waiter):
                return waiter
        return None

    def waiting(self, now: float) -> Iterator[Waiter]:
        """Those whose deadline is not past; they may be forgotten meanwhile."""
        return (waiter for waiter in tuple(self.waiters.values()) if waiter.deadline > now)

    def expired(self, now: float) -> list[Waiter]:
        """Take out those whose deadline has come, first come first."""
        if now < self._soonest:
            return []
        late = [waiter for waiter in self.waiters.values() if waiter.deadline <= now]
        for waiter in late:
            del self.waiters[id(waiter)]
        self._soonest = min((w.deadline for w in self.waiters.values()), default=math.inf)
        return late
