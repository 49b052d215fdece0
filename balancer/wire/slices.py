"""
Long work between other work: a generator that yields after each slice, spread over reactor turns.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

SLICE_SECONDS = 0.01
"""How long slices are done in one turn: a fifth of what a turn may last. The last slice of a turn
may take longer, so a single one should stay below 30 ms."""

T = TypeVar("T")


def at_once(slices: Generator[object, None, T]) -> T:
    """Do all of the work `slices` now."""
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            result: T = stop.value
            return result


def in_slices(reactor: IReactorTime, slices: Generator[object, None, T]) -> Deferred[T]:
    """Do the work `slices` between other work; fires with what it returns. Cancelling stops it."""
    stopped = False

    def stop(_: Deferred[T]) -> None:
        nonlocal stopped
        stopped = True
        slices.close()

    done: Deferred[T] = Deferred(stop)

    def go_on() -> None:
        if stopped:
            return
        enough = reactor.seconds() + SLICE_SECONDS
        try:
            while reactor.seconds() < enough:
                next(slices)
        except StopIteration as stop:
            done.callback(stop.value)
        except BaseException:  # noqa: BLE001 - the reactor's edge: the Deferred tells
            done.errback(Failure())
        else:
            reactor.callLater(0, go_on)

    go_on()
    return done
