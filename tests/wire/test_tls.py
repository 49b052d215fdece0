"""
Tests of `balancer.wire.tls`: what protocols may rely on once the handshake is done.
"""

from __future__ import annotations

import ssl
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost

from balancer.wire.tls import RECORD, TlsStream
from tests.wire.reactors import HalfCloseable, drain, reset
from tests.wire.tls import Case, Client, Forger, stuff, unstuff

# More than the kernel and OpenSSL take over a unix socket.
PATTERN = bytes(range(256)) * 4096

HANDSHAKE, DATA = 22, 23
KEY_UPDATE_REQUESTED = b"\x18\0\0\1\1"


class Producer:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class WritingTest(Case):
    """From the protocol to the client."""

    def test_at_once(self) -> None:
        """A small write is with the kernel when it returns."""
        protocol, client = self.connect()
        stream = self.stream(protocol)
        stream.write(b"hello")
        self.assertEqual((stream.queued, self.reactor.writers), (0, set()))
        client.feed()
        self.assertEqual(client.read(), b"hello")

    def test_large(self) -> None:
        """What the socket does not take arrives in order, with later writes behind it."""
        protocol, client = self.connect()
        stream = self.stream(protocol)
        tail = [b"%d," % i for i in range(1000)]
        stream.write(PATTERN)
        self.assertGreater(stream.queued, 0)
        for part in tail:
            stream.write(part)
        expected = PATTERN + b"".join(tail)
        got = self.receive(client, len(expected))
        self.assertTrue(got == expected, f"{len(got)} bytes of {len(expected)}")
        self.assertEqual((stream.queued, self.reactor.writers), (0, set()))

    def test_joined_retry(self) -> None:
        """Small writes queued while one is half sent may be joined with it, and none is spoilt."""
        protocol, client = self.connect()
        stream = self.stream(protocol)
        expected = b""
        while not stream.queued:
            stream.write(PATTERN[:5000])
            expected += PATTERN[:5000]
        for size in (1, 700, 16384, 3):
            stream.write(PATTERN[:size])
            expected += PATTERN[:size]
            self.turn()
        got = self.receive(client, len(expected))
        self.assertTrue(got == expected, f"{len(got)} bytes of {len(expected)}")

    def test_backpressure(self) -> None:
        """A streaming producer is paused while much is queued, and resumed as it empties."""
        protocol, client = self.connect()
        stream = self.stream(protocol)
        producer = Producer()
        stream.registerProducer(producer, True)
        stream.write(PATTERN)
        self.assertEqual(producer.told, ["pause"])
        self.receive(client, len(PATTERN))
        self.assertEqual(producer.told, ["pause", "resume"])

    def test_pull_producer(self) -> None:
        """A pull producer is asked for more after each flush, and holds off closing."""
        protocol, client = self.connect()
        stream = self.stream(protocol)
        parts = [b"one", b"two", b"three"]

        class Pulled(Producer):
            def resumeProducing(self) -> None:
                if parts:
                    stream.write(parts.pop(0))
                else:
                    stream.unregisterProducer()

        stream.registerProducer(Pulled(), False)
        stream.loseConnection()
        self.turn(8)
        client.feed()
        self.assertEqual(client.read(), b"onetwothree")
        self.assertTrue(client.said_goodbye())
        self.assertEqual(protocol.reasons, [ConnectionDone])

    def test_to_a_reset_peer(self) -> None:
        """A write never fails: the loss is told later, once."""
        protocol, client = self.connect()
        stream = self.stream(protocol)
        client.socket.close()
        stream.write(b"one")
        stream.write(b"two")
        self.assertEqual(protocol.reasons, [])
        self.turn(3)
        self.assertEqual(protocol.reasons, [ConnectionLost])
        stream.write(b"three")
        self.assertEqual(stream.queued, 0)


