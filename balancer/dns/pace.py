"""
Work of many connections in turn, a little at a time: so that twenty secondaries that take a million
records each hold up nobody's queries. Pure.

Knows calls and seconds; what is done by a call is its connection's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

A_TURN: Final = 0.002
"""Seconds of such work in one turn of the reactor, and the last call of it: a turn answers 64
datagrams besides, in a quarter of that, and they should not wait for long."""


class Pace:
    """
    Calls `soon` calls in their order. `seconds` is a clock that does not jump, `later` has a call
    made in the reactor's next turn. Whoever waits is at most once among those that wait, so they
    are no more than connections.
    """

    __slots__ = ("_later", "_waiting", "seconds")

    def __init__(
        self, seconds: Callable[[], float], later: Callable[[Callable[[], None]], object]
    ) -> None:
        self.seconds = seconds
        self._later = later
        self._waiting: deque[Callable[[], None]] = deque()

    def soon(self, call: Callable[[], None]) -> None:
        """Call it when its turn has come, never at once. What it raises is the reactor's."""
        self._waiting.append(call)
        if len(self._waiting) == 1:
            self._later(self._go_on)

    def _go_on(self) -> None:
        waiting, enough = self._waiting, self.seconds() + A_TURN
        try:
            for _ in range(len(waiting)):
                # Taken out after its call: it may ask for another, which must wait like all.
                try:
                    waiting[0]()
                finally:
                    waiting.popleft()
                if self.seconds() >= enough:
                    break
        finally:
            if waiting:
                self._later(self._go_on)
