"""
Tests of `balancer.wire.listener` and of stock factories on it.
"""

from __future__ import annotations

import errno
import gc
import os
import socket
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface.verify import verifyObject

from balancer.wire.address import Address, literal
from balancer.wire.listener import ACCEPTS_A_TURN, CannotBind, Listener, bind_tcp
from balancer.wire.stock import serve
from tests.wire.reactors import Recorder, StillReactor, drain


class Case(SynchronousTestCase):
    """A started listener on loopback."""

    def setUp(self) -> None:
        self.reactor = StillReactor()
        sock = bind_tcp(literal("127.0.0.1", 0))
        self.address = literal(*sock.getsockname())
        self.listener = Listener(self.reactor, sock, self.address)
        self.addCleanup(self.listener.stop)
        self.listener.start()
        self.sockets: list[socket.socket] = []

    def own(self) -> None:
        """Become the owner: keep what is accepted."""
        self.listener.accepted = lambda sock, peer: self.keep(sock)

    def keep(self, sock: socket.socket) -> None:
        self.sockets.append(sock)
        self.addCleanup(sock.close)

    def client(self) -> socket.socket:
        """A new connection."""
        client = socket.create_connection(self.address.sockaddr)  # type: ignore[arg-type]  # IPv4
        client.settimeout(2)
        self.addCleanup(client.close)
        return client


class ListenerTests(Case):
    """Connections reach whoever owns the listener."""

    def test_interface(self) -> None:
        """A listener is what reactors take."""
        verifyObject(IReadDescriptor, self.listener)

    def test_accepts(self) -> None:
        """The owner gets a non-blocking socket, and the peer's address."""
        peers: list[Any] = []

        def accepted(sock: socket.socket, peer: Any) -> None:
            self.keep(sock)
            peers.append(peer)

        self.listener.accepted = accepted
        client = self.client()
        self.reactor.turn()
        self.assertEqual(peers, [client.getsockname()])
        self.assertEqual(self.sockets[0].gettimeout(), 0)
        self.assertFalse(os.get_inheritable(self.sockets[0].fileno()))
        self.assertEqual(self.listener.accepted_total, 1)

    def test_prompt(self) -> None:
        """A listener that says so gives connections that have TCP_NODELAY."""
        self.own()
        self.client()
        self.reactor.turn()
        [sock] = self.sockets
        nodelay = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        self.assertEqual(self.listener.prompt, bool(nodelay))

    def test_batches(self) -> None:
        """Many are accepted in a turn, and no more than leaves room for others."""
        self.own()
        for _ in range(ACCEPTS_A_TURN + 6):
            self.client()
        self.reactor.turn()
        self.assertEqual(len(self.sockets), ACCEPTS_A_TURN)
        self.reactor.turn()
        self.assertEqual(len(self.sockets), ACCEPTS_A_TURN + 6)

    def test_deferred_batches(self) -> None:
        """Those that have spoken are accepted one by one: each is work for its owner at once."""
        self.own()
        self.listener.defer("why")
        for _ in range(2):
            self.client().sendall(b"hello")
        self.reactor.turn()
        self.assertEqual(len(self.sockets), 1)
        self.reactor.turn()
        self.assertEqual(len(self.sockets), 2)

    def deferral(self) -> int:
        """What the kernel was told."""
        return self.listener.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT)

    def test_defer(self) -> None:
        """A connection whose client is to speak first is accepted when it has."""
        self.own()
        self.listener.defer("why")
        self.assertTrue(self.listener.deferred)
        client = self.client()
        self.reactor.turn()
        self.assertEqual(self.sockets, [])
        client.sendall(b"hello")
        self.reactor.turn()
        [sock] = self.sockets
        self.assertEqual(sock.recv(5), b"hello")

    def test_defer_no_more(self) -> None:
        """It is deferred for as long as anybody wants that."""
        self.listener.defer("one")
        self.listener.defer("another")
        self.listener.defer_no_more("one")
        self.assertTrue(self.listener.deferred)
        self.assertTrue(self.deferral())
        self.listener.defer_no_more("another")
        self.assertFalse(self.listener.deferred)
        self.assertFalse(self.deferral())

    def test_cannot_defer(self) -> None:
        """What the kernel refuses is not counted on."""
        self.listener.socket.close()
        self.listener.defer("why")
        self.assertFalse(self.listener.deferred)

    def test_without_owner(self) -> None:
        """Without an owner connections wait, and nobody spins on them."""
        self.client()
        self.assertEqual(set(self.reactor.readers), set())
        self.own()
        self.reactor.turn()
        self.assertEqual(len(self.sockets), 1)
        self.listener.accepted = None
        self.client()
        self.reactor.turn()
        self.assertEqual(len(self.sockets), 1)

    def test_pause(self) -> None:
        """While paused connections wait in the backlog."""
        self.own()
        self.listener.pause()
        self.client()
        self.reactor.turn()
        self.assertEqual(self.sockets, [])
        self.listener.resume()
        self.reactor.turn()
        self.assertEqual(len(self.sockets), 1)

    def test_paused_in_a_batch(self) -> None:
        """An owner may pause from within: the rest of the batch waits."""

        def accepted(sock: socket.socket, peer: Any) -> None:
            self.keep(sock)
            self.listener.pause()

        self.listener.accepted = accepted
        self.client()
        self.client()
        self.reactor.turn()
        self.assertEqual(len(self.sockets), 1)

    def test_swapped_in_a_batch(self) -> None:
        """An owner may hand over from within: the rest of the batch is the new one's."""
        others: list[socket.socket] = []

        def first(sock: socket.socket, peer: Any) -> None:
            self.keep(sock)
            self.listener.accepted = second

        def second(sock: socket.socket, peer: Any) -> None:
            self.keep(sock)
            others.append(sock)

        self.listener.accepted = first
        self.client()
        self.client()
        self.reactor.turn()
        self.assertEqual((len(self.sockets), len(others)), (2, 1))

    def test_raising_owner(self) -> None:
        """An owner that raises loses that connection alone."""

        def bang(sock: socket.socket, peer: Any) -> None:
            raise RuntimeError("bang")

        self.listener.accepted = bang
        self.client()
        self.client()
        self.reactor.turn()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        self.assertIn(self.listener, self.reactor.readers)

    def test_stop(self) -> None:
        """After stop the port is free; again is harmless."""
        self.own()
        self.listener.stop()
        self.listener.stop()
        self.assertEqual(self.listener.fileno(), -1)
        bind_tcp(self.address).close()
        self.assertEqual(set(self.reactor.readers), set())


