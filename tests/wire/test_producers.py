"""
Tests of producers and of lingering closes on a stream.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.wire.stream import HIGH_WATER, LINGER_BYTES, LINGER_SECONDS, LOW_WATER, Stream
from tests.wire.reactors import HalfCloseable, drain, reset, tcp_pair
from tests.wire.test_stream import TCP_PATTERN, Case


@implementer(IPushProducer)
class Push:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pauseProducing(self) -> None:
        self.asked.append("pause")

    def resumeProducing(self) -> None:
        self.asked.append("resume")

    def stopProducing(self) -> None:
        self.asked.append("stop")


@implementer(IPullProducer)
class Pull:
    """Writes a part whenever it is asked, then unregisters."""

    def __init__(self, stream: Stream, parts: list[bytes]) -> None:
        self.stream = stream
        self.parts = parts
        self.asked = 0
        self.stopped = False

    def resumeProducing(self) -> None:
        self.asked += 1
        self.stream.write(self.parts.pop(0))
        if not self.parts:
            self.stream.unregisterProducer()

    def stopProducing(self) -> None:
        self.stopped = True


class PushTests(Case):
    """A streaming producer is held back by the queue."""

    def setUp(self) -> None:
        super().setUp()
        self.producer = Push()
        self.stream.registerProducer(self.producer, True)

    def test_paused_and_resumed(self) -> None:
        """It is paused once at the high water mark and resumed once at the low one."""
        data = self.fill()
        self.stream.write(b"more")
        self.assertEqual(self.producer.asked, ["pause"])
        self.assertGreaterEqual(self.stream.queued, HIGH_WATER)
        seen = []
        self.producer.resumeProducing = (  # type: ignore[method-assign]  # the test's point
            lambda: seen.append(self.stream.queued)
        )
        self.assertSame(self.receive(len(data) + 4), data + b"more")
        self.turn(2)
        self.assertEqual(len(seen), 1)
        self.assertLessEqual(seen[0], LOW_WATER)

    def test_small_writes(self) -> None:
        """What the kernel takes at once pauses nobody, and goes out directly."""
        for _ in range(10):
            self.stream.write(b"x" * 1000)
        self.assertEqual(self.producer.asked, [])
        self.assertEqual(len(drain(self.peer)), 10_000)

    def test_registered_late(self) -> None:
        """A producer that is registered over a full queue begins paused."""
        self.stream.unregisterProducer()
        self.fill()
        self.stream.registerProducer(self.producer, True)
        self.assertEqual(self.producer.asked, ["pause"])

    def test_one_at_a_time(self) -> None:
        """A second producer is refused until the first is unregistered."""
        self.assertRaises(RuntimeError, self.stream.registerProducer, Push(), True)
        self.stream.unregisterProducer()
        self.stream.registerProducer(Push(), True)

    def test_stopped(self) -> None:
        """It is stopped when the connection is lost, before the protocol hears of it."""
        order: list[str] = []
        self.producer.stopProducing = (  # type: ignore[method-assign]  # the test's point
            lambda: order.append("producer")
        )
        self.protocol.connectionLost = (  # type: ignore[method-assign]  # the test's point
            lambda reason=None: order.append("protocol")
        )
        self.peer.close()
        self.turn(2)
        self.assertEqual(order, ["producer", "protocol"])

    def test_raising_when_stopped(self) -> None:
        """The protocol hears of the loss even if its producer raises."""

        def bang() -> None:
            raise RuntimeError("bang")

        self.producer.stopProducing = bang  # type: ignore[method-assign]  # the test's point
        lost = self.stream.connectionLost
        self.assertRaises(RuntimeError, lost, Failure(ConnectionLost()))
        self.assertEqual(self.protocol.reasons, [ConnectionLost])

    def test_registered_after_the_end(self) -> None:
        """A producer that is registered on a closed stream is stopped at once."""
        self.stream.abortConnection()
        late = Push()
        self.stream.unregisterProducer()
        self.stream.registerProducer(late, True)
        self.assertEqual(late.asked, ["stop"])
        self.turn(2)

    def test_lose_connection(self) -> None:
        """It does not hold off closing, but what it writes before the queue is empty is sent."""
        data = self.fill()
        self.stream.loseConnection()
        self.stream.write(b"tail")
        self.assertSame(self.receive(len(data) + 4), data + b"tail")
        self.turn(3)
        self.assertEqual(self.protocol.reasons, [ConnectionDone])
        self.assertEqual(self.producer.asked, ["pause", "resume", "stop"])

    def test_stop_consuming(self) -> None:
        """A producer that has lost its source closes the stream."""
        self.stream.stopConsuming()
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionDone])
        self.assertEqual(self.producer.asked, [])

    def test_two_streams(self) -> None:
        """A stream produces for another: a reader that does not keep up stops the source."""
        ours, source = tcp_pair()
        self.addCleanup(source.close)
        self.addCleanup(ours.close)
        self.stream.unregisterProducer()
        incoming = Stream(self.reactor, ours, self.protocol, "", ours.getpeername())
        self.protocol.dataReceived = (  # type: ignore[method-assign]  # the test's point
            self.stream.write
        )
        incoming.start()
        self.stream.registerProducer(incoming, True)
        source.setblocking(False)
        sent = 0
        while sent < len(TCP_PATTERN):
            try:
                sent += source.send(TCP_PATTERN[sent : sent + 65536])
            except BlockingIOError:
                break
            self.turn()
        self.turn(300)
        self.assertNotIn(incoming, self.reactor.readers)
        self.assertLess(self.stream.queued, HIGH_WATER + incoming.recv_size)
        self.assertSame(self.receive(sent), TCP_PATTERN[:sent])
        self.assertIn(incoming, self.reactor.readers)


class PullTests(Case):
    """A pull producer is asked whenever the queue is empty."""

    def test_asked_for_each(self) -> None:
        """Each part is asked for after the last one has gone, and direct writes follow."""
        producer = Pull(self.stream, [b"a", b"b", b"c"])
        self.stream.registerProducer(producer, False)
        self.assertEqual(producer.asked, 1)
        self.turn(5)
        self.assertEqual(producer.asked, 3)
        self.stream.write(b"d")
        self.assertEqual(drain(self.peer), b"abcd")

    def test_holds_off_closing(self) -> None:
        """loseConnection waits until it is unregistered."""
        producer = Pull(self.stream, [b"a", b"b", b"c"])
        self.stream.registerProducer(producer, False)
        self.stream.loseConnection()
        self.turn(1)
        self.assertEqual(self.protocol.reasons, [])
        self.turn(6)
        self.assertEqual(drain(self.peer), b"abc")
        self.assertEqual(self.protocol.reasons, [ConnectionDone])
        self.assertFalse(producer.stopped)

    def test_unregistered_later(self) -> None:
        """A close that waited for a silent producer goes on when it is unregistered."""
        producer = Push()
        self.stream.registerProducer(producer, False)
        self.stream.loseConnection()
        self.turn(3)
        self.assertEqual(self.protocol.reasons, [])
        self.assertNotIn(self.stream, self.reactor.writers)
        self.stream.unregisterProducer()
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionDone])

    def test_stopped(self) -> None:
        """It is stopped when the connection is lost."""
        producer = Pull(self.stream, [b"a", b"b"])
        self.stream.registerProducer(producer, False)
        self.stream.connectionLost(Failure(ConnectionLost()))
        self.assertTrue(producer.stopped)


class LingerTests(Case):
    """An early answer survives a request that nobody read."""

    make_pair = staticmethod(tcp_pair)

    def test_early_answer(self) -> None:
        """A large answer to a request that is still being sent arrives whole."""
        answer = bytes(400 * 1024)
        self.peer.sendall(b"x" * 100_000)
        self.stream.write(answer)
        self.stream.close_lingering()
        self.stream.close_lingering()
        self.stream.pauseProducing()
        self.stream.write(b"dropped")
        self.peer.sendall(b"x" * 100_000)
        self.turn(5)
        self.assertSame(self.receive(len(answer)), answer)
        self.assertEqual(self.protocol.data, b"")
        self.assertEqual(self.protocol.reasons, [])
        self.assertEqual(self.peer.recv(1), b"")
        self.peer.close()
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionDone])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_time_is_bounded(self) -> None:
        """A peer that neither reads nor closes is waited for no longer than LINGER_SECONDS."""
        self.stream.write(b"answer")
        self.stream.close_lingering()
        self.turn(2)
        self.reactor.advance(LINGER_SECONDS - 0.1)
        self.assertEqual(self.protocol.reasons, [])
        self.reactor.advance(0.2)
        self.assertEqual(self.protocol.reasons, [ConnectionDone])

    def test_bytes_are_bounded(self) -> None:
        """A peer that sends for ever is read no further than LINGER_BYTES."""
        self.stream.close_lingering()
        self.peer.setblocking(False)
        sent = 0
        while sent <= 2 * LINGER_BYTES and not self.protocol.reasons:
            sent += self.peer.send(bytes(65536))
            self.turn()
        self.assertEqual(self.protocol.reasons, [ConnectionDone])
        self.assertGreaterEqual(sent, LINGER_BYTES)

    def test_peer_ended_before(self) -> None:
        """When the peer's end was read already there is nothing to wait for."""
        self.protocol = HalfCloseable()
        self.stream.protocol = self.protocol
        self.peer.shutdown(socket.SHUT_WR)
        self.turn(2)
        self.stream.write(b"answer")
        self.stream.close_lingering()
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionDone])

    def test_peer_ends_while_sending(self) -> None:
        """A peer that ends its side first still gets all that is queued."""
        data = self.fill()
        self.stream.close_lingering()
        self.peer.shutdown(socket.SHUT_WR)
        self.assertSame(self.receive(len(data)), data)
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionDone])

    def test_reset(self) -> None:
        """A reset ends the wait."""
        self.stream.close_lingering()
        self.turn(2)
        reset(self.peer)
        self.turn(2)
        self.assertEqual(self.protocol.reasons, [ConnectionLost])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cut_short(self) -> None:
        """loseConnection and abortConnection end the wait."""
        actions: list[tuple[Any, type[BaseException]]] = [
            (Stream.loseConnection, ConnectionDone),
            (Stream.abortConnection, ConnectionAborted),
        ]
        for action, reason in actions:
            with self.subTest(action=action):
                self.setUp()
                self.stream.close_lingering()
                self.turn(2)
                action(self.stream)
                self.turn(2)
                self.assertEqual(self.protocol.reasons, [reason])
                self.assertEqual(self.reactor.getDelayedCalls(), [])
