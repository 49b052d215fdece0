"""
When each server is probed next. Pure: times are arguments, in seconds of a monotonic clock.

Knows intervals and phases. Knows neither servers nor probes: what is scheduled is an index.
"""

from __future__ import annotations

import heapq
import math
from random import Random

from attrs import frozen

FIRST_SPREAD = 0.1
"""Seconds over which the first probes are spread: short, since nothing is known until they end."""


@frozen
class Timing:
    """
    How often a pool's servers are probed, in seconds.

    A server is probed once per `interval`, or once per `fast_interval` while a verdict is pending;
    a probe that takes longer than `timeout` has failed. `port` overrides the servers' own.
    """

    interval: float = 2.0
    timeout: float = 1.0
    fast_interval: float = 2.0
    port: int | None = None


class Schedule:
    """
    The due times of `count` servers, at most one each, in a heap.

    Each server has a grid of its own, with points `interval` apart. The grids are spread evenly
    over the interval, and begin at a random place so that pools do not march in step. The next
    probe is due at the first point after the beginning of the last one, or at once if that one took
    longer, so a server that hangs is noticed as fast as one that refuses. Only a fast interval
    leaves the grid, and comes back to it.
    """

    __slots__ = ("_due", "_fast", "_interval", "_phases")

    def __init__(self, count: int, timing: Timing, now: float, random: Random) -> None:
        """Every server's first probe is due at once, spread over a moment."""
        interval = self._interval = timing.interval
        self._fast = None if timing.fast_interval == interval else timing.fast_interval
        begin = now + random.random() * interval / max(count, 1)
        self._phases = [begin + turn * interval / count for turn in range(count)]
        spread = min(interval, FIRST_SPREAD)
        # In order already, so it is a heap.
        self._due = [(now + turn * spread / count, turn) for turn in range(count)]

    @property
    def next_due(self) -> float:
        """When `pop` has something; `math.inf` if nothing is scheduled."""
        return self._due[0][0] if self._due else math.inf

    def pop(self, now: float) -> int | None:
        """A server that is due, or None. It is due no more until it is `put` back."""
        if self._due and self._due[0][0] <= now:
            return heapq.heappop(self._due)[1]
        return None

    def take_all(self) -> list[tuple[float, int]]:
        """Who is due and when, in no order. Nobody is due any more until `put` back."""
        due, self._due = self._due, []
        return due

    def put(self, index: int, started: float, now: float, pending: bool) -> None:
        """The probe of `index` that began at `started` is over: schedule the next one."""
        if pending and self._fast is not None:
            due = started + self._fast
        else:
            due = self._next_point(index, started)
        heapq.heappush(self._due, (max(now, due), index))

    def _next_point(self, index: int, after: float) -> float:
        phase, interval = self._phases[index], self._interval
        point = math.floor((after - phase) / interval) + 1
        # The quotient may have been rounded: never the point `after` itself.
        while phase + point * interval <= after:
            point += 1
        return phase + point * interval
