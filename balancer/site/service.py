"""
The site at work: one service that holds all others, lends them what they share, and ends them in
the order that loses nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer import __version__
from balancer.admin.service import AdminService
from balancer.check.service import CheckService
from balancer.interfaces import IBalancer, IContext, IPrepared, ISite, Metric, Published, Snapshot
from balancer.pool.events import Event
from balancer.pool.pool import Pool
from balancer.site.build import build_checks, build_pool
from balancer.site.listeners import Listeners
from balancer.site.metrics import site_metrics
from balancer.site.names import Names
from balancer.site.plan import Makers, Plan
from balancer.site.registry import Registry
from balancer.wire.datagrams import DatagramPort
from balancer.wire.deadlines import Ticker, Wheel
from balancer.wire.listener import Listener
from balancer.wire.logfile import LogFile
from balancer.wire.reactor import IWireReactor

TICK_BUDGET = 0.02
"""Seconds of one tick that pools may take; those that did not get theirs are first in the next."""

log = Logger()


@implementer(IContext)
@define(eq=False)
class Context:
    """What the site lends to balancers and checks."""

    reactor: IWireReactor
    wheel: Wheel
    listeners: Listeners
    registry: Registry
    logs: dict[str, LogFile] = field(factory=dict)

    def pool(self, name: str) -> Pool:
        return self.registry.pools[name]

    def listener(self, host: str, port: int) -> Listener:
        return self.listeners.tcp(host, port)

    def datagrams(self, host: str, port: int) -> DatagramPort:
        return self.listeners.udp(host, port)

    def log_file(self, path: str) -> LogFile:
        key = path if path == "-" else os.path.abspath(path)
        if key not in self.logs:
            self.logs[key] = LogFile(key)
        return self.logs[key]

    def publish(self, pool: Pool, events: Sequence[Event]) -> None:
        self.registry.publish(pool.name, events, time.time())
        self.admit(pool)

    def admit(self, pool: Pool) -> None:
        """Let those go who wait in the pool's queue and whom a server has room for now."""
        now = self.reactor.seconds()
        for waiter, server in pool.admit(now):
            waiter.admitted(server, now)

    def subscribe(self, subscriber: Callable[[Published], None]) -> None:
        self.registry.subscribe(subscriber)


