"""
DNS over TCP (RFC 1035 4.2.2, 7766): messages with their lengths, pipelined, answered in order.

Knows one connection and its bounds. What is answered is the `responder`'s; how many connections
there may be is the `tcp` room's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.dns.kept import KEEPALIVE
from balancer.dns.pace import Pace
from balancer.dns.responder import Responder
from balancer.wire.stream import Stream

MESSAGES_A_TURN: Final = 64
"""Messages of one connection answered before others have their turn, as of one UDP socket."""

MESSAGES_AT_ONCE: Final = 2
"""Those of them answered as they are read: of 256 connections that the reactor reads in one turn
each may bring dozens, and the rest waits for its turn."""

PATIENCE: Final = 10.0
"""Seconds that a client may take to read what was sent before anything more happens."""

_LENGTH: Final = 2


@implementer(IHalfCloseableProtocol, IPushProducer)
class DnsConnection(Protocol):
    """
    One client's connection. Its `deadline` (for the site's wheel) moves only by whole messages and
    by answers that leave: whoever sends a byte now and then, or does not read, is closed.
    """

    transport: Stream

    def __init__(
        self,
        responder: Responder,
        peer: str,
        pace: Pace,
        left: Callable[[DnsConnection], None],
    ) -> None:
        self.peer = peer
        self.queries = 0
        self._responder = responder
        self._pace = pace
        self._seconds = pace.seconds
        self._left = left
        self._waiting = b""
        self._transfer: Iterator[bytes] | None = None
        self._paused = False
        self._scheduled = False
        self._half_closed = False
        self.ended = False
        self.draining = False
        self.deadline = self._seconds() + KEEPALIVE

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)

    # What comes in

    def dataReceived(self, data: bytes) -> None:
        self._waiting = self._waiting + data if self._waiting else data
        self._go_on(MESSAGES_AT_ONCE)

    def _go_on(self, most: int = MESSAGES_A_TURN) -> None:
        """Answer what is there, as far as the client reads."""
        self._scheduled = False
        for _ in range(most):
            if self._paused or self.ended:
                return
            if self._transfer is not None:
                self._transfer_on()
            elif not self._answer_one():
                self._read_on()
                return
            if self._transfer is not None:
                # One of its messages takes as long as many answers: the next waits for its turn.
                break
        if self._transfer is None and not self._paused and not self._whole():
            self._read_on()
        else:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            # Nothing more is read meanwhile: what waits is at most one message and one read.
            self.transport.pauseProducing()
            self._pace.soon(self._go_on)

    def _whole(self) -> int:
        """Bytes of the next message and its length, if all of it is there; else 0."""
        waiting = self._waiting
        size = _LENGTH + int.from_bytes(waiting[:_LENGTH], "big")
        return size if size <= len(waiting) else 0

    def _answer_one(self) -> bool:
        """Answer the next whole message; False: there is none yet."""
        waiting, size = self._waiting, self._whole()
        if not size:
            return False
        packet, self._waiting = waiting[_LENGTH:size], waiting[size:]
        self.queries += 1
        self.deadline = self._seconds() + KEEPALIVE
        answer = self._responder.stream(packet, self.peer)
        if answer is None:
            # Whoever sends what is no query gets no second try.
            self.close()
        elif isinstance(answer, bytes):
            self._send(answer)
        else:
            self._transfer = answer
        return True

    def _transfer_on(self) -> None:
        assert self._transfer is not None
        piece = next(self._transfer, None)
        if piece is None:
            self._transfer = None
        else:
            self._send(piece)
            if not self._paused:
                self.deadline = self._seconds() + KEEPALIVE

    def _send(self, answer: bytes) -> None:
        self.transport.write(len(answer).to_bytes(_LENGTH, "big") + answer)

    def _read_on(self) -> None:
        if self._half_closed or self.draining:
            self.close()
        else:
            self.transport.resumeProducing()

    # What goes out: the transport calls us when the client does not read, and when it does again

    def pauseProducing(self) -> None:
        """Too much waits for the client: make and read no more."""
        self._paused = True
        self.deadline = self._seconds() + PATIENCE
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """It reads again."""
        self._paused = False
        self.deadline = self._seconds() + KEEPALIVE
        self._schedule()

    def stopProducing(self) -> None:
        """The connection is gone."""

    # The end

    def readConnectionLost(self) -> None:
        """The client has asked all; what is there is still answered."""
        self._half_closed = True
        if not self._scheduled and not self._paused:
            self._go_on()

    def writeConnectionLost(self) -> None:
        """Said only by us."""

    def drain(self) -> None:
        """Answer what is there, and close."""
        self.draining = True
        if not self._scheduled and not self._paused and self._transfer is None:
            self.close()

    def close(self) -> None:
        """Send what is left, and end."""
        self.ended = True
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def expired(self, now: float) -> None:
        """The wheel says that nothing came, or left, for too long."""
        self.ended = True
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.ended = True
        self._transfer = None
        self._left(self)
