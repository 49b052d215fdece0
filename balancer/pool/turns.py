"""
Orders in which weights take turns, spread evenly. Knows integers only.

Two orders honour weights exactly over a period (the sum of the weights after division by their
greatest common divisor): nginx's smooth one, and earliest deadline first, which costs less to
compute when there are many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heapreplace
from math import gcd


def reduced(weights: Sequence[int]) -> list[int]:
    """`weights` divided by their greatest common divisor."""
    divisor = gcd(*weights) or 1
    return [weight // divisor for weight in weights]


def smooth(weights: Sequence[int]) -> list[int]:
    """
    One period of nginx's smooth weighted round-robin, as indexes: 5, 1, 1 gives a a b a c a a.

    Each pick adds every weight to its current value, takes the first greatest, and subtracts the
    sum from it (nginx, ngx_http_upstream_round_robin.c). Costs len(weights) x sum(weights).
    """
    total = sum(weights)
    current = [0] * len(weights)
    order = []
    for _ in range(total):
        current = [value + weight for value, weight in zip(current, weights, strict=True)]
        best = current.index(max(current))
        current[best] -= total
        order.append(best)
    return order


def spread(weights: Sequence[int]) -> list[int]:
    """
    One period of earliest deadline first: turn k of a weight w is due at (2k + 1) / 2w.

    Integers alone, so that it is the same on every machine; ties go to the lower index.
    """
    count = len(weights)
    scale = max(weights, default=1) ** 2 * 2  # keeps deadlines apart that differ at all
    due = [
        (2 * k + 1) * scale // weight * count + index
        for index, weight in enumerate(weights)
        for k in range(weight)
    ]
    due.sort()
    return [deadline % count for deadline in due]


def endless(weights: Sequence[int]) -> Iterator[int]:
    """`spread` for ever, one turn at a time, for periods that are too long to hold."""
    heap = [(1 / (2 * weight), index, 0) for index, weight in enumerate(weights) if weight]
    heapify(heap)
    while heap:
        _, index, k = heap[0]
        yield index
        # Not a running sum: rounding must not add up over days.
        heapreplace(heap, ((2 * k + 3) / (2 * weights[index]), index, k + 1))
