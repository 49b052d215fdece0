"""
The TLS handshakes of one listener: bounded in time, in number and in work a turn, and counted.

Knows TLS streams and listeners; nothing of what a connection is for.
"""

from __future__ import annotations

import socket
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IProtocol
from twisted.logger import Logger

from balancer.wire.interfaces import IWireReactor
from balancer.wire.listener import Listener
from balancer.wire.seldom import Seldom
from balancer.wire.tls import TlsStream
from balancer.wire.tls_reasons import PLAIN_HTTP, TIMED_OUT, explain

#: Seconds that a client has to finish its handshake (nginx: 60; HAProxy: its client timeout).
HANDSHAKE_SECONDS = 10.0

#: Handshakes in progress at once; each holds some 50 KB. (nginx and HAProxy count them among the
#: connections only.)
MOST_HANDSHAKES = 1000

#: When that many are in progress, the oldest gives way once it has had so many seconds: clients
#: that connect and say nothing then cost others a second and not ten.
FAIR_SECONDS = 1.0

#: Steps taken in one turn at most, and half as many at least: a full handshake costs some 0.3 ms in
#: all, so a storm of them leaves most of a turn's 50 ms to the connections that stand.
STEPS_A_TURN = 64

#: Seconds between two log lines about failures.
LOG_INTERVAL = 1.0

#: Bytes read from a client whose handshake has failed: what a browser sends at once.
PARTING = 64 * 1024

GAVE_WAY = "gave way to newer handshakes"
STOPPED = "the listener stops"

_log = Logger("balancer.wire")


class Handshakes:
    """
    Makes `TlsStream`s of accepted sockets, under `context`, which may be swapped at any time.

    While `most` are in progress the listener pauses, so that clients wait in its backlog, and the
    oldest handshake gives way after `FAIR_SECONDS`. A protocol whose handshake fails is given to
    `failed(protocol, reason)` and is never connected; that may happen before `serve` returns.
    """

    def __init__(
        self,
        listener: Listener,
        context: ssl.SSLContext,
        failed: Callable[[Any, str], None] | None = None,
        *,
        timeout: float = HANDSHAKE_SECONDS,
        most: int = MOST_HANDSHAKES,
    ) -> None:
        self.reactor: IWireReactor = listener.reactor
        self.listener = listener
        self.context = context
        self.failed = failed
        #: What somebody gets who speaks plain HTTP, in the clear; empty: an end and no more.
        self.plain = b""
        self.timeout = timeout
        self.most = most
        self.done_total = 0
        self.reused_total = 0
        #: How many failed, by the reason.
        self.failures: Counter[str] = Counter()
        # When each began, the oldest first: all have the same time, so one call serves them all.
        self._began: dict[TlsStream, float] = {}
        self._full = False
        self._call: IDelayedCall | None = None
        self._due = 0.0
        self._steps = STEPS_A_TURN
        self._seldom = Seldom(LOG_INTERVAL)
        # Clients speak first under TLS.
        listener.defer(self)

    @property
    def in_progress(self) -> int:
        """How many handshakes are not over."""
        return len(self._began)

    def serve(self, sock: socket.socket, peer: Any, protocol: IProtocol) -> None:
        """Connect `protocol` to the accepted, non-blocking `sock` once its handshake is done."""
        try:
            tls = self.context.wrap_socket(
                sock,
                server_side=True,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
        except (OSError, ValueError) as error:
            # Reset by the client already, or closed with something sent.
            sock.close()
            self._failed(protocol, peer, explain(error))
            return
        addresses = (self.listener.address.sockaddr, peer)
        stream = _ServerStream(self.reactor, tls, protocol, addresses, self._shaken)
        stream.handshakes = self
        now = self.reactor.seconds()
        self._began[stream] = now
        # Who is looked at next is the oldest, unless newer ones have less time.
        if self._call is None or now + self.timeout < self._due or self._crowded():
            self._watch()
        stream.start(self.listener.prompt)
        if self.listener.deferred:
            # The client's first message is here.
            stream.shake()

    def leave(self) -> None:
        """No more handshakes begin here: the listener is another's."""
        self.listener.defer_no_more(self)

    def stop(self) -> None:
        """End the handshakes in progress, and hold the listener no longer."""
        self.leave()
        for stream in tuple(self._began):
            stream.give_up(STOPPED)
        self._forget_call()

    def may_step(self) -> bool:
        """Whether a handshake may go on in this turn; asked once before each step."""
        steps = self._steps = self._steps - 1
        if steps == STEPS_A_TURN // 2:
            # No earlier: a call for each of the quiet turns would cost more than the count is for.
            self.reactor.callLater(0, self._refill)
        return steps >= 0

    def _refill(self) -> None:
        self._steps = STEPS_A_TURN

    def _shaken(self, stream: TlsStream, reason: str) -> None:
        del self._began[stream]
        if not reason:
            self.done_total += 1
            self.reused_total += stream.session_reused
        if self._full:
            self._watch()
        if reason:
            self._failed(stream.protocol, stream.peer_host, reason)

    def _failed(self, protocol: IProtocol, peer: Any, reason: str) -> None:
        self.failures[reason] += 1
        count = self._seldom.note(self.reactor.seconds())
        if count:
            _log.info(
                "{address}: {count} TLS handshakes failed; the last, from {peer}: {reason}",
                address=self.listener.address,
                count=count,
                peer=peer[0] if isinstance(peer, tuple) else peer or "unix",
                reason=reason,
            )
        if self.failed is not None:
            self.failed(protocol, reason)

    # The oldest handshake's time

    def _watch(self) -> None:
        """Pause or resume the listener, and look again when the oldest handshake's time is over."""
        full = self._crowded()
        if full != self._full:
            self._full = full
            if full:
                self.listener.pause(self)
            else:
                self.listener.resume(self)
        if not self._began:
            # The call may stay: looking at nothing costs less than making a new one each time.
            return
        due = next(iter(self._began.values())) + (self._patience() if full else self.timeout)
        if self._call is None or due < self._due:
            self._forget_call()
            self._due = due
            self._call = self.reactor.callLater(max(0.0, due - self.reactor.seconds()), self._look)

    def _crowded(self) -> bool:
        return len(self._began) >= self.most

    def _patience(self) -> float:
        return min(FAIR_SECONDS, self.timeout)

    def _look(self) -> None:
        self._call = None
        now = self.reactor.seconds()
        while self._began:
            stream, began = next(iter(self._began.items()))
            if began + self.timeout <= now:
                stream.give_up(TIMED_OUT)
            elif self._crowded() and began + self._patience() <= now:
                stream.give_up(GAVE_WAY)
            else:
                break
        self._watch()

    def _forget_call(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None


class _ServerStream(TlsStream):
    """A stream whose handshake goes on only as the listener's allow, and ends politely."""

    __slots__ = ("handshakes",)

    handshakes: Handshakes

    def shake(self) -> None:
        """Take a step, or leave it to the next turn: the kernel says again that it is due."""
        if self.handshakes.may_step():
            super().shake()

    def give_up(self, reason: str) -> None:
        """As the others do, but what was sent arrives: to close a socket with something unread
        would reset the connection, alert and all."""
        if self._shaken is not None:
            with suppress(OSError):
                if reason == PLAIN_HTTP and self.handshakes.plain:
                    socket.socket.send(self.socket, self.handshakes.plain)
                socket.socket.recv(self.socket, PARTING)
        super().give_up(reason)
