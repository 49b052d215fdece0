"""
Clients as they come in: listeners, handshakes, how many may be here, and their leaving.

Knows sockets and numbers; what a client asks is its connection's to know.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from balancer.config.slices import Slices
from balancer.http.answers import error
from balancer.http.client import ClientConnection
from balancer.http.front import Front
from balancer.http.secure import SecureConnection
from balancer.limit.counts import Counts
from balancer.wire import room
from balancer.wire.certificates import Certificates
from balancer.wire.listener import Listener
from balancer.wire.reactor import IWireReactor
from balancer.wire.slices import in_slices
from balancer.wire.stream import Stream
from balancer.wire.terminations import Terminations

ALPN: Final = ("http/1.1",)
"""What a client behind TLS may speak."""

LOG_INTERVAL: Final = 60.0
"""Seconds between two lines about the same shortage."""

log = Logger()


_SENT_PLAIN = error(400, "this port speaks HTTPS")
PLAIN_HTTP: Final = b"%bConnection: close\r\n\r\n%b" % (_SENT_PLAIN.start, _SENT_PLAIN.body)
"""What a client gets that speaks plain HTTP to a listener with TLS, as nginx tells it."""


class Arrivals:
    """
    The clients of one balancer; its `front` has those whose handshakes are done.

    `tls` is the TLS of the listeners, `most` how many clients may be here.
    """

    def __init__(self, front: Front, reactor: IWireReactor) -> None:
        self.tls = Terminations(self._not_shaken, ALPN, PLAIN_HTTP)
        self.most = 0
        self._front = front
        self._reactor = reactor
        self._listeners: dict[Listener, Callable[[socket.socket, Any], None]] = {}
        # Accepted, and not among the front's connections before their handshakes are done.
        self._shaking: set[ClientConnection] = set()
        self._full = False
        self._said_full = float("-inf")
        self._drained: Deferred[None] | None = None
        front.left = self._left

    # -- settings

    def limit(self, most: int, per_source: int | None) -> None:
        """At most so many clients, and so many of one source, None: any number."""
        front = self._front
        self.most = self._room(most)
        if front.per_source is None or front.per_source.limit != per_source:
            # Who is connected already is counted by the old limit, and given back to nobody.
            for connection in (*front.connections, *self._shaking):
                connection.counted = False
            front.per_source = None if per_source is None else Counts(per_source)

    def _room(self, wanted: int) -> int:
        """As many clients as were asked for, or as file descriptors allow."""
        fit = room.clients()
        if fit < wanted:
            log.warn(
                "[http {name}] room for {fit} clients instead of max-connections = {wanted}: only "
                "{limit} files may be open (ulimit -n)",
                name=self._front.name,
                fit=fit,
                wanted=wanted,
                limit=room.soft_limit(),
            )
        return min(wanted, fit)

    # -- clients

    def take_listeners(self, listeners: Iterable[Listener], running: bool) -> None:
        """Have these and no others; what others claim by now stays theirs."""
        wanted = set(listeners)
        for listener in set(self._listeners) - wanted:
            self._give_up(listener)
        for listener in wanted - set(self._listeners):
            self._listeners[listener] = partial(self._accepted, listener)
        if running:
            self.accept()

    def accept(self) -> None:
        """Begin to accept at each listener."""
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
        front = self._front
        tls = listener in self.tls
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
            self.tls.handshakes(listener).serve(sock, peer, client)
        else:
            address = listener.address.sockaddr
            stream = Stream(self._reactor, sock, client, address, peer)
            stream.start(listener.prompt)
        if not self._full and self._present() >= self.most:
            self._fill()

    def _present(self) -> int:
        """Clients that are here, in handshakes or past them."""
        return len(self._front.connections) + len(self._shaking)

    def _not_shaken(self, client: ClientConnection, reason: str) -> None:
        """The handshake has failed; nothing else of the client was begun."""
        self._shaking.discard(client)
        self._left(client)

    def _fill(self) -> None:
        """As many clients as allowed: the next ones wait in the kernel's backlog, as in HAProxy."""
        self._full = True
        self._front.figures.refused["max-connections"] += 1
        for listener in self._listeners:
            listener.pause()
        now = self._front.clock()
        if now - self._said_full >= LOG_INTERVAL:
            self._said_full = now
            log.warn(
                "[http {name}] max-connections ({most}) reached: further clients wait",
                name=self._front.name,
                most=self.most,
            )

    def _left(self, client: ClientConnection) -> None:
        counts = self._front.per_source
        if client.counted and counts is not None:
            client.counted = False
            counts.give(client.peer)
        if self._full and self._present() < self.most:
            self._full = False
            for listener in self._listeners:
                listener.resume()
        self._check_drained()

    # -- the end

    def drain(self) -> Deferred[None]:
        """Accept no more, answer what was asked, and end connections as they become idle."""
        if self._drained is None:
            self._drained = Deferred()
            self._front.draining = True
            self._leave()
            in_slices(self._reactor, self._drain_connections())
            self._check_drained()
        return self._drained

    def _drain_connections(self) -> Slices[None]:
        # In slices, because 10,000 take a tenth of a second.
        for connection in list(self._front.connections):
            connection.drain()
            yield

    def _check_drained(self) -> None:
        drained = self._drained
        if drained is not None and not drained.called and not self._present():
            drained.callback(None)

    def stop(self) -> None:
        """Accept no more, and end all that is left."""
        self._front.draining = True
        self._leave()
        for connection in list(self._front.connections):
            connection.stop()

    def _leave(self) -> None:
        for listener in list(self._listeners):
            self._give_up(listener)
        self.tls.stop()

    # -- what it tells

    @property
    def listeners(self) -> Sequence[Listener]:
        """Those where clients are accepted."""
        return tuple(self._listeners)

    def doors(self) -> Mapping[int, Certificates | None]:
        """The ports that clients may come in by, each with its certificates if TLS ends there."""
        return {
            listener.address.port: (
                self.tls.keyring(listener).certificates if listener in self.tls else None
            )
            for listener in self._listeners
        }
