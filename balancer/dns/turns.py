"""
Whose turn it is: the order in which the variants of an answer go out. Pure.

Knows indices. What stands at an index is `pools`' business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heapreplace
from itertools import cycle
from typing import Final

from attrs import frozen

MAX_RECORDS: Final = 32768
"""Records in all variants of one rotation: 1 MB of addresses, for each of A and AAAA."""


@frozen
class Turns:
    """`windows` are the variants, each the places of the addresses in it, first one first; `next`
    gives the place of the window whose turn it is."""

    windows: tuple[tuple[int, ...], ...]
    next: Callable[[], int]


def only(count: int, most: int) -> Turns:
    """The first `most` of `count` addresses, always."""
    return _in_turn((tuple(range(min(count, most))),))


def rotating(count: int, most: int) -> Turns:
    """Each address comes first in its turn. When windows of `most` addresses for each of `count`
    are more than `MAX_RECORDS` together, fewer windows are taken, evenly spread."""
    size = min(count, most)
    if not size:
        return only(0, most)
    windows = max(1, min(count, MAX_RECORDS // size))
    starts = [at * count // windows for at in range(windows)]
    return _in_turn(tuple(_window(start, size, count) for start in starts))


def weighted(weights: Sequence[int], most: int) -> Turns:
    """
    Each address comes first as often as its weight says, in any stretch of queries: stride
    scheduling (Waldspurger and Weihl, 1995), exact without a table as long as all weights together.
    """
    count = len(weights)
    if count < 2:
        return only(count, most)
    size = min(count, most, max(1, MAX_RECORDS // count))
    windows = tuple(_window(start, size, count) for start in range(count))
    return Turns(windows, _strides(weights))


def _in_turn(windows: tuple[tuple[int, ...], ...]) -> Turns:
    return Turns(windows, cycle(range(len(windows))).__next__)


def _window(start: int, size: int, count: int) -> tuple[int, ...]:
    return tuple((start + at) % count for at in range(size))


def _strides(weights: Sequence[int]) -> Callable[[], int]:
    # A weight that is 0 (all are, in an answer of last resort) counts as the least one.
    strides = [1.0 / max(weight, 1) for weight in weights]
    # Half a stride ahead at first, so that the first turns are spread by weight as well.
    heap = [(stride / 2, at) for at, stride in enumerate(strides)]
    heapify(heap)

    def following() -> int:
        passed, at = heap[0]
        heapreplace(heap, (passed + strides[at], at))
        return at

    return following
