"""
Tests of `balancer.wire.stream`: the contract of a transport, on our reactors and on Twisted's.
"""

from __future__ import annotations

import select
import socket
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IPushProducer,
    IReadDescriptor,
    ISystemHandle,
    ITCPTransport,
    IWriteDescriptor,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass, verifyObject

from balancer.wire.reactor import LeanReactor
from balancer.wire.stream import Stream
from tests.wire.reactors import (
    HalfCloseable,
    Recorder,
    StillReactor,
    Turns,
    drain,
    reset,
    stream_over,
    tcp_pair,
    unix_pair,
)

# More than the kernel takes at once over a unix socket (208 KiB) and over loopback (10 MB at most).
PATTERN = bytes(range(256)) * 4096
TCP_PATTERN = PATTERN * 12


class Case(SynchronousTestCase):
    """A stream over one end of a connection; the other end is a plain socket."""

    protocol_type: type[Recorder] = Recorder

    def make_reactor(self) -> Any:
        """What is called by `turn`."""
        return StillReactor()

    def make_pair(self) -> tuple[socket.socket, socket.socket]:
        """Our end and theirs. Unix sockets, since they are faster to fill."""
        return unix_pair()

    def setUp(self) -> None:
        self.reactor = self.make_reactor()
        ours, self.peer = self.make_pair()
        self.addCleanup(self.peer.close)
        self.addCleanup(ours.close)
        if isinstance(self.reactor, Turns):
            self.addCleanup(self.reactor.close)
        self.peer.settimeout(2)
        self.protocol = self.protocol_type()
        inner = getattr(self.reactor, "reactor", self.reactor)
        self.stream = stream_over(inner, ours, self.protocol)
        self.turn = self.reactor.turn

    def fill(self) -> bytes:
        """Write more than the kernel takes; returns it."""
        data = PATTERN if self.peer.family == socket.AF_UNIX else TCP_PATTERN
        self.stream.write(data)
        self.assertGreater(self.stream.queued, 0)
        return data

    def receive(self, size: int) -> bytes:
        """Read `size` bytes at the peer, giving the stream its turns."""
        parts: list[bytes] = []
        patience = 1000
        while size > 0 and patience:
            self.turn()
            if select.select([self.peer], [], [], 0.001)[0]:
                part = drain(self.peer)
                parts.append(part)
                size -= len(part)
            else:
                patience -= 1
        return b"".join(parts)

    def recording(self, then: Any, seen: list[bytes]) -> Any:
        """A dataReceived that remembers before it goes on."""

        def received(data: bytes) -> None:
            seen.append(data)
            then(data)

        return received

    def assertSame(self, got: bytes, expected: bytes) -> None:
        """Equal, without printing megabytes when not."""
        self.assertEqual(len(got), len(expected))
        self.assertTrue(got == expected, "the bytes differ")


