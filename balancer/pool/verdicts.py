"""
The state of a pool's servers: what checks, the operator, failures at work and time make of it.

Knows nothing of choosing; `stale` tells whoever chooses that candidates or weights changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from balancer.pool import outliers, warming
from balancer.pool.events import (
    BecameReady,
    EnteredMaintenance,
    Event,
    StartedDraining,
    WasEjected,
    WasReadmitted,
    WentDown,
    WentUp,
)
from balancer.pool.health import Scale
from balancer.pool.server import Server
from balancer.pool.settings import PoolSettings, ServerSettings

Configured = Sequence[tuple[ServerSettings, Any]]


class Verdicts:
    """Servers with their states. Every change returns what happened, in order."""

    def __init__(self, settings: PoolSettings, servers: Configured, now: float) -> None:
        """`servers`: each with its opaque address, in the order of the site file."""
        self.settings = settings
        self.name = settings.name
        self.servers = tuple(
            Server.of(settings.name, server, address, now) for server, address in servers
        )
        self.scale = Scale(settings.rise, settings.fall)
        self._now = now
        self._stale = True
        self._warming: set[Server] = set()

    def record(self, server: Server, ok: bool, reason: str, now: float) -> Sequence[Event]:
        """An active check's result. The first one decides at once; then it takes `rise` passed or
        `fall` failed ones in a row to turn the verdict. A turned verdict ends an ejection."""
        self._now = now
        move = self.scale.passed if ok else self.scale.failed
        server.health = move(server.health)
        before, server.verdict = server.verdict, self._verdict(server)
        if server.verdict == before:
            return ()
        server.ejected_until = None
        self._changed(server, reason)
        if server.verdict == "up":
            if before == "down":
                self._warm(server)
            return (WentUp(server.key, reason),)
        return (WentDown(server.key, reason), *self._rescue())

    def pending(self, server: Server) -> bool:
        """Whether a verdict may be about to turn: check at the fast interval."""
        return self.scale.is_pending(server.health)

    def trust_all(self, now: float) -> Sequence[Event]:
        """Take every server that is not yet known for up: nobody will check it."""
        unknown = [server for server in self.servers if server.verdict == "unknown"]
        return [event for s in unknown for event in self.record(s, True, "not checked", now)]

    def drain(self, server: Server) -> Sequence[Event]:
        """No new work; what is in flight may end. Panic respects it."""
        if server.admin == "drain":
            return ()
        server.admin = "drain"
        self._changed(server, "drained by the operator")
        return (StartedDraining(server.key), *self._rescue())

    def maintain(self, server: Server) -> Sequence[Event]:
        """No new work whatever happens. Results of checks are still recorded."""
        if server.admin == "maint":
            return ()
        server.admin = "maint"
        server.ejected_until = None
        self._changed(server, "taken out by the operator")
        return (EnteredMaintenance(server.key), *self._rescue())

    def ready(self, server: Server) -> Sequence[Event]:
        """Back from drain, maintenance or ejection, with the verdict that checks gave it."""
        if server.admin == "ready" and server.ejected_until is None:
            return ()
        if server.admin == "maint" and server.verdict == "up":
            self._warm(server)
        server.admin = "ready"
        server.ejected_until = None
        server.recent_failures.clear()
        self._changed(server, "given back by the operator")
        return (BecameReady(server.key, server.state),)

    def set_weight(self, server: Server, weight: int) -> Sequence[Event]:
        """A new weight, from 0 (no new work). ValueError: it is negative."""
        if weight < 0:
            raise ValueError(f"expected a weight from 0, got {weight}")
        warming.reweigh(server, weight)
        self._stale = True
        return self._rescue()

    def tick(self, now: float) -> list[Event]:
        """Time went on: ejections end, slow starts proceed. To be called several times a second."""
        self._now = now
        for server in list(self._warming):
            if warming.proceed(server, self.settings.slow_start, now):
                self._stale = True
            if server.warming_since is None:
                self._warming.discard(server)
        return [self._readmit(server, "its time is over") for server in self._due(now)]

    def _failed_at_work(self, server: Server, reason: str, now: float) -> Sequence[Event]:
        eject = self.settings.eject
        if eject is None or not server.usable:
            return ()
        if not outliers.too_many(server, eject, now):
            return ()
        if not outliers.may_eject(server, self.servers):
            return ()
        self._now = now
        server.ejected_until = now + eject.duration
        server.ejections_total += 1
        server.recent_failures.clear()
        self._changed(server, reason)
        return (WasEjected(server.key, server.ejected_until, reason),)

    def _due(self, now: float) -> list[Server]:
        return outliers.due(self.servers, now) if self.settings.eject is not None else []

    def _rescue(self) -> list[Event]:
        """With no usable server left, an ejected one is better than none."""
        if self.settings.eject is None or any(server.usable for server in self.servers):
            return []
        ejected = [server for server in self.servers if server.ejected_until is not None]
        return [self._readmit(server, "no other server is usable") for server in ejected]

    def _readmit(self, server: Server, reason: str) -> Event:
        server.ejected_until = None
        self._changed(server, f"readmitted: {reason}")
        return WasReadmitted(server.key, reason)

    def _verdict(self, server: Server) -> str:
        return "up" if self.scale.is_up(server.health) else "down"

    def _warm(self, server: Server) -> None:
        if self.settings.slow_start > 0:
            warming.start(server, self._now)
            self._warming.add(server)

    def _changed(self, server: Server, reason: str) -> None:
        server.reason = reason
        server.changed_at = self._now
        self._stale = True
