"""
Tests of `balancer.wire.connected`.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IReadDescriptor
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.wire.address import literal
from balancer.wire.connected import ConnectedDatagrams
from balancer.wire.reactor import LeanReactor
from tests.wire.reactors import Turns


class ConnectedContract:
    """A connected socket tells what ICMP said and lives on, whichever reactor turns."""

    def test_there_and_back(self: Any) -> None:
        """Datagrams go to the server and its answers come back."""
        self.assertTrue(self.datagrams.send(b"ask"))
        data, peer = self.server.recvfrom(100)
        self.assertEqual(data, b"ask")
        self.server.sendto(b"answer", peer)
        self.turns.turn(2)
        self.assertEqual(self.got, [b"answer"])

    def test_unreachable(self: Any) -> None:
        """A server that has gone is told by `failed`, not by the return value, and not at once."""
        self.server.close()
        self.assertTrue(self.datagrams.send(b"ask"))
        self.assertEqual(self.errors, [])
        self.turns.turn(2)
        self.assertEqual([error.errno for error in self.errors], [errno.ECONNREFUSED])

    def test_close(self: Any) -> None:
        """After close nobody is called; again is harmless."""
        self.server.close()
        self.datagrams.send(b"ask")
        self.datagrams.close()
        self.datagrams.close()
        self.turns.turn(2)
        self.assertEqual(self.errors, [])
        self.assertFalse(self.datagrams.send(b"ask"))


class ConnectedCase(SynchronousTestCase):
    """A connected socket and its server."""

    def make_reactor(self) -> Any:
        """What is called by `turn`."""
        turns = Turns(LeanReactor())
        self.addCleanup(turns.close)
        return turns

    def setUp(self) -> None:
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.server.close)
        self.server.bind(("127.0.0.1", 0))
        self.server.settimeout(2)
        self.turns = self.make_reactor()
        self.got: list[bytes] = []
        self.errors: list[OSError] = []
        self.datagrams = ConnectedDatagrams(
            self.turns.reactor,
            literal(*self.server.getsockname()),
            self.got.append,
            self.errors.append,
        )
        self.addCleanup(self.datagrams.close)


class LeanTests(ConnectedContract, ConnectedCase):
    """Under the lean reactor."""

    def test_interface(self) -> None:
        """A connected socket is what reactors take."""
        verifyObject(IReadDescriptor, self.datagrams)

    def test_lives_on(self) -> None:
        """After an error the socket still serves, and a pending error costs no datagram."""
        address = self.server.getsockname()
        self.server.close()
        self.datagrams.send(b"lost")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(address)
            again.settimeout(2)
            self.assertTrue(self.datagrams.send(b"found"))
            self.assertEqual(again.recv(100), b"found")
            self.assertEqual(self.errors, [])
            self.turns.turn(2)
            self.assertEqual(len(self.errors), 1)

    def test_closed_in_a_batch(self) -> None:
        """The owner may close from within."""
        self.datagrams.received = lambda data: self.datagrams.close()
        self.datagrams.send(b"ask")
        _data, peer = self.server.recvfrom(100)
        self.server.sendto(b"one", peer)
        self.server.sendto(b"two", peer)
        self.turns.turn(2)
        self.assertEqual(self.datagrams.fileno(), -1)

    def test_raising_owner(self) -> None:
        """An owner that raises is logged, and loses that datagram alone."""

        def bang(data: bytes) -> None:
            raise RuntimeError("bang")

        self.datagrams.received = bang
        self.datagrams.send(b"ask")
        _data, peer = self.server.recvfrom(100)
        self.server.sendto(b"one", peer)
        self.turns.turn(2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertGreaterEqual(self.datagrams.fileno(), 0)


class StockTests(ConnectedContract, ConnectedCase):
    """Under Twisted's epoll reactor, which takes an ICMP error for a hang-up."""

    def make_reactor(self) -> Any:
        turns = Turns(EPollReactor())
        self.addCleanup(turns.close)
        return turns
