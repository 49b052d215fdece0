"""
Whether the prefixes of one section are to be announced: its conditions, and with
`last-site = keep` the word of the other sites, put before its announcer.

Pure: whoever knows of pools and balancers is asked. `now` is monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from attrs import define, field

from balancer.config.values import Endpoint
from balancer.route.anycast.announcer import DOWN, Announcer
from balancer.route.anycast.lastsite import LastSite, Said, understand
from balancer.route.anycast.settings import AnycastSettings
from balancer.route.anycast.when import why_not


class Judged(NamedTuple):
    """What came of a look. `gave_way`: it was withdrawn for others, who are to be asked at once
    whether that was wrong."""

    moved: bool
    gave_way: bool = False


@define(eq=False)
class Judge:
    """One section's."""

    announcer: Announcer
    others: LastSite = field(factory=LastSite, init=False)
    settings: AnycastSettings = field(init=False)

    def follow(self, settings: AnycastSettings) -> None:
        """Judge by these from now on."""
        self.settings = settings
        self.others.follow(settings.sites)

    def look(
        self, now: float, usable: Callable[[str], int], healthy: Callable[[str], bool]
    ) -> Judged:
        """Whether something changed. `usable` gives the number of a pool's servers that may get
        work, `healthy` is asked for a balancer's key."""
        before = self.announcer.announced
        why = why_not(self.settings.conditions, usable, healthy)
        reason = self._why_kept(now)
        if why and reason and before:
            why += f", and {reason}"
        moved = self.announcer.judge(why, now, bool(reason))
        fell = moved and before and self.announcer.state == DOWN
        if not fell or not self._keeps:
            return Judged(moved)
        self.others.withdrew(now)
        return Judged(moved, gave_way=True)

    def heard(self, now: float, site: Endpoint, asked: float, answer: bytes, fault: str) -> bool:
        """Another site was asked, and gave that answer or none by that fault; whether something
        changed at once. What is kept is to be looked at after it."""
        said = Said(asked, fault=fault)
        if not fault:
            said = understand(answer, self.settings.prefixes, asked)
        self.others.heard(site, said)
        return self.others.regrets(now) and self.announcer.regret(now)

    @property
    def _keeps(self) -> bool:
        return self.settings.last_site == "keep"

    def _why_kept(self, now: float) -> str:
        """Why a prefix that is announced stays so; '': another site is up, or it is not to be
        kept."""
        if not self._keeps:
            return ""
        if self.others.alone:
            return "no other site is up"
        doubted = self.others.doubts(now)
        return "the others were up and were not, again and again" if doubted else ""
