"""
The site at work: one service that holds all others, and ends them in the order that loses nothing.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.admin.control_verbs import Desk
from balancer.config.slices import Slices, finish
from balancer.interfaces import (
    IBalancer,
    ISite,
    IWithdraws,
    Metric,
    PrepareError,
    Published,
    Snapshot,
)
from balancer.pool.pool import Pool
from balancer.site import status
from balancer.site.context import Context, name_of
from balancer.site.listeners import Listeners
from balancer.site.live import Live, drained
from balancer.site.memory import Memory
from balancer.site.names import Names
from balancer.site.notify import Supervisor
from balancer.site.operations import Operations
from balancer.site.overriding import Overriding
from balancer.site.plan import Makers, Plan
from balancer.site.registry import Registry
from balancer.wire.deadlines import Ticker, Wheel
from balancer.wire.reactor import IWireReactor

TICK_BUDGET = 0.02
"""Seconds of one tick that pools may take; those that did not get theirs are first in the next."""

log = Logger()


@implementer(ISite)
class SiteService(MultiService):
    """
    A site in one reactor. Made from a plan in `makeService`: when the constructor returns, sockets
    are bound and balancers prepared; nothing is accepted before `startService`.
    """

    def __init__(
        self,
        reactor: IWireReactor,
        plan: Plan,
        makers: Makers,
        supervisor: Supervisor | None = None,
    ) -> None:
        """Raises `CannotBind` or `PrepareError`; what was opened until then is closed."""
        super().__init__()
        self._reactor = reactor
        self.supervisor = Supervisor(reactor) if supervisor is None else supervisor
        self._draining: Deferred[None] | None = None
        self._left = False
        self.started = time.time()
        registry = Registry({}, {})
        wheel = Wheel(reactor.seconds())
        state = os.path.abspath(plan.site.state)  # twistd may change directory
        self.memory = Memory(reactor, registry, state)
        self.memory.recall()
        self.context = Context(reactor, wheel, Listeners(reactor), registry, state, self.memory)
        self.overriding = Overriding(reactor, registry, state, self.context.publish)
        self._names = Names(reactor)
        self._ticker = Ticker(reactor, wheel)
        self._turns: deque[Pool] = deque()
        self.operations = Operations(reactor, self, os.path.abspath(plan.path))
        desk = Desk(self, self.operations, reactor.seconds)
        self.live = Live(self.context, makers, self, self._names, desk)
        registry.subscribe(_log_event)
        self._ticker.every(self._tick)
        self.follow(plan)

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        plan = self.live.plan
        assert plan is not None
        return plan

    def follow(self, plan: Plan) -> None:
        """Put `plan` in force, in whole or not at all: see `Live.preparing` for what it raises."""
        finish(self.following(plan))

    def following(self, plan: Plan) -> Slices[Sequence[str]]:
        """The same in slices; what balancers found different in files. Raises PrepareError if the
        site began to drain meanwhile."""
        change = yield from self.live.preparing(plan)
        if not self.draining:
            yield from change.committing()
        if self.draining:
            change.abandon()
            raise PrepareError("the site is draining")
        change.commit()
        self._turns = deque(self.context.registry.pools.values())
        self.overriding.renew()
        self.memory.renew()
        return change.read_again

    # -- life

    def startService(self) -> None:
        for what, reason in self.live.makers.broken.items():
            log.warn("{what} is not available: {reason}", what=what, reason=reason)
        self.supervisor.start()
        self._ticker.start()
        self._names.start()
        self.overriding.start()
        self.memory.start()
        super().startService()
        log.info(
            "site {name} is running: {balancers} balancers, {pools} pools",
            name=name_of(self.plan),
            balancers=len(self.plan.balancers),
            pools=len(self.plan.pools),
        )

    def tell_ready(self, what: str = "") -> None:
        """Tell who started us that we carry traffic, and `what` became of a reload."""
        plan = self.plan
        text = f"site {name_of(plan)}: {len(plan.balancers)} balancers, {len(plan.pools)} pools"
        self.supervisor.ready(f"{text}; {what}" if what else text)

    def drain(self) -> Deferred[None]:
        """
        Stop accepting and let work in progress end; fires when none is left or after
        `drain-timeout`, whichever comes first. Calling it again gives the same.
        """
        if self._draining is None:
            timeout = self.plan.site.drain_timeout
            log.info("draining for at most {timeout} s", timeout=timeout)
            self.supervisor.stopping(f"draining for at most {timeout:g} s")
            withdrawals = [
                each.withdraw().addErrback(_not_withdrawn, key)
                for key, each in self._everybody().items()
                if IWithdraws.providedBy(each)
            ]
            if withdrawals:
                # Routers send new work until they know better: it is accepted meanwhile.
                last: Deferred[None] = Deferred()
                self._draining = last
                DeferredList(withdrawals).addCallback(
                    lambda _: self._drain(timeout).chainDeferred(last)
                )
            else:
                self._draining = self._drain(timeout)
        return self._draining

    def _everybody(self) -> Mapping[str, IBalancer]:
        return {**self.live.balancers, **self.live.leaving}

    def _drain(self, timeout: float) -> Deferred[None]:
        self.context.listeners.accept_waiting()
        draining = drained(self._reactor, self._everybody(), timeout)
        self.context.listeners.close_unowned()
        return draining

    def leave(self) -> None:
        """Drain, then stop the reactor; called again, stop it at once."""
        if self.draining:
            log.info("stopping without waiting any longer")
            self._stop_reactor()
            return
        self.drain().addBoth(lambda _: self._stop_reactor())

    def _stop_reactor(self) -> None:
        # Twisted's reactors raise when they are stopped twice.
        if not self._left:
            self._left = True
            self._reactor.stop()

    @property
    def draining(self) -> bool:
        """Whether the site is on its way out."""
        return self._draining is not None

    def stopService(self) -> Deferred[Any]:
        self.supervisor.stopping("stopping")
        self._names.stop()
        self.overriding.stop()
        kept = self.memory.stop()
        stopped: Deferred[Any] = super().stopService()
        return stopped.addBoth(self._stopped).addCallback(lambda _: kept).addBoth(self._silent)

    def _stopped(self, result: object) -> object:
        self._ticker.stop()
        self.context.listeners.close()
        if self.live.control is not None:
            self.live.control.close()
        self.context.close_logs()
        return result

    def _silent(self, result: object) -> object:
        self.supervisor.stop()
        return result

    def reopen_logs(self) -> None:
        """Open every access log anew, after something moved it away."""
        self.context.reopen_logs()

    def _tick(self, now: float) -> None:
        # A table of a keyed pool takes a few milliseconds a slice: hundreds of them take turns.
        enough = now + TICK_BUDGET
        for _ in range(len(self._turns)):
            pool = self._turns[0]
            self._turns.rotate(-1)
            self._tick_pool(pool, now)
            if self._reactor.seconds() > enough:
                break
        self.context.flush_logs(now)

    def _tick_pool(self, pool: Pool, now: float) -> None:
        events = pool.tick(now)
        if events:
            self.context.publish(pool, events)
        elif pool.queue_length:
            self.context.admit(pool)

    # -- ISite

    def healthy(self) -> bool:
        return not self.draining and self.context.registry.healthy()

    def subscribe(self, subscriber: Callable[[Published], None]) -> None:
        self.context.registry.watch(subscriber)

    def unsubscribe(self, subscriber: Callable[[Published], None]) -> None:
        self.context.registry.unwatch(subscriber)

    def events(self) -> Sequence[Published]:
        return tuple(self.context.registry.events)

    def snapshot(self) -> Snapshot:
        return status.snapshot(self)

    def telling(self) -> Slices[Mapping[str, Any]]:
        return status.telling(self)

    def telling_of(self, key: str) -> Mapping[str, Any] | None:
        return status.telling_of(self, key)

    def metrics(self) -> Iterable[Metric]:
        return status.metrics(self)


def _not_withdrawn(failure: Failure, key: str) -> None:
    log.failure("{balancer} could not be withdrawn", failure=failure, balancer=key)


def _log_event(published: Published) -> None:
    log.info("{text}", text=published.event.text(), id=published.id, pool=published.pool)
