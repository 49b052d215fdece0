"""
Tests of `balancer.wire.bound`, `balancer.wire.datagrams` and `balancer.wire.pktinfo`.
"""

from __future__ import annotations

import errno
import select
import socket
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.wire import pktinfo
from balancer.wire.address import literal
from balancer.wire.bind import CannotBind, bind_udp
from balancer.wire.bound import DATAGRAMS_A_TURN
from balancer.wire.datagrams import DatagramPort
from tests.wire.reactors import StillReactor


class Case(SynchronousTestCase):
    """A bound port and a plain client."""

    host = "127.0.0.1"

    def setUp(self) -> None:
        self.reactor = StillReactor()
        sock = bind_udp(literal(self.host, 0))
        self.port = DatagramPort(self.reactor, sock, literal(self.host, sock.getsockname()[1]))
        self.addCleanup(self.port.stop)
        self.got: list[Any] = []
        self.port.received = lambda *got: self.got.append(got)
        self.port.start()

    def client(self, family: int = socket.AF_INET) -> socket.socket:
        """A client socket."""
        client = socket.socket(family, socket.SOCK_DGRAM)
        client.settimeout(2)
        self.addCleanup(client.close)
        return client


class DatagramPortTests(Case):
    """Datagrams come in batches and answers go out."""

    def test_interface(self) -> None:
        """A port is what reactors take."""
        verifyObject(IReadDescriptor, self.port)

    def test_there_and_back(self) -> None:
        """The owner gets data and peer, and may answer."""
        client = self.client()
        client.sendto(b"ask", self.port.address.sockaddr)
        self.reactor.turn()
        ((data, peer, local),) = self.got
        self.assertEqual((data, peer[1], local), (b"ask", client.getsockname()[1], None))
        self.assertTrue(self.port.send(b"answer", peer))
        self.assertEqual(client.recv(100), b"answer")
        self.assertEqual((self.port.received_total, self.port.sent_total), (1, 1))

    def test_not_started(self) -> None:
        """What comes before its owner begins waits for that, however the port is looked at."""
        for takes in ("received", "answer"):
            sock = bind_udp(literal(self.host, 0))
            port = DatagramPort(self.reactor, sock, literal(self.host, sock.getsockname()[1]))
            self.addCleanup(port.stop)
            self.client().sendto(b"early", port.address.sockaddr)
            port.doRead()
            setattr(port, takes, lambda data, *rest: self.got.append(data))
            port.doRead()
            self.assertEqual((self.got, port.received_total), ([], 0))
            port.start()
            self.reactor.turn()
            self.assertEqual((self.got.pop(), port.received_total), (b"early", 1))

    def test_empty(self) -> None:
        """An empty datagram is a datagram."""
        self.client().sendto(b"", self.port.address.sockaddr)
        self.reactor.turn()
        self.assertEqual(self.got[0][0], b"")

    def test_batches(self) -> None:
        """Many are read in a turn, and no more than leaves room for others."""
        client = self.client()
        for i in range(DATAGRAMS_A_TURN + 3):
            client.sendto(b"%d" % i, self.port.address.sockaddr)
        self.reactor.turn()
        self.assertEqual(len(self.got), DATAGRAMS_A_TURN)
        self.reactor.turn()
        expected = [b"%d" % i for i in range(DATAGRAMS_A_TURN + 3)]
        self.assertEqual([data for data, _peer, _local in self.got], expected)

    def test_raising_owner(self) -> None:
        """An owner that raises loses that datagram alone."""

        def bang(*got: Any) -> None:
            raise RuntimeError("bang")

        self.port.received = bang
        self.client().sendto(b"x", self.port.address.sockaddr)
        self.reactor.turn()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertIn(self.port, self.reactor.readers)

    def test_stopped_in_a_batch(self) -> None:
        """An owner may stop the port from within."""
        self.port.received = lambda *got: self.port.stop()
        for _ in range(2):
            self.client().sendto(b"x", self.port.address.sockaddr)
        self.reactor.turn()
        self.port.stop()
        self.assertEqual(self.port.received_total, 1)
        self.assertEqual(self.port.fileno(), -1)

    def test_cannot_send(self) -> None:
        """What the kernel does not take is dropped and counted, never raised."""
        self.assertFalse(self.port.send(bytes(70_000), ("127.0.0.1", 9)))
        self.port.stop()
        self.assertFalse(self.port.send(b"x", ("127.0.0.1", 9)))
        self.assertEqual((self.port.sent_total, self.port.dropped_total), (0, 2))

    def test_errors(self) -> None:
        """Errors that the kernel keeps for the socket reach who asked for them."""
        errors: list[OSError] = []
        self.port.errors(errors.append)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            self.port.socket.connect(gone.getsockname())
        self.port.socket.send(b"x")
        self.reactor._pass_on(self.port, select.POLLIN)
        self.assertEqual([error.errno for error in errors], [errno.ECONNREFUSED])

    def test_in_use(self) -> None:
        """A port that is taken is named, even by a socket that would share."""
        error = self.assertRaises(CannotBind, bind_udp, self.port.address)
        self.assertIn(str(self.port.address), str(error))


