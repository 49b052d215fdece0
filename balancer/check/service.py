"""
The service that probes a pool's servers in time, and tells the pool what came of it.

Knows pools, checks and the schedule; must not know what a check does on the wire, nor who wants to
hear of the verdicts: those go to the callable that it was given.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import count
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
from balancer.check.turnstile import Turnstile
from balancer.interfaces import ICheck
from balancer.pool.events import Event
from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.wire.address import Address

__all__ = ["AT_ONCE", "CheckService", "Timing"]

AT_ONCE = 512
"""Probes of one pool in progress, each with a descriptor; the others wait for their turn."""

LATE_PER_TURN = 64
"""Probes of one pool ended in one turn because they are late: a verdict may follow from each, and
whoever hears of it does some work."""

MOST_SCHEDULES = 16
"""How many times servers may come before the grids of all are spread anew: each has a cost at every
result, and the grids of those who came one by one lie as chance has it."""

Publish = Callable[[Pool, Sequence[Event]], None]


class Rota:
    """
    When each of the servers is due that come and go, known by a number for as long as they stay.

    Those who come together share a `Schedule`, so that nobody else's phase moves.
    """

    def __init__(self, timing: Timing, random: Random) -> None:
        self._timing = timing
        self._random = random
        self._schedules: list[tuple[Schedule, Sequence[int]]] = []
        self._places: dict[int, tuple[Schedule, int]] = {}

    @property
    def next_due(self) -> float:
        """When `pop` may have something; `math.inf` if nothing is scheduled."""
        return min((schedule.next_due for schedule, _ in self._schedules), default=math.inf)

    def add(self, numbers: Sequence[int], now: float) -> None:
        """They are due at once, spread over a moment."""
        if len(self._schedules) >= MOST_SCHEDULES:
            self.retime(self._timing, now)
        if numbers:
            self._share(numbers, now)

    def drop(self, numbers: Collection[int]) -> None:
        """They are due no more."""
        for number in numbers:
            del self._places[number]
        self._schedules = [
            (schedule, those)
            for schedule, those in self._schedules
            if any(number in self._places for number in those)
        ]

    def pop(self, now: float) -> int | None:
        """As `Schedule.pop`."""
        for schedule, numbers in self._schedules:
            while (place := schedule.pop(now)) is not None:
                if numbers[place] in self._places:
                    return numbers[place]
        return None

    def put(self, number: int, started: float, now: float, pending: bool) -> None:
        """As `Schedule.put`."""
        schedule, place = self._places[number]
        schedule.put(place, started, now, pending)

    def retime(self, timing: Timing, now: float) -> None:
        """From now on `timing` holds. Whoever is due within its interval stays due then, so that
        nothing bursts, and is on a new grid afterwards; whoever is not, is at once."""
        due = [
            (at, numbers[place])
            for schedule, numbers in self._schedules
            for at, place in schedule.take_all()
            if numbers[place] in self._places
        ]
        self._timing = timing
        self._schedules.clear()
        self._share(list(self._places), now).take_all()  # nobody of them is new
        for at, number in due:
            if at <= now + timing.interval:
                # As if a probe had lasted until then: the point of the grid before it is missed.
                self.put(number, at - timing.interval, at, pending=False)
            else:
                self.put(number, now, now, pending=False)

    def _share(self, numbers: Sequence[int], now: float) -> Schedule:
        schedule = Schedule(len(numbers), self._timing, now, self._random)
        self._schedules.append((schedule, numbers))
        self._places.update((number, (schedule, at)) for at, number in enumerate(numbers))
        return schedule


class CheckService(Service):
    """
    Probes every server of `pool` once per interval, from the moment it starts.

    At most one probe of a server is in progress: one that hangs is cancelled at the timeout and has
    failed. Servers in maintenance are not probed. Each result goes to `pool.record`, and what that
    returns to `publish`, in the same turn. There is one delayed call, however many servers there
    are. `wall` gives the Unix time for people; `turnstile` is shared by the services of all pools.
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
        turnstile: Turnstile | None = None,
    ) -> None:
        self._reactor = reactor
        self._pool = pool
        self._timing = timing
        self._publish = publish
        self._random = random
        self._wall = wall
        self._turnstile = turnstile or Turnstile(reactor, AT_ONCE)
        self._results: dict[Server, Result] = {}
        self._numbers = count()
        self._use(check)
        self._clear()

    def _use(self, check: ICheck) -> None:
        self._check = check
        self._at_once = AT_ONCE
        if IServerCheck.providedBy(check):
            self._at_once = min(AT_ONCE, check.at_once)

    def _clear(self) -> None:
        self._servers: dict[int, Server] = {}
        self._schedule = Rota(self._timing, self._random)
        # The timeout is the same for all, so the one that began first has the first deadline.
        self._flights: OrderedDict[int, Flight] = OrderedDict()
        self._waiting: deque[int] = deque()  # at most each server once
        self._call: IDelayedCall | None = None
        self._short = False

    # -- life

    def startService(self) -> None:
        """Probe everything now, and then in time."""
        super().startService()
        self._take_on(self._pool.servers)
        self._arm()

    def stopService(self) -> None:
        """Cancel every probe. Their results count for nothing."""
        super().stopService()
        if self._call is not None:
            self._call.cancel()
        flights = list(self._flights.values())
        self._turnstile.forget(self)
        self._turnstile.leave(len(flights))
        self._clear()
        for flight in flights:
            flight.cancel()

    def update(self, check: ICheck, timing: Timing) -> None:
        """
        The pool was reconfigured, or this is how it is checked from now on. Cannot fail.

        Servers that are new are probed at once; the probes of those that were removed are cancelled
        and count for nothing. All others keep their verdicts and results; a probe in progress ends
        as it began, but no later than the new timeout from now, and the next one comes when it was
        due, or within the new interval. With the same `timing` no phase moves.
        """
        self._use(check)
        before, self._timing = self._timing, timing
        staying = set(self._pool.servers)
        self._results = {s: result for s, result in self._results.items() if s in staying}
        if not self.running:
            self._schedule = Rota(timing, self._random)
            return
        self._let_go([number for number, s in self._servers.items() if s not in staying])
        if timing != before:
            now = self._reactor.seconds()
            self._schedule.retime(timing, now)
            for flight in self._flights.values():
                flight.deadline = min(flight.deadline, now + timing.timeout)
        known = set(self._servers.values())
        self._take_on([server for server in self._pool.servers if server not in known])
        self._arm()

    def _take_on(self, servers: Sequence[Server]) -> None:
        new = dict(zip(self._numbers, servers, strict=False))
        self._servers.update(new)
        self._schedule.add(list(new), self._reactor.seconds())

    def _let_go(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        self._schedule.drop(numbers)
        gone = set(numbers)
        self._waiting = deque(number for number in self._waiting if number not in gone)
        for number in numbers:
            del self._servers[number]
            flight = self._flights.pop(number, None)
            if flight is not None:
                self._turnstile.leave()
                try:
                    flight.cancel()
                except Exception:  # noqa: BLE001 - checks are plugins, and a reload must go on
                    self._lost(Failure())

    def status(self) -> dict[str, dict[str, Any]]:
        """The last result of each server that has one, by the server's name."""
        known = [server for server in self._pool.servers if server in self._results]
        return {server.name: self._results[server].status() for server in known}

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
            self._turnstile.ask(self)
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
            self._gather_due(self._reactor.seconds())
        finally:
            self._arm()

    def _end_late(self, now: float) -> None:
        for _ in range(LATE_PER_TURN):
            flight = next(iter(self._flights.values()), None)
            if flight is None or flight.deadline > now:
                return
            flight.cancel()
            # One that does not end when it is cancelled is left to itself.
            self._ended(flight, False, _no_answer(flight))

    def _gather_due(self, now: float) -> None:
        while (index := self._schedule.pop(now)) is not None:
            if self._servers[index].state == "maint":
                self._schedule.put(index, now, now, pending=False)
            else:
                self._waiting.append(index)

    def begin_one(self) -> bool:
        """Begin the probe that waits longest, if one may begin: for the turnstile."""
        if not self.running or not self._waiting or len(self._flights) >= self._at_once:
            return False
        self._begin(self._waiting.popleft(), self._reactor.seconds())
        self._arm()
        return True

    # -- probes

    def _begin(self, index: int, now: float) -> None:
        server = self._servers[index]
        flight = self._flights[index] = Flight(index, now, now + self._timing.timeout)
        self._turnstile.enter()
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
            self._ended(flight, False, _no_answer(flight))
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
        server = self._servers[flight.index]
        self._results[server] = Result(ok, reason, now - flight.started, self._wall())
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
            self._turnstile.leave()
            pending = self._pool.pending(self._servers[flight.index])
            self._schedule.put(flight.index, flight.started, now, pending)
            self._arm()

    def _tell_of_fault(self, failure: Failure, index: int) -> None:
        """Log a failure that looks like a fault in the check's code, once for each new reason."""
        server = self._servers[index]
        last = self._results.get(server)
        if is_expected(failure) or (last is not None and last.reason == reason_of(failure)):
            return
        self._log.failure("the check of {server} raised", failure=failure, server=server.key)

    def _lost(self, failure: Failure) -> None:
        self._log.failure("pool {pool}: a result was lost", failure=failure, pool=self._pool.name)


def _no_answer(flight: Flight) -> str:
    return f"no answer within {flight.deadline - flight.started:g} s"
