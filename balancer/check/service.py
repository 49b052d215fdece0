"""
The service that probes a pool's servers in time, and tells the pool what came of it.

Knows pools, checks and the schedule; must not know what a check does on the wire, nor who wants to
hear of the verdicts: those go to the callable that it was given.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.check.flight import (
    Flight,
    Result,
    is_expected,
    is_ours,
    one_line,
    reason_of,
    target_of,
)
from balancer.check.interfaces import IServerCheck
from balancer.check.schedule import Schedule, Timing
from balancer.interfaces import ICheck
from balancer.pool.events import Event
from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.wire.address import Address

__all__ = ["AT_ONCE", "CheckService", "Timing"]

AT_ONCE = 512
"""Probes of one pool in progress, each with a descriptor; the others wait for their turn."""

STARTS_PER_TURN = 64
"""Probes begun in one reactor turn: at some 100 us each, well below the 50 ms of a turn."""

Publish = Callable[[Pool, Sequence[Event]], None]


class CheckService(Service):
    """
    Probes every server of `pool` once per interval, from the moment it starts.

    At most one probe of a server is in progress: one that hangs is cancelled at the timeout and has
    failed. Servers in maintenance are not probed. Each result goes to `pool.record`, and what that
    returns to `publish`, in the same turn. There is one delayed call, however many servers there
    are. `wall` gives the Unix time for people.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        pool: Pool,
        check: ICheck,
        timing: Timing,
        publish: Publish,
        random: Random,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._reactor = reactor
        self._pool = pool
        self._check = check
        self._timing = timing
        self._publish = publish
        self._random = random
        self._wall = wall
        self._at_once = AT_ONCE
        if IServerCheck.providedBy(check):
            self._at_once = min(AT_ONCE, check.at_once)
        self._results: dict[int, Result] = {}
        self._clear()

    def _clear(self) -> None:
        self._schedule = Schedule(0, self._timing, 0.0, self._random)
        # The timeout is the same for all, so the one that began first has the first deadline.
        self._flights: OrderedDict[int, Flight] = OrderedDict()
        self._waiting: deque[int] = deque()  # at most each server once
        self._call: IDelayedCall | None = None
        self._short = False

    # -- life

    def startService(self) -> None:
        """Probe everything now, and then in time."""
        super().startService()
        count = len(self._pool.servers)
        self._schedule = Schedule(count, self._timing, self._reactor.seconds(), self._random)
        self._arm()

    def stopService(self) -> None:
        """Cancel every probe. Their results count for nothing."""
        super().stopService()
        if self._call is not None:
            self._call.cancel()
        flights = list(self._flights.values())
        self._clear()
        for flight in flights:
            flight.cancel()

    def status(self) -> dict[str, dict[str, Any]]:
        """The last result of each server that has one, by the server's name."""
        servers = self._pool.servers
        return {servers[index].name: result.status() for index, result in self._results.items()}

    # -- time

    def _arm(self) -> None:
        """Have the one delayed call come no later than the next thing to do."""
        if not self.running:
            return
        now = self._reactor.seconds()
        due = self._schedule.next_due
        if self._flights:
            due = min(due, next(iter(self._flights.values())).deadline)
        if self._waiting and len(self._flights) < self._at_once:
            due = now
        if due == math.inf:
            return
        if self._call is None:
            self._call = self._reactor.callLater(max(0.0, due - now), self._wake)
        elif due < self._call.getTime():
            # Never moved later: to wake for nothing is cheaper than to move it at each result.
            self._call.reset(max(0.0, due - now))

    def _wake(self) -> None:
        self._call = None
        try:
            self._end_late(self._reactor.seconds())
            self._begin_due(self._reactor.seconds())
        finally:
            self._arm()

    def _end_late(self, now: float) -> None:
        while self._flights:
            flight = next(iter(self._flights.values()))
            if flight.deadline > now:
                return
            flight.cancel()
            # One that does not end when it is cancelled is left to itself.
            self._ended(flight, False, self._no_answer())

    def _begin_due(self, now: float) -> None:
        while (index := self._schedule.pop(now)) is not None:
            if self._pool.servers[index].state == "maint":
                self._schedule.put(index, now, now, pending=False)
            else:
                self._waiting.append(index)
        for _ in range(STARTS_PER_TURN):
            if not self._waiting or len(self._flights) >= self._at_once:
                return
            self._begin(self._waiting.popleft(), now)

    # -- probes

    def _begin(self, index: int, now: float) -> None:
        server = self._pool.servers[index]
        flight = self._flights[index] = Flight(index, now, now + self._timing.timeout)
        try:
            deferred = self._probe(server, target_of(server.address, self._timing.port))
        except Exception:  # noqa: BLE001 - checks are plugins: one that raises has failed
            self._failed(Failure(), flight)
            return
        flight.deferred = deferred
        deferred.addCallbacks(
            partial(self._passed, flight), self._failed, errbackArgs=(flight,)
        ).addErrback(self._lost)

    def _probe(self, server: Server, target: Address) -> Deferred[str]:
        check = self._check
        if IServerCheck.providedBy(check):
            return check.probe_server(server.key, target, self._timing.timeout)
        return check.probe(target, self._timing.timeout)

    def _passed(self, flight: Flight, seen: str) -> None:
        self._ended(flight, True, one_line(str(seen)))

    def _failed(self, failure: Failure, flight: Flight) -> None:
        if self._flights.get(flight.index) is not flight:
            return
        if failure.check(CancelledError):
            self._ended(flight, False, self._no_answer())
        elif is_ours(failure):
            self._not_asked(flight, reason_of(failure))
        else:
            self._tell_of_fault(failure, flight.index)
            self._ended(flight, False, reason_of(failure))

    def _ended(self, flight: Flight, ok: bool, reason: str) -> None:
        """The probe has its result: tell the pool, and schedule the next. Later results of the
        same flight, and those after a stop, count for nothing."""
        if self._flights.get(flight.index) is not flight:
            return
        self._short = False
        now = self._reactor.seconds()
        server = self._pool.servers[flight.index]
        self._results[flight.index] = Result(ok, reason, now - flight.started, self._wall())
        try:
            if server.state != "maint":
                events = self._pool.record(server, ok, reason, now)
                if events:
                    self._publish(self._pool, events)
        finally:
            self._put_back(flight, now)

    def _not_asked(self, flight: Flight, reason: str) -> None:
        if not self._short:
            self._short = True
            self._log.error(
                "pool {pool}: checks cannot be made, verdicts stay as they are: {reason}",
                pool=self._pool.name,
                reason=reason,
            )
        self._put_back(flight, self._reactor.seconds())

    def _put_back(self, flight: Flight, now: float) -> None:
        # Whoever heard of the event may have stopped us meanwhile.
        if self._flights.pop(flight.index, None) is flight:
            pending = self._pool.pending(self._pool.servers[flight.index])
            self._schedule.put(flight.index, flight.started, now, pending)
            self._arm()

    def _tell_of_fault(self, failure: Failure, index: int) -> None:
        """Log a failure that looks like a fault in the check's code, once for each new reason."""
        last = self._results.get(index)
        if is_expected(failure) or (last is not None and last.reason == reason_of(failure)):
            return
        key = self._pool.servers[index].key
        self._log.failure("the check of {server} raised", failure=failure, server=key)

    def _lost(self, failure: Failure) -> None:
        self._log.failure("pool {pool}: a result was lost", failure=failure, pool=self._pool.name)

    def _no_answer(self) -> str:
        return f"no answer within {self._timing.timeout:g} s"
