"""
The seams that the site implements for the admin room: what an operator may ask, and may see.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zope.interface import Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from balancer.interfaces.telling import Metric, Published, Snapshot


class NotDone(Exception):
    """An operator's request that changed nothing: what was expected, what came, what to do.

    `problems` are a site file's, as its lines say them.
    """

    def __init__(self, text: str, problems: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.problems = tuple(problems)


class IOperator(Interface):
    """What an operator may ask of a running site. Servers are named POOL/NAME, or `site` for all
    of it. What cannot be done raises `NotDone` and has changed nothing."""

    def check(path: str) -> Deferred[Mapping[str, Any]]:
        """`problems` of the site file at `path`, by line, and whether it is `ok`."""

    def plan(path: str) -> Deferred[Mapping[str, Any]]:
        """`changes` that a reload of the file at `path` would make, `commands` that would do the
        same to the kernel, and `problems`."""

    def reload() -> Deferred[Mapping[str, Any]]:
        """Put the site file in force: `changes` that were made, and `problems`."""

    def drain(server: str) -> Mapping[str, Any]:
        """No new work for the server; what is in flight may end. `site`: drain and stop."""

    def ready(server: str) -> Mapping[str, Any]:
        """Give the server back to its pool."""

    def maintain(server: str) -> Mapping[str, Any]:
        """Take the server out, unchecked."""

    def weigh(server: str, weight: int) -> Mapping[str, Any]:
        """Give the server another weight until the next restart."""

    def explain(kind: str, name: str, question: Mapping[str, str]) -> Mapping[str, Any]:
        """Ask the balancer `kind:name`, see `IExplains`. With an empty name the http balancer that
        listens where the question's URL goes is asked. For dns, `name` is the domain name that is
        asked for: the zone with the longest match is asked."""


class ISite(Interface):
    """All that the admin room may know of the site."""

    def snapshot() -> Snapshot:
        """The site at this moment."""

    def telling() -> Generator[None, None, Mapping[str, Any]]:
        """The status of a snapshot in slices, each a pool."""

    def telling_of(key: str) -> Mapping[str, Any] | None:
        """What the status of a snapshot has of the balancer of that key, `http:web`; None if there
        is none. Cheap: others' sites may ask every second."""

    def metrics() -> Iterable[Metric]:
        """The metrics of a snapshot."""

    def healthy() -> bool:
        """Whether every balancer is healthy: bound, and a pool that it uses has a server up."""

    def events() -> Sequence[Published]:
        """The latest events, oldest first."""

    def subscribe(subscriber: Callable[[Published], None]) -> None:
        """Call `subscriber` for every event published from now on."""

    def unsubscribe(subscriber: Callable[[Published], None]) -> None:
        """Call it no more."""
