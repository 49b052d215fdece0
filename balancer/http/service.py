"""
`[http NAME]` at work: takes its settings into use, and tells what it counts.

Knows the site's seams (`IBalancer`, `IContext`); clients come in by `arrivals`, routes lead to
`targets`, and how a request goes is `client`'s and `server`'s.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from zope.interface import implementer

from balancer.config.slices import Slices, finish
from balancer.http.answers import Answer
from balancer.http.arrivals import ALPN, Arrivals
from balancer.http.dates import Dates
from balancer.http.explain import Unanswerable, explain
from balancer.http.front import Front
from balancer.http.log import lines
from balancer.http.metrics import metrics, tls_metrics
from balancer.http.pages import read_pages
from balancer.http.settings import HttpSettings
from balancer.http.status import status
from balancer.http.targets import Targets
from balancer.http.tuning import tune
from balancer.interfaces import (
    BadFiles,
    HttpEndpoint,
    IContext,
    IEndpoints,
    IExplains,
    IPreparedFromFiles,
    IPreparesInSlices,
    Metric,
    NotDone,
    PrepareError,
)
from balancer.wire.connect import connect
from balancer.wire.handshakes import MOST_HANDSHAKES
from balancer.wire.listener import Listener
from balancer.wire.logfile import LogFile
from balancer.wire.terminations import CannotLoad, Keyrings


@implementer(IPreparedFromFiles)
@frozen
class Prepared:
    """Settings with all that they need opened."""

    balancer: HttpBalancer
    settings: HttpSettings
    listeners: tuple[Listener, ...]
    keyrings: Keyrings
    pages: dict[int, Answer]
    log_file: LogFile | None

    def changes(self) -> Sequence[str]:
        """See `IPreparedFromFiles`."""
        paths = self.balancer.arrivals.tls.read_again(self.keyrings)
        return [f"~ http {self.balancer.name}: {path} was read again" for path in paths]

    def commit(self) -> None:
        """Put the settings in force."""
        self.balancer.take(self)

    def abandon(self) -> None:
        """Nothing was opened that is not the site's own."""


def _random_id(source: random.Random) -> bytes:
    return b"%032x" % source.getrandbits(128)