class Contract:
    """What a protocol may rely on, whichever reactor turns."""

    def test_interfaces(self: Any) -> None:
        """A stream provides what Twisted's own transports do."""
        for interface in (
            ITCPTransport,
            IPushProducer,
            IConsumer,
            IReadDescriptor,
            IWriteDescriptor,
            IHalfCloseableDescriptor,
            ISystemHandle,
        ):
            verifyClass(interface, Stream)
            verifyObject(interface, self.stream)

    def test_reads(self: Any) -> None:
        """What the peer sends reaches the protocol."""
        self.peer.sendall(b"hello")
        self.turn(2)
        self.assertEqual(self.protocol.data, b"hello")

    def test_writes_at_once(self: Any) -> None:
        """A write is with the kernel when it returns, and so is a sequence."""
        self.stream.write(b"hello ")
        self.stream.writeSequence([b"wor", b"ld"])
        self.assertEqual(self.peer.recv(100), b"hello world")
        self.assertEqual(self.stream.queued, 0)

    def test_write_order(self: Any) -> None:
        """Bytes that the kernel did not take at once arrive in order, before later writes."""
        tail = [b"%d," % i for i in range(1000)]
        data = b"".join([self.fill(), *tail])
        for part in tail:
            self.stream.write(part)
        self.assertSame(self.receive(len(data)), data)
        self.turn(2)
        self.assertEqual(self.stream.queued, 0)
        self.stream.write(b"direct again")
        self.assertEqual(self.peer.recv(100), b"direct again")

    def test_peer_closes(self: Any) -> None:
        """The peer's end is ConnectionDone."""
        self.peer.close()
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionDone])
        self.assertTrue(self.stream.disconnected)
        self.assertEqual(self.stream.fileno(), -1)

    def test_write_to_reset(self: Any) -> None:
        """A write to a connection that is gone does not raise; the loss is told in a later turn."""
        self.stream.pauseProducing()
        reset(self.peer)
        self.stream.write(b"x")
        self.assertEqual(self.protocol.reasons, [])
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionLost])

    def test_pause_and_resume(self: Any) -> None:
        """A paused stream reads nothing, and goes on where it was."""
        self.stream.pauseProducing()
        self.stream.pauseProducing()
        self.peer.sendall(b"later")
        self.turn(2)
        self.assertEqual(self.protocol.data, b"")
        self.stream.resumeProducing()
        self.stream.resumeProducing()
        self.turn(2)
        self.assertEqual(self.protocol.data, b"later")

    def test_lose_connection(self: Any) -> None:
        """loseConnection sends all that is queued, closes, and tells it in a later turn."""
        data = self.fill()
        self.stream.loseConnection()
        self.assertEqual(self.protocol.reasons, [])
        self.assertSame(self.receive(len(data)), data)
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionDone])
        self.peer.setblocking(True)
        self.assertEqual(self.peer.recv(10), b"")

    def test_lose_idle_connection(self: Any) -> None:
        """loseConnection with nothing queued does not tell it before it returns."""
        self.stream.loseConnection()
        self.stream.loseConnection()
        self.assertEqual(self.protocol.reasons, [])
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionDone])

    def test_no_reads_after_lose_connection(self: Any) -> None:
        """Nothing is read any more once loseConnection was called, whatever asks for it."""
        self.fill()
        self.peer.sendall(b"late")
        self.stream.loseConnection()
        self.stream.resumeProducing()
        self.turn(3)
        self.assertEqual(self.protocol.data, b"")

    def test_write_after_lose_connection(self: Any) -> None:
        """What is written after loseConnection is dropped."""
        self.stream.write(b"before")
        self.stream.loseConnection()
        self.stream.write(b"after")
        self.turn(2)
        self.assertEqual(drain(self.peer), b"before")

    def test_write_after_the_end(self: Any) -> None:
        """Whatever is called on a closed stream is harmless."""
        self.peer.close()
        self.turn(2)
        self.stream.write(b"x")
        self.stream.writeSequence([b"x"])
        self.stream.loseConnection()
        self.stream.loseWriteConnection()
        self.stream.close_lingering()
        self.stream.abortConnection()
        self.stream.pauseProducing()
        self.stream.resumeProducing()
        self.stream.stopProducing()
        self.stream.doWrite()
        self.stream.connectionLost(Failure(ConnectionLost()))
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionDone])

    def test_abort_while_reading(self: Any) -> None:
        """A protocol may abort from dataReceived; nothing more is read or written."""

        def abort(data: bytes) -> None:
            self.stream.write(b"x")
            self.stream.abortConnection()

        self.protocol.dataReceived = abort
        self.fill()
        drain(self.peer)
        self.peer.sendall(b"x")
        self.turn(3)
        self.assertEqual(self.protocol.reasons, [ConnectionAborted])

    def test_closed_in_the_same_batch(self: Any) -> None:
        """What another does to a stream holds at once, though its event was fetched already."""
        ours, theirs = unix_pair()
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        other: Any = Recorder()
        second = stream_over(self.stream.reactor, ours, other)
        self.protocol.dataReceived = lambda data: second.loseConnection()
        other.dataReceived = lambda data: self.stream.loseConnection()
        seen: list[bytes] = []
        for protocol in (self.protocol, other):
            protocol.dataReceived = self.recording(protocol.dataReceived, seen)
        self.peer.sendall(b"x")
        theirs.sendall(b"x")
        self.turn(3)
        self.assertEqual(seen, [b"x"])

    def test_no_half_close(self: Any) -> None:
        """A protocol that does not half-close loses the connection with the peer's end."""
        self.peer.shutdown(socket.SHUT_WR)
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionDone])

    def test_lost_on_shutdown(self: Any) -> None:
        """A stopping reactor may give up every stream, aborted ones too; each hears of it once."""
        self.stream.abortConnection()
        self.stream.connectionLost(Failure(ConnectionLost()))
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionLost])


