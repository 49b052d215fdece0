"""
Tests of `balancer.wire.connect`.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.wire.address import Address, literal
from balancer.wire.connect import ConnectFailed, ConnectImpossible, connect
from balancer.wire.deadlines import Wheel
from balancer.wire.reactor import LeanReactor
from tests.wire.reactors import Recorder, StillReactor, Turns


class Case(SynchronousTestCase):
    """Connects, and remembers what came of it."""

    def make_reactor(self) -> Any:
        """What is called by `turn`."""
        return StillReactor()

    def setUp(self) -> None:
        self.turns = self.make_reactor()
        self.reactor = getattr(self.turns, "reactor", self.turns)
        self.protocol = Recorder()
        self.failures: list[ConnectFailed] = []

    def connect(self, address: Address, **more: Any) -> Any:
        """Connect `self.protocol`."""
        fail = self.failures.append
        return connect(self.reactor, address, self.protocol, fail, 5.0, **more)

    def listen(self) -> tuple[socket.socket, Address]:
        """A listening socket."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        return listener, literal("127.0.0.1", listener.getsockname()[1])

    def free_port(self) -> Address:
        """An address at which nobody listens."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return literal("127.0.0.1", listener.getsockname()[1])

    def failing(self, code: int) -> None:
        """Have the next `connect_ex` fail with `code`."""

        class Failing(socket.socket):
            def connect_ex(self, address: Any) -> int:
                return code

        self.patch(socket, "socket", Failing)


class ConnectContract:
    """What a caller may rely on, whichever reactor turns."""

    def test_connects(self: Any) -> None:
        """The protocol gets a reading stream, in a later turn."""
        listener, address = self.listen()
        self.connect(address)
        self.assertIsNone(self.protocol.transport)
        self.turns.turn(2)
        accepted, _ = listener.accept()
        self.addCleanup(accepted.close)
        accepted.sendall(b"hello")
        self.turns.turn(2)
        self.assertEqual(self.protocol.data, b"hello")
        self.assertEqual(self.protocol.transport.peer_port, address.port)
        self.assertTrue(self.protocol.transport.getTcpNoDelay())
        self.assertEqual(self.failures, [])
        self.protocol.transport.abortConnection()
        self.turns.turn(2)

    def test_refused(self: Any) -> None:
        """A refusal is told once, later, as a ConnectError that says where and why."""
        address = self.free_port()
        self.connect(address)
        self.assertEqual(self.failures, [])
        self.turns.turn(3)
        (failure,) = self.failures
        self.assertIsInstance(failure, ConnectError)
        self.assertNotIsInstance(failure, ConnectImpossible)
        self.assertEqual(failure.code, errno.ECONNREFUSED)
        self.assertEqual(str(failure), f"{address}: connection refused")
        self.assertIsNone(self.protocol.transport)

    def test_cancel(self: Any) -> None:
        """After cancel nobody is called, at any time."""
        _listener, address = self.listen()
        for turns in (0, 2):
            for target in (address, self.free_port()):
                connecting = self.connect(target)
                self.turns.turn(turns)
                self.failures.clear()
                connecting.cancel()
                connecting.cancel()
                self.turns.turn(2)
                self.assertEqual(self.failures, [])
        if self.protocol.transport is not None:
            self.protocol.transport.abortConnection()
            self.turns.turn(1)


class StillTests(ConnectContract, Case):
    """Connecting under a plain IReactorFDSet, whose clock is still."""

    def test_interfaces(self) -> None:
        """A connection under way is what reactors take."""
        from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor

        connecting = self.connect(self.free_port())
        verifyObject(IReadDescriptor, connecting)
        verifyObject(IWriteDescriptor, connecting)
        connecting.cancel()

    def test_ipv6(self) -> None:
        """IPv6 is no different."""
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.addCleanup(listener.close)
        self.connect(literal("::1", listener.getsockname()[1]))
        self.turns.turn(2)
        stream: Any = self.protocol.transport
        self.assertEqual(stream.peer_host, "::1")
        stream.abortConnection()
        self.turns.turn(1)

    def test_unix(self) -> None:
        """A unix socket connects, also in a later turn."""
        path = os.path.abspath(self.mktemp())[-100:]
        path = os.path.relpath(path)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            self.connect(literal("unix:" + path, 0))
            self.assertIsNone(self.protocol.transport)
            self.turns.turn(2)
        stream: Any = self.protocol.transport
        self.assertEqual(stream.peer_host, "unix")
        stream.abortConnection()
        self.turns.turn(1)

    def test_no_unix_socket(self) -> None:
        """A unix socket that is not there fails in a later turn."""
        self.connect(literal("unix:no-such-socket", 0))
        self.assertEqual(self.failures, [])
        self.turns.turn(1)
        self.assertEqual(self.failures[0].code, errno.ENOENT)

    def test_timeout(self) -> None:
        """Nobody answers: ETIMEDOUT after `timeout` seconds."""
        self.failing(errno.EINPROGRESS)
        self.connect(literal("192.0.2.1", 80))
        self.reactor.advance(4.9)
        self.assertEqual(self.failures, [])
        self.reactor.advance(0.2)
        (failure,) = self.failures
        self.assertTrue(failure.timed_out)
        self.assertEqual(str(failure), "192.0.2.1:80: timed out")
        self.assertEqual(set(self.reactor.writers), set())

    def test_timeout_by_wheel(self) -> None:
        """The wheel's timeout needs no delayed call; nothing is left in it afterwards."""
        self.failing(errno.EINPROGRESS)
        wheel = Wheel(self.reactor.seconds())
        self.connect(literal("192.0.2.1", 80), wheel=wheel)
        self.connect(literal("192.0.2.1", 80), wheel=wheel).cancel()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        wheel.advance(4.9)
        self.assertEqual(self.failures, [])
        wheel.advance(5.1)
        self.assertTrue(self.failures[0].timed_out)
        self.assertEqual(len(wheel), 0)

    def test_connected_leaves_the_wheel(self) -> None:
        """A connection that came about is forgotten by the wheel."""
        _listener, address = self.listen()
        wheel = Wheel(self.reactor.seconds())
        self.connect(address, wheel=wheel)
        self.turns.turn(2)
        self.assertEqual(len(wheel), 0)
        self.protocol.transport.abortConnection()  # type: ignore[union-attr]  # a stream
        self.turns.turn(1)

    def test_our_shortage(self) -> None:
        """A shortage of ours is told apart from a server's fault, and nothing leaks."""
        for code in (errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENOBUFS):
            self.failing(code)
            self.connect(literal("192.0.2.1", 80))
            self.turns.turn(1)
            failure = self.failures.pop()
            self.assertIsInstance(failure, ConnectImpossible)
            self.assertEqual(failure.code, code)

    def test_no_descriptor(self) -> None:
        """No descriptor left: the same, though there is no socket at all."""

        def emfile(*args: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(socket, "socket", emfile)
        self.connect(literal("127.0.0.1", 80)).cancel()
        self.connect(literal("127.0.0.1", 80))
        self.turns.turn(1)
        (failure,) = self.failures
        self.assertIn("ulimit -n", str(failure))

    def test_their_fault(self) -> None:
        """An unreachable network and a full backlog are the server's."""
        for code in (errno.ENETUNREACH, errno.EAGAIN):
            self.failing(code)
            self.connect(literal("192.0.2.1", 80))
            self.turns.turn(1)
            failure = self.failures.pop()
            self.assertNotIsInstance(failure, ConnectImpossible)

    def test_local(self) -> None:
        """The connection comes from the address that was asked for."""
        listener, address = self.listen()
        self.connect(address, local=literal("127.0.0.9", 0))
        self.turns.turn(2)
        accepted, peer = listener.accept()
        accepted.close()
        self.assertEqual(peer[0], "127.0.0.9")
        self.protocol.transport.abortConnection()  # type: ignore[union-attr]  # a stream
        self.turns.turn(1)

    def test_local_not_ours(self) -> None:
        """A local address that is not ours is our fault, told in a later turn."""
        _listener, address = self.listen()
        self.connect(address, local=literal("192.0.2.1", 0))
        self.turns.turn(1)
        self.assertIsInstance(self.failures[0], ConnectImpossible)

    def test_self_connect(self) -> None:
        """TCP's simultaneous open with ourselves counts as refused."""
        address = self.free_port()
        self.connect(address, local=address)
        self.turns.turn(3)
        self.assertEqual([failure.code for failure in self.failures], [errno.ECONNREFUSED])


class LeanTests(ConnectContract, Case):
    """Connecting under the lean reactor."""

    def make_reactor(self) -> Any:
        turns = Turns(LeanReactor())
        self.addCleanup(turns.close)
        return turns


class StockTests(ConnectContract, Case):
    """Connecting under Twisted's epoll reactor, which tells a refusal as a hang-up."""

    def make_reactor(self) -> Any:
        turns = Turns(EPollReactor())
        self.addCleanup(turns.close)
        return turns
