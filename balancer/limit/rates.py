"""
Rates: how many a second one key may have. Pure.

Knows token buckets. Must not know what a key stands for (a source address, a field, a path), nor
what time it is: `now` is an argument, in seconds of any clock that does not jump.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

MOST_KEYS = 65536
"""Keys remembered unless told otherwise; nginx's `limit_req_zone` of 4 MB holds as many."""

SWEEP = 2
"""Old keys looked at for each new one: more than one, so that a table that was flooded shrinks."""

SLACK = 1e-6
"""A part of a token: a caller exactly on time must not be refused by the last bit of a float."""


class Rates:
    """
    One token bucket a key: full at first with `burst` tokens, refilled at `rate` a second.

    A bucket is one float, the tokens taken since time 0 of a bucket that was never let grow beyond
    `burst` (the 'generic cell rate algorithm', ITU-T I.371, counted in cells): taking a token adds
    exactly 1, so the refill has no error that grows. A key that is not in the table has a full
    bucket; hence a full bucket may be forgotten without anybody noticing.

    At most `most` keys are held. The ones unused for longest go first: full ones as new keys come,
    and when the table is full the oldest even if it is not full yet (`forgotten_total` counts
    those; they start again with a full bucket). Every call costs the same however many keys there
    are.
    """

    __slots__ = (
        "_allowance", "_buckets", "burst", "forgotten_total", "most", "rate", "refused_total",
    )

    def __init__(self, rate: float, burst: int, most: int = MOST_KEYS) -> None:
        if not (rate > 0 and burst >= 1 and most >= 1):
            msg = f"expected rate > 0, burst >= 1, most >= 1, got {rate}, {burst}, {most}"
            raise ValueError(msg)
        self.rate = rate
        self.burst = burst
        self.most = most
        self.refused_total = 0
        self.forgotten_total = 0
        self._allowance = burst - 1 + SLACK
        self._buckets: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def allow(self, key: Hashable, now: float) -> bool:
        """Take a token of `key`; False, and nothing is taken, if there is none."""
        refilled = now * self.rate
        buckets = self._buckets
        taken = buckets.get(key)
        if taken is None:
            self._make_room(refilled)
            buckets[key] = refilled + 1.0
            return True
        buckets.move_to_end(key)
        if taken - refilled > self._allowance:
            self.refused_total += 1
            return False
        buckets[key] = (taken if taken > refilled else refilled) + 1.0
        return True

    def _make_room(self, refilled: float) -> None:
        buckets = self._buckets
        for _ in range(SWEEP):
            oldest = next(iter(buckets), None)
            if oldest is None or buckets[oldest] > refilled:
                break
            del buckets[oldest]
        if len(buckets) >= self.most:
            buckets.popitem(last=False)
            self.forgotten_total += 1