class ReadingTest(Case):
    """From the client to the protocol."""

    def test_large(self) -> None:
        """Megabytes arrive whole, no more than `recv_size` at a time."""
        protocol, client = self.connect()
        sizes: list[int] = []
        received = protocol.dataReceived

        def note(data: bytes) -> None:
            sizes.append(len(data))
            received(data)

        protocol.dataReceived = note  # type: ignore[method-assign]  # to see the sizes
        client.tls.write(PATTERN)
        while data := client.outgoing.read(100_000):
            client.socket.sendall(data)
            self.turn(8)
        self.assertTrue(protocol.data == PATTERN)
        self.assertEqual(max(sizes), self.stream(protocol).recv_size)

    def test_small_recv_size(self) -> None:
        """A record is never split, however small `recv_size` is."""
        protocol, client = self.connect()
        self.stream(protocol).recv_size = 100
        client.write(PATTERN[: RECORD * 2])
        self.turn(1)
        self.assertEqual(len(protocol.data), RECORD)
        self.turn(1)
        self.assertEqual(len(protocol.data), RECORD * 2)

    def test_paused(self) -> None:
        """A paused stream delivers nothing, not even what came before the pause, until resumed."""
        protocol, client = self.connect()
        stream = self.stream(protocol)
        stream.pauseProducing()
        client.write(PATTERN[: RECORD * 3])
        self.turn(3)
        self.assertEqual(protocol.data, b"")
        stream.resumeProducing()
        self.turn(1)
        self.assertEqual(len(protocol.data), RECORD * 3)

    def test_end_behind_data(self) -> None:
        """close_notify right behind a full record is not overlooked."""
        for extra in (0, 1):
            protocol, client = self.connect()
            client.tls.write(PATTERN[: RECORD + extra])
            client.close_notify()
            self.turn(3)
            self.assertEqual(len(protocol.data), RECORD + extra)
            self.assertEqual(protocol.reasons, [ConnectionDone])

    def test_damaged_record(self) -> None:
        """A record that was tampered with is a loss, behind the sound ones."""
        protocol, client = self.connect()
        client.tls.write(PATTERN[:RECORD])
        client.tls.write(b"hello")
        data = bytearray(client.outgoing.read())
        data[-1] ^= 1
        client.socket.sendall(data)
        self.turn(3)
        self.assertEqual(len(protocol.data), RECORD)
        self.assertEqual(protocol.reasons, [ConnectionLost])


class EndTest(Case):
    """How connections end."""

    def test_close_notify(self) -> None:
        """The client's close_notify is a clean end, and is answered."""
        protocol, client = self.connect()
        client.write(b"last words")
        client.close_notify()
        self.turn(3)
        self.assertEqual(protocol.data, b"last words")
        self.assertEqual(protocol.reasons, [ConnectionDone])
        client.feed()
        client.tls.unwrap()

    def test_truncated(self) -> None:
        """A client's end without close_notify is a loss."""
        protocol, client = self.connect()
        client.write(b"last words")
        client.socket.close()
        self.turn(3)
        self.assertEqual(protocol.data, b"last words")
        self.assertEqual(protocol.reasons, [ConnectionLost])

    def test_reset(self) -> None:
        """A reset is a loss."""
        protocol, client = self.connect()
        reset(client.socket)
        self.turn(3)
        self.assertEqual(protocol.reasons, [ConnectionLost])

    def test_lose_connection(self) -> None:
        """All that is queued goes out, then close_notify, then the end."""
        protocol, client = self.connect()
        stream = self.stream(protocol)
        stream.write(PATTERN)
        stream.loseConnection()
        stream.write(b"never")
        self.assertEqual(protocol.reasons, [])
        got = self.receive(client, len(PATTERN))
        self.assertTrue(got == PATTERN)
        self.turn(2)
        self.assertEqual(protocol.reasons, [ConnectionDone])
        client.feed()
        self.assertTrue(client.said_goodbye())

    def test_close_notify_waits(self) -> None:
        """close_notify that finds the socket full goes out when it takes bytes again."""
        protocol, client = self.connect()
        stream = self.stream(protocol)
        count = stuff(stream.socket)
        stream.loseConnection()
        stream.doWrite()
        self.turn(2)
        self.assertEqual(protocol.reasons, [])
        unstuff(client.socket, count)
        self.turn(2)
        client.feed()
        self.assertTrue(client.said_goodbye())
        self.assertEqual(protocol.reasons, [ConnectionDone])

    def test_lost_while_paused(self) -> None:
        """A paused stream learns of a reset by what it sends."""
        protocol, client = self.connect()
        stream = self.stream(protocol)
        stream.pauseProducing()
        stream.write(PATTERN)
        client.socket.close()
        self.turn(2)
        self.assertEqual(protocol.reasons, [ConnectionLost])

    def test_dropped_queue(self) -> None:
        """A connection that ends with bytes in the queue does not claim that it was complete."""
        protocol, client = self.connect()
        self.stream(protocol).write(PATTERN)
        client.close_notify()
        self.turn(2)
        self.assertEqual(protocol.reasons, [ConnectionDone])
        client.feed()
        with self.assertRaises(ssl.SSLError):
            while True:
                client.tls.read(1 << 16)
        self.assertFalse(client.said_goodbye())

    def test_abort(self) -> None:
        """An aborted connection sends no close_notify, and tells in a later turn."""
        protocol, client = self.connect()
        self.stream(protocol).abortConnection()
        self.assertEqual(protocol.reasons, [])
        self.turn(1)
        self.assertEqual(protocol.reasons, [ConnectionAborted])
        client.feed()
        self.assertFalse(client.said_goodbye())
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))


