"""
When to try again, after others changed what is ours or the kernel refused it. Pure.
"""

from __future__ import annotations

from typing import Final

FIRST_WAIT: Final = 1.0
"""Seconds until what was lost a second time is restored; doubled each time from then on."""

LONGEST_WAIT: Final = 60.0
"""... up to this: `ip` commands in a cron job come once a minute."""

PEACE: Final = 120.0
"""Seconds without a loss after which the next one is the first again."""


class Contest:
    """
    Counts losses. The first is made good at once; whoever keeps taking it away is not fought at
    full speed, since each round moves traffic.
    """

    def __init__(self) -> None:
        self.lost_total = 0
        self._round = 0
        self._last: float | None = None
        self._until = 0.0

    @property
    def is_fought(self) -> bool:
        """Whether it was lost again soon after it was restored."""
        return self._round > 1

    def lost(self, now: float) -> float:
        """Something was lost; seconds until it may be restored, 0 for at once. What goes while
        that is awaited is the same loss: a flush removes one object after another."""
        if now < self._until:
            return self._until - now
        self.lost_total += 1
        if self._last is not None and now - self._last > PEACE:
            self._round = 0
        self._last = now
        self._round += 1
        wait = 0.0 if self._round == 1 else backoff(self._round - 2)
        self._until = now + wait
        return wait


def backoff(attempt: int) -> float:
    """Seconds until the next attempt, after `attempt` (from 0) that failed before this one."""
    return float(min(FIRST_WAIT * 2 ** min(attempt, 16), LONGEST_WAIT))
