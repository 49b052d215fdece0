"""
Datagrams that come to a bound port, and what its owner does with them.

Knows the reactor; what a datagram says is its owner's business.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.wire.address import Address
from balancer.wire.answering import Answer, Answering, AtHand
from balancer.wire.bound import DATAGRAMS_A_TURN, BoundSocket
from balancer.wire.interfaces import IWireReactor

__all__ = ["DatagramPort"]

_log = Logger("balancer.wire")


@implementer(IReadDescriptor)
class DatagramPort(BoundSocket):
    """
    A bound UDP socket in a reactor: every datagram goes to `received(data, peer, local)`.

    An owner who answers every datagram at once sets `answer` instead: `answer(data, host)` gives
    what goes back to that host (None: nothing), from the address that was asked, and spares two
    calls a datagram. Where many come together, `at_hand(data)` is asked first: an answer that is
    the same whoever asks, None if there is no such.
    """

    def __init__(self, reactor: IWireReactor, sock: socket.socket, address: Address) -> None:
        super().__init__(sock, address)
        self.reactor = reactor
        self.received: Callable[[bytes, Any, object], None] | None = None
        self.answer: Answer | None = None
        self.at_hand: AtHand | None = None
        self._answering = Answering(self)
        self._reading = False

    def start(self) -> None:
        """Begin to read; again is harmless."""
        if not self._reading:
            self._reading = True
            self.reactor.addReader(self)

    def stop(self) -> None:
        """Read no more and close; again is harmless."""
        if self._reading:
            self._reading = False
            self.reactor.removeReader(self)
        self.close()

    def doRead(self) -> None:
        """Read until nothing waits, but not for ever. Before `start` all is left to wait."""
        if not self._reading:
            return
        if self.answer is not None:
            self._answering.turn(self.answer, self.at_hand)
            return
        for _ in range(DATAGRAMS_A_TURN):
            if not self._reading:
                return
            try:
                data, peer, local = self.receive()
            except BlockingIOError:
                return
            except OSError as error:
                self.failed(error)
                continue
            self.received_total += 1
            if self.received is not None:
                try:
                    self.received(data, peer, local)
                except Exception:  # noqa: BLE001  # the reactor's edge: the port must stay
                    _log.failure("a datagram to {address} failed", address=self.address)

    def logPrefix(self) -> str:
        """Whose lines these are, for Twisted's log."""
        return f"datagrams {self.address}"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gives everything up."""
        self.stop()
