"""
`[http NAME]` at work: takes its settings into use, accepts clients, and tells what it counts.

Knows the site's seams (`IBalancer`, `IContext`); how a request goes is `client`'s and `server`'s.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from balancer.config.slices import Slices, finish
from balancer.http.answers import MAX_PAGE, Answer, error, page, response
from balancer.http.client import ClientConnection
from balancer.http.dates import Dates
from balancer.http.exchange import NAMES
from balancer.http.explain import Unanswerable, explain
from balancer.http.front import UNLIMITED, Front, Target
from balancer.http.head import RequestReader, ResponseReader
from balancer.http.keys import key_of
from balancer.http.links import LinkTable
from balancer.http.log import lines
from balancer.http.metrics import metrics, tls_metrics
from balancer.http.naming import Naming
from balancer.http.routes import (
    Action,
    Redirect,
    RedirectToHttps,
    Respond,
    Route,
    ToPool,
    ToSubdomains,
)
from balancer.http.secure import SecureConnection
from balancer.http.settings import HttpSettings
from balancer.http.table import compile_routes
from balancer.interfaces import (
    HttpEndpoint,
    IContext,
    IEndpoints,
    IExplains,
    IPrepared,
    IPreparesInSlices,
    Metric,
    NotDone,
    PrepareError,
    Published,
)
from balancer.limit.counts import Counts
from balancer.limit.rates import Rates
from balancer.pool.events import Moved
from balancer.wire import room
from balancer.wire.certificates import Certificates
from balancer.wire.connect import connect
from balancer.wire.handshakes import MOST_HANDSHAKES
from balancer.wire.listener import Listener
from balancer.wire.logfile import LogFile
from balancer.wire.regular import open_regular
from balancer.wire.slices import in_slices
from balancer.wire.stream import Stream
from balancer.wire.terminations import CannotLoad, Keyrings, Terminations

ALPN: Final = ("http/1.1",)
"""What a client behind TLS may speak."""

LOG_INTERVAL: Final = 60.0
"""Seconds between two lines about the same shortage."""

log = Logger()


_SENT_PLAIN = error(400, "this port speaks HTTPS")
PLAIN_HTTP: Final = b"%bConnection: close\r\n\r\n%b" % (_SENT_PLAIN.start, _SENT_PLAIN.body)
"""What a client gets that speaks plain HTTP to a listener with TLS, as nginx tells it."""


@implementer(IPrepared)
@frozen
class Prepared:
    """Settings with all that they need opened."""

    balancer: HttpBalancer
    settings: HttpSettings
    listeners: tuple[Listener, ...]
    keyrings: Keyrings
    pages: dict[int, Answer]
    log_file: LogFile | None

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
        reactor = context.reactor
        self.front = Front(
            name=name,
            reactor=reactor,
            wheel=context.wheel,
            connect=self._connect,
            publish=context.publish,
            dates=Dates(wall),
            new_id=partial(_random_id, random.Random()),
            left=self._left,
        )
        self._targets: dict[str, Target] = {}
        self._namings: dict[str, Naming] = {}
        self._endpoints: tuple[HttpEndpoint, ...] = ()
        self._callbacks: list[Callable[[], None]] = []
        self._routes: tuple[Route, ...] = ()
        self._listeners: dict[Listener, Callable[[socket.socket, Any], None]] = {}
        self._tls = Terminations(self._not_shaken, ALPN, PLAIN_HTTP)
        # Accepted, and not among the front's connections before their handshakes are done.
        self._shaking: set[ClientConnection] = set()
        self._max_connections = 0
        self._full = False
        self._said_full = float("-inf")
        self._drained: Deferred[None] | None = None
        context.subscribe(self._happened)

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
        pages = {}
        for code, name in settings.error_page.items():
            pages[int(code)] = _read_page(int(code), name)
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
            return (yield from self._tls.preparing(paths, self._context.reactor.seconds()))
        except CannotLoad as error:
            msg = "\n".join(f"[http {self.name}] listen: tls: {each}" for each in error.problems)
            raise PrepareError(msg) from error

    def take(self, prepared: Prepared) -> None:
        """Put prepared settings in force; for `Prepared.commit` alone."""
        settings, front = prepared.settings, self.front
        self._take_heads(settings)
        self._take_limits(settings)
        self._take_routes(settings)
        most = min(MOST_HANDSHAKES, self._max_connections)
        self._tls.take(prepared.keyrings, settings.head_timeout, most)
        front.set_timeouts(
            settings.head_timeout, settings.idle_timeout, settings.response_timeout
        )
        front.pages = prepared.pages
        log_file = prepared.log_file
        if front.log is not None:
            front.log.close()
        front.log = None
        if log_file is not None:
            front.log = lines(settings.log_format, self._name, front.dates, log_file)
        for connection in front.connections:
            connection.settings_changed()
        self._renew_links()
        self._take_listeners(prepared.listeners)
        self._take_endpoints(prepared)

    def _take_heads(self, settings: HttpSettings) -> None:
        front = self.front
        cut = {name.lower().encode() for name in settings.remove_request_header}
        cut |= {field.name.lower().encode() for field in settings.set_request_header}
        if settings.request_id is not None:
            cut.add(settings.request_id.lower().encode())
        front.new_reader = partial(
            RequestReader, settings.max_head, settings.max_fields, cut, settings.forwarded
        )
        front.reader = front.new_reader()
        cut = {name.lower().encode() for name in settings.remove_response_header}
        cut |= {field.name.lower().encode() for field in settings.set_response_header}
        front.new_answer_reader = partial(ResponseReader, remove=cut)
        front.answer_reader = front.new_answer_reader()
        front.forwarded = settings.forwarded
        front.request_id = None
        if settings.request_id is not None:
            front.request_id = settings.request_id.encode()
        front.request_lines = b"".join(field.line for field in settings.set_request_header)
        front.set_answer_lines(b"".join(field.line for field in settings.set_response_header))

    def _take_limits(self, settings: HttpSettings) -> None:
        front, rate = self.front, settings.rate
        front.max_body = UNLIMITED if settings.max_body is None else settings.max_body
        rates = front.rates
        if rate is None:
            front.rates = None
        elif rates is None or (rates.rate, rates.burst) != (rate.rate, rate.burst):
            front.rates = Rates(rate.rate, rate.burst)
        front.proxies = settings.trusted_proxies
        front.limited = front.rates is not None or bool(front.proxies)
        self._max_connections = self._room(settings.max_connections)
        most = settings.max_connections_per_source
        if front.per_source is None or front.per_source.limit != most:
            # Who is connected already is counted by the old limit, and given back to nobody.
            for connection in (*front.connections, *self._shaking):
                connection.counted = False
            front.per_source = None if most is None else Counts(most)

    def _room(self, wanted: int) -> int:
        """As many clients as were asked for, or as file descriptors allow."""
        fit = room.clients()
        if fit < wanted:
            log.warn(
                "[http {name}] room for {fit} clients instead of max-connections = {wanted}: only "
                "{limit} files may be open (ulimit -n)",
                name=self.name,
                fit=fit,
                wanted=wanted,
                limit=room.soft_limit(),
            )
        return min(wanted, fit)

    def _take_routes(self, settings: HttpSettings) -> None:
        front = self.front
        targets = self._targets
        self._targets = {}
        for naming in self._namings.values():
            naming.let_go()
        self._namings = {}

        def resolve(action: Action) -> Target:
            if isinstance(action, ToPool):
                return self._pool_target(action.name, targets)
            if isinstance(action, ToSubdomains):
                return Target(naming=self._naming(action.name))
            if isinstance(action, Respond):
                return Target(answer=response(action))
            if isinstance(action, (Redirect, RedirectToHttps)):
                return Target(redirect=action)
            raise AssertionError(action)

        default = Target() if settings.pool is None else resolve(ToPool(settings.pool))
        front.table = front.tls_table = compile_routes(settings.routes, default, resolve)
        elsewhere = [r for r in settings.routes if not isinstance(r.action, RedirectToHttps)]
        if len(elsewhere) < len(settings.routes):
            front.tls_table = compile_routes(elsewhere, default, resolve)
        self._routes = settings.routes
        front.only = front.table.only
        for name, target in targets.items():
            if self._targets.get(name) is not target:
                for links in target.links.values():
                    links.drop()

    def _renew_links(self) -> None:
        """A server that is trusted otherwise by now keeps no connections of before."""
        for target in self._targets.values():
            for server, links in list(target.links.items()):
                if links.address is not server.address:
                    links.retire()
                    del target.links[server]

    def _pool_target(self, name: str, old: Mapping[str, Target]) -> Target:
        if name not in self._targets:
            pool = self._context.pool(name)
            target = old.get(name)
            if target is None or target.pool is not pool:
                target = Target(pool, LinkTable(self.front))
            target.key_of = key_of(pool.needs_key)
            self._targets[name] = target
        return self._targets[name]

    def _naming(self, name: str) -> Naming:
        if name not in self._namings:
            named: Any = self._context.balancer(f"subdomains:{name}")
            self._namings[name] = Naming(named)
        return self._namings[name]

    # -- IEndpoints

    def _take_endpoints(self, prepared: Prepared) -> None:
        pools = [*self._targets, *(naming.pool.name for naming in self._namings.values())]
        tls = [each.tls is not None for each in prepared.settings.listen]
        pairs = zip(prepared.listeners, tls, strict=True)
        before, self._endpoints = self._endpoints, tuple(
            HttpEndpoint(
                listener.address, listener.address.port, secure, ALPN, tuple(dict.fromkeys(pools))
            )
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

    # -- clients

    def _take_listeners(self, listeners: Iterable[Listener]) -> None:
        wanted = set(listeners)
        for listener in set(self._listeners) - wanted:
            self._give_up(listener)
        for listener in wanted - set(self._listeners):
            self._listeners[listener] = partial(self._accepted, listener)
        if self.running:
            self._accept()

    def _accept(self) -> None:
        for listener, owner in self._listeners.items():
            listener.accepted = owner
            listener.start()

    def _give_up(self, listener: Listener) -> None:
        owner = self._listeners.pop(listener)
        if listener.accepted is owner:
            # Otherwise another balancer has taken it over.
            listener.accepted = None
            listener.resume()

    def _accepted(self, listener: Listener, sock: socket.socket, peer: Any) -> None:
        front = self.front
        tls = listener in self._tls
        client = SecureConnection(front, self._shaking) if tls else ClientConnection(front)
        counts = front.per_source
        host = peer[0] if isinstance(peer, tuple) else "unix"
        if counts is not None and not client.trusts(host):
            if not counts.take(host):
                front.figures.refused["max-connections-per-source"] += 1
                self._shaking.discard(client)
                sock.close()
                return
            client.counted = True
        if tls:
            # It has no transport to say so before the handshake is done.
            client.peer = host
            self._tls.handshakes(listener).serve(sock, peer, client)
        else:
            address = listener.address.sockaddr
            stream = Stream(self._context.reactor, sock, client, address, peer)
            stream.start(listener.prompt)
        if not self._full and self._present() >= self._max_connections:
            self._fill()

    def _present(self) -> int:
        """Clients that are here, in handshakes or past them."""
        return len(self.front.connections) + len(self._shaking)

    def _not_shaken(self, client: ClientConnection, reason: str) -> None:
        """The handshake has failed; nothing else of the client was begun."""
        self._shaking.discard(client)
        self._left(client)

    def _fill(self) -> None:
        """As many clients as allowed: the next ones wait in the kernel's backlog, as in HAProxy."""
        self._full = True
        self.front.figures.refused["max-connections"] += 1
        for listener in self._listeners:
            listener.pause()
        now = self.front.clock()
        if now - self._said_full >= LOG_INTERVAL:
            self._said_full = now
            log.warn(
                "[http {name}] max-connections ({most}) reached: further clients wait",
                name=self.name,
                most=self._max_connections,
            )

    def _left(self, client: ClientConnection) -> None:
        counts = self.front.per_source
        if client.counted and counts is not None:
            client.counted = False
            counts.give(client.peer)
        if self._full and self._present() < self._max_connections:
            self._full = False
            for listener in self._listeners:
                listener.resume()
        self._check_drained()

    # -- the site's life

    def startService(self) -> None:
        """Begin to accept."""
        super().startService()
        self._accept()

    def explain(self, question: Mapping[str, str]) -> Mapping[str, Any]:
        """See `IExplains`."""
        try:
            return explain(self.front, self._routes, self._doors(), question)
        except Unanswerable as error:
            raise NotDone(str(error)) from error

    def _doors(self) -> Mapping[int, Certificates | None]:
        """The ports that clients may come in by, each with its certificates if TLS ends there."""
        return {
            listener.address.port: (
                self._tls.keyring(listener).certificates if listener in self._tls else None
            )
            for listener in self._listeners
        }

    def drain(self) -> Deferred[None]:
        """Accept no more, answer what was asked, and end connections as they become idle."""
        if self._drained is None:
            self._drained = Deferred()
            self.front.draining = True
            for listener in list(self._listeners):
                self._give_up(listener)
            self._tls.stop()
            in_slices(self._context.reactor, self._drain_connections())
            self._check_drained()
        return self._drained

    def _drain_connections(self) -> Slices[None]:
        # In slices, because 10,000 take a tenth of a second.
        for connection in list(self.front.connections):
            connection.drain()
            yield

    def _check_drained(self) -> None:
        drained = self._drained
        if drained is not None and not drained.called and not self._present():
            drained.callback(None)

    def stopService(self) -> None:
        """End all that is left."""
        super().stopService()
        self._context.unsubscribe(self._happened)
        self.front.draining = True
        for listener in list(self._listeners):
            self._give_up(listener)
        self._tls.stop()
        for connection in list(self.front.connections):
            connection.stop()
        for target in self._targets.values():
            for links in target.links.values():
                links.drop()
        for naming in self._namings.values():
            naming.let_go()
        if self.front.log is not None:
            self.front.log.close()

    # -- verdicts

    def _happened(self, published: Published) -> None:
        """A verdict changed: a server that is out keeps no connections, nor does one that is
        elsewhere now."""
        target, event = self._targets.get(published.pool), published.event
        if target is None:
            return
        for server, links in list(target.links.items()):
            if server.key != event.server:
                continue
            links.verdict_changed()
            if server.state == "removed" or isinstance(event, Moved):
                links.retire()
                del target.links[server]

    # -- what it tells

    def status(self) -> Mapping[str, Any]:
        """For `/api/status`."""
        front, figures = self.front, self.front.figures
        phases = dict.fromkeys(NAMES, 0)
        for connection in front.connections:
            phases[NAMES[connection.phase]] += 1
        return {
            "kind": "http",
            "listeners": [str(listener.address) for listener in self._listeners],
            "pools": sorted(self._targets),
            "subdomains": sorted(self._namings),
            "draining": front.draining,
            "connections": len(front.connections),
            "max_connections": self._max_connections,
            "phases": phases,
            "connections_total": figures.connections_total,
            "requests_total": figures.requests,
            "codes": {str(code): count for code, count in figures.by_code()},
            "retries_total": figures.retries,
            "refused_total": dict(figures.refused),
            "bytes_in": figures.bytes_in,
            "bytes_out": figures.bytes_out,
            "tls": self._tls.status(),
            "idle_server_connections": {
                server.key: len(links.idle)
                for target in self._targets.values()
                for server, links in target.links.items()
            },
        }

    def metrics(self) -> Sequence[Metric]:
        """For `/metrics`."""
        idle = {
            (name, server.name): len(links.idle)
            for name, target in self._targets.items()
            for server, links in target.links.items()
        }
        return (
            *metrics(self._name, self.front.figures, len(self.front.connections), idle),
            *tls_metrics(self._name, self._tls),
        )


def _read_page(code: int, name: str) -> Answer:
    try:
        with open_regular(name) as file:
            body = file.read(MAX_PAGE + 1)
    except OSError as error:
        msg = f"error-page {code}: cannot read {name}: {error.strerror or error}"
        raise PrepareError(msg) from error
    if len(body) > MAX_PAGE:
        msg = f"error-page {code}: expected at most {MAX_PAGE} bytes, got more in {name}"
        raise PrepareError(msg)
    return page(code, body, name)