class ShortageTests(Case):
    """Running out of descriptors is answered, counted and said, and does not spin."""

    def setUp(self) -> None:
        super().setUp()
        self.own()
        self.codes: list[int] = []
        self.listener.socket = Failing(self.listener.socket, self.codes)  # type: ignore[assignment]  # accepts like one

    def test_refuses(self) -> None:
        """The client hears of it, the reserve is there again, and the next one is accepted."""
        gc.collect()  # what other tests left would close between two looks
        for code in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS):
            refused, accepted = self.client(), self.client()
            self.codes.append(code)
            before = len(os.listdir("/proc/self/fd"))
            self.reactor.turn()
            self.assertEqual(len(os.listdir("/proc/self/fd")), before + 1)
            self.assertEqual(refused.recv(1), b"")
            self.sockets.pop().sendall(b"x")
            self.assertEqual(accepted.recv(1), b"x")
        self.assertEqual(self.listener.refused_total, 3)

    def test_no_reserve(self) -> None:
        """Without any descriptor at all the turn ends."""
        self.client()
        self.codes += [errno.EMFILE, errno.EMFILE]
        self.reactor.turn()
        self.assertEqual(self.sockets, [])
        self.reactor.turn()
        self.assertEqual(len(self.sockets), 1)

    def test_aborted(self) -> None:
        """A connection that was gone before it was accepted costs the others nothing."""
        self.client()
        self.codes += [errno.ECONNABORTED, errno.EPROTO, errno.EPERM]
        self.reactor.turn()
        self.assertEqual(len(self.sockets), 1)
        self.assertEqual(self.listener.refused_total, 0)


class Failing:
    """A listening socket whose `accept` fails as often as there are codes."""

    def __init__(self, sock: socket.socket, codes: list[int]) -> None:
        self.sock = sock
        self.codes = codes

    def accept(self) -> Any:
        if self.codes:
            raise OSError(self.codes.pop(0), "made up")
        return self.sock.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


