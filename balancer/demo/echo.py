"""
What comes in goes back out: the TCP side of a demo server.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.wire.stream import Stream

IDLE = 300.0
"""Seconds without a byte until a connection is closed."""


@implementer(IHalfCloseableProtocol)
class Echo(Protocol):
    """
    Sends back what it gets, reads no faster than the client does, and closes after the client's
    end. `deadline` is for the site's wheel.
    """

    transport: Stream

    def __init__(self, left: Callable[[Echo], None], clock: IReactorTime) -> None:
        self._left = left
        self._clock = clock
        self.deadline = clock.seconds() + IDLE

    def connectionMade(self) -> None:
        # The transport is its own producer: it pauses reading while its writes do not leave.
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        self.deadline = self._clock.seconds() + IDLE
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        self.close()

    def writeConnectionLost(self) -> None:
        """Said only by us."""

    def close(self) -> None:
        """Send what is left, and end."""
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def expired(self, now: float) -> None:
        """The wheel says that nothing came for too long."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._left(self)