class LingerTest(Case):
    """Closing while the client still sends."""

    tcp = True

    def test_lingers(self) -> None:
        """The answer arrives whole although the request was never read."""
        protocol, client = self.connect()
        stream = self.stream(protocol)
        stream.pauseProducing()
        client.write(PATTERN[:200_000])
        stream.write(PATTERN)
        stream.close_lingering()
        self.assertTrue(self.receive(client, len(PATTERN)) == PATTERN)
        client.feed()
        self.assertTrue(client.said_goodbye())
        self.assertEqual(protocol.data, b"")
        self.assertEqual(protocol.reasons, [])
        client.socket.close()
        self.turn(10)
        self.assertEqual(len(protocol.reasons), 1)

    def test_in_time(self) -> None:
        """A client that stays does not hold the connection."""
        protocol, client = self.connect()
        self.stream(protocol).close_lingering()
        self.turn(2)
        client.feed()
        self.assertTrue(client.said_goodbye())
        self.assertEqual(protocol.reasons, [])
        self.reactor.advance(2)
        self.assertEqual(protocol.reasons, [ConnectionDone])


class HalfCloseTest(Case):
    """Protocols that outlive one direction."""

    protocol_type = HalfCloseable

    def connect(self, name: str | None = "a.test", **options: Any) -> tuple[Any, Client]:
        """A connection whose handshake is done."""
        return super().connect(name, **options)

    def test_ours(self) -> None:
        """Our end is flushed and told; the client may still send, and then end."""
        protocol, client = self.connect()
        stream = self.stream(protocol)
        stream.write(PATTERN)
        stream.loseWriteConnection()
        self.assertTrue(self.receive(client, len(PATTERN)) == PATTERN)
        self.turn(2)
        client.feed()
        self.assertTrue(client.said_goodbye())
        self.assertEqual(protocol.ends, ["write"])
        client.write(b"still here")
        self.turn(2)
        self.assertEqual(protocol.data, b"still here")
        client.close_notify()
        self.turn(2)
        self.assertEqual(protocol.ends, ["write", "read"])
        self.assertEqual(protocol.reasons, [ConnectionDone])

    def test_ours_with_unread_data(self) -> None:
        """Our end waits until nothing is to be read, so that nothing is lost."""
        protocol, client = self.connect()
        stream = self.stream(protocol)
        stream.pauseProducing()
        client.write(b"unread")
        stream.loseWriteConnection()
        self.turn(3)
        self.assertEqual(protocol.ends, [])
        stream.resumeProducing()
        self.turn(2)
        self.assertEqual(protocol.data, b"unread")
        self.assertEqual(protocol.ends, ["write"])
        client.write(b", and more")
        self.turn(2)
        self.assertEqual(protocol.data, b"unread, and more")

    def test_ours_with_full_socket(self) -> None:
        """Our end that finds the socket full goes out when it takes bytes again."""
        protocol, client = self.connect()
        stream = self.stream(protocol)
        count = stuff(stream.socket)
        stream.loseWriteConnection()
        stream.doWrite()
        self.turn(2)
        self.assertEqual(protocol.ends, [])
        unstuff(client.socket, count)
        self.turn(2)
        self.assertEqual(protocol.ends, ["write"])
        client.feed()
        self.assertTrue(client.said_goodbye())

    def test_ours_crossed_by_data(self) -> None:
        """Data that crosses our end in the very moment is lost: the connection is, and says so."""
        protocol, client = self.connect()
        self.patch(TlsStream, "_nothing_waits", lambda stream: True)
        self.stream(protocol).pauseProducing()
        client.write(b"crossing")
        self.stream(protocol).loseWriteConnection()
        self.turn(2)
        self.assertEqual(protocol.reasons, [ConnectionLost])

    def test_theirs(self) -> None:
        """The client's end leaves our direction open."""
        protocol, client = self.connect()
        stream = self.stream(protocol)
        client.close_notify()
        self.turn(2)
        self.assertEqual((protocol.ends, protocol.reasons), (["read"], []))
        stream.write(PATTERN)
        got = self.receive(client, len(PATTERN))
        self.assertTrue(got == PATTERN)
        stream.loseConnection()
        self.turn(2)
        client.feed()
        self.assertTrue(client.said_goodbye())
        self.assertEqual(protocol.reasons, [ConnectionDone])

    def test_both_at_once(self) -> None:
        """Ends that cross each other end the connection."""
        protocol, client = self.connect()
        client.close_notify()
        self.stream(protocol).loseWriteConnection()
        self.turn(3)
        self.assertEqual(protocol.reasons, [ConnectionDone])


