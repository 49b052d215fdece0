"""
Deadlines by the ten thousand: a wheel of coarse ticks, and the one delayed call that turns it.

`Wheel` is a pure core: times are arguments, in seconds of a monotonic clock. `Ticker` is its glue.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

#: Entries looked at in one `advance`: at some 20 us an expiry this keeps a turn under 50 ms.
ENTRIES_AT_ONCE = 1000

_log = Logger("balancer.wire")


class Deadlined(Protocol):
    """What a wheel holds. `deadline` may move later by plain assignment; `math.inf` is none."""

    deadline: float

    def expired(self, now: float) -> None:
        """The deadline has passed; the entry has left the wheel."""


class Wheel:
    """
    A hashed timing wheel (Varghese and Lauck, 1987) with lazy entries.

    An entry fires once, not before its deadline and at most one tick (and a turn) after. When its
    bucket comes and its deadline has moved later meanwhile, it moves on: putting a deadline off
    costs one attribute write. Deadlines beyond the wheel's span wait in its last bucket.
    """

    __slots__ = ("_buckets", "_due", "_ready", "_slots", "_tick", "_turned", "start")

    def __init__(self, now: float, tick: float = 0.1, slots: int = 1024) -> None:
        self.start = now
        self._tick = tick
        self._slots = slots
        self._buckets: list[dict[int, Deadlined]] = [{} for _ in range(slots)]
        # Entries by identity, since values may be unhashable: id -> the tick of its bucket.
        self._due: dict[int, int] = {}
        self._ready: dict[int, Deadlined] = {}
        self._turned = 0

    def __len__(self) -> int:
        """How many entries wait."""
        return len(self._due)

    def add(self, entry: Deadlined) -> None:
        """Have `entry` expire at its deadline. One that is there already may have moved earlier."""
        deadline = entry.deadline
        if deadline == math.inf:
            return
        key = id(entry)
        turned = self._turned
        due = math.ceil((deadline - self.start) / self._tick)
        if due <= turned:
            due = turned + 1
        elif due >= turned + self._slots:
            due = turned + self._slots - 1
        known = self._due.get(key)
        if known is not None:
            if known <= due:
                return
            self._take_out(key, known)
        self._due[key] = due
        self._buckets[due % self._slots][key] = entry

    def hasten(self, entry: Deadlined) -> None:
        """The deadline of `entry` has moved earlier, or has become finite."""
        self.add(entry)

    def discard(self, entry: Deadlined) -> None:
        """Forget `entry`; it will not expire. It need not be there."""
        key = id(entry)
        due = self._due.pop(key, None)
        if due is not None:
            self._take_out(key, due)

    def advance(self, now: float, most: int = ENTRIES_AT_ONCE) -> bool:
        """
        Expire what is due at `now`, looking at no more than `most` entries.

        Returns whether some are left over: advance again in another turn. What `expired` raises
        passes through; the next call goes on behind the entry that raised.
        """
        until = math.floor((now - self.start) / self._tick)
        if until - self._turned > self._slots:
            # Slept longer than the wheel spans: each bucket needs one visit.
            self._turned = until - self._slots
        while True:
            ready = self._ready
            while ready:
                if most <= 0:
                    return True
                most -= 1
                self._visit(*ready.popitem(), now)
            if self._turned >= until:
                return False
            self._turned += 1
            index = self._turned % self._slots
            if self._buckets[index]:
                self._ready = self._buckets[index]
                self._buckets[index] = {}

    def _visit(self, key: int, entry: Deadlined, now: float) -> None:
        del self._due[key]
        if entry.deadline <= now:
            entry.expired(now)
        else:
            self.add(entry)

    def _take_out(self, key: int, due: int) -> None:
        self._buckets[due % self._slots].pop(key, None)
        self._ready.pop(key, None)


class Ticker:
    """
    Turns a wheel, and calls whoever wants to be called coarsely, each `interval` seconds.
    """

    def __init__(self, reactor: IReactorTime, wheel: Wheel, interval: float = 0.1) -> None:
        self._reactor = reactor
        self._wheel = wheel
        self._interval = interval
        self._callbacks: list[Callable[[float], object]] = []
        self._call: IDelayedCall | None = None
        self._rest: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to tick; again is harmless."""
        if self._call is None:
            self._schedule()

    def _schedule(self) -> None:
        """Tick at multiples of the interval since the wheel's start, so as not to drift."""
        late = (self._reactor.seconds() - self._wheel.start) % self._interval
        delay = self._interval - late
        if delay < self._interval / 10:
            # Early by a rounding error, or so late that the next one is here: the one after it.
            delay += self._interval
        self._call = self._reactor.callLater(delay, self._tick)

    def stop(self) -> None:
        """Tick no more; again is harmless."""
        for call in (self._call, self._rest):
            if call is not None:
                call.cancel()
        self._call = self._rest = None

    def every(self, callback: Callable[[float], object]) -> None:
        """Call `callback(now)` at each tick from now on."""
        self._callbacks.append(callback)

    def forget(self, callback: Callable[[float], object]) -> None:
        """Call `callback` no more; it need not be known."""
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def _tick(self) -> None:
        self._schedule()
        now = self._reactor.seconds()
        if self._rest is None:
            self._turn()
        for callback in tuple(self._callbacks):
            try:
                callback(now)
            except Exception:  # noqa: BLE001  # the reactor's edge: the others still get their tick
                _log.failure("{callback} raised at a tick", callback=callback)

    def _turn(self) -> None:
        self._rest = None
        left = True
        try:
            left = self._wheel.advance(self._reactor.seconds())
        except Exception:  # noqa: BLE001  # the reactor's edge: the wheel goes on behind the entry
            _log.failure("a deadline raised")
        if left and self._call is not None:
            self._rest = self._reactor.callLater(0, self._turn)
