"""
Servers that a pool has no more: those whose work has yet to end, and what all of them did.
"""

from __future__ import annotations

from collections.abc import Iterable

from balancer.pool.server import Server


class Departed:
    """Keeps a pool's totals from falling when servers leave it. Holds a server only while work is
    in flight on it."""

    def __init__(self) -> None:
        self.busy: tuple[Server, ...] = ()
        self._requests = self._failures = self._ejections = 0

    def add(self, servers: Iterable[Server]) -> None:
        """These left."""
        self.busy = (*self.busy, *servers)
        self.forget_idle()

    def forget_idle(self) -> None:
        """Let go of those whose work has ended, but for their counts."""
        idle = [server for server in self.busy if not server.in_flight]
        if idle:
            self.busy = tuple(server for server in self.busy if server.in_flight)
            self._requests += sum(server.requests_total for server in idle)
            self._failures += sum(server.failures_total for server in idle)
            self._ejections += sum(server.ejections_total for server in idle)

    def totals(self, servers: Iterable[Server]) -> dict[str, int]:
        """What `servers` and all that left have done and are doing, for JSON."""
        every = (*servers, *self.busy)
        return {
            "requests_total": self._requests + sum(s.requests_total for s in every),
            "failures_total": self._failures + sum(s.failures_total for s in every),
            "ejections_total": self._ejections + sum(s.ejections_total for s in every),
            "in_flight": sum(s.in_flight for s in every),
        }