class Resets:
    """What a TCP peer sees and does that a unix one does not: resets."""

    def test_peer_resets(self: Any) -> None:
        """A reset by the peer is ConnectionLost."""
        reset(self.peer)
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionLost])

    def test_reset_while_paused(self: Any) -> None:
        """A reset is not seen while paused with nothing to write, but when reading goes on."""
        self.stream.pauseProducing()
        reset(self.peer)
        self.turn(3)
        self.assertEqual(self.protocol.reasons, [])
        self.stream.resumeProducing()
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionLost])

    def test_abort(self: Any) -> None:
        """abortConnection drops what is queued, resets the peer, and tells it in a later turn."""
        self.fill()
        self.stream.abortConnection()
        self.stream.abortConnection()
        self.stream.write(b"dropped")
        self.assertEqual(self.protocol.reasons, [])
        self.assertEqual(self.stream.queued, 0)
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionAborted])
        self.peer.setblocking(True)
        with self.assertRaises(ConnectionResetError):
            while self.peer.recv(1 << 20):
                pass


class TcpTests(Contract, Resets, Case):
    """The contract over TCP, under a plain IReactorFDSet."""

    make_pair = staticmethod(tcp_pair)

    def test_raising_in_connection_made(self) -> None:
        """A protocol that raises when it is connected loses the connection."""
        ours, theirs = tcp_pair()
        self.addCleanup(theirs.close)
        protocol = Recorder()

        def bang() -> None:
            raise RuntimeError("bang")

        protocol.connectionMade = bang  # type: ignore[method-assign]  # the test's point
        stream = stream_over(self.reactor, ours, protocol)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(protocol.reasons, [RuntimeError])
        self.assertTrue(stream.disconnected)

    def test_pause_in_connection_made(self) -> None:
        """A protocol may begin paused."""
        ours, theirs = tcp_pair()
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        protocol = Recorder()
        protocol.connectionMade = (  # type: ignore[method-assign]  # the test's point
            lambda: protocol.transport.pauseProducing()  # type: ignore[union-attr]  # a stream
        )
        stream = stream_over(self.reactor, ours, protocol)
        self.assertNotIn(stream, self.reactor.readers)

    def test_recv_size(self) -> None:
        """One read takes no more than `recv_size`."""
        sizes: list[int] = []
        self.protocol.dataReceived = (  # type: ignore[method-assign]  # the test's point
            lambda data: sizes.append(len(data))
        )
        self.stream.recv_size = 10
        self.peer.sendall(b"x" * 25)
        self.turn(4)
        self.assertEqual(sizes, [10, 10, 5])

    def test_spurious_events(self) -> None:
        """An event with nothing behind it is no end."""
        self.assertIsNone(self.stream.doRead())
        self.assertIsNone(self.stream.doWrite())
        self.fill()
        self.assertIsNone(self.stream.doWrite())
        self.assertTrue(self.stream.connected)

    def test_freed(self) -> None:
        """A closed stream lets go of its protocol and of what it could not send."""
        self.fill()
        self.stream.connectionLost(Failure(ConnectionLost()))
        self.assertIsNot(self.stream.protocol, self.protocol)
        self.assertEqual(self.stream.queued, 0)
        self.assertEqual((set(self.reactor.readers), set(self.reactor.writers)), (set(), set()))

    def test_no_dict(self) -> None:
        """Ten thousand streams are small: no instance has a dictionary."""
        self.assertFalse(hasattr(self.stream, "__dict__"))

    def test_not_bytes(self) -> None:
        """Text is refused as Twisted refuses it."""
        self.assertRaises(TypeError, self.stream.write, "text")

    def test_addresses(self) -> None:
        """Addresses are Twisted's, and the peer's is at hand without an object."""
        host, port = self.peer.getsockname()
        self.assertEqual(self.stream.getPeer(), IPv4Address("TCP", host, port))
        self.assertEqual((self.stream.peer_host, self.stream.peer_port), (host, port))
        self.assertEqual(self.stream.getHost(), IPv4Address("TCP", *self.peer.getpeername()))

    def test_host_behind_wildcard(self) -> None:
        """A stream accepted on a wildcard address knows the address that was asked."""
        ours, theirs = tcp_pair()
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        stream = Stream(self.reactor, ours, Recorder(), ("0.0.0.0", 0), ours.getpeername())
        self.assertEqual(stream.getHost(), IPv4Address("TCP", *ours.getsockname()))

    def test_options(self) -> None:
        """TCP_NODELAY is set from the start; it and SO_KEEPALIVE can be changed."""
        self.assertTrue(self.stream.getTcpNoDelay())
        self.stream.setTcpNoDelay(False)
        self.assertFalse(self.stream.getTcpNoDelay())
        self.assertFalse(self.stream.getTcpKeepAlive())
        self.stream.setTcpKeepAlive(True)
        self.assertTrue(self.stream.getTcpKeepAlive())


