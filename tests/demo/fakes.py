"""Transports, listeners and a site for demo servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from balancer.wire.address import literal
from balancer.wire.deadlines import Wheel


class FakeStream(StringTransport):
    """A transport in memory in place of a `Stream`, with its lingering close and its abort."""

    def __init__(self, protocol: Any = None) -> None:
        super().__init__()
        self.protocol = protocol
        self.aborted = False
        self.paused = False

    def start(self) -> None:
        """As Stream has it."""
        self.protocol.makeConnection(self)

    def close_lingering(self) -> None:
        """As Stream has it."""
        self.loseConnection()

    def abortConnection(self) -> None:
        """As Stream has it; `connectionLost` is the test's to call."""
        self.aborted = True

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """As Stream has it: a pull producer is asked at once."""
        super().registerProducer(producer, streaming)
        if not streaming:
            producer.resumeProducing()

    def pauseProducing(self) -> None:
        """Note it."""
        self.paused = True

    def resumeProducing(self) -> None:
        """Note it."""
        self.paused = False

    def taken(self) -> bytes:
        """What was written since the last time."""
        data: bytes = self.value()
        self.clear()
        return data

    def drain(self, most: int = 10**6) -> int:
        """Take all from a pull producer; how many bytes it wrote. Nothing is kept."""
        total = len(self.taken())
        for _ in range(most):
            if self.producer is None:
                break
            self.producer.resumeProducing()
            total += len(self.taken())
        return total

    def half_close(self) -> None:
        """The client sends its end."""
        IHalfCloseableProtocol(self.protocol).readConnectionLost()


class FakeListener:
    """A listener that the test brings connections to."""

    def __init__(self, host: str, port: int) -> None:
        self.address = literal(host, port)
        self.accepted: Callable[[Any, Any], None] | None = None
        self.started = False

    def start(self) -> None:
        """Note it."""
        self.started = True


class FakePort(FakeListener):
    """A UDP port that the test brings datagrams to."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.received: Callable[[bytes, Any, object], None] | None = None
        self.sent: list[tuple[bytes, Any, object]] = []

    def send(self, data: bytes, peer: Any, local: object = None) -> bool:
        """Note it."""
        self.sent.append((data, peer, local))
        return True


class FakeSocket:
    """A socket that only closes."""

    closed = False

    def close(self) -> None:
        """Note it."""
        self.closed = True


class FakeContext:
    """What demo servers take from the site."""

    def __init__(self) -> None:
        self.reactor = Clock()
        self.wheel = Wheel(0.0)
        self.listeners: dict[tuple[str, int], FakeListener] = {}
        self.ports: dict[tuple[str, int], FakePort] = {}

    def listener(self, host: str, port: int) -> FakeListener:
        """The one listener there."""
        return self.listeners.setdefault((host, port), FakeListener(host, port))

    def datagrams(self, host: str, port: int) -> FakePort:
        """The one UDP port there."""
        return self.ports.setdefault((host, port), FakePort(host, port))

    def pass_time(self, seconds: float) -> None:
        """Let time pass for the clock and the wheel."""
        self.reactor.advance(seconds)
        self.wheel.advance(self.reactor.seconds())
