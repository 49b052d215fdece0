"""
Whose probe begins next, over all pools: some in each reactor turn, in turn among those who wait.

Without it five hundred pools that start together would begin all their probes in one turn, and time
out those that answered meanwhile. Knows nothing of pools or of what a probe is.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

STARTS_PER_TURN = 32
"""Probes begun in one reactor turn: at 100 to 400 us each, well below the 50 ms of a turn."""


class Waits(Protocol):
    """Who has probes to begin."""

    def begin_one(self) -> bool:
        """Begin the next one, which passes the turnstile; False if there is none to begin now."""


class Turnstile:
    """At most `most` probes at once, `STARTS_PER_TURN` begun in a turn. `waiting` ask for turns."""

    def __init__(self, reactor: IReactorTime, most: int) -> None:
        self.most = most
        self.inside = 0
        self._reactor = reactor
        self._waiting: OrderedDict[Waits, None] = OrderedDict()  # a set in order
        self._call: IDelayedCall | None = None

    def ask(self, who: Waits) -> None:
        """Have `who.begin_one` called in a later turn, until it gives False; again is harmless."""
        self._waiting[who] = None
        self._arm()

    def forget(self, who: Waits) -> None:
        """It wants no more; it need not be known."""
        self._waiting.pop(who, None)

    def enter(self) -> None:
        """A probe has begun."""
        self.inside += 1

    def leave(self, count: int = 1) -> None:
        """So many have ended."""
        self.inside -= count
        self._arm()

    def _arm(self) -> None:
        if self._call is None and self._waiting and self.inside < self.most:
            self._call = self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        self._call = None
        left = STARTS_PER_TURN
        try:
            while self._waiting and left and self.inside < self.most:
                who, _ = self._waiting.popitem(last=False)
                if who.begin_one():
                    left -= 1
                    self._waiting[who] = None
        finally:
            self._arm()
