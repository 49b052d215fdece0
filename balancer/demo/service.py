"""
A demo server at work: an HTTP, a TCP and a UDP side under one name.

Knows the site's seams and its own connections; what is said on them is in `http` and `echo`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from balancer.demo.answers import Place
from balancer.demo.echo import Echo
from balancer.demo.http import HttpConnection
from balancer.demo.settings import DemoSettings
from balancer.interfaces import IBalancer, IContext, IPrepared, Metric, Sample
from balancer.wire.address import Address, SocketAddress
from balancer.wire.datagrams import DatagramPort
from balancer.wire.listener import Listener
from balancer.wire.stream import Stream

MOST_CONNECTIONS = 1000
"""Connections of one demo server; more are closed, and counted."""

Connection = HttpConnection | Echo

_log = Logger()


@define
class _Bound:
    """What a section's settings name, as the site bound it."""

    http: tuple[Listener, ...] = ()
    tcp: tuple[Listener, ...] = ()
    udp: tuple[DatagramPort, ...] = ()


@implementer(IPrepared)
@define
class _Prepared:
    """Settings that `take` puts in force. Nothing was opened for them."""

    take: Callable[[], None]

    def commit(self) -> None:
        self.take()

    def abandon(self) -> None:
        """Nothing to drop."""


@implementer(IBalancer)
class DemoServer(Service):
    """
    `[demo NAME]`. Stands for servers elsewhere, which do not end with the balancer: while it drains
    it answers on, for those that drain in front of it, until the site stops it.
    """

    def __init__(
        self, name: str, context: IContext, stream: Callable[..., Stream] = Stream
    ) -> None:
        # Not Service.name: siblings of other kinds may bear the same name.
        self._section = name
        self._context = context
        self._stream = stream
        self._bound = _Bound()
        self._connections: set[Connection] = set()
        self._waiting: list[Deferred[None]] = []
        self.failing = False
        self.requests_total = 0
        self.connections_total = 0
        self.refused_total = 0
        self.datagrams_total = 0

    # -- life

    def prepare(self, settings: DemoSettings) -> IPrepared:
        """See `IBalancer`."""
        listener, datagrams = self._context.listener, self._context.datagrams
        bound = _Bound(
            tuple(listener(each.host, each.port) for each in settings.http),
            tuple(listener(each.host, each.port) for each in settings.tcp),
            tuple(datagrams(each.host, each.port) for each in settings.udp),
        )
        return _Prepared(partial(self._take, bound))

    def _take(self, bound: _Bound) -> None:
        self._let_go()
        self._bound = bound
        if self.running:
            self._open()

    def startService(self) -> None:
        """Begin to answer."""
        super().startService()
        self._open()

    def drain(self) -> Deferred[None]:
        """Answer on, and fire as soon as no request and no TCP connection is in progress."""
        if not self._is_busy():
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._waiting.append(done)
        return done

    def stopService(self) -> None:
        """End everything at once."""
        super().stopService()
        self._let_go()
        for connection in list(self._connections):
            connection.transport.abortConnection()

    def _open(self) -> None:
        for listener in self._bound.http:
            place = Place(self._section, str(listener.address))
            listener.accepted = partial(self._ask, listener.address, place)
        for listener in self._bound.tcp:
            listener.accepted = partial(self._echo, listener.address)
        for listener in (*self._bound.http, *self._bound.tcp):
            listener.start()
        for port in self._bound.udp:
            port.received = partial(self._send_back, port)
            port.start()

    def _let_go(self) -> None:
        """Take nothing more. The sockets are the site's."""
        for listener in (*self._bound.http, *self._bound.tcp):
            listener.accepted = None
        for port in self._bound.udp:
            port.received = None

    # -- work

    def _ask(self, here: Address, place: Place, sock: socket.socket, peer: SocketAddress) -> None:
        self._join(HttpConnection(self, place, self._context.reactor), here, sock, peer)

    def _echo(self, here: Address, sock: socket.socket, peer: SocketAddress) -> None:
        self._join(Echo(self.left, self._context.reactor), here, sock, peer)

    def _join(
        self, connection: Connection, here: Address, sock: socket.socket, peer: SocketAddress
    ) -> None:
        if len(self._connections) >= MOST_CONNECTIONS:
            self.refused_total += 1
            sock.close()
            return
        self.connections_total += 1
        self._connections.add(connection)
        self._context.wheel.add(connection)
        self._stream(self._context.reactor, sock, connection, here.sockaddr, peer).start()

    def left(self, connection: Connection) -> None:
        """A connection is over."""
        self._connections.discard(connection)
        self._context.wheel.discard(connection)
        self.eased()

    def eased(self) -> None:
        """A connection has nothing more in progress: perhaps that was what a drain waited for."""
        if self._waiting and not self._is_busy():
            waiting, self._waiting = self._waiting, []
            for done in waiting:
                done.callback(None)

    def _is_busy(self) -> bool:
        return any(isinstance(each, Echo) or not each.is_idle for each in self._connections)

    def _send_back(self, port: DatagramPort, data: bytes, peer: Any, local: object) -> None:
        self.datagrams_total += 1
        port.send(data, peer, local)

    def turn(self, failing: bool) -> None:
        """Make the HTTP side fail, or recover. While it fails no connection is kept open."""
        if failing != self.failing:
            word = "fails" if failing else "answers"
            _log.info("demo server {name} now {word}", name=self._section, word=word)
        self.failing = failing
        if failing:
            for connection in list(self._connections):
                if isinstance(connection, HttpConnection):
                    connection.close()

    # -- what is told

    def status(self) -> Mapping[str, Any]:
        """See `IBalancer`."""
        bound = self._bound
        return {
            "http": [str(listener.address) for listener in bound.http],
            "tcp": [str(listener.address) for listener in bound.tcp],
            "udp": [str(port.address) for port in bound.udp],
            "failing": self.failing,
            "connections": len(self._connections),
            "connections_total": self.connections_total,
            "refused_total": self.refused_total,
            "requests_total": self.requests_total,
            "datagrams_total": self.datagrams_total,
        }

    def metrics(self) -> Sequence[Metric]:
        """See `IBalancer`."""
        labels = {"balancer": self._section}
        counted = (
            ("requests", "Requests that the demo server answered.", self.requests_total),
            ("connections", "Connections that it accepted.", self.connections_total),
            ("refused", "Connections that were one too many.", self.refused_total),
            ("datagrams", "Datagrams that it sent back.", self.datagrams_total),
        )
        return [
            Metric(f"balancer_demo_{name}", help, "counter", (Sample(labels, float(value)),))
            for name, help, value in counted
        ]
