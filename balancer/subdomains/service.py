"""
`[subdomains NAME]` at work: follows a pool, and tells others the names of its servers.

Knows the site's seams. Numbers are `numbers`' business; it answers no query and redirects nobody.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from balancer.interfaces import (
    IContext,
    IExplains,
    INamedServers,
    IPrepared,
    Metric,
    NotDone,
    Published,
    Sample,
)
from balancer.pool.events import WasAdded, WasRemoved
from balancer.pool.pool import Pool
from balancer.subdomains.numbers import Numbers
from balancer.subdomains.settings import SubdomainsSettings
from balancer.wire import statefile
from balancer.wire.keeping import Keeper, Write, in_a_thread

PORTS: Final = {"http": 80, "https": 443}
"""The port that a URL of each scheme need not name."""

log = Logger()


@implementer(IPrepared)
@frozen
class Prepared:
    """Settings with their pool, and the numbers that servers had."""

    balancer: Subdomains
    settings: SubdomainsSettings
    pool: Pool
    numbers: Numbers

    def commit(self) -> None:
        """Put them in force."""
        self.balancer.take(self)

    def abandon(self) -> None:
        """Nothing was opened."""


@implementer(INamedServers, IExplains)
class Subdomains(Service):
    """One section. `write` writes a file beside the reactor."""

    pool: Pool

    def __init__(self, name: str, context: IContext, write: Write | None = None) -> None:
        # Not Service.name: siblings of other kinds may bear the same name.
        self._section = name
        self._context = context
        self._settings: SubdomainsSettings | None = None
        self._numbers = Numbers()
        self._names: dict[str, str] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._again: IDelayedCall | None = None
        path = os.path.join(context.state, f"subdomains-{name}.json")
        self._keeper = Keeper(path, write or in_a_thread(context.reactor))
        self.zone = ""
        self.ttl = 0.0

    # -- the site's life

    def prepare(self, settings: SubdomainsSettings) -> IPrepared:
        """See `IBalancer`. Numbers that cannot be read are given anew: names that change are better
        than a site that does not start."""
        numbers = self._numbers if self._settings is not None else self._remembered()
        return Prepared(self, settings, self._context.pool(settings.pool), numbers)

    def _remembered(self) -> Numbers:
        path = self._keeper.path
        try:
            data = statefile.load(path, statefile.MAX_SAVED)
            return Numbers() if data is None else Numbers.from_json(data)
        except (OSError, ValueError) as error:
            log.error("{path}: {error}; its servers are numbered anew", path=path, error=error)
            return Numbers()

    def take(self, prepared: Prepared) -> None:
        """Put prepared settings in force; for `Prepared.commit` alone."""
        before = self._settings
        if before is None:
            self._context.subscribe(self._happened)
        moved = before is not None and self.pool is not prepared.pool
        self._settings = settings = prepared.settings
        self._numbers, self.pool = prepared.numbers, prepared.pool
        self.zone, self.ttl = settings.zone, settings.ttl
        self._forget_call()
        self._renew(settings, told=moved or settings != before)

    def drain(self) -> Deferred[None]:
        """Nothing is in progress here, ever."""
        return succeed(None)

    def stopService(self) -> Deferred[None]:
        """Follow the pool no more, and let what is being written be written."""
        super().stopService()
        self._forget_call()
        self._context.unsubscribe(self._happened)
        return self._keeper.finished()

    # -- following the pool

    def _happened(self, published: Published) -> None:
        """Thousands of servers may come in one turn: their names are made once, after it, or when
        somebody asks for them."""
        event = published.event
        if published.pool != self.pool.name or not isinstance(event, (WasAdded, WasRemoved)):
            return
        if self._again is None:
            self._again = self._context.reactor.callLater(0, self._settle)

    def _forget_call(self) -> None:
        again, self._again = self._again, None
        if again is not None and again.active():
            again.cancel()

    def _settle(self) -> None:
        settings = self._settings
        if self._again is not None and settings is not None:
            self._forget_call()
            self._renew(settings)

    def _renew(self, settings: SubdomainsSettings, told: bool = False) -> None:
        servers = [server.name for server in self.pool.servers]
        changed = self._numbers.follow(servers)
        if changed:
            self._keeper.keep(self._numbers.to_json())
        given = self._numbers.given
        self._names = {each: settings.host(given[each]) for each in servers}
        if changed or told:
            for callback in list(self._callbacks):
                callback()

    # -- INamedServers

    def names(self) -> Mapping[str, str]:
        """See `INamedServers`."""
        self._settle()
        return self._names

    def location(self, server: str, scheme: str = "http", port: int = 0) -> str:
        """See `INamedServers`."""
        host, settings = self.names()[server], self._settings
        assert settings is not None  # or there were no names
        spoken = settings.scheme or scheme
        number = settings.port or (port if spoken == scheme else 0)
        return f"{spoken}://{host}{'' if number in (0, PORTS[spoken]) else f':{number}'}"

    def changed(self, callback: Callable[[], None]) -> None:
        """See `INamedServers`."""
        self._callbacks.append(callback)

    def unchanged(self, callback: Callable[[], None]) -> None:
        """See `INamedServers`."""
        self._callbacks = [each for each in self._callbacks if each != callback]

    # -- what it tells

    def explain(self, question: Mapping[str, str]) -> Mapping[str, Any]:
        """See `IExplains`: who has which name, and whether the pool may choose it."""
        settings = self._settings
        if settings is None:
            raise NotDone(f"{self._section} has no settings yet; ask again when it has started")
        return {
            "rule": f"pattern = {settings.pattern}",
            "pool": settings.pool,
            "names": [f"{server}: {host}" for server, host in self.names().items()],
            "candidates": [
                {"server": server.name, "usable": usable, "why": why}
                for server, usable, why in self.pool.candidates()
            ],
        }

    def status(self) -> Mapping[str, Any]:
        """See `IBalancer`."""
        keeper = self._keeper
        return {
            "kind": "subdomains",
            "zone": self.zone,
            "pool": None if self._settings is None else self._settings.pool,
            "ttl": self.ttl,
            "names": dict(self.names()),
            "retired": len(self._numbers.retired),
            "state": keeper.path,
            "save_failures_total": keeper.failures,
        }

    def metrics(self) -> Sequence[Metric]:
        """See `IBalancer`."""
        labels = {"balancer": self._section}
        keeper = self._keeper
        figures = (
            ("names", "gauge", "Servers that have names.", len(self.names())),
            ("retired", "gauge", "Numbers kept for servers that left.", len(self._numbers.retired)),
            (
                "save_failures_total",
                "counter",
                "Times that the numbers could not be written.",
                keeper.failures,
            ),
        )
        return [
            Metric(f"balancer_subdomains_{name}", text, kind, (Sample(labels, float(value)),))
            for name, kind, text, value in figures
        ]
