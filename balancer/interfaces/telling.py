"""
What balancers and the site tell: metrics, and events with their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from balancer.pool.events import Event


@frozen
class Sample:
    """One value of a metric. `suffix` is appended to the metric's name (`_bucket`, `_sum`)."""

    labels: Mapping[str, str]
    value: float
    suffix: str = ""


@frozen
class Metric:
    """A metric family in Prometheus' sense; `kind` is counter, gauge or histogram."""

    name: str
    help: str
    kind: str
    samples: tuple[Sample, ...]


@frozen
class Followed:
    """What a balancer (`ecmp:out`) did outside of the process, after event number `cause`; 0: no
    event led to it."""

    balancer: str
    did: str
    cause: int = 0
    server: str = field(default="", init=False)

    def text(self) -> str:
        """The event in a few words for the log."""
        text = f"{self.balancer} {self.did}"
        return f"{text} (after event {self.cause})" if self.cause else text


@frozen
class Published:
    """An event with the number and the time (Unix seconds) that the site gave it: of a pool, or
    what a balancer did that followed one, without a pool."""

    id: int
    at: float
    pool: str
    event: Event | Followed


@frozen
class Snapshot:
    """
    The site at one moment: `status` is what `/api/status` shows, ready for JSON. `metrics` are made
    while they are iterated over, once: for thousands of servers that is worth several turns.
    """

    status: Mapping[str, Any]
    metrics: Iterable[Metric]
