"""
The verdict of active checks as one integer, as HAProxy keeps it. Knows neither servers nor time.

From 0 to `rise` - 1 a server is down, from `rise` to `rise` + `fall` - 1 it is up. A result that
agrees with the verdict moves the integer to its end of the scale, one that disagrees moves it one
step towards the other verdict: only consecutive results add up.
"""

from __future__ import annotations

from attrs import frozen

UNKNOWN = -1
"""Before the first result; that one decides at once, so that a start is not slow to learn."""


@frozen
class Scale:
    """How many results in a row turn a verdict: `rise` to up, `fall` to down; both at least 1."""

    rise: int = 2
    fall: int = 3

    @property
    def best(self) -> int:
        """Where a server stands whose last check passed while it was up."""
        return self.rise + self.fall - 1

    def passed(self, health: int) -> int:
        """Where a server at `health` stands after a check that passed."""
        if health == UNKNOWN or health + 1 >= self.rise:
            return self.best
        return health + 1

    def failed(self, health: int) -> int:
        """Where a server at `health` stands after a check that failed."""
        return health - 1 if health > self.rise else 0

    def moved(self, health: int, before: Scale) -> int:
        """Where a server stands here that stood at `health` on the scale `before`: the same
        verdict, and as many results against it in a row, short of turning it."""
        if health == UNKNOWN:
            return UNKNOWN
        if before.is_up(health):
            return max(self.best - (before.best - health), self.rise)
        return min(health, self.rise - 1)

    def is_up(self, health: int) -> bool:
        """Whether `health` means up; unknown does not."""
        return health >= self.rise

    def is_pending(self, health: int) -> bool:
        """Whether the last result disagreed with the verdict, or there is none yet: time to check
        at the fast interval."""
        return health != 0 and health != self.best
