"""
What happened when: a server's death and return, the verdicts, and each plane that follows. Pure.

Times are Unix seconds. A plane is where a balancer shows that it has a server to give: `http`,
`tcp`, `ecmp`, `dns`, and the routes that it announces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

BOUND = 0.2
"""Seconds from the verdict until every plane has followed."""

PLANES = ("http", "tcp", "ecmp", "dns", "bgp 192.0.2.1", "bgp servers")

FOLLOWERS = ("ecmp:out", "anycast:www", "anycast:out")
"""Balancers that tell in an event what they did."""


@frozen
class Change:
    """A plane began or ceased to give servers."""

    at: float
    plane: str
    given: bool


@frozen
class Verdict:
    """The event of a pool that decided, and what told that it followed it."""

    id: int
    at: float
    text: str
    followers: tuple[str, ...] = ()


@frozen
class Course:
    """How one balancer took a server's death or return: `given` is what all planes become."""

    balancer: str
    given: bool
    began: float
    within: float
    """Seconds in which the verdict has to come."""

    verdict: Verdict
    planes: Mapping[str, float] = field(factory=dict)
    """When each plane was as it is to be, for good."""

    def late(self) -> Iterator[str]:
        """What did not keep its bound."""
        took = self.verdict.at - self.began
        if took > self.within:
            yield f"{self.balancer}: the verdict came after {took:.3f} s, of {self.within:g}"
        for plane in PLANES:
            if plane not in self.planes:
                yield f"{self.balancer}: {plane} did not follow"
            elif (after := self.planes[plane] - self.verdict.at) > BOUND:
                yield f"{self.balancer}: {plane} followed after {after:.3f} s, of {BOUND:g}"
        for each in FOLLOWERS:
            if each not in self.verdict.followers:
                yield f"{self.balancer}: no event of {each} names event {self.verdict.id}"

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.balancer}: event {self.verdict.id}, {self.verdict.text}"
        yield _row("the verdict", self.verdict.at - self.began, None)
        for plane, at in sorted(self.planes.items(), key=lambda each: each[1]):
            word = "gives servers" if self.given else "gives none"
            yield _row(f"{plane} {word}", at - self.began, at - self.verdict.at)
        told = ", ".join(self.verdict.followers) or "nobody"
        yield f"  told as following event {self.verdict.id}: {told}"


def _row(what: str, since: float, after: float | None) -> str:
    line = f"  {since * 1000:7.0f} ms  {what:<28}"
    return line.rstrip() if after is None else f"{line} {after * 1000:+6.0f} ms after the verdict"


def settled(changes: Sequence[Change], given: bool, since: float) -> dict[str, float]:
    """When each plane became `given` after `since`, if it has stayed so."""
    found: dict[str, float] = {}
    for change in changes:
        if change.at < since:
            continue
        if change.given is given:
            found.setdefault(change.plane, change.at)
        else:
            found.pop(change.plane, None)
    return found


def verdict(
    events: Iterable[Mapping[str, Any]], name: str, server: str, since: float
) -> Verdict | None:
    """The first event `name` of `server` after `since`, with the balancers whose events name it."""
    found: Mapping[str, Any] | None = None
    followers: list[str] = []
    for event in events:
        if found is None:
            if event["at"] >= since and (event["event"], event["server"]) == (name, server):
                found = event
        elif event.get("cause") == found["id"] and event["balancer"] not in followers:
            followers.append(event["balancer"])
    if found is None:
        return None
    return Verdict(found["id"], found["at"], found["text"], tuple(followers))
