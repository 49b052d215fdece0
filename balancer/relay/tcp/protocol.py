"""
A relayed TCP connection: two streams, and what connects them.

Knows streams, pools and the wheel. Knows nothing of listeners, limits and what is counted over all
connections: `Terms.ended` tells the balancer of each one that is over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

from attrs import define, field
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.interfaces import IContext
from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.relay.histogram import CONNECT_SECONDS, LIFE_SECONDS, Histogram
from balancer.relay.limits import Limits, key_of
from balancer.relay.seat import Seat, finish
from balancer.wire.connect import ConnectFailed, ConnectImpossible, Connecting, connect
from balancer.wire.stream import Stream

EARLY_BYTES = 64 * 1024
"""Bytes of a client that are kept until there is a server, as in Twisted's StreamBuffer."""

EARLY_READ = 16 * 1024
"""Bytes read at once until then (HAProxy's tune.bufsize): one read must not pass the bound."""

RELAY_READ = 256 * 1024
"""Bytes read at once afterwards: a MB costs 0.4 ms so, and 0.6 ms at 64 KiB."""

# How a connection stands. Every move is made in `Link`, and there is no other way:
#
#   state        what comes             what is done                                next
#   WAITING      admitted               connect                                     CONNECTING
#   (queue)      queue-timeout, idle    close the client                            ENDED
#   CONNECTING   connected              what the client sent goes out               RELAYING
#                failed                 the next server, up to `retries` times      CONNECTING
#                failed, others full    enqueue                                     WAITING
#                failed, none is left   close the client                            ENDED
#                not made               the client's TLS handshake has failed       ENDED
#   either       client lost            forget the queue, cancel the connect        ENDED
#                client's end           remember it for the server                  the same
#   RELAYING     bytes                  to the other side                           RELAYING
#                a side's end           the other side's write half is closed       RELAYING
#                a side reset           the other one is reset                      CLOSING
#                a side gone otherwise  what it sent goes out, the other one closed CLOSING
#                idle                   both are closed                             CLOSING
#   CLOSING      the last side is gone  the seat is left, the balancer told         ENDED
#   any          kill                   both are reset                              CLOSING, ENDED
WAITING, CONNECTING, RELAYING = "waiting", "connecting", "relaying"
CLOSING, ENDED = "closing", "ended"

# HAProxy's letter of the phase (see `lines`).
_PHASES = {WAITING: "Q", CONNECTING: "C", RELAYING: "D"}


@define(eq=False)
class Totals:
    """What is counted over all connections of a balancer. Bytes are those of ended connections."""

    retries: int = 0
    connect_failures: int = 0
    to_server: int = 0
    to_client: int = 0
    ended: dict[str, int] = field(factory=dict)
    connect_seconds: Histogram = field(factory=lambda: Histogram(CONNECT_SECONDS))
    life_seconds: Histogram = field(factory=lambda: Histogram(LIFE_SECONDS))


@define(eq=False)
class Terms:
    """What the connections made under one set of settings share. Times are in seconds; `connect` is
    `wire.connect.connect`."""

    context: IContext
    pool: Pool
    idle_timeout: float
    limits: Limits
    totals: Totals
    ended: Callable[[Link], None]
    connect: Callable[..., Connecting] = connect


@implementer(IProtocol, IHalfCloseableProtocol)
class Side:
    """One end of a relayed connection: the protocol on its stream. `received` counts bytes."""

    __slots__ = ("_idle", "_link", "_seconds", "at_end", "forward", "lost", "received", "stream")

    def __init__(self, link: Link, forward: Callable[[bytes], None]) -> None:
        self.stream: Stream | None = None
        self.received = 0
        self.at_end = False
        self.lost = False
        self.forward = forward
        self._link = link
        self._seconds = link.terms.context.reactor.seconds
        self._idle = link.terms.idle_timeout

    def makeConnection(self, transport: ITransport) -> None:
        """The stream is there."""
        self.stream = cast(Stream, transport)
        self._link.made(self)

    def not_made(self) -> None:
        """The client's handshake has failed: there will be no stream."""
        self._link.kill("C")

    def connectionMade(self) -> None:
        """Nothing more than `makeConnection` does."""

    def dataReceived(self, data: bytes) -> None:
        """The hot path: as little as can be."""
        self.received += len(data)
        self._link.deadline = self._seconds() + self._idle
        self.forward(data)

    def readConnectionLost(self) -> None:
        """The peer has sent its end, and still takes bytes."""
        self.at_end = True
        self._link.half_closed(self)

    def writeConnectionLost(self) -> None:
        """Our end has gone out; the stream needs nothing."""

    def connectionLost(self, reason: Failure) -> None:
        """The stream is gone."""
        self.lost = True
        self._link.side_lost(self, reason)


