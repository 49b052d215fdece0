"""
When the prefixes of one section are announced, and how: the state table of `[anycast NAME]`.

Pure: told of health, places and time, it says what is to be announced. Knows no BGP and no timer;
`now` is monotonic seconds.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field, frozen

from balancer.route.anycast.damping import Damping, Patience

DOWN: Final = "down"
"""Not announced: what it stands for is not healthy."""
HELD: Final = "held"
"""Healthy, and not yet for long enough."""
PLACING: Final = "placing"
"""To be announced as soon as its addresses are in place."""
UP: Final = "up"
"""Announced."""
KEPT: Final = "kept"
"""Announced though it is not healthy: no other site is up, and the last one shall keep it."""
DRAINING: Final = "draining"
"""Announced as worse than others, so that routers move to them before it is withdrawn."""
GONE: Final = "gone"
"""Withdrawn for good: the balancer stops, or the section is no more."""

STATES: Final = (DOWN, HELD, PLACING, UP, KEPT, DRAINING, GONE)

EVENTS: Final = (
    "healthy", "failed", "alone", "regretted", "due", "placed", "misplaced", "lapsed", "drain",
    "leave",
)

TABLE: Final = {
    (DOWN, "healthy"): HELD,
    (DOWN, "regretted"): KEPT,
    (DOWN, "drain"): GONE,
    (DOWN, "leave"): GONE,
    (HELD, "failed"): DOWN,
    (HELD, "alone"): DOWN,
    (HELD, "due"): PLACING,
    (HELD, "lapsed"): HELD,
    (HELD, "drain"): GONE,
    (HELD, "leave"): GONE,
    (PLACING, "failed"): DOWN,
    (PLACING, "alone"): DOWN,
    (PLACING, "placed"): UP,
    (PLACING, "misplaced"): PLACING,
    (PLACING, "lapsed"): HELD,
    (PLACING, "drain"): GONE,
    (PLACING, "leave"): GONE,
    (UP, "failed"): DOWN,
    (UP, "alone"): KEPT,
    (UP, "misplaced"): PLACING,
    (UP, "lapsed"): HELD,
    (UP, "drain"): DRAINING,
    (UP, "leave"): GONE,
    (KEPT, "healthy"): UP,
    (KEPT, "failed"): DOWN,
    (KEPT, "lapsed"): DOWN,
    (KEPT, "drain"): DRAINING,
    (KEPT, "leave"): GONE,
    (DRAINING, "failed"): GONE,
    (DRAINING, "due"): GONE,
    (DRAINING, "misplaced"): GONE,
    (DRAINING, "lapsed"): GONE,
    (DRAINING, "leave"): GONE,
}
"""
Every way from one state to the next. What is not here changes nothing: `healthy` while it is held
or announced, whatever comes once it is gone. `drain` leaves slowly, `leave` at once. `alone` is
`failed` while no other site is up and the last one shall keep the prefixes; `regretted`: they were
withdrawn for another site that turned out to have withdrawn as well.
"""


@frozen
class Timing:
    """`hold_down` before it is announced, `drain_wait` before it is withdrawn, in seconds."""

    hold_down: float
    drain_wait: float
    damping: Damping | None


@define(eq=False)
class Announcer:
    """One section's prefixes. `until` is when `tick` is due, None while nothing is waited for."""

    timing: Timing
    state: str = field(default=DOWN, init=False)
    until: float | None = field(default=None, init=False)
    damped: bool = field(default=False, init=False)
    """Whether it waits for longer than hold-down since it was withdrawn too often."""
    reason: str = field(default="not yet looked at", init=False)
    withdrawals: int = field(default=0, init=False)
    """How often it was withdrawn by its service's fault, or the balancer's."""
    kept: int = field(default=0, init=False)
    """How often it stayed announced without its service, or was again."""
    _patience: Patience = field(factory=Patience, init=False)

    @property
    def placed(self) -> bool:
        """Whether its addresses shall be in place. They go after the route, which the owner sees
        to."""
        return self.state in (PLACING, UP, KEPT, DRAINING)

    @property
    def announced(self) -> bool:
        """Whether neighbors shall have it."""
        return self.state in (UP, KEPT, DRAINING)

    def judge(self, why_not: str, now: float, alone: bool = False) -> bool:
        """
        What it stands for is healthy, or is not by the reason `why_not`; whether that changed
        anything. `alone`: then it is to be kept if it is announced.
        """
        bad = "alone" if alone else "failed"
        return self._happen(bad if why_not else "healthy", now, why_not)

    def regret(self, now: float) -> bool:
        """It was withdrawn for the sake of another site, which is not up either."""
        return self._happen("regretted", now, "")

    def placing(self, why_not: str, now: float) -> bool:
        """Its addresses are in place, or are not by the reason `why_not`."""
        return self._happen("misplaced" if why_not else "placed", now, why_not)

    def lapsed(self, now: float) -> bool:
        """The helper had withdrawn it, since the balancer was silent: its verdicts are old."""
        return self._happen("lapsed", now, "the lease ran out")

    def drain(self, now: float) -> bool:
        """Leave, without haste."""
        return self._happen("drain", now, "draining")

    def leave(self, now: float) -> bool:
        """Leave at once."""
        return self._happen("leave", now, "stopping")

    def tick(self, now: float) -> bool:
        """Time passed."""
        if self.until is None or now < self.until:
            return False
        return self._happen("due", now, "")

    def _happen(self, event: str, now: float, why: str) -> bool:
        before, after = self.state, TABLE.get((self.state, event))
        if why and after is not None:
            self.reason = why
        if after is None:
            if event in ("failed", "alone") and before in (DOWN, KEPT):
                self.reason = why
            return False
        if before in (UP, KEPT) and event in ("failed", "lapsed", "misplaced"):
            self._patience.withdrawn(now)
            self.withdrawals += 1
        self.state = after
        self.kept += after == KEPT
        if after != before or event == "lapsed":
            self._enter(now)
        return after != before

    def _enter(self, now: float) -> None:
        self.until, self.damped = None, False
        if self.state == HELD:
            timing = self.timing
            self.until = self._patience.until(now, timing.hold_down, timing.damping)
            self.damped = self.until > now + timing.hold_down
        elif self.state == DRAINING:
            self.until = now + self.timing.drain_wait
        if self.state in (HELD, PLACING, UP):
            self.reason = "damped" if self.damped else ""
