"""
How often which duration came. Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

CONNECT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Bounds for connecting: from a server in the same rack to a lost SYN (1 s, RFC 6298)."""

LIFE_SECONDS = (0.01, 0.1, 1.0, 10.0, 60.0, 300.0, 1800.0, 3600.0, 14400.0, 86400.0)
"""Bounds for the life of a connection or flow."""


class Histogram:
    """Counts of values up to each of `bounds`, as Prometheus has them."""

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.total = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """One more `value`."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def samples(self) -> Iterator[tuple[str, str, float]]:
        """(suffix, bound or '', value): cumulative buckets, then their count and the sum."""
        count = 0
        for bound, here in zip((*map(str, self.bounds), "+Inf"), self._counts, strict=True):
            count += here
            yield "_bucket", bound, count
        yield "_count", "", count
        yield "_sum", "", self.total