@implementer(IPreparesInSlices, IExplains, IEndpoints)
class HttpBalancer(Service):
    """One `[http NAME]` section."""

    def __init__(
        self, name: str, context: IContext, wall: Callable[[], float] = time.time
    ) -> None:
        self.name = self._name = name
        self._context = context
        self.front = Front(
            name=name,
            reactor=context.reactor,
            wheel=context.wheel,
            connect=self._connect,
            publish=context.publish,
            dates=Dates(wall),
            new_id=partial(_random_id, random.Random()),
        )
        self.targets = Targets(self.front, context)
        self.arrivals = Arrivals(self.front, context.reactor)
        self._endpoints: tuple[HttpEndpoint, ...] = ()
        self._callbacks: list[Callable[[], None]] = []
        context.subscribe(self.targets.follow)

    def _connect(
        self, address: Any, protocol: Any, failed: Callable[[Any], None], timeout: float
    ) -> Any:
        context = self._context
        return connect(context.reactor, address, protocol, failed, timeout, context.wheel)

    # -- settings

    def prepare(self, settings: HttpSettings) -> Prepared:
        """What `preparing` does, at once."""
        return finish(self.preparing(settings))

    def preparing(self, settings: HttpSettings) -> Slices[Prepared]:
        """Read the certificates and error pages, and open the log. Raises PrepareError."""
        context = self._context
        listeners = tuple(
            context.listener(each.endpoint.host, each.endpoint.port) for each in settings.listen
        )
        keyrings = yield from self._preparing_tls(settings, listeners)
        pages, faults = read_pages(settings)
        if faults:
            raise BadFiles(f"http {self.name}", faults)
        log_file = None
        if settings.access_log is not None:
            try:
                log_file = context.log_file(settings.access_log)
            except OSError as error:
                msg = f"[http {self.name}] access-log: cannot open {settings.access_log}: {error}"
                raise PrepareError(msg) from error
        return Prepared(self, settings, listeners, keyrings, pages, log_file)

    def _preparing_tls(
        self, settings: HttpSettings, listeners: Sequence[Listener]
    ) -> Slices[Keyrings]:
        pairs = zip(listeners, settings.listen, strict=True)
        paths = {listener: line.tls for listener, line in pairs if line.tls is not None}
        try:
            return (yield from self.arrivals.tls.preparing(paths, self._context.reactor.seconds()))
        except CannotLoad as error:
            msg = "\n".join(f"[http {self.name}] listen: tls: {each}" for each in error.problems)
            raise PrepareError(msg) from error

    def take(self, prepared: Prepared) -> None:
        """Put prepared settings in force; for `Prepared.commit` alone."""
        settings, front, arrivals = prepared.settings, self.front, self.arrivals
        tune(front, settings)
        arrivals.limit(settings.max_connections, settings.max_connections_per_source)
        self.targets.take(settings)
        most = min(MOST_HANDSHAKES, arrivals.most)
        arrivals.tls.take(prepared.keyrings, settings.head_timeout, most)
        front.pages = prepared.pages
        self._take_log(settings, prepared.log_file)
        for connection in front.connections:
            connection.settings_changed()
        self.targets.renew_links()
        arrivals.take_listeners(prepared.listeners, bool(self.running))
        self._take_endpoints(prepared)

    def _take_log(self, settings: HttpSettings, log_file: LogFile | None) -> None:
        front = self.front
        if front.log is not None:
            front.log.close()
        front.log = None
        if log_file is not None:
            front.log = lines(settings.log_format, self._name, front.dates, log_file)

    # -- IEndpoints

    def _take_endpoints(self, prepared: Prepared) -> None:
        pools = self.targets.all_pools()
        tls = [each.tls is not None for each in prepared.settings.listen]
        pairs = zip(prepared.listeners, tls, strict=True)
        before, self._endpoints = self._endpoints, tuple(
            HttpEndpoint(listener.address, listener.address.port, secure, ALPN, pools)
            for listener, secure in pairs
        )
        if self._endpoints != before:
            for callback in list(self._callbacks):
                callback()

    def endpoints(self) -> Sequence[HttpEndpoint]:
        """See `IEndpoints`."""
        return self._endpoints

    def changed(self, callback: Callable[[], None]) -> None:
        """See `IEndpoints`."""
        self._callbacks.append(callback)

    def unchanged(self, callback: Callable[[], None]) -> None:
        """See `IEndpoints`."""
        self._callbacks = [each for each in self._callbacks if each != callback]

    # -- the site's life

    def startService(self) -> None:
        """Begin to accept."""
        super().startService()
        self.arrivals.accept()

    def drain(self) -> Deferred[None]:
        """Accept no more, answer what was asked, and end connections as they become idle."""
        return self.arrivals.drain()

    def stopService(self) -> None:
        """End all that is left."""
        super().stopService()
        self._context.unsubscribe(self.targets.follow)
        self.arrivals.stop()
        self.targets.stop()
        if self.front.log is not None:
            self.front.log.close()

    # -- what it tells

    def explain(self, question: Mapping[str, str]) -> Mapping[str, Any]:
        """See `IExplains`."""
        try:
            return explain(self.front, self.targets.routes, self.arrivals.doors(), question)
        except Unanswerable as error:
            raise NotDone(str(error)) from error

    def status(self) -> Mapping[str, Any]:
        """For `/api/status`."""
        return status(self.front, self.targets, self.arrivals)

    def metrics(self) -> Sequence[Metric]:
        """For `/metrics`."""
        idle = {(pool, server.name): count for pool, server, count in self.targets.idle()}
        return (
            *metrics(self._name, self.front.figures, len(self.front.connections), idle),
            *tls_metrics(self._name, self.arrivals.tls),
        )
