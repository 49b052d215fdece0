"""
The state of a pool's servers: what checks, the operator, failures at work and time make of it.

Knows nothing of choosing; `stale` tells whoever chooses that candidates or weights changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from balancer.pool import outliers, warming
from balancer.pool.events import (
    BecameReady,
    EnteredMaintenance,
    Event,
    StartedDraining,
    WasAdded,
    WasEjected,
    WasReadmitted,
    WasRemoved,
    WentDown,
    WentUp,
)
from balancer.pool.health import UNKNOWN, Scale
from balancer.pool.lineup import Configured, Lineup, lineup
from balancer.pool.server import Server
from balancer.pool.settings import PoolSettings, ServerSettings


class Verdicts:
    """Servers with their states. Every change returns what happened, in order."""

    def __init__(self, settings: PoolSettings, servers: Configured, now: float) -> None:
        """`servers`: each with its opaque address, in the order of the site file."""
        self.settings = settings
        self.name = settings.name
        self.servers = lineup(settings.name, (), servers, now).servers
        self._by_name = {server.name: server for server in self.servers}
        self.scale = Scale(settings.rise, settings.fall)
        self._now = now
        self.began = now
        """When there was nothing to know of any server yet; who came later is new among others."""
        self._stale = True
        self.revision = 0
        """Grows whenever a verdict, a weight, what the operator wants or the result of a check that
        disagrees with its verdict changes: who makes something of the servers makes it anew."""
        self._warming: set[Server] = set()

    def server(self, name: str) -> Server:
        """The server of that name. KeyError: there is none."""
        return self._by_name[name]

    def record(self, server: Server, ok: bool, reason: str, now: float) -> Sequence[Event]:
        """An active check's result. The first one decides at once; then it takes `rise` passed or
        `fall` failed ones in a row to turn the verdict. A turned verdict ends an ejection.
        Of a removed server nothing is recorded any more, nor can the operator change it."""
        if server.admin == "removed":
            return ()
        self._now = now
        move = self.scale.passed if ok else self.scale.failed
        health, server.health = server.health, move(server.health)
        if server.health != health:
            self.revision += 1
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

    def trust_all(self, now: float, *, down_too: bool = False) -> Sequence[Event]:
        """Take every server that is not yet known for up: nobody will check it. `down_too`: those
        that are down as well, since nobody checks any more who could find them up."""
        events: list[Event] = []
        for server in self.servers:
            if server.verdict == "unknown" or (down_too and server.verdict == "down"):
                server.health = UNKNOWN
                events += self.record(server, True, "not checked", now)
        return events

    def drain(self, server: Server, why: str = "drained by the operator") -> Sequence[Event]:
        """No new work; what is in flight may end. Panic respects it."""
        if server.admin in ("drain", "removed"):
            return ()
        server.admin = "drain"
        self._changed(server, why)
        return (StartedDraining(server.key), *self._rescue())

    def maintain(self, server: Server, why: str = "taken out by the operator") -> Sequence[Event]:
        """No new work whatever happens. Results of checks are still recorded."""
        events = self._take_out(server, why)
        return (*events, *self._rescue()) if events else ()

    def ready(self, server: Server, why: str = "given back by the operator") -> Sequence[Event]:
        """Back from drain, maintenance or ejection, with the verdict that checks gave it."""
        return self._give_back(server, why)

    def set_weight(self, server: Server, weight: int) -> Sequence[Event]:
        """A new weight, from 0 (no new work). ValueError: it is negative."""
        if weight < 0:
            raise ValueError(f"expected a weight from 0, got {weight}")
        if server.admin == "removed":
            return ()
        warming.reweigh(server, weight)
        self._outdated()
        return self._rescue()

    def moved(self) -> None:
        """A server has another address now: who made something of the servers makes it anew."""
        self.revision += 1

    def tick(self, now: float) -> list[Event]:
        """Time went on: ejections end, slow starts proceed. To be called several times a second."""
        self._now = now
        for server in list(self._warming):
            if warming.proceed(server, self.settings.slow_start, now):
                self._outdated()
            if server.warming_since is None:
                self._warming.discard(server)
        return [self._readmit(server, "its time is over") for server in self._due(now)]

    def _follow(self, settings: PoolSettings, change: Lineup, now: float) -> list[Event]:
        """The site file says something else now. What was learnt of a server that stays holds, and
        so does what the operator wanted of it, unless its line changed in that respect."""
        self._now = now
        self.settings, self.servers = settings, change.servers
        self._outdated()
        self._by_name = {server.name: server for server in self.servers}
        events: list[Event] = [self._remove(server) for server in change.removed]
        events += [WasAdded(server.key, str(server.address)) for server in change.added]
        for server, line in change.kept:
            events += self._read(server, line)
        self._rescale(Scale(settings.rise, settings.fall))
        if not settings.slow_start:
            self._end_slow_starts()
        if settings.eject is None:
            ejected = [server for server in self.servers if server.ejected_until is not None]
            events += [self._readmit(server, "nobody is ejected any more") for server in ejected]
        return [*events, *self._rescue()]

    def _remove(self, server: Server) -> Event:
        """No new work from this moment on, not even by a table that still has it."""
        server.admin = "removed"
        server.candidate = False
        server.ejected_until = None
        self._warming.discard(server)
        self._changed(server, "removed from the site file")
        return WasRemoved(server.key, server.in_flight)

    def _read(self, server: Server, line: ServerSettings) -> Sequence[Event]:
        """The server's line now; what did not change in it is the operator's to change."""
        before, server.settings = server.settings, line
        if line == before:
            return ()
        server.backup = line.backup
        server.limit_to(line.max_connections)
        if line.weight != before.weight:
            warming.reweigh(server, line.weight)
        if line.disabled == before.disabled:
            return ()
        turn = self._take_out if line.disabled else self._give_back
        return turn(server, "as the site file says")

    def _rescale(self, scale: Scale) -> None:
        """Other `rise` and `fall`: verdicts stay."""
        if scale != self.scale:
            before, self.scale = self.scale, scale
            for server in self.servers:
                server.health = scale.moved(server.health, before)

    def _end_slow_starts(self) -> None:
        for server in self._warming:
            warming.stop(server)
        self._warming.clear()

    def _take_out(self, server: Server, reason: str) -> Sequence[Event]:
        if server.admin in ("maint", "removed"):
            return ()
        server.admin = "maint"
        server.ejected_until = None
        self._changed(server, reason)
        return (EnteredMaintenance(server.key),)

    def _give_back(self, server: Server, reason: str) -> Sequence[Event]:
        if server.admin == "removed" or (
            server.admin == "ready" and server.ejected_until is None
        ):
            return ()
        if server.admin == "maint" and server.verdict == "up":
            self._warm(server)
        server.admin = "ready"
        server.ejected_until = None
        server.recent_failures.clear()
        self._changed(server, reason)
        return (BecameReady(server.key, server.state),)

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
        self._outdated()

    def _outdated(self) -> None:
        """Candidates or weights are to be looked at anew."""
        self._stale = True
        self.revision += 1
