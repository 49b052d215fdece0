"""
The exchange of one client's connection: which server gets the request, what becomes of it when
something happens, and how it is counted, logged and ended.

Glue between the tables of `exchange`, the pool and the connections. How a request is read is the
business of `client`, how an answer is, of `server`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from balancer.http import exchange
from balancer.http.answers import Answer
from balancer.http.body import Chunks, Lengths
from balancer.http.exchange import (
    ANSWERING,
    CLOSING,
    CONNECTING,
    HEAD,
    IDLE,
    QUEUED,
    TABLE,
    TUNNEL,
    may_retry,
)
from balancer.http.front import Front, Target
from balancer.http.message import RequestHead
from balancer.http.tunnel import Tunnel
from balancer.http.waiting import Waiting
from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.wire.connect import ConnectFailed, ConnectImpossible

if TYPE_CHECKING:
    from balancer.http.server import ServerConnection
    from balancer.wire.stream import Stream

GATEWAY_FAILURES = frozenset((502, 503, 504))
"""Answers by which a server says that it cannot do its work: the pool hears of them as failures.
Other 5xx are the application's, and ejecting a server for one bad page would help nobody (Envoy
tells the two apart in the same way)."""


class Proxying:
    """One client's connection, as far as its exchange goes. See `log.Entry` for the times."""

    __slots__ = (
        "_begun",
        "_connecting",
        "_key",
        "_reused",
        "_target",
        "_tried",
        "_waiting",
        "answered_at",
        "began",
        "body",
        "buffer",
        "chosen_at",
        "front",
        "head",
        "held",
        "keep",
        "letters",
        "link",
        "minor",
        "peer_port",
        "phase",
        "read_at",
        "sent",
        "sent_at",
        "sent_head",
        "server",
        "source",
        "status",
        "transport",
        "tunnel",
        "until",
    )

    def __init__(self, front: Front) -> None:
        self.front = front
        self.transport: Stream
        self.phase = IDLE
        self.until = inf
        self.buffer = b""
        self.source = "-"
        self.peer_port = 0
        self.head: RequestHead | None = None
        self.minor = 1
        self.keep = False
        # The request's framing while its body is not complete, and all that was sent of it, as
        # long as it can be sent again.
        self.body: Lengths | Chunks | None = None
        self.held = b""
        self.tunnel: Tunnel | None = None
        self.link: ServerConnection | None = None
        self.server: Server | None = None
        self._begun = False  # `server` counts us as in flight
        self._target: Target | None = None
        self._key: bytes | None = None
        self._tried: tuple[Server, ...] = ()
        self._reused = False
        self._connecting: Any = None
        self._waiting: Waiting | None = None
        self.status = self.sent = self.sent_head = 0
        self.letters = b"--"
        self.began = self.read_at = self.chosen_at = self.sent_at = self.answered_at = 0.0

    # -- what the log wants to know

    @property
    def retries(self) -> int:
        """Attempts that failed before the last one."""
        return len(self._tried)

    @property
    def pool_name(self) -> str:
        """The pool's name, or `-`."""
        target = self._target
        return "-" if target is None or target.pool is None else target.pool.name

    @property
    def server_name(self) -> str:
        """The last server's name, or `-`."""
        return "-" if self.server is None else self.server.name

    @property
    def counts(self) -> tuple[int, int, int]:
        """Connections of the balancer, requests in the pool, on the server."""
        target, server = self._target, self.server
        return (
            len(self.front.connections),
            0 if target is None else target.active,
            0 if server is None else server.in_flight,
        )

    # -- a server for the request

    def start(self, target: Target, pool: Pool, now: float) -> None:
        """Choose a server for the request in `held`, or wait for one."""
        self._target = target
        key_of, head = target.key_of, self.head
        self._key = key = None if key_of is None or head is None else key_of(self, head)
        server = pool.choose(key)
        if server is None:
            self._enqueue(pool, now)
            return
        pool.begin(server, now)
        target.active += 1
        self._begun = True
        self.server = server
        self.chosen_at = now
        idle = target.links[server].idle
        if idle:
            self._reused = True
            idle.pop().ask(self, now)  # type: ignore[arg-type]  # we are a ClientConnection
        else:
            self._connect(target, pool, server)

    def _connect(self, target: Target, pool: Pool, server: Server) -> None:
        self._reused = False
        self.phase = CONNECTING
        self.until = inf  # the connect has its own time-out
        links = target.links[server]
        self._connecting = links.connect(self, pool.settings.connect_timeout)  # type: ignore[arg-type]

    def connected(self, link: ServerConnection) -> None:
        """The server's connection stands: ask."""
        self._connecting = None
        link.ask(self, self.front.clock())  # type: ignore[arg-type]  # we are a ClientConnection

    def not_connected(self, error: ConnectFailed) -> None:
        """There is none."""
        self._connecting = None
        if isinstance(error, ConnectImpossible):
            self.failed(exchange.SHORT, error.reason)
        elif error.timed_out:
            self.failed(exchange.CONNECT_TIMED_OUT, "connect timed out")
        else:
            self.failed(exchange.NOT_CONNECTED, error.reason)

    def _enqueue(self, pool: Pool, now: float) -> None:
        """No server has room: wait, if waiting makes sense."""
        refused = self.front.figures.refused
        if pool.settings.queue == 0 or not pool.available:
            refused["no-server"] += 1
            self.failed(exchange.NO_SERVER, "no server is available")
            return
        if not self._wait_for_room(pool, (), now):
            refused["queue"] += 1
            self.failed(exchange.QUEUE_FULL, "too many requests wait already")

    def _wait_for_room(self, pool: Pool, tried: tuple[Server, ...], now: float) -> bool:
        """Wait for a server that is none of `tried`; False if the queue is full, or off."""
        waiting = Waiting(self, pool, self._key, tried, now + pool.settings.queue_timeout)
        if not pool.enqueue(waiting, now):
            return False
        self._waiting = waiting
        self.phase = QUEUED
        self.until = inf  # `waiting` has its own
        self.front.wheel.add(waiting)
        return True

    def admitted(self, waiting: Waiting, server: Server, now: float) -> bool:
        """The pool has begun the request on `server`; False if it does not wait any more."""
        target = self._target
        if target is None or target.pool is None or waiting is not self._waiting:
            return False
        self.front.wheel.discard(waiting)
        self._waiting = None
        target.active += 1
        self._begun = True
        self.server = server
        self.chosen_at = now
        self._go(target, target.pool, server, now)
        return True

    def _go(self, target: Target, pool: Pool, server: Server, now: float) -> None:
        idle = target.links[server].idle
        # A server that has just dropped the request gets a connection that cannot be stale.
        if idle and server not in self._tried:
            self._reused = True
            idle.pop().ask(self, now)  # type: ignore[arg-type]  # we are a ClientConnection
        else:
            self._connect(target, pool, server)

    # -- when something happens

    def failed(self, happening: str, reason: str = "", status: int = 0) -> None:
        """Do what the table says. `status` is a refusal's own."""
        front = self.front
        now = front.clock()
        phase = self.phase
        outcome = TABLE[phase, happening]
        target, server = self._target, self.server
        pool = None if target is None else target.pool
        # A kept-alive connection may end at any time: that says nothing of the server.
        stale = happening == exchange.SERVER_LEFT and self._reused and phase != ANSWERING
        if outcome.fault and not stale and server is not None and pool is not None:
            events = pool.failed(server, reason, now)
            if events:
                front.publish(pool, events)
        held = bool(self.held)
        self._leave_server(now)
        if outcome.step == exchange.RETRY and self._retry(happening, held, stale, now):
            return
        self.letters = outcome.letters
        if outcome.step in (exchange.ANSWER, exchange.RETRY):
            self.refuse(front.error(status or outcome.status, reason), now)
        elif phase != CLOSING and (self.head is not None or phase == HEAD):
            self.status = self.status if phase >= ANSWERING else outcome.status
            self._over(now)
        if outcome.step == exchange.CLOSE:
            self.close()
        elif outcome.step == exchange.DROP:
            self.phase = CLOSING
        elif outcome.step == exchange.CUT:
            # A reset, because an orderly end would make a body without a length look complete.
            self.phase = CLOSING
            self.transport.abortConnection()

    def _retry(self, happening: str, held: bool, stale: bool, now: float) -> bool:
        """Ask the next server, or wait for one, if that is allowed and there is any."""
        target, server, head = self._target, self.server, self.head
        if target is None or target.pool is None or server is None or head is None:
            return False
        pool = target.pool
        tries = len(self._tried) + 1
        if not may_retry(happening, head.method, held, tries, pool.settings.retries):
            return False
        tried = (*self._tried, server)
        chosen = pool.choose(self._key, tried)
        if chosen is None and stale:
            chosen = pool.choose(self._key)
        if chosen is None:
            # A server that let a stale connection end has not failed: it may have it again.
            failed = self._tried if stale else tried
            worth = pool.settings.queue > 0 and pool.others_are_full(failed)
            if not worth or not self._wait_for_room(pool, failed, now):
                return False
            self._tried = tried
            self.chosen_at = self.sent_at = 0.0
            self.front.figures.retries += 1
            return True
        self._tried = tried
        self.front.figures.retries += 1
        pool.begin(chosen, now)
        target.active += 1
        self._begun = True
        self.server = chosen
        self._go(target, pool, chosen, now)
        return True

    def _leave_server(self, now: float) -> None:
        """Let go of whatever the exchange holds on the other side. `server` stays for the log."""
        link, self.link = self.link, None
        if link is not None:
            link.abandon()
            if self.body is not None:
                # That server may have held the client up.
                self.transport.resumeProducing()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        waiting, self._waiting = self._waiting, None
        target = self._target
        if target is None or target.pool is None:
            return
        if waiting is not None:
            self.front.wheel.discard(waiting)
            target.pool.forget(waiting)
        if self._begun and self.server is not None:
            self._give_back(target, target.pool, self.server, now)

    def _give_back(self, target: Target, pool: Pool, server: Server, now: float) -> None:
        self._begun = False
        target.active -= 1
        waiter = pool.finish(server, now)
        if waiter is not None:
            waiter.admitted(server, now)

    # -- the end of an exchange

    def finish(self, now: float) -> None:
        """The answer is complete."""
        target, server = self._target, self.server
        if target is None or target.pool is None or server is None:
            return
        pool = target.pool
        if self.status in GATEWAY_FAILURES:
            events = pool.failed(server, f"answered {self.status}", now)
        else:
            events = pool.succeeded(server, self.answered_at - self.sent_at, now)
        if events:
            self.front.publish(pool, events)
        self._begun = False
        target.active -= 1
        waiter = pool.finish(server, now)
        if waiter is not None:
            waiter.admitted(server, now)
        self._over(now)
        self.next(now)

    def refuse(self, answer: Answer, now: float) -> None:
        """Answer by ourselves."""
        head = self.head
        method = b"GET" if head is None else head.method
        keep = self.keep = self.keep and self.body is None and not self.front.draining
        data = answer.bytes(self.front.dates.http(now), keep, self.minor, method)
        self.status = answer.code
        self.sent = len(data)
        self.sent_head = len(data) - (0 if method == b"HEAD" else len(answer.body))
        self.transport.write(data)
        self._over(now)
        self.next(now)

    def switch(self, link: ServerConnection, head: bytes, rest: bytes) -> None:
        """The server switched protocols: `head` is its 101, `rest` what follows it."""
        now = self.front.clock()
        self.phase = TUNNEL
        self.keep = False
        self.held = b""
        self.status = 101
        self.sent_head = len(head)
        self.sent = len(head) + len(rest)
        self.answered_at = now
        self.until = now + self.front.idle_timeout
        self.transport.write(head + rest)
        self.tunnel = Tunnel(self, link)  # type: ignore[arg-type]  # we are a ClientConnection
        self.go_on()

    def tunnel_over(self, now: float) -> None:
        """Both directions have ended in good order; what is queued still goes out."""
        link = self.link
        if link is not None:
            link.client = self.link = None
            link.transport.loseConnection()
        self._leave_server(now)
        self._over(now)
        self.phase = CLOSING
        self.transport.loseConnection()

    def _over(self, now: float) -> None:
        """Count and log the exchange, and forget it."""
        front = self.front
        figures = front.figures
        figures.codes[self.status] += 1
        figures.bytes_out += self.sent
        if self.head is not None:
            microseconds = int((now - self.read_at) * 1e6)
            figures.microseconds += microseconds
            figures.histogram[microseconds.bit_length()] += 1
        if front.log is not None:
            front.log.add(self, now)
        if self.head is not None:
            self.head.forget()
            self.head = None
        self.held = b""
        self._target = None
        self.server = None
        if self._tried:
            self._tried = ()

    def next(self, now: float) -> None:
        """After an exchange: the next request, or the end of the connection."""
        raise NotImplementedError

    def go_on(self) -> None:
        """What came from the client meanwhile may go on to the server."""
        raise NotImplementedError

    def close(self) -> None:
        """End the client's connection, when all that was written has gone out."""
        raise NotImplementedError
