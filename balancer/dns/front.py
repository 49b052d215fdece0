"""
One listening address: the UDP socket, the TCP listener, and the responder behind both.

Knows sockets and who may connect how often. Which zones are answered for is told it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed

from balancer.dns.pace import Pace
from balancer.dns.protocol import DnsConnection
from balancer.dns.responder import Responder
from balancer.interfaces import IContext
from balancer.limit.counts import Counts
from balancer.wire import room
from balancer.wire.datagrams import DatagramPort
from balancer.wire.listener import Listener
from balancer.wire.stream import Stream

MAX_CONNECTIONS: Final = 1000
"""TCP connections of one listener: NSD has 100 by default, knot as many as fit its descriptors."""

MAX_PER_SOURCE: Final = 50
"""TCP connections from one address: RFC 7766 6.2.2 asks clients for one."""

MAX_QUERY: Final = 4096
"""Bytes of a query over UDP: what is longer is cut, and malformed then. NSD reads 2048."""


class Front:
    """What comes in at one address and port, and goes to `responder`."""

    def __init__(
        self, context: IContext, responder: Responder, datagrams: DatagramPort, listener: Listener
    ) -> None:
        self.responder = responder
        self.listener = listener
        self.datagrams = datagrams
        self.connections: dict[DnsConnection, None] = {}
        self.sources = Counts(MAX_PER_SOURCE)
        self.refused_total = 0
        self.connections_total = 0
        self._drained: Deferred[None] | None = None
        self._most = min(MAX_CONNECTIONS, room.clients())
        self._context = context
        self._owner: Callable[[socket.socket, Any], None] = self._accepted
        self._answer = responder.datagram
        self._pace = Pace(context.reactor.seconds, partial(context.reactor.callLater, 0))

    def start(self) -> None:
        """Answer from now on."""
        self.datagrams.longest = MAX_QUERY
        self.datagrams.answer = self._answer
        self.datagrams.at_hand = self.responder.at_hand
        self.datagrams.start()
        self.listener.accepted = self._owner
        self.listener.start()

    def drain(self) -> Deferred[None]:
        """Take no new connections, let what was asked be answered, and fire when no connection is
        left. Datagrams are still answered: a client that gets no answer waits for seconds before it
        asks elsewhere."""
        self._stop_accepting()
        if not self.connections:
            return succeed(None)
        self._drained = self._drained or Deferred()
        drained: Deferred[None] = Deferred()
        self._drained.addCallback(lambda _: drained.callback(None))
        return drained

    def _stop_accepting(self) -> None:
        if self.listener.accepted is self._owner:
            self.listener.accepted = None
        for connection in list(self.connections):
            connection.drain()

    def stop(self) -> None:
        """Answer nothing any more, end every connection, and keep no answers."""
        self._stop_accepting()
        if self.datagrams.answer == self._answer:
            self.datagrams.answer = self.datagrams.at_hand = None
        for connection in list(self.connections):
            connection.transport.abortConnection()
        self.responder.serve(())

    def _accepted(self, sock: socket.socket, peer: Any) -> None:
        host = peer[0]
        if not self.sources.take(host):
            self.refused_total += 1
            sock.close()
            return
        if len(self.connections) >= self._most:
            self._make_room()
        self.connections_total += 1
        reactor = self._context.reactor
        connection = DnsConnection(self.responder, host, self._pace, self._left)
        self.connections[connection] = None
        Stream(reactor, sock, connection, self.listener.address.sockaddr, peer).start()
        self._context.wheel.add(connection)

    def _make_room(self) -> None:
        """End the connection that has been idle for longest (RFC 7766 6.2.3)."""
        idle = min(self.connections, key=lambda connection: connection.deadline)
        self.refused_total += 1
        idle.expired(0.0)
        self._left(idle)

    def _left(self, connection: DnsConnection) -> None:
        if self.connections.pop(connection, self) is self:
            return
        self._context.wheel.discard(connection)
        self.sources.give(connection.peer)
        if self._drained is not None and not self.connections:
            drained, self._drained = self._drained, None
            drained.callback(None)

