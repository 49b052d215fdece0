"""
The sections that announce through one ExaBGP, and what they ask of it together. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from balancer.config.values import Network
from balancer.route.anycast.bfd import Timers
from balancer.route.anycast.frames import Key
from balancer.route.anycast.lines import Route
from balancer.route.anycast.settings import AnycastSettings

NO_LEASE: Final = 3.0
"""Seconds between two renewals and more, while there is no section that says."""


class Member(Protocol):
    """A section, as those see it who announce for it."""

    settings: AnycastSettings
    passwords: Mapping[str, bytes]

    def routes(self) -> Mapping[Key, Route]:
        """What is to be announced for it."""

    def reported(self) -> None:
        """More is known of what is announced."""

    def lapsed(self, now: float) -> None:
        """The lease ran out."""


class Members:
    """The sections, in the order in which they came."""

    def __init__(self) -> None:
        self._members: dict[Member, None] = {}

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members)

    def __bool__(self) -> bool:
        return bool(self._members)

    def join(self, member: Member) -> None:
        """One more; again, it keeps its place."""
        self._members[member] = None

    def leave(self, member: Member) -> None:
        """One less; harmless if it is none."""
        self._members.pop(member, None)

    @property
    def lease(self) -> float:
        """The shortest that a section asks for, in seconds."""
        return min((each.settings.lease for each in self._members), default=NO_LEASE)

    def routes(self) -> dict[Key, Route]:
        """What is to be announced for all of them."""
        routes: dict[Key, Route] = {}
        for member in self._members:
            routes.update(member.routes())
        return routes

    def prefixes(self) -> list[Network]:
        """All that they may announce."""
        return [prefix for each in self._members for prefix in each.settings.prefixes]

    def watched(self) -> Mapping[str, Timers]:
        """The neighbors that BFD watches."""
        return {
            line.address: member.settings.bfd
            for member in self._members
            if member.settings.bfd is not None
            for line in member.settings.neighbors
        }

    def reported(self) -> None:
        """Tell them that more is known of what is announced."""
        for member in list(self._members):
            member.reported()

    def lapsed(self, now: float) -> None:
        """Tell them that the lease ran out."""
        for member in list(self._members):
            member.lapsed(now)
