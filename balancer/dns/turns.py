"""
Whose turn it is: the order in which the variants of an answer go out. Pure.

Knows indices. What stands at an index is `pools`' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from heapq import heapify, heapreplace
from typing import Final, Protocol

from attrs import frozen

MAX_RECORDS: Final = 32768
"""Records in all variants of one rotation: 1 MB of addresses, for each of A and AAAA."""


class Order(Protocol):
    """Who is next. Called for every answer."""

    def __call__(self) -> int:
        """The place of the variant whose turn it is."""

    def peek(self) -> int:
        """The same, and its turn stays."""


class First:
    """There is only one."""

    __slots__ = ()

    def __call__(self) -> int:
        return 0

    def peek(self) -> int:
        """See `Order`."""
        return 0


class InTurn:
    """One after the other."""

    __slots__ = ("_at", "_count")

    def __init__(self, count: int) -> None:
        self._at = 0
        self._count = count

    def __call__(self) -> int:
        at = self._at
        following = at + 1
        self._at = following if following < self._count else 0
        return at

    def peek(self) -> int:
        """See `Order`."""
        return self._at


class Strides:
    """Each as often as its weight says: stride scheduling (Waldspurger and Weihl, 1995), exact
    without a table as long as all weights together."""

    __slots__ = ("_heap", "_strides")

    def __init__(self, weights: Sequence[int]) -> None:
        # A weight that is 0 (all are, in an answer of last resort) counts as the least one.
        self._strides = [1.0 / max(weight, 1) for weight in weights]
        # Half a stride ahead at first, so that the first turns are spread by weight as well.
        self._heap = [(stride / 2, at) for at, stride in enumerate(self._strides)]
        heapify(self._heap)

    def __call__(self) -> int:
        passed, at = self._heap[0]
        heapreplace(self._heap, (passed + self._strides[at], at))
        return at

    def peek(self) -> int:
        """See `Order`."""
        return self._heap[0][1]


ONLY: Final = First()


@frozen
class Turns:
    """`windows` are the variants, each the places of the addresses in it, first one first; `next`
    gives the place of the window whose turn it is."""

    windows: tuple[tuple[int, ...], ...]
    next: Order


def only(count: int, most: int) -> Turns:
    """The first `most` of `count` addresses, always."""
    return _in_turn((tuple(range(min(count, most))),))


def rotating(count: int, most: int, start: int = 0, ways: int = MAX_RECORDS) -> Turns:
    """Each address comes first in its turn, the one at `start` (modulo their count) before all
    others. When windows of `most` addresses for each of `count` are more than `ways`, or have more
    than `MAX_RECORDS` together, fewer windows are taken, evenly spread."""
    size = min(count, most)
    if not size:
        return only(0, most)
    windows = max(1, min(count, MAX_RECORDS // size, ways))
    if start:
        return _in_turn(_spread(windows, size, count, start))
    return _in_turn(_shared(windows, size, count))


def weighted(weights: Sequence[int], most: int) -> Turns:
    """Each address comes first as often as its weight says, in any stretch of queries; those that
    follow it in the file come behind it."""
    count = len(weights)
    if count < 2:
        return only(count, most)
    size = min(count, most, max(1, MAX_RECORDS // count))
    return Turns(_shared(count, size, count), Strides(weights))


def _spread(windows: int, size: int, count: int, start: int) -> tuple[tuple[int, ...], ...]:
    starts = [start + at * count // windows for at in range(windows)]
    return tuple(_window(each, size, count) for each in starts)


# Thousands of names may follow a pool of thousands of servers: each by itself would take 0.6 MB.
@lru_cache(64)
def _shared(windows: int, size: int, count: int) -> tuple[tuple[int, ...], ...]:
    return _spread(windows, size, count, 0)


def _in_turn(windows: tuple[tuple[int, ...], ...]) -> Turns:
    return Turns(windows, ONLY if len(windows) < 2 else InTurn(len(windows)))


def _window(start: int, size: int, count: int) -> tuple[int, ...]:
    return tuple((start + at) % count for at in range(size))