class BindTests(SynchronousTestCase):
    """Addresses are bound, or the operator is told what is in the way."""

    def bind(self, address: Address) -> socket.socket:
        """Bind, and clean up."""
        sock = bind_tcp(address)
        self.addCleanup(sock.close)
        return sock

    def refusal(self, address: Address) -> str:
        """What is said when it cannot be bound."""
        return str(self.assertRaises(CannotBind, bind_tcp, address))

    def test_in_use(self) -> None:
        """A port that is taken is named."""
        sock = self.bind(literal("127.0.0.1", 0))
        address = literal(*sock.getsockname())
        text = self.refusal(address)
        self.assertIn(str(address), text)
        self.assertIn("another process listens there", text)

    def test_not_ours(self) -> None:
        """An address that no device has is named."""
        self.assertIn("192.0.2.1:0", self.refusal(literal("192.0.2.1", 0)))

    def test_privileged(self) -> None:
        """A privileged port says which capability is missing."""
        address = literal("127.0.0.1", 80)
        text = str(CannotBind(address, PermissionError(errno.EACCES, "Permission denied")))
        self.assertIn("ports below 1024 need CAP_NET_BIND_SERVICE", text)

    def test_ipv6_only(self) -> None:
        """[::] is IPv6 only."""
        sock = self.bind(literal("::", 0))
        self.bind(literal("0.0.0.0", sock.getsockname()[1]))

    def test_unix(self) -> None:
        """A file that nobody listens on is replaced, a live one is not, nor any other file."""
        path = os.path.relpath(self.mktemp())
        address = literal("unix:" + path, 0)
        bind_tcp(address).close()
        sock = self.bind(address)
        self.assertIn("another process listens there", self.refusal(address))
        sock.close()
        os.unlink(path)
        with open(path, "w") as file:
            file.write("precious")
        self.assertIn(path, self.refusal(address))
        self.assertTrue(os.path.exists(path))


class Hello(Resource):
    """Answers, and gives back what was sent."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        host: str = request.getClientAddress().host
        return b"hello " + host.encode()

    def render_POST(self, request: Any) -> bytes:
        body: bytes = request.content.read()
        return body


class StockTests(Case):
    """Stock factories run on listener and stream."""

    def ask(self, client: socket.socket, request: bytes) -> bytes:
        """Send, and read what is there after some turns."""
        client.sendall(request)
        self.reactor.turn(5)
        return drain(client)

    def test_site(self) -> None:
        """twisted.web's Site answers, keeps the connection, and takes large bodies both ways."""
        give_up = serve(self.listener, Site(Hello(), reactor=self.reactor))
        self.addCleanup(give_up)
        client = self.client()
        for _ in range(2):
            answer = self.ask(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)
            self.assertTrue(answer.endswith(b"hello 127.0.0.1"), answer)
        body = bytes(300_000)
        answer = self.ask(
            client, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + body
        )
        client.setblocking(True)
        while not answer.endswith(body):
            self.reactor.turn(5)
            answer += drain(client)
        answer = self.ask(client, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.assertIn(b"200 OK", answer)
        self.reactor.turn(3)
        client.settimeout(2)
        self.assertEqual(client.recv(1), b"")

    def test_factory(self) -> None:
        """The factory is started and stopped, and builds protocols for peers it knows."""
        built: list[Recorder] = []

        class Records(Factory):
            def buildProtocol(self, address: Any) -> Recorder:
                built.append(Recorder())
                return built[-1]

        factory = Records()
        give_up = serve(self.listener, factory)
        self.assertEqual(factory.numPorts, 1)
        client = self.client()
        client.sendall(b"hello")
        self.reactor.turn(2)
        client.close()
        self.reactor.turn(2)
        self.assertEqual(built[0].data, b"hello")
        self.assertEqual(built[0].reasons, [ConnectionDone])
        give_up()
        self.assertEqual(factory.numPorts, 0)
        self.assertIsNone(self.listener.accepted)

    def test_refusing_factory(self) -> None:
        """A factory that builds nothing closes the connection."""
        factory = Factory()
        self.patch(factory, "buildProtocol", lambda address: None)
        self.addCleanup(serve(self.listener, factory))
        client = self.client()
        self.reactor.turn(1)
        self.assertEqual(client.recv(1), b"")