class UnixTests(Contract, Case):
    """The contract over a unix socket, under a plain IReactorFDSet."""

    def test_no_delay(self) -> None:
        """TCP's options mean nothing here, and asking for them is harmless."""
        self.stream.setTcpNoDelay(True)
        self.assertFalse(self.stream.getTcpNoDelay())
        self.assertEqual((self.stream.peer_host, self.stream.peer_port), ("unix", 0))
        self.assertEqual(self.stream.getPeer(), UNIXAddress(None))


class LeanTests(Contract, Case):
    """The contract under the lean reactor."""

    def make_reactor(self) -> Any:
        return Turns(LeanReactor())


class LeanResetTests(Resets, Case):
    """Resets under the lean reactor."""

    make_reactor = LeanTests.make_reactor
    make_pair = staticmethod(tcp_pair)


class StockTests(Contract, Case):
    """The contract under Twisted's epoll reactor."""

    def make_reactor(self) -> Any:
        return Turns(EPollReactor())


class StockResetTests(Resets, Case):
    """Resets under Twisted's epoll reactor."""

    make_reactor = StockTests.make_reactor
    make_pair = staticmethod(tcp_pair)


class HalfClosing:
    """Either direction may end before the other."""


    def test_peer_half_closes(self: Any) -> None:
        """After the peer's end the answer still goes out, and the protocol closes when it will."""
        self.peer.sendall(b"request")
        self.peer.shutdown(socket.SHUT_WR)
        self.turn(3)
        self.assertEqual(self.protocol.data, b"request")
        self.assertEqual(self.protocol.ends, ["read"])
        self.assertEqual(self.protocol.reasons, [])
        data = self.fill()
        self.stream.resumeProducing()
        self.stream.loseConnection()
        self.assertSame(self.receive(len(data)), data)
        self.turn(3)
        self.assertEqual(self.protocol.ends, ["read"])
        self.assertEqual(self.protocol.reasons, [ConnectionDone])

    def test_we_half_close(self: Any) -> None:
        """loseWriteConnection sends what is queued and then our end; reading goes on."""
        data = self.fill()
        self.stream.loseWriteConnection()
        self.stream.loseWriteConnection()
        self.stream.write(b"dropped")
        self.assertSame(self.receive(len(data)), data)
        self.turn(2)
        self.assertEqual(self.protocol.ends, ["write"])
        self.peer.setblocking(True)
        self.assertEqual(self.peer.recv(10), b"")
        self.peer.sendall(b"answer")
        self.turn(2)
        self.assertEqual(self.protocol.data, b"answer")
        self.assertEqual(self.protocol.reasons, [])

    def test_both_ends(self: Any) -> None:
        """When both directions have ended, so has the connection: ours first."""
        self.stream.loseWriteConnection()
        self.turn(2)
        self.peer.close()
        self.turn(3)
        self.assertEqual(self.protocol.ends, ["write", "read"])
        self.assertEqual(self.protocol.reasons, [ConnectionDone])

    def test_both_ends_reversed(self: Any) -> None:
        """When both directions have ended, so has the connection: theirs first."""
        self.peer.shutdown(socket.SHUT_WR)
        self.turn(2)
        self.stream.loseWriteConnection()
        self.turn(3)
        self.assertEqual(self.protocol.ends, ["read", "write"])
        self.assertEqual(self.protocol.reasons, [ConnectionDone])

    def test_lose_after_half_close(self: Any) -> None:
        """loseConnection after our end closes in a later turn."""
        self.stream.loseWriteConnection()
        self.turn(2)
        self.stream.loseConnection()
        self.assertEqual(self.protocol.reasons, [])
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionDone])

    def test_raising(self: Any) -> None:
        """A protocol that raises when it is told of an end loses the connection."""

        def bang() -> None:
            raise RuntimeError("bang")

        self.protocol.readConnectionLost = bang
        self.peer.shutdown(socket.SHUT_WR)
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [RuntimeError])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class StillHalfCloseTests(HalfClosing, Case):
    """Half-close under a plain IReactorFDSet."""

    protocol_type = HalfCloseable


class LeanHalfCloseTests(HalfClosing, Case):
    """Half-close under the lean reactor."""

    protocol_type = HalfCloseable

    make_reactor = LeanTests.make_reactor


class StockHalfCloseTests(HalfClosing, Case):
    """Half-close under Twisted's epoll reactor."""

    protocol_type = HalfCloseable

    make_reactor = StockTests.make_reactor
