"""DNS over TCP: one connection from its first byte to its end, over a socket that is a list."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from ipaddress import ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.dns import codes
from balancer.dns.kept import KEEPALIVE
from balancer.dns.pace import Pace
from balancer.dns.protocol import MESSAGES_A_TURN, MESSAGES_AT_ONCE, PATIENCE, DnsConnection
from balancer.dns.transfer import Access
from balancer.wire.stream import Stream
from tests.dns.serving import query, read, served, serving
from tests.dns.zones import n
from tests.relay.world import CLIENT, FakeSocket, World

ZONE = "www A 192.0.2.1\n" + "".join(f"t{each} TXT {'x' * 250}\n" for each in range(600))
SERVED = served(ZONE)
EVERYBODY = Access((((ip_network("0.0.0.0/0"),), None),))


def framed(*packets: bytes) -> bytes:
    """Messages with their lengths."""
    return b"".join(struct.pack("!H", len(packet)) + packet for packet in packets)


def numbered(number: int, name: str = "www", qtype: int = codes.A) -> bytes:
    """A query with that id."""
    return number.to_bytes(2, "big") + query(n(name), qtype)[2:]


class ConnectionTests(SynchronousTestCase):
    """What one client may do."""

    def setUp(self) -> None:
        SERVED.watchers.clear()
        SERVED.transfer = EVERYBODY
        self.reactor = World()
        self.reactor.advance(100.0)
        self.left: list[DnsConnection] = []
        self.connect()

    def connect(self, later: Callable[[Callable[[], object]], object] | None = None) -> None:
        """A client comes."""
        self.socket = FakeSocket()
        later = later or partial(self.reactor.callLater, 0)
        self.connection = DnsConnection(
            serving(SERVED), CLIENT[0], Pace(self.reactor.seconds, later), self.left.append
        )
        sock: Any = self.socket
        Stream(self.reactor, sock, self.connection, ("192.0.2.1", 53), CLIENT).start()

    def send(self, *data: bytes) -> None:
        """The client sends these, and everybody does what there is to do."""
        self.socket.comes(*data)
        self.reactor.settle()

    def answers(self) -> list[bytes]:
        """The messages that it has got."""
        found, at, out = [], 0, bytes(self.socket.outbox)
        while at < len(out):
            size = int.from_bytes(out[at : at + 2], "big")
            found.append(out[at + 2 : at + 2 + size])
            self.assertEqual(len(found[-1]), size)
            at += 2 + size
        return found

    def ids(self) -> list[int]:
        """Those of the answers, in order."""
        return [int.from_bytes(each[:2], "big") for each in self.answers()]

    def test_interfaces(self) -> None:
        """It half-closes, and is told when the client does not read."""
        verifyObject(IHalfCloseableProtocol, self.connection)
        verifyObject(IPushProducer, self.connection)

    @settings(max_examples=8, deadline=None)
    @given(st.lists(st.integers(1, 90), max_size=40))
    def test_pieces(self, cuts: list[int]) -> None:
        """However the bytes of ten queries come, ten answers go out in their order."""
        self.connect()
        wire = framed(*map(numbered, range(10)))
        at = 0
        for cut in cuts:
            self.socket.comes(*filter(None, [wire[at : at + cut]]))
            self.reactor.turn()
            at += cut
        self.send(*filter(None, [wire[at:]]))
        self.assertEqual(self.ids(), list(range(10)))

    def test_byte_by_byte(self) -> None:
        """One byte after the other."""
        for byte in framed(numbered(1), numbered(2)):
            self.socket.comes(bytes((byte,)))
            self.reactor.turn()
        self.assertEqual(self.ids(), [1, 2])

    def test_many(self) -> None:
        """Of many messages that come together few are answered at once, for as many connections as
        the reactor reads in one turn may bring as many. More follow in each turn, and nothing is
        read meanwhile."""
        later: list[Callable[[], object]] = []
        self.connect(later.append)
        self.socket.comes(framed(*map(numbered, range(300))), framed(numbered(300)))
        self.reactor.turn()
        self.assertEqual(len(self.ids()), MESSAGES_AT_ONCE)
        later.pop()()
        self.assertEqual(len(self.ids()), MESSAGES_AT_ONCE + MESSAGES_A_TURN)
        self.assertEqual(len(self.socket.inbox), 1)
        while later:
            later.pop()()
            self.reactor.turn()
        self.assertEqual(self.ids(), list(range(301)))

    def test_garbage(self) -> None:
        """What is no query ends the connection, after the answers to those before it."""
        for garbage in (b"\0\0", b"\0\5hello", framed(query(n("www"), flags=codes.QR))):
            self.connect()
            self.send(framed(numbered(1)) + garbage + framed(numbered(2)))
            self.assertEqual((self.ids(), self.socket.closed), ([1], True))
            self.assertIs(self.left[-1], self.connection)

    def test_malformed(self) -> None:
        """What is a query that cannot be read is answered FORMERR, and the next one as it should
        be."""
        self.send(framed(query(n("www"))[:-1], numbered(2)))
        self.assertEqual([each[3] & 15 for each in self.answers()], [codes.FORMERR, 0])

    def test_half_close(self) -> None:
        """A client that sends its end gets all its answers, and then ours; half a query is none."""
        for end in (b"", b"\0", framed(numbered(9))[:-1]):
            self.connect()
            self.send(framed(*map(numbered, range(200))) + end, b"")
            self.assertEqual((self.ids(), self.socket.closed), (list(range(200)), True))

    def test_end_at_once(self) -> None:
        """A client that only closes is left alone."""
        self.send(b"")
        self.assertTrue(self.socket.closed)
        self.assertEqual(self.left, [self.connection])

    def test_reset(self) -> None:
        """A reset in the middle of a turn's work ends it."""
        self.socket.comes(framed(*map(numbered, range(300))))
        self.reactor.turn()
        self.connection.connectionLost()
        answered = len(self.ids())
        self.reactor.settle()
        self.assertEqual(len(self.ids()), answered)

    def test_slow_reader(self) -> None:
        """Nothing is read or made for a client that does not read; when it does, all goes on."""
        self.socket.room = 100
        wanted = framed(*map(numbered, range(2000)))
        self.send(wanted[:60000], wanted[60000:])
        waiting = self.connection.transport.queued
        self.assertLess(waiting, 70000)
        self.assertTrue(self.socket.inbox)
        self.assertEqual(self.connection.deadline, 100.0 + PATIENCE)
        self.reactor.advance(3)
        self.socket.room = 1 << 30
        for _ in range(5):
            self.reactor.settle()
        self.assertEqual(self.ids(), list(range(2000)))
        self.assertEqual(self.connection.deadline, 103.0 + KEEPALIVE)

    def test_transfer(self) -> None:
        """A transfer goes out between the answers to what was asked before and after it."""
        self.send(framed(numbered(1), numbered(2, "@", codes.AXFR), numbered(3)))
        ids = self.ids()
        self.assertEqual((ids[0], set(ids[1:-1]), ids[-1]), (1, {2}, 3))
        self.assertGreater(len(ids), 10)
        self.assertEqual(sum(len(each.answer) for each in map(read, self.answers()[1:-1])), 605)

    def test_transfer_to_a_slow_reader(self) -> None:
        """Little of it is made before the client reads; half-closed or draining, it gets all."""
        ends: list[Callable[[], None]] = [
            lambda: self.socket.comes(b""), lambda: self.connection.drain(), lambda: None
        ]
        for end in ends:
            self.connect()
            self.socket.room = 1000
            self.send(framed(numbered(1, "@", codes.AXFR)))
            self.assertLess(self.connection.transport.queued, 100000)
            end()
            for _ in range(60):
                self.socket.room = 20000
                self.reactor.settle()
            found = self.answers()
            self.assertEqual(sum(len(read(each).answer) for each in found), 605)
            self.assertEqual(self.socket.closed, end is not ends[2])

    def test_transfer_keeps_alive(self) -> None:
        """Each message of a transfer that leaves at once moves the deadline."""
        self.socket.comes(framed(numbered(1, "@", codes.AXFR)))
        self.connection._transfer = iter([b"x" * 20] * 200)
        self.reactor.advance(5)
        self.connection._go_on()
        self.assertEqual(self.connection.deadline, 105.0 + KEEPALIVE)

    def test_deadline(self) -> None:
        """It moves by whole messages, and not by parts of them."""
        self.assertEqual(self.connection.deadline, 100.0 + KEEPALIVE)
        self.reactor.advance(4)
        whole = framed(numbered(1))
        self.send(whole[:-1])
        self.assertEqual(self.connection.deadline, 100.0 + KEEPALIVE)
        self.send(whole[-1:])
        self.assertEqual(self.connection.deadline, 104.0 + KEEPALIVE)
        self.connection.expired(120.0)
        self.reactor.settle()
        self.assertTrue(self.socket.closed)
        self.assertEqual(self.left, [self.connection])

    def test_drain(self) -> None:
        """An idle connection ends at once, a busy one when all that was asked is answered."""
        self.connection.drain()
        self.reactor.settle()
        self.assertTrue(self.socket.closed)
        self.connect()
        self.socket.comes(framed(*map(numbered, range(100))))
        self.reactor.turn()
        self.connection.drain()
        self.reactor.settle()
        self.assertEqual((self.ids(), self.socket.closed), (list(range(100)), True))
