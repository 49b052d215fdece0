"""
What a balancer counts, and how that is shown: plain numbers that a request bumps in place.

Pure: knows no metric system but Prometheus' idea of a histogram.
"""

from __future__ import annotations

from collections.abc import Iterator

BUCKETS = 40
"""Powers of two of a microsecond: the last one is 12 days."""

SHOWN = range(6, 27)
"""The buckets that are shown, 64 us to 67 s; the others are summed up into their neighbours."""


class Figures:
    """Counters of one balancer: `codes` by status, `histogram` by the bits of microseconds."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "codes",
        "connections_total",
        "histogram",
        "microseconds",
        "refused",
        "retries",
    )

    def __init__(self) -> None:
        self.codes = [0] * 600
        self.histogram = [0] * BUCKETS
        self.microseconds = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.connections_total = 0
        self.retries = 0
        self.refused: dict[str, int] = {
            "rate": 0,
            "max-connections": 0,
            "max-connections-per-source": 0,
            "no-server": 0,
            "queue": 0,
            "bad-request": 0,
            "max-body": 0,
        }

    @property
    def requests(self) -> int:
        """Requests that are over."""
        return sum(self.codes)

    def by_code(self) -> Iterator[tuple[int, int]]:
        """(status, count) of the codes that occurred. 0: no answer was begun."""
        return ((code, count) for code, count in enumerate(self.codes) if count)

    def seconds(self) -> Iterator[tuple[str, int]]:
        """(le, cumulative count) as Prometheus wants them; the last is +Inf."""
        total = 0
        for index, count in enumerate(self.histogram):
            total += count
            if index in SHOWN:
                # bit_length() i means less than 2**i microseconds.
                yield f"{2**index / 1e6:.6f}".rstrip("0"), total
        yield "+Inf", total