@implementer(ISite)
class SiteService(MultiService):
    """
    A site in one reactor. Made from a plan in `makeService`: when the constructor returns, sockets
    are bound and balancers prepared; nothing is accepted before `startService`.
    """

    def __init__(self, reactor: IWireReactor, plan: Plan, makers: Makers) -> None:
        """Raises `CannotBind` or `PrepareError`; what was opened until then is closed."""
        super().__init__()
        self._reactor = reactor
        self._plan = plan
        self._name = plan.site.name or socket.gethostname()
        self._broken = dict(makers.broken)
        self._draining: Deferred[None] | None = None
        self._started = time.time()
        now = reactor.seconds()
        built = {pool.name: build_pool(pool, now) for pool in plan.pools}
        registry = Registry(
            {name: each.pool for name, each in built.items()},
            {balancer.key: balancer.pools for balancer in plan.balancers},
        )
        self._context = Context(reactor, Wheel(now), Listeners(reactor), registry)
        self._names = Names(reactor, [named for each in built.values() for named in each.named])
        self._ticker = Ticker(reactor, self._context.wheel)
        self._balancers: dict[str, IBalancer] = {}
        self._checks: dict[str, CheckService] = {}
        registry.subscribe(_log_event)
        self._turns = deque(registry.pools.values())
        self._ticker.every(self._tick)
        self._make_all(makers)

    def _make_all(self, makers: Makers) -> None:
        context, plan = self._context, self._plan
        context.listeners.bind(plan.claims)
        prepared: list[IPrepared] = []
        try:
            for each in plan.balancers:
                balancer = makers.balancers[each.kind].make(each.name, context)
                prepared.append(balancer.prepare(each.settings))
                self._balancers[each.key] = balancer
        except Exception:
            for change in prepared:
                change.abandon()
            context.listeners.close()
            raise
        for change in prepared:
            change.commit()
        for pool in plan.pools:
            checks = build_checks(pool, context.registry.pools[pool.name], context)
            if checks is not None:
                self._checks[pool.name] = checks
                checks.setServiceParent(self)
        for balancer in self._balancers.values():
            balancer.setServiceParent(self)
        if plan.site.admin is not None:
            listener = context.listener(plan.site.admin.host, plan.site.admin.port)
            AdminService(self, listener).setServiceParent(self)

    # -- life

    def startService(self) -> None:
        for what, reason in self._broken.items():
            log.warn("{what} is not available: {reason}", what=what, reason=reason)
        self._ticker.start()
        self._names.start()
        super().startService()
        log.info(
            "site {name} is running: {balancers} balancers, {pools} pools",
            name=self._name,
            balancers=len(self._balancers),
            pools=len(self._plan.pools),
        )

    def drain(self) -> Deferred[None]:
        """
        Stop accepting and let work in progress end; fires when none is left or after
        `drain-timeout`, whichever comes first. Calling it again gives the same.
        """
        if self._draining is not None:
            return self._draining
        timeout = self._plan.site.drain_timeout
        log.info("draining for at most {timeout} s", timeout=timeout)
        self._context.listeners.accept_waiting()
        drains = [
            balancer.drain().addErrback(_log_failed_drain, name)
            for name, balancer in self._balancers.items()
        ]
        self._context.listeners.close_unowned()
        waiting: Deferred[Any] = DeferredList(drains)
        done: Deferred[None] = Deferred()
        late = self._reactor.callLater(timeout, done.callback, None)

        def finished(_: object) -> None:
            if late.active():
                late.cancel()
                done.callback(None)

        waiting.addCallback(finished)
        self._draining = done
        return done

    @property
    def draining(self) -> bool:
        """Whether the site is on its way out."""
        return self._draining is not None

    def stopService(self) -> Deferred[Any]:
        self._names.stop()
        stopped: Deferred[Any] = super().stopService()
        return stopped.addBoth(self._stopped)

    def _stopped(self, result: object) -> object:
        self._ticker.stop()
        self._context.listeners.close()
        for each in self._context.logs.values():
            each.close(self._reactor.seconds())
        return result

    def reopen_logs(self) -> None:
        """Open every access log anew, after something moved it away."""
        for each in self._context.logs.values():
            each.reopen(self._reactor.seconds())

    def _tick(self, now: float) -> None:
        # A table of a keyed pool takes a few milliseconds a slice: hundreds of them take turns.
        enough = now + TICK_BUDGET
        for _ in range(len(self._turns)):
            pool = self._turns[0]
            self._turns.rotate(-1)
            self._tick_pool(pool, now)
            if self._reactor.seconds() > enough:
                break
        for each in self._context.logs.values():
            each.flush(now)

    def _tick_pool(self, pool: Pool, now: float) -> None:
        events = pool.tick(now)
        if events:
            self._context.publish(pool, events)
        elif pool.queue_length:
            self._context.admit(pool)

    # -- ISite

    def healthy(self) -> bool:
        return not self.draining and self._context.registry.healthy()

    def subscribe(self, subscriber: Callable[[Published], None]) -> None:
        self._context.subscribe(subscriber)

    def unsubscribe(self, subscriber: Callable[[Published], None]) -> None:
        self._context.registry.unsubscribe(subscriber)

    def events(self) -> Sequence[Published]:
        return tuple(self._context.registry.events)

    def snapshot(self) -> Snapshot:
        registry = self._context.registry
        balancers = {
            key: {"healthy": registry.health(key), **balancer.status()}
            for key, balancer in self._balancers.items()
        }
        status: dict[str, Any] = {
            "site": self._status(),
            "pools": {name: self._pool_status(name) for name in registry.pools},
            "balancers": balancers,
            "events": [_event_status(event) for event in list(registry.events)[-50:]],
        }
        metrics: list[Metric] = [
            *site_metrics(registry.pools, self._context.listeners.all_tcp(), self._long_turns())
        ]
        for balancer in self._balancers.values():
            metrics.extend(balancer.metrics())
        return Snapshot(status, tuple(metrics))

    def _long_turns(self) -> int:
        return int(getattr(self._reactor, "long_turns", 0))

    def _status(self) -> Mapping[str, Any]:
        return {
            "name": self._name,
            "version": __version__,
            "pid": os.getpid(),
            "config": self._plan.path,
            "started": self._started,
            "state": "draining" if self.draining else "running",
            "healthy": self.healthy(),
            "long_turns": self._long_turns(),
            "unavailable": self._broken,
            "warnings": [str(warning) for warning in self._plan.warnings],
        }

    def _pool_status(self, name: str) -> Mapping[str, Any]:
        registry = self._context.registry
        status: dict[str, Any] = dict(registry.pools[name].status())
        checks = self._checks.get(name)
        results = {} if checks is None else checks.status()
        status["healthy"] = registry.health(name)
        status["servers"] = {
            server["name"]: {**server, "check": results.get(server["name"])}
            for server in status["servers"]
        }
        return status


def _log_failed_drain(failure: Failure, name: str) -> None:
    log.failure("{name} could not be drained", failure=failure, name=name)


def _log_event(published: Published) -> None:
    log.info("{text}", text=published.event.text(), id=published.id, pool=published.pool)


def _event_status(published: Published) -> Mapping[str, Any]:
    return {
        "id": published.id,
        "at": published.at,
        "pool": published.pool,
        "server": published.event.server,
        "event": type(published.event).__name__,
        "text": published.event.text(),
    }