class Link:
    """
    A client's connection and the one to its server.

    `how` is how it ended in HAProxy's two letters, '--' for a complete one. `came_at` and
    `connect_began` are times of the reactor, `waited` and `connected_in` seconds or None.
    """

    __slots__ = (
        "_connecting",
        "_early",
        "_early_size",
        "_queued_before",
        "_turn",
        "came_at",
        "client",
        "connect_began",
        "connected_in",
        "deadline",
        "how",
        "seat",
        "server",
        "server_key",
        "source",
        "source_port",
        "state",
        "terms",
        "waited",
    )

    def __init__(self, terms: Terms, source: str, port: int) -> None:
        self.terms = terms
        self.source = source
        self.source_port = port
        self.seat = Seat(terms.pool, key_of(terms.pool.needs_key.kind, source, port))
        self.state = CONNECTING
        self.how = "--"
        self.server_key = ""
        self.client = Side(self, self._keep)
        self.server: Side | None = None
        self.came_at = terms.context.reactor.seconds()
        self.connect_began = self.came_at
        self.waited: float | None = None
        self.connected_in: float | None = None
        self.deadline = self.came_at + terms.idle_timeout
        self._turn: Turn | None = None
        self._connecting: Connecting | None = None
        self._early: list[bytes] = []
        self._early_size = 0
        self._queued_before = -1

    # Finding a server

    def made(self, side: Side) -> None:
        """A stream has come to `side`."""
        if side is self.client:
            assert side.stream is not None
            side.stream.recv_size = EARLY_READ
            self.terms.context.wheel.add(self)
            self._next_server()
        else:
            self._connected()

    def _next_server(self) -> None:
        now = self._now()
        server = self.seat.take(now)
        if server is not None:
            self._connect(server, now)
        elif self.seat.tried and not self.terms.pool.others_are_full(self.seat.tried):
            self._close_client("SC")
        else:
            self._wait(now)

    def _wait(self, now: float) -> None:
        """No server has room: wait in the pool's queue, if waiting makes sense."""
        pool = self.terms.pool
        if not pool.available:
            self._close_client("SC")
            return
        turn = Turn(self, now + pool.settings.queue_timeout)
        self.state = WAITING
        if pool.enqueue(turn, now):
            self._turn = turn
            self.terms.context.wheel.add(turn)
        else:
            self._close_client("SC" if self.seat.tried else "PQ")

    def _forget_turn(self) -> None:
        turn = self._turn
        if turn is not None:
            self._turn = None
            self.terms.pool.forget(turn)
            self.terms.context.wheel.discard(turn)

    def turn_came(self, server: Server, now: float) -> None:
        """The pool gave us a place on `server`."""
        if self.state != WAITING:
            finish(self.terms.pool, server, now)
            return
        self._forget_turn()
        self.state = CONNECTING
        self.seat.grant(server)
        self._connect(server, now)

    def turn_over(self) -> None:
        """Nobody had room in time."""
        if self.state == WAITING:
            # Counts us and takes us out; others that are late have timers of their own.
            self.terms.pool.expired(self._now())
            self._close_client("sQ")

    def _connect(self, server: Server, now: float) -> None:
        if self.waited is None:
            self.waited = now - self.came_at
        self.connect_began = now
        self.server_key = server.key
        context, settings = self.terms.context, self.terms.pool.settings
        client = self.client.stream
        assert client is not None
        self.server = side = Side(self, client.write)
        self._connecting = self.terms.connect(
            context.reactor,
            server.address,
            side,
            self._connect_failed,
            settings.connect_timeout,
            context.wheel,
        )

    def _connect_failed(self, error: ConnectFailed) -> None:
        terms, now, server = self.terms, self._now(), self.seat.server
        self._connecting = self.server = None
        if self.state != CONNECTING or server is None:
            return
        terms.totals.connect_failures += 1
        ours = isinstance(error, ConnectImpossible)
        if not ours:
            events = terms.pool.failed(server, f"connect: {error.reason}", now)
            if events:
                terms.context.publish(terms.pool, events)
        self.seat.give_up(now)
        if len(self.seat.tried) > terms.pool.settings.retries:
            self._close_client("RC" if ours else "sC" if error.timed_out else "SC")
            return
        terms.totals.retries += 1
        self._next_server()

    # Relaying

    def _keep(self, data: bytes) -> None:
        """The client speaks before there is a server."""
        self._early.append(data)
        self._early_size += len(data)
        if self._early_size > EARLY_BYTES - EARLY_READ and self.client.stream is not None:
            self.client.stream.pauseProducing()

    def _connected(self) -> None:
        client, server = self.client.stream, self._server_stream()
        assert client is not None and server is not None and self.seat.server is not None
        now = self._now()
        self._connecting = None
        self.state = RELAYING
        self.connected_in = now - self.connect_began
        self.deadline = now + self.terms.idle_timeout
        self.terms.totals.connect_seconds.observe(self.connected_in)
        events = self.terms.pool.succeeded(self.seat.server, self.connected_in, now)
        if events:
            self.terms.context.publish(self.terms.pool, events)
        client.recv_size = server.recv_size = RELAY_READ
        self.client.forward = server.write
        early, self._early = self._early, []
        if early:
            server.write(b"".join(early))
        client.resumeProducing()
        # These may pause, so they come after the resuming.
        server.registerProducer(client, True)
        client.registerProducer(server, True)
        if self.client.at_end:
            self._end_to(server)

    def half_closed(self, side: Side) -> None:
        """`side` has sent all it had. The stream itself ends when both directions are closed."""
        other = self._server_stream() if side is self.client else self.client.stream
        if self.state == RELAYING and other is not None:
            self._end_to(other)

    def _end_to(self, stream: Stream) -> None:
        """Nothing more will come for `stream`."""
        stream.unregisterProducer()
        stream.loseWriteConnection()

    # Ending

    def side_lost(self, side: Side, reason: Failure) -> None:
        """A stream is gone, by its peer's doing or by ours."""
        if self.state in (WAITING, CONNECTING):
            # It is the client's: a server's stream brings the state RELAYING.
            self._note("C")
            self._close_client(self.how)
            return
        other = self.server if side is self.client else self.client
        if other is None or other.lost:
            self._end()
            return
        stream = other.stream
        assert stream is not None
        clean = reason.check(ConnectionDone) is not None
        if self.state == RELAYING:
            if not (clean or (side.at_end and other.at_end)):
                self._note("C" if side is self.client else "S")
            self.state = CLOSING
        # All that `side` had to say must arrive; half of it must not look like all.
        if clean or side.at_end:
            stream.loseConnection()
        else:
            stream.abortConnection()

    def expired(self, now: float) -> None:
        """Nothing was received for the idle timeout."""
        queued = self._queued()
        if queued and queued != self._queued_before and self.state in (RELAYING, CLOSING):
            # A slow reader still takes what is queued.
            self._queued_before = queued
            self.deadline = now + self.terms.idle_timeout
            self.terms.context.wheel.add(self)
        elif self.state == RELAYING and not queued:
            self._note("c")
            self._close_both()
        elif self.state in (WAITING, CONNECTING):
            self._close_client("c" + _PHASES[self.state])
        else:
            self.kill("c")

    def kill(self, who: str = "K") -> None:
        """Reset both sides now; `who` is HAProxy's letter."""
        if self.state == ENDED:
            return
        self._note(who)
        if self.state in (WAITING, CONNECTING):
            self._close_client(self.how)
        else:
            self.state = CLOSING
        for stream in (self.client.stream, self._server_stream()):
            if stream is not None:
                stream.abortConnection()

    def _close_both(self) -> None:
        """Nothing is queued: the ends go out at once."""
        self.state = CLOSING
        self._await_close()
        for stream in (self.client.stream, self._server_stream()):
            if stream is not None:
                stream.loseConnection()

    def _await_close(self) -> None:
        """A close that waits for a peer has a deadline as well."""
        self.deadline = self._now() + self.terms.idle_timeout
        self.terms.context.wheel.add(self)

    def _close_client(self, how: str) -> None:
        """There will be no server: what the client sent is dropped, and it sees a close."""
        self.how = how
        self._forget_turn()
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        self.server = None
        self.seat.leave(self._now())
        self._early.clear()
        self.state = CLOSING
        client = self.client
        if client.lost or client.stream is None:
            self._end()
        elif self._early_size:
            client.stream.abortConnection()
        else:
            client.stream.loseConnection()

    def _end(self) -> None:
        if self.state == ENDED:
            return
        self.state = ENDED
        self.deadline = math.inf
        self.terms.context.wheel.discard(self)
        self.seat.leave(self._now())
        self.terms.ended(self)

    def _note(self, who: str) -> None:
        """Remember the first cause of the end."""
        if self.how == "--":
            self.how = who + _PHASES.get(self.state, "D")

    def _queued(self) -> int:
        streams = (self.client.stream, self._server_stream())
        return sum(stream.queued for stream in streams if stream is not None)

    def _server_stream(self) -> Stream | None:
        return None if self.server is None else self.server.stream

    def _now(self) -> float:
        return self.terms.context.reactor.seconds()

    @property
    def to_server(self) -> int:
        """Bytes that the client sent."""
        return self.client.received

    @property
    def to_client(self) -> int:
        """Bytes that the server sent."""
        return 0 if self.server is None else self.server.received


class Turn:
    """A link's place in its pool's queue, with a deadline of its own."""

    __slots__ = ("_link", "deadline", "key", "tried")

    def __init__(self, link: Link, deadline: float) -> None:
        self._link = link
        self.deadline = deadline
        self.key = link.seat.key
        self.tried = link.seat.tried

    def admitted(self, server: Server, now: float) -> None:
        """There is room on `server`, and work is begun there."""
        self._link.turn_came(server, now)

    def expired(self, now: float) -> None:
        """Waited long enough."""
        self._link.turn_over()
