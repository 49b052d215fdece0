"""
What the helper beside ExaBGP is wished to announce, what may be announced, and whether the helper
answers: the state table of one station.

Pure: told of routes, of what the helper says, and of time, it gives the wish that is to be sent.
Knows no socket and no process; `now` is monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from attrs import define, field

from balancer.route.anycast.frames import Key, Report, Wish
from balancer.route.anycast.lines import Route

AWAY: Final = "away"
"""No helper is connected."""
READY: Final = "ready"
"""It has answered whatever it was told."""
ASKED: Final = "asked"
"""It was told a wish, and has said nothing since."""
SILENT: Final = "silent"
"""... for longer than a lease: it would not withdraw the routes if we died."""

STATES: Final = (AWAY, READY, ASKED, SILENT)

EVENTS: Final = ("came", "went", "wished", "answered", "overdue", "overslept")

TABLE: Final = {
    (AWAY, "came"): READY,
    (READY, "came"): READY,
    (READY, "went"): AWAY,
    (READY, "wished"): ASKED,
    (ASKED, "came"): READY,
    (ASKED, "went"): AWAY,
    (ASKED, "answered"): READY,
    (ASKED, "overdue"): SILENT,
    (ASKED, "overslept"): READY,
    (SILENT, "came"): READY,
    (SILENT, "went"): AWAY,
    (SILENT, "answered"): READY,
}
"""
Every way from one state of the helper to the next; what is not here changes nothing. `came`: a
helper, in place of another if there was one. `overslept`: it was we who stood still, so that its
answer may be there and nobody has looked.
"""

NOTHING: Final = Report(0, False, False, ())
"""What is known before a helper has reported."""


class News(NamedTuple):
    """What a report says that the one before did not."""

    fault: str
    late: bool
    lapsed: bool


@define(eq=False)
class Wishes:
    """What one helper is wished, and says. `report` is its last one."""

    state: str = field(default=AWAY, init=False)
    report: Report = field(default=NOTHING, init=False)
    serial: int = field(default=0, init=False)
    """Grows with each wish that is another than the one before."""
    _routes: Mapping[Key, Route] = field(factory=dict, init=False)
    _may_be: set[Key] = field(factory=set, init=False)
    _renewed: float = field(default=0.0, init=False)
    _asked: float = field(default=0.0, init=False)
    """When it got the first wish of those that it has not answered."""

    def begin(self, now: float) -> None:
        """Renewals begin: nothing is late yet."""
        self._renewed = now

    def overslept(self, now: float, lease: float) -> float:
        """The seconds without a renewal if they are more than the lease, else 0. Then all is
        withdrawn, verdicts are old, and the helper is not to blame for its silence."""
        seconds = now - self._renewed
        if seconds <= lease:
            return 0.0
        self._happen("overslept")
        return seconds

    def renew(self, routes: Mapping[Key, Route], lease: float, now: float) -> Wish | None:
        """These are to be announced from now on: what the helper is to be told, if there is one."""
        self._renewed = now
        if routes != self._routes:
            self._routes = routes
            self.serial += 1
        if self.state == AWAY:
            return None
        self._may_be.update(routes)
        if self._happen("wished"):
            self._asked = now
        return Wish(self.serial, lease, routes)

    def came(self) -> None:
        """A helper is connected, which has been told nothing yet."""
        self._happen("came")

    def went(self) -> None:
        """It is gone. What is announced is not known until another reports; it was what it was."""
        self._happen("went")
        self.report = self.report._replace(settled=False)

    def answered(self) -> bool:
        """It said something; whether it had been silent."""
        was_silent = self.state == SILENT
        self._happen("answered")
        return was_silent

    def falls_silent(self, now: float, lease: float) -> bool:
        """Whether it has not answered for longer than a lease. True once."""
        return self.state == ASKED and now - self._asked > lease and self._happen("overdue")

    def take(self, report: Report) -> News:
        """What it says is announced."""
        before, self.report = self.report, report
        if self.acknowledged:
            self._may_be = set(report.announced)
        else:
            self._may_be.update(report.announced)
        return News(
            report.fault if report.fault != before.fault else "",
            report.late and not before.late,
            report.lapsed and not before.lapsed,
        )

    def forget(self) -> None:
        """ExaBGP ended, and its routes went with it."""
        self.report, self._may_be = NOTHING, set()

    def may_have(self, prefix: str) -> bool:
        """Whether the prefix may be announced to anybody."""
        return any(key[1] == prefix for key in self._may_be)

    def clear_of(self, keys: Iterable[Key]) -> bool:
        """Whether none of these is announced: the helper says so, or was never told to."""
        known = self.state == AWAY or self.acknowledged
        return known and self._may_be.isdisjoint(keys)

    @property
    def acknowledged(self) -> bool:
        """Whether what was wished last is what is."""
        return self.report.settled and self.report.serial == self.serial

    def _happen(self, event: str) -> bool:
        before, self.state = self.state, TABLE.get((self.state, event), self.state)
        return self.state != before
