"""
How long a prefix that became healthy waits before it is announced.

Pure: knows times of withdrawals, and no prefix.
"""

from __future__ import annotations

from collections import deque

from attrs import define, field, frozen


@frozen
class Damping:
    """`count` withdrawals within `period` seconds make the next announcement wait for `period`
    seconds from the last of them."""

    count: int
    period: float


@define(eq=False)
class Patience:
    """Remembers withdrawals, no more of them than count."""

    _withdrawals: deque[float] = field(factory=deque, init=False)

    def withdrawn(self, now: float) -> None:
        """What was announced is not, by its service's fault."""
        self._withdrawals.append(now)

    def until(self, now: float, hold_down: float, damping: Damping | None) -> float:
        """When what became healthy `now` may be announced."""
        at = now + hold_down
        if self.damped(now, damping):
            assert damping is not None
            at = max(at, self._withdrawals[-1] + damping.period)
        return at

    def damped(self, now: float, damping: Damping | None) -> bool:
        """Whether it was withdrawn too often."""
        if damping is None:
            self._withdrawals.clear()
            return False
        last = self._withdrawals
        while len(last) > damping.count:
            last.popleft()
        if len(last) < damping.count or last[-1] - last[0] > damping.period:
            return False
        return now < last[-1] + damping.period
