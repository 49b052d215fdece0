"""
Delayed calls by name, of which each is due once: asked for again, it moves. Waiting until something
is so.

Knows the reactor's clock and nothing of what is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

LOOK_EVERY: Final = 0.01
"""Seconds between two looks whether it is so."""


class Timers:
    """The delayed calls of one owner."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: dict[str, IDelayedCall] = {}

    def later(self, what: str, seconds: float, call: Callable[[], object]) -> None:
        """Call that in so many seconds, and not what was to be called under this name."""
        before = self._calls.pop(what, None)
        if before is not None and before.active():
            before.cancel()
        self._calls[what] = self._reactor.callLater(seconds, call)

    def is_due(self, what: str) -> bool:
        """Whether it is to be called at once."""
        call = self._calls.get(what)
        return call is not None and call.active() and call.getTime() <= self._reactor.seconds()

    def stop(self) -> None:
        """Call nothing any more."""
        for call in self._calls.values():
            if call.active():
                call.cancel()
        self._calls = {}


def within(reactor: Any, seconds: float, true: Callable[[], bool]) -> Deferred[None]:
    """Fires when that is true, or not to be waited for any longer."""
    done: Deferred[None] = Deferred()
    end = reactor.seconds() + seconds

    def look() -> None:
        if true() or reactor.seconds() >= end:
            done.callback(None)
        else:
            reactor.callLater(LOOK_EVERY, look)

    look()
    return done
