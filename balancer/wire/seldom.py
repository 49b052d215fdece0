"""
How often a repeating fault may be logged. Pure: knows no clock and no logger.
"""

from __future__ import annotations

import math


class Seldom:
    """
    Lets one log line through each `interval` seconds, and counts what it held back, for ever.
    """

    __slots__ = ("_count", "_interval", "_last")

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._last = -math.inf
        self._count = 0

    def note(self, now: float) -> int:
        """One more fault at `now`: how many to log (with this one), or 0 to stay silent."""
        self._count += 1
        if now - self._last < self._interval:
            return 0
        self._last = now
        count, self._count = self._count, 0
        return count
