"""
One server of a pool: its verdict, what the operator wants of it, and what it is doing.

Only the pool and its scheduler write here. Knows nothing of other servers.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

from attrs import define, field

from balancer.pool.health import UNKNOWN
from balancer.pool.settings import ServerSettings

UNLIMITED = sys.maxsize
"""`limit` of a server without max-connections, so that the hot path compares and never branches."""

STEPS = 10
"""`effective_weight` counts tenths of the weight, so that slow start has ten integer steps."""


@define(eq=False, repr=False)
class Server:
    """
    A server as its pool sees it.

    `address` is the site's own and opaque here. `effective_weight` is in tenths of `weight`.
    `candidate` says whether schedulers may choose it now, apart from `limit`. `latency` is a moving
    average in seconds, taken at `latency_at`; 0.0 before the first answer. `settings` is what the
    site file last said: `weight` and `admin` (ready, drain, maint, or removed for good) are the
    operator's to change at run time.
    """

    key: str
    name: str
    address: Any
    weight: int
    backup: bool
    max_connections: int
    limit: int
    effective_weight: int
    settings: ServerSettings

    in_flight: int = 0
    candidate: bool = False
    latency: float = 0.0
    latency_at: float = 0.0

    admin: str = "ready"
    verdict: str = "unknown"
    health: int = UNKNOWN
    ejected_until: float | None = None
    warming_since: float | None = None

    reason: str = ""
    changed_at: float = 0.0
    requests_total: int = 0
    failures_total: int = 0
    ejections_total: int = 0
    recent_failures: deque[float] = field(factory=deque)

    # Least-connections keeps its place in the order here: a dict look-up per request is dearer.
    turn: float = 0.0
    entry: Any = None

    @classmethod
    def of(cls, pool: str, settings: ServerSettings, address: Any, now: float) -> Server:
        """A server that is not yet known, in the pool named `pool`."""
        return cls(
            key=f"{pool}/{settings.name}",
            name=settings.name,
            address=address,
            weight=settings.weight,
            backup=settings.backup,
            max_connections=settings.max_connections,
            limit=settings.max_connections or UNLIMITED,
            effective_weight=settings.weight * STEPS,
            settings=settings,
            admin="maint" if settings.disabled else "ready",
            changed_at=now,
        )

    def __repr__(self) -> str:
        return f"<{self.key} {self.state}, {self.in_flight} in flight>"

    def limit_to(self, max_connections: int) -> None:
        """At most that many at once from now on; 0: no limit. What is in flight may end."""
        self.max_connections = max_connections
        self.limit = max_connections or UNLIMITED

    @property
    def state(self) -> str:
        """One word: up, down, unknown, drain, maint, ejected, or removed. The operator's `maint`
        hides the verdict; a server that is down says so while it drains."""
        if self.admin in ("maint", "removed"):
            return self.admin
        if self.verdict == "down":
            return "down"
        if self.admin == "drain":
            return "drain"
        if self.ejected_until is not None:
            return "ejected"
        return self.verdict

    @property
    def willing(self) -> bool:
        """Whether the operator lets it have new work."""
        return self.admin == "ready" and self.weight > 0

    @property
    def usable(self) -> bool:
        """Whether it may have new work as far as it alone matters: willing, not known to be down,
        not ejected."""
        return self.willing and self.verdict != "down" and self.ejected_until is None

    def status(self) -> dict[str, Any]:
        """The server for JSON; times are seconds of the pool's clock."""
        return {
            "name": self.name,
            "key": self.key,
            "address": str(self.address),
            "state": self.state,
            "verdict": self.verdict,
            "reason": self.reason,
            "changed_at": self.changed_at,
            "health": self.health,
            "weight": self.weight,
            "effective_weight": self.effective_weight / STEPS,
            "backup": self.backup,
            "max_connections": self.max_connections,
            "in_flight": self.in_flight,
            "latency": self.latency,
            "requests_total": self.requests_total,
            "failures_total": self.failures_total,
            "ejections_total": self.ejections_total,
        }
