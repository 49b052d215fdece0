"""
Reactors for tests of what moves bytes: one whose clock is still, and real ones a turn at a time.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IProtocol,
)
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.wire.interfaces import IEndsTurns, IWireReactor
from balancer.wire.stream import Stream


@implementer(IWireReactor, IEndsTurns)
class StillReactor(MemoryReactorClock):
    """Time moves by `advance`, and file descriptors are looked at by `turn`."""

    def __init__(self) -> None:
        super().__init__()
        self._ending: list[Callable[[], object]] = []

    def at_turn_end(self, call: Callable[[], object]) -> None:
        """As the lean reactor does."""
        self._ending.append(call)

    def _end_turn(self) -> None:
        ending, self._ending = self._ending, []
        for call in ending:
            call()

    def turn(self, times: int = 1) -> None:
        """Ask the kernel once what is ready, and act as Twisted's reactors do."""
        for _ in range(times):
            self.advance(0)
            self._end_turn()
            poll = select.poll()
            wanted = {r.fileno(): r for r in (*self.readers, *self.writers)}
            for fd, descriptor in wanted.items():
                flags = select.POLLIN if descriptor in self.readers else 0
                poll.register(fd, flags | (select.POLLOUT if descriptor in self.writers else 0))
            for fd, event in poll.poll(0):
                self._pass_on(wanted[fd], event)
            self._end_turn()

    def _pass_on(self, descriptor: Any, event: int) -> None:
        why = None
        reading = True
        gone = event & (select.POLLHUP | select.POLLERR)
        if descriptor in self.readers and event & select.POLLIN | gone:
            why = descriptor.doRead()
        if not why and descriptor in self.writers and event & select.POLLOUT | gone:
            reading = False
            why = descriptor.doWrite()
        if why:
            self.removeReader(descriptor)
            half = reading and why is CONNECTION_DONE
            if half and IHalfCloseableDescriptor.providedBy(descriptor):
                descriptor.readConnectionLost(Failure(why))
                return
            self.removeWriter(descriptor)
            descriptor.connectionLost(Failure(why))


class Turns:
    """A real reactor, a turn at a time: for `addCleanup(turns.close)`."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor

    def turn(self, times: int = 1) -> None:
        """What is due, and what is ready now."""
        for _ in range(times):
            self.reactor.runUntilCurrent()
            self.reactor.doIteration(0)

    def close(self) -> None:
        """Give back the reactor's own descriptors."""
        self.reactor.disconnectAll()
        self.reactor._poller.close()


class Recorder(Protocol):
    """A protocol that remembers what it was told."""

    def __init__(self) -> None:
        self.data = b""
        self.reasons: list[type[BaseException]] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's own default
        assert reason.type is not None
        self.reasons.append(reason.type)


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recorder):
    """A protocol that outlives either direction."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[str] = []

    def readConnectionLost(self) -> None:
        self.ends.append("read")

    def writeConnectionLost(self) -> None:
        self.ends.append("write")


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection over loopback; the first does not block."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        ours = socket.create_connection(listener.getsockname())
        theirs, _peer = listener.accept()
    ours.setblocking(False)
    return ours, theirs


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a unix connection; the first does not block."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return ours, theirs


def stream_over(reactor: Any, sock: socket.socket, protocol: IProtocol) -> Stream:
    """A started stream over one end of a pair."""
    stream = Stream(reactor, sock, protocol, sock.getsockname(), sock.getpeername())
    stream.start()
    return stream


def reset(sock: socket.socket) -> None:
    """Close so that the other end gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def drain(sock: socket.socket) -> bytes:
    """All that can be read without waiting."""
    sock.setblocking(False)
    parts = []
    with suppress(BlockingIOError):
        while data := sock.recv(1 << 20):
            parts.append(data)
    return b"".join(parts)