class KeyUpdateTest(Case):
    """Messages of the handshake's kind in the middle of a connection (RFC 8446 4.6.3)."""

    def forging(self) -> tuple[Any, Client, Forger]:
        """A connection whose client's records are written by hand."""
        path = self.directory / "keys"
        protocol, client = self.connect(keylog_filename=str(path))
        return protocol, client, Forger(path)

    def test_update(self) -> None:
        """A client may change its keys, and have us change ours."""
        protocol, client, forger = self.forging()
        stream = self.stream(protocol)
        client.socket.sendall(forger.record(DATA, b"before"))
        client.socket.sendall(forger.record(HANDSHAKE, KEY_UPDATE_REQUESTED))
        forger.update_key()
        client.socket.sendall(forger.record(DATA, b", after"))
        self.turn(4)
        self.assertEqual(protocol.data, b"before, after")
        stream.write(b"answer")
        client.feed()
        self.assertEqual(client.read(), b"answer")

    def test_update_with_full_queue(self) -> None:
        """A change of keys that finds the socket full waits, and spins in neither direction."""
        protocol, client, forger = self.forging()
        stream = self.stream(protocol)
        stream.write(PATTERN)
        client.socket.sendall(forger.record(HANDSHAKE, KEY_UPDATE_REQUESTED))
        forger.update_key()
        client.socket.sendall(forger.record(DATA, b"after"))
        self.turn(4)
        stream.write(b"tail")
        self.assertTrue(self.receive(client, len(PATTERN) + 4) == PATTERN + b"tail")
        self.assertEqual(protocol.data, b"after")
        self.assertEqual(self.reactor.writers, set())

    def test_write_waits_for_reading(self) -> None:
        """While half a message is here no record may go out; once the rest comes it does."""
        for paused in (False, True):
            (self.directory / "keys").unlink(missing_ok=True)
            protocol, client, forger = self.forging()
            stream = self.stream(protocol)
            client.socket.sendall(forger.record(HANDSHAKE, KEY_UPDATE_REQUESTED[:4]))
            self.turn(2)
            stream.write(b"answer")
            if paused:
                stream.pauseProducing()
            self.turn(3)
            self.assertEqual(stream.queued, 6)
            self.assertNotIn(stream, self.reactor.writers, "it would spin")
            client.socket.sendall(forger.record(HANDSHAKE, KEY_UPDATE_REQUESTED[4:]))
            forger.update_key()
            client.socket.sendall(forger.record(DATA, b"after"))
            self.turn(4)
            client.feed()
            self.assertEqual(client.read(), b"answer")
            self.assertEqual(protocol.data, b"" if paused else b"after")
            stream.resumeProducing()
            self.turn(2)
            self.assertEqual(protocol.data, b"after")

    def test_read_waits_for_writing(self) -> None:
        """While half an answer of ours is out nothing is read; once the socket empties it is."""
        protocol, client, forger = self.forging()
        stream = self.stream(protocol)
        count = stuff(stream.socket)
        client.socket.sendall(forger.record(HANDSHAKE, KEY_UPDATE_REQUESTED))
        self.turn(2)
        stream.write(b"answer")
        forger.update_key()
        client.socket.sendall(forger.record(DATA, b"after"))
        self.turn(2)
        self.assertNotIn(stream, self.reactor.readers, "it would spin")
        stream.pauseProducing()
        stream.resumeProducing()
        self.assertNotIn(stream, self.reactor.readers, "it would spin")
        unstuff(client.socket, count)
        self.turn(3)
        self.assertEqual(protocol.data, b"after")
        client.feed()
        self.assertEqual(client.read(), b"answer")

    def test_ends_while_waiting(self) -> None:
        """A connection that is lost while a write waits leaves nothing registered."""
        protocol, client, forger = self.forging()
        stream = self.stream(protocol)
        client.socket.sendall(forger.record(HANDSHAKE, KEY_UPDATE_REQUESTED[:4]))
        self.turn(2)
        stream.write(b"answer")
        stream.pauseProducing()
        self.turn(2)
        stream.abortConnection()
        self.turn(1)
        self.assertEqual(protocol.reasons, [ConnectionAborted])
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))
        self.assertEqual(drain(client.socket), b"")
        self.assertIsInstance(stream, TlsStream)