class WildcardTests(Case):
    """Answers of a wildcard port leave from the address that was asked."""

    def test_answer(self) -> None:
        """So do those of an owner who answers at once."""
        self.port.received = None
        self.port.answer = lambda data, host: data + host.encode()
        client = self.client()
        asked = "127.0.0.5"
        client.sendto(b"x", (asked, self.port.address.port))
        self.reactor.turn()
        self.assertEqual(client.recvfrom(100), (b"x127.0.0.1", (asked, self.port.address.port)))

    host = "0.0.0.0"

    def test_reply_address(self) -> None:
        """Each answer comes from where its question went, and the token serves as a key."""
        for asked in ("127.0.0.5", "127.0.0.6"):
            client = self.client()
            client.sendto(b"ask", (asked, self.port.address.port))
            self.reactor.turn()
            _data, peer, local = self.got.pop()
            self.assertEqual({local: asked}[local], asked)
            self.assertTrue(self.port.send(b"answer", peer, local))
            self.assertEqual(client.recvfrom(100), (b"answer", (asked, self.port.address.port)))


class WildcardV6Tests(Case):
    """The same over IPv6."""

    host = "::"

    def test_reply_address(self) -> None:
        """The answer comes from where the question went."""
        client = self.client(socket.AF_INET6)
        client.sendto(b"ask", ("::1", self.port.address.port))
        self.reactor.turn()
        _data, peer, local = self.got.pop()
        self.assertTrue(self.port.send(b"answer", peer, local))
        data, source = client.recvfrom(100)
        self.assertEqual((data, source[:2]), (b"answer", ("::1", self.port.address.port)))

    def test_ipv6_only(self) -> None:
        """[::] leaves IPv4 to others."""
        bind_udp(literal("0.0.0.0", self.port.address.port)).close()


class PktinfoTests(SynchronousTestCase):
    """Control messages are read and made as the kernel lays them out."""

    def test_link_local(self) -> None:
        """Only a link-local address keeps its device."""
        for host, kept in (("fe80::1", 3), ("2001:db8::1", 0)):
            packed = socket.inet_pton(socket.AF_INET6, host)
            message = (41, 50, packed + (3).to_bytes(4, "little"))
            local = pktinfo.local_of([(1, 2, b"other"), message])
            self.assertEqual(local, packed + kept.to_bytes(4, "little"))
            assert local is not None
            self.assertEqual(pktinfo.reply_from(socket.AF_INET6, local), (41, 50, local))

    def test_none(self) -> None:
        """Other messages tell nothing, nor does one that is cut."""
        told = [(1, 2, b"other"), (0, 8, bytes(11)), (41, 50, bytes(19))]
        self.assertIsNone(pktinfo.local_of(told))
