"""Sockets that belong to the site: bound once, lent by address, closed when nobody owns them."""

from __future__ import annotations

import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.schema import Claim
from balancer.site.listeners import Listeners
from balancer.wire.listener import CannotBind
from tests.wire.reactors import StillReactor

LOOPBACK = "127.0.0.1"


def claim(protocol: Any, port: int, path: str = LOOPBACK) -> Claim:
    """A claim to a port, or to a unix socket."""
    return Claim(protocol, path, port, "listen")


class ListenerTests(SynchronousTestCase):
    """A site's listeners, on unix sockets: they need no port."""

    def setUp(self) -> None:
        self.reactor: Any = StillReactor()
        self.listeners = Listeners(self.reactor)
        self.addCleanup(self.listeners.close)

    def path(self) -> str:
        """A place for a unix socket. Its length is bounded by the kernel."""
        return f"unix:@balancer-test-{id(self)}-{len(self.mktemp())}"

    def test_lent_by_address(self) -> None:
        """What is claimed is lent under the host and port of the claim."""
        path = self.path()
        self.listeners.bind([claim("tcp", 0, path)])
        self.assertEqual(str(self.listeners.tcp(path, 0).address), path)
        self.assertRaises(KeyError, self.listeners.tcp, LOOPBACK, 1)

    def test_bound_once(self) -> None:
        """A second claim of the same address, as after a reload, keeps the socket."""
        path = self.path()
        self.listeners.bind([claim("tcp", 0, path)])
        first = self.listeners.tcp(path, 0)
        self.listeners.bind([claim("tcp", 0, path)])
        self.assertIs(self.listeners.tcp(path, 0), first)

    def test_all_or_nothing(self) -> None:
        """When one claim cannot be bound, those bound before it are closed again."""
        path, taken = self.path(), self.path() + "-taken"
        with socket.socket(socket.AF_UNIX) as other:
            other.bind("\0" + taken.removeprefix("unix:@"))
            other.listen()
            claims = [claim("tcp", 0, path), claim("tcp", 0, taken)]
            error: CannotBind = self.assertRaises(CannotBind, self.listeners.bind, claims)
        self.assertIn(taken, str(error))
        self.assertEqual(self.listeners.all_tcp(), ())

    def test_unowned(self) -> None:
        """Listeners that nobody accepts from are closed, and others stay."""
        ours, theirs = self.path(), self.path() + "-2"
        self.listeners.bind([claim("tcp", 0, ours), claim("tcp", 0, theirs)])
        self.listeners.tcp(ours, 0).accepted = lambda sock, peer: sock.close()
        self.listeners.close_unowned()
        self.assertEqual([str(each.address) for each in self.listeners.all_tcp()], [ours])

    def test_accept_waiting(self) -> None:
        """Who is connected already is accepted before listeners are given up."""
        path = self.path()
        self.listeners.bind([claim("tcp", 0, path)])
        listener = self.listeners.tcp(path, 0)
        accepted: list[socket.socket] = []
        listener.accepted = lambda sock, peer: accepted.append(sock)
        listener.start()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("\0" + path.removeprefix("unix:@"))
            self.listeners.accept_waiting()
        self.assertEqual(len(accepted), 1)
        accepted[0].close()
