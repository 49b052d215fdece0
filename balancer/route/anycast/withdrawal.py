"""
How a section leaves: asked to withdraw, it drains, waits until no helper announces its prefixes any
more, gives routers their time, and then others may drain.

Pure: the state table of one section's withdrawal for good. Knows no routes and no timer; `now` is
monotonic seconds.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

STAYING: Final = "staying"
"""Nobody asked for it."""
LEAVING: Final = "leaving"
"""Asked for: it drains, or waits for the helper's word that the prefixes are gone."""
SETTLING: Final = "settling"
"""The helper has given its word, and routers pass it on."""
WITHDRAWN: Final = "withdrawn"
"""Over: no traffic is asked for."""
UNHEARD: Final = "unheard"
"""Over as well, though no helper gave its word in time."""

STATES: Final = (STAYING, LEAVING, SETTLING, WITHDRAWN, UNHEARD)

EVENTS: Final = ("asked", "idle", "clear", "due")

TABLE: Final = {
    (STAYING, "asked"): LEAVING,
    (STAYING, "idle"): WITHDRAWN,
    (LEAVING, "clear"): SETTLING,
    (LEAVING, "due"): UNHEARD,
    (SETTLING, "due"): WITHDRAWN,
}
"""
Every way from one state to the next; what is not here changes nothing. `idle`: asked of a section
that was never at work. `clear`: none of its prefixes is announced, or to be. `due`: its time in
this state is over.
"""

ACKNOWLEDGED_WITHIN: Final = 5.0
"""Seconds after the drain in which the helper's word is waited for; it takes milliseconds."""

SETTLED_AFTER: Final = 1.0
"""Seconds from that until others drain: ExaBGP has queued the withdrawal, and routers take their
time to obey and to pass it on."""


@define(eq=False)
class Withdrawal:
    """One section's. `until` is when `tick` is due, None while nothing is waited for."""

    state: str = field(default=STAYING, init=False)
    until: float | None = field(default=None, init=False)
    _announced: bool = field(default=False, init=False)
    """Whether there was anything for routers to obey."""

    @property
    def asked(self) -> bool:
        """Whether it leaves, or has left."""
        return self.state != STAYING

    @property
    def over(self) -> bool:
        """Whether others may drain."""
        return self.state in (WITHDRAWN, UNHEARD)

    def ask(self, now: float, announced: bool, drain_wait: float) -> bool:
        """Leave; whether that is news. While it is `announced` it drains for `drain_wait`
        seconds."""
        if not self._happen("asked"):
            return False
        self._announced = announced
        self.until = now + ((drain_wait if announced else 0.0) + ACKNOWLEDGED_WITHIN)
        return True

    def skip(self) -> None:
        """Leave: it was never at work."""
        self._happen("idle")

    def clear(self, now: float) -> bool:
        """None of its prefixes is announced any more; whether that was waited for."""
        if not self._happen("clear"):
            return False
        self.until = now + (SETTLED_AFTER if self._announced else 0.0)
        return True

    def tick(self, now: float) -> bool:
        """Time passed; whether it is over now."""
        if self.until is None or now < self.until or not self._happen("due"):
            return False
        self.until = None
        return True

    def _happen(self, event: str) -> bool:
        before, self.state = self.state, TABLE.get((self.state, event), self.state)
        return self.state != before
