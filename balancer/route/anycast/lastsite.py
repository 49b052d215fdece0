"""
Whether this is the last site that announces its prefixes: what the others said when they were
asked, and what follows from it for `last-site = keep`.

Pure. Knows the status that a site shows, and not how it was fetched. `now` is monotonic seconds.

A site that fails withdraws only if another says that it is up, and holds the announcement
otherwise. Two that fail at once may each have heard before that the other is up, and both withdraw.
So whoever withdrew asks all others once more, and takes it back if none of them announces by then.
At least one of those that withdrew does so: the last of them asks when all others have withdrawn.
More than one may, which does no harm: one that is held does not give way to another that is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import define, field, frozen

from balancer.config.values import Endpoint, Network
from balancer.route.anycast.announcer import KEPT, UP

MOST_REGRETS: Final = 3
DOUBT_WITHIN: Final = 60.0
"""So often in so many seconds a withdrawal may prove wrong, as with `damping` by default."""

MAX_WORD: Final = 32
"""Characters that are kept of a state that we do not know."""


@frozen
class Said:
    """What a site says of its section: the state, '' if that is not to be had for the reason
    `fault`, and whether a router has all prefixes that we ask for from it. `asked` is when it was
    asked."""

    asked: float
    state: str = ""
    routed: bool = False
    fault: str = ""

    @property
    def up(self) -> bool:
        """Whether it serves: healthy, announced, and not about to leave."""
        return self.routed and self.state == UP

    @property
    def announces(self) -> bool:
        """Whether it is up, or holds the announcement as the last one."""
        return self.routed and self.state in (UP, KEPT)


def understand(answer: bytes, prefixes: Iterable[Network], asked: float) -> Said:
    """What an HTTP answer with a section's status says of these prefixes. Never raises."""
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1."):
        return Said(asked, fault="what answers there does not speak HTTP")
    if words[1] != b"200":
        code = words[1][:3].decode("ascii", "replace")
        what = "has no such section" if code == "404" else "answers"
        return Said(asked, fault=f"it {what} ({code})")
    try:
        told = json.loads(body)
        return Said(asked, str(told["state"])[:MAX_WORD], _routed(told, prefixes))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Said(asked, fault="its answer is no status of a section [anycast NAME]")


def _routed(told: Mapping[str, Any], prefixes: Iterable[Network]) -> bool:
    """Whether it has these prefixes, and for each a neighbor of the family that has routes from it.
    All that it told is looked through once: a list of 100,000 for each prefix took a second."""
    had = frozenset(told["prefixes"])
    versions = {
        6 if ":" in address else 4
        for address, each in told["neighbors"].items()
        if each["established"] is True and each["routes"] > 0
    }
    return all(str(each) in had and each.version in versions for each in prefixes)


@define(eq=False)
class LastSite:
    """What the other sites said last; those that said nothing yet are as those that are silent."""

    said: dict[Endpoint, Said] = field(factory=dict, init=False)
    _withdrew: float | None = field(default=None, init=False)
    _regretted: list[float] = field(factory=list, init=False)

    def follow(self, sites: Iterable[Endpoint]) -> None:
        """These are the others from now on."""
        self.said = {each: self.said.get(each, Said(float("-inf"))) for each in sites}
        if not self.said:
            # Nobody can be asked whether it was wrong: it is over.
            self._withdrew = None

    def heard(self, site: Endpoint, said: Said) -> None:
        """A site was asked, and said that."""
        if site in self.said:
            self.said[site] = said

    @property
    def alone(self) -> bool:
        """Whether no other site is known to be up."""
        return not any(each.up for each in self.said.values())

    def withdrew(self, now: float) -> None:
        """We did, since another was up. They are to be asked once more."""
        self._withdrew = now

    def doubts(self, now: float) -> bool:
        """Whether it was wrong so often of late that we do not withdraw by their word: a site that
        says now this and now that (two behind one address do) would take ours away each time."""
        self._regretted = [each for each in self._regretted if now - each < DOUBT_WITHIN]
        return len(self._regretted) >= MOST_REGRETS

    def regrets(self, now: float) -> bool:
        """Whether that was wrong: all were asked after it, and none announces. True once."""
        if self._withdrew is None:
            return False
        fresh = [each for each in self.said.values() if each.asked >= self._withdrew]
        if any(each.announces for each in fresh):
            self._withdrew = None
        elif len(fresh) == len(self.said):
            self._withdrew = None
            self._regretted.append(now)
            return True
        return False
