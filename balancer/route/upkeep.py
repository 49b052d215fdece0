"""
Keeps the route of one section in the kernel as it should be, an attempt at a time.

Glue: an attempt asks the kernel, by `installed`. Knows the section's settings and its pool, and
what others did to the route; says when it is to be tried again, and knows no timer and nothing of
the site.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field, frozen
from twisted.logger import Logger

from balancer.kernel.service import Refused
from balancer.pool.pool import Pool
from balancer.route.contest import Contest, backoff
from balancer.route.ecmp import Conflict, Desired, Present, Target, steps
from balancer.route.installed import Installed, Outcome
from balancer.route.notices import Notices
from balancer.route.settings import EcmpSettings
from balancer.route.standing import stand
from balancer.route.telling import Figures, Seen
from balancer.route.wanting import Wish, nothing, used, wish

log = Logger()


@frozen
class Attempt:
    """What came of one. `again` is in how many seconds the next is due, None if all is as it should
    be; `did` is where the prefix goes now, '' if it goes where it went."""

    again: float | None = None
    did: str = ""


@define(eq=False)
class Upkeep:
    """One section's route."""

    section: str
    installed: Installed
    settings: EcmpSettings
    pool: Pool
    figures: Figures = field(factory=Figures, init=False)
    _contest: Contest = field(factory=Contest, init=False)
    _notices: Notices = field(init=False)
    _protocols: set[int] = field(factory=set, init=False)
    """Under which numbers it may be in the kernel."""
    _revision: int = field(default=-1, init=False)
    """The pool's at the last attempt."""
    _suspect: int | None = field(default=None, init=False)
    """Who changed what is ours, since the last attempt."""
    _failures: int = field(default=0, init=False)
    """Attempts that came to nothing, one after the other."""
    _refused: Mapping[str, str] = field(factory=dict, init=False)
    _used: tuple[Target, ...] = field(default=(), init=False)
    _told: str = field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self._notices = Notices(self.section, log)
        self.take(self.settings, self.pool)

    def take(self, settings: EcmpSettings, pool: Pool) -> None:
        """Keep it by these from now on."""
        self.settings, self.pool = settings, pool
        self._protocols.add(settings.protocol)
        self.installed.forget()

    @property
    def is_stale(self) -> bool:
        """Whether the pool has changed since the last attempt; weights do so without an event."""
        return self.pool.revision != self._revision

    def doubt(self, suspect: int | None = None) -> None:
        """Something changed in the kernel; `suspect` is the port of who changed what is ours."""
        self.installed.forget()
        if suspect is not None:
            self._suspect = suspect

    def attempt(self, now: float) -> Attempt:
        """Make the kernel's route what it should be; `now` is monotonic seconds."""
        try:
            self._revision = self.pool.revision
            present = self.installed.present or self._read()
            found = wish(self.installed, self.settings, self.pool.servers, self.pool.panicking)
            wait = self._wait(found.desired, present, now)
            return Attempt(wait) if wait else self._settled(self._follow(found))
        except (Refused, Conflict) as error:
            return self._failed(str(error))

    def remove(self) -> None:
        """The section is no more: leave nothing of it in the kernel, if that takes it."""
        try:
            self._read()
            self.installed.follow(nothing(self.settings))
        except (Refused, Conflict) as error:
            log.error("[ecmp {name}] cannot be removed: {error}", name=self.section, error=error)

    def seen(self) -> Seen:
        """What there is to tell of it."""
        settings, pool = self.settings, self.pool
        if self.installed.present is not None:
            self._used = used(settings, self.installed.present)
        trusted = {each.gateway for each in self._used}
        standing = stand(pool.servers, settings.prefix.version, pool.panicking, trusted)
        return Seen(self._used, standing.reasons, self._refused, self._contest)

    # -- one attempt

    def _read(self) -> Present:
        own = str(self.settings.prefix), self.settings.table
        return self.installed.read(own, self._protocols)

    def _wait(self, desired: Desired, present: Present, now: float) -> float:
        """Seconds for which it has to wait: the kernel lacks what somebody has just removed, and it
        is too soon to put it there again."""
        suspect, self._suspect = self._suspect, None
        if suspect is None or not steps(desired, present):
            return 0.0
        present.reclaim = True
        wait = self._contest.lost(now)
        self._notices.lost(suspect, wait)
        return wait

    def _follow(self, found: Wish) -> Outcome:
        desired, settings = found.desired, self.settings
        outcome = self.installed.follow(desired)
        if settings.last == "withdraw" and outcome.took_none(desired):
            withdrawn = self.installed.follow(nothing(settings))
            outcome = Outcome((*outcome.made, *withdrawn.made), outcome.refused)
        self._protocols = {settings.protocol}
        return Outcome(outcome.made, {**found.unreachable, **outcome.refused})

    def _settled(self, outcome: Outcome) -> Attempt:
        self._refused = outcome.refused
        self.figures.changes_total += len(outcome.made)
        self.figures.error = ""
        self._notices.settled(outcome)
        if outcome.refused:
            return Attempt(self._back_off(), self._news())
        self._failures = 0
        return Attempt(None, self._news())

    def _failed(self, error: str) -> Attempt:
        self.installed.forget()
        self.figures.errors_total += 1
        self.figures.error = error
        self._notices.failed(error)
        return Attempt(self._back_off())

    def _back_off(self) -> float:
        self._failures += 1
        return backoff(self._failures - 1)

    def _news(self) -> str:
        """Where the prefix goes now, if that is news. Weights are not: slow start changes them ten
        times a second."""
        if self.installed.present is None:
            return ""
        prefix = self.settings.prefix
        hops = sorted(each.gateway for each in used(self.settings, self.installed.present))
        did = f"sends {prefix} to {', '.join(hops)}" if hops else f"has no route for {prefix}"
        before, self._told = self._told, did
        return did if did != before and (hops or before) else ""
