"""
Tests of `balancer.wire.connect_tls`, against servers of `handshakes`.
"""

from __future__ import annotations

import errno
import socket
import ssl
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from balancer.wire import connect_tls as module
from balancer.wire.address import Address, literal
from balancer.wire.certificates import CannotLoad, load
from balancer.wire.connect import ConnectFailed
from balancer.wire.connect_tls import TlsFailed, Trust, client_context, connect_tls
from balancer.wire.deadlines import Wheel
from balancer.wire.handshakes import Handshakes
from balancer.wire.listener import Listener, bind_tcp
from tests.wire.certificates import NOW, Authority
from tests.wire.reactors import Recorder, StillReactor, reset
from tests.wire.tls import AUTHORITY


class Case(SynchronousTestCase):
    """A TLS server, and a client of it on the same reactor."""

    def setUp(self) -> None:
        self.reactor = StillReactor()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.ca = self.directory / "ca"
        self.ca.write_bytes(AUTHORITY.pem)
        self.protocol = Recorder()
        self.failures: list[ConnectFailed] = []
        self.served: list[Recorder] = []
        self.asked: list[str | None] = []

    def serve(self, *names: str, alpn: tuple[str, ...] = (), **options: Any) -> Address:
        """Listen with a certificate for `names`."""
        path = AUTHORITY.issue(*names, **options).save(self.directory / "server.pem")
        address = literal("127.0.0.1", 0)
        bound = bind_tcp(address)
        address = literal("127.0.0.1", bound.getsockname()[1])
        listener = Listener(self.reactor, bound, address)
        self.addCleanup(listener.stop)
        context = load(path, NOW).context(alpn)
        context.sni_callback = lambda sock, name, context: self.asked.append(name)
        self.handshakes = Handshakes(listener, context)
        self.addCleanup(self.handshakes.stop)

        def accepted(sock: socket.socket, peer: Any) -> None:
            self.served.append(Recorder())
            self.handshakes.serve(sock, peer, self.served[-1])

        listener.accepted = accepted
        listener.start()
        return address

    def listen(self) -> tuple[socket.socket, Address]:
        """A plain listening socket."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        return listener, literal("127.0.0.1", listener.getsockname()[1])

    def connect(self, address: Address, name: str = "", **more: Any) -> Any:
        """Connect `self.protocol`, trusting the tests' authority."""
        context = more.pop("context", None) or client_context(self.ca)
        trust = Trust(context, name)
        fail = self.failures.append
        connecting = connect_tls(self.reactor, address, self.protocol, fail, 5.0, trust, **more)
        self.addCleanup(self.close)
        return connecting

    def close(self) -> None:
        """Leave no descriptor open."""
        for protocol in (self.protocol, *self.served):
            stream: Any = protocol.transport
            if stream is not None:
                stream.abortConnection()
        self.reactor.turn()

    def reason(self, address: Address, name: str = "", **more: Any) -> str:
        """Why the connection fails: told once, in a later turn, and the protocol hears nothing."""
        self.connect(address, name, **more)
        self.assertEqual(self.failures, [])
        self.reactor.turn(6)
        [failure] = self.failures
        self.assertIsInstance(failure, TlsFailed)
        self.assertIsNone(self.protocol.transport)
        self.assertEqual(str(failure), f"{address}: {failure.reason}")
        self.failures.clear()
        return failure.reason


class ConnectTest(Case):
    """Connections that come about."""

    def test_connects(self) -> None:
        """The protocol gets a stream when the server is the one that was meant."""
        address = self.serve("a.test", alpn=("http/1.1",))
        self.connect(address, "a.test", context=client_context(self.ca, alpn=("http/1.1",)))
        self.reactor.turn(6)
        stream: Any = self.protocol.transport
        self.assertEqual(self.failures, [])
        self.assertEqual((stream.version, stream.negotiated), ("TLSv1.3", b"http/1.1"))
        self.assertEqual(self.asked, ["a.test"])
        self.assertIsNotNone(stream.getPeerCertificate())
        stream.write(b"hello")
        self.reactor.turn(2)
        self.assertEqual(self.served[0].data, b"hello")
        self.assertEqual(self.reactor.getDelayedCalls(), self.handshakes_calls())
        stream.loseConnection()
        self.reactor.turn(3)
        self.assertEqual(self.served[0].reasons, [ConnectionDone])

    def handshakes_calls(self) -> list[Any]:
        """What the server's side may leave behind."""
        return [self.handshakes._call] if self.handshakes._call else []

    def test_by_address(self) -> None:
        """Without a name the address must be in the certificate, and is not asked for."""
        self.connect(self.serve("127.0.0.1"))
        self.reactor.turn(6)
        self.assertIsNotNone(self.protocol.transport)
        self.assertEqual(self.asked, [None])

    def test_unverified(self) -> None:
        """Without verification any server will do, and the name is still asked for."""
        address = self.serve("b.test", expires=NOW)
        self.connect(address, "a.test", context=client_context(verify=False))
        self.reactor.turn(6)
        self.assertEqual(self.asked, ["a.test"])

    def test_own_certificate_trusted(self) -> None:
        """What is to be trusted may be the server's own certificate."""
        address = self.serve("a.test")
        context = client_context(self.directory / "server.pem")
        self.connect(address, "a.test", context=context)
        self.reactor.turn(6)
        self.assertEqual(self.failures, [])
        self.assertIsNotNone(self.protocol.transport)

    def test_resumes(self) -> None:
        """A second connection to a server under a name resumes the session; another name's not."""
        address = self.serve("a.test", "b.test")
        context = client_context(self.ca)
        reused = []
        for name in ("a.test", "a.test", "b.test"):
            self.connect(address, name, context=context)
            self.reactor.turn(6)
            stream: Any = self.protocol.transport
            reused.append(stream.session_reused)
            self.served[-1].transport.write(b"hello")  # type: ignore[union-attr]  # it is a TlsStream
            self.reactor.turn(2)
            stream.loseConnection()
            self.reactor.turn(2)
            self.protocol = Recorder()
        self.assertEqual(reused, [False, True, False])
        self.assertEqual(self.handshakes.reused_total, 1)

    def test_bounded_sessions(self) -> None:
        """No more than so many sessions are kept."""
        self.patch(module, "MOST_SESSIONS", 1)
        address = self.serve("a.test", "b.test")
        context = client_context(self.ca)
        for name in ("a.test", "b.test"):
            self.connect(address, name, context=context)
            self.reactor.turn(6)
            stream: Any = self.protocol.transport
            stream.loseConnection()
            self.reactor.turn(2)
            self.protocol = Recorder()
        self.assertEqual([name for _, name in context.sessions], ["b.test"])


class FailureTest(Case):
    """Servers that are not the ones that were meant, or that speak otherwise."""

    def test_other_name(self) -> None:
        """A certificate for others is refused by what was expected."""
        address = self.serve("b.test")
        self.assertEqual(
            self.reason(address, "a.test"), "certificate hostname mismatch: expected a.test"
        )
        self.assertEqual(
            self.reason(address), "certificate address mismatch: expected 127.0.0.1"
        )

    def test_expired(self) -> None:
        """An expired certificate is refused as such."""
        address = self.serve("a.test", expires=NOW)
        self.assertEqual(self.reason(address, "a.test"), "certificate has expired")

    def test_unknown_issuer(self) -> None:
        """A certificate of an unknown issuer is refused, and says what is missing."""
        self.ca.write_bytes(Authority("another").pem)
        reason = self.reason(self.serve("a.test"), "a.test")
        self.assertEqual(
            reason, "certificate of an unknown issuer (unable to get local issuer certificate)"
        )

    def test_refused_by_system(self) -> None:
        """Without an authority of ours the system's are asked."""
        reason = self.reason(self.serve("a.test"), "a.test", context=client_context())
        self.assertIn("certificate of an unknown issuer", reason)

    def test_not_tls(self) -> None:
        """A server that answers in plain text is told."""
        listener, address = self.listen()
        self.connect(address, "a.test")
        self.reactor.turn(2)
        accepted, _ = listener.accept()
        self.addCleanup(accepted.close)
        accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.reactor.turn(2)
        self.assertEqual([f.reason for f in self.failures], ["not TLS"])

    def test_leaves(self) -> None:
        """A server that closes or resets in the handshake is told."""
        listener, address = self.listen()
        for leave, reason in (
            (reset, "reset during the handshake"),
            (socket.socket.close, "closed during the handshake"),
        ):
            self.connect(address, "a.test")
            self.reactor.turn(2)
            accepted, _ = listener.accept()
            accepted.recv(10_000)
            leave(accepted)
            self.reactor.turn(2)
            self.assertEqual([f.reason for f in self.failures], [reason])
            self.failures.clear()

    def test_refused(self) -> None:
        """A refused connection is told as without TLS."""
        listener, address = self.listen()
        listener.close()
        self.connect(address, "a.test")
        self.reactor.turn(3)
        [failure] = self.failures
        self.assertEqual(failure.code, errno.ECONNREFUSED)
        self.assertNotIsInstance(failure, TlsFailed)

    def test_impossible_name(self) -> None:
        """A name that cannot be asked for, or none for a unix socket, is told and not raised."""
        _, address = self.listen()
        self.connect(address, "a" * 64 + ".test")
        self.reactor.turn(3)
        self.assertEqual(len(self.failures), 1)
        path = str(self.directory / "socket")
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(path)
        listener.listen()
        self.connect(literal(f"unix:{path}", 0))
        self.reactor.turn(3)
        self.assertIn("server_hostname", self.failures[1].reason)
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))


class TimeTest(Case):
    """Servers that say nothing."""

    def test_handshake_times_out(self) -> None:
        """The timeout covers the handshake."""
        _, address = self.listen()
        self.connect(address, "a.test")
        self.reactor.turn(3)
        self.reactor.advance(5)
        [failure] = self.failures
        self.assertIsInstance(failure, TlsFailed)
        self.assertEqual((failure.reason, failure.timed_out), ("handshake timed out", True))
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))

    def test_wheel(self) -> None:
        """A wheel may keep the time."""
        _, address = self.listen()
        wheel = Wheel(self.reactor.seconds())
        self.connect(address, "a.test", wheel=wheel)
        self.reactor.turn(3)
        wheel.advance(self.reactor.seconds() + 4.9)
        self.assertEqual(self.failures, [])
        wheel.advance(self.reactor.seconds() + 5.2)
        self.assertEqual([f.reason for f in self.failures], ["handshake timed out"])

    def test_done_in_time(self) -> None:
        """Once connected nothing expires."""
        wheel = Wheel(self.reactor.seconds())
        self.connect(self.serve("a.test"), "a.test", wheel=wheel)
        self.reactor.turn(6)
        self.assertEqual(len(wheel), 0)
        self.assertIsNotNone(self.protocol.transport)

    def test_cancel(self) -> None:
        """Whoever gives up in the handshake hears nothing more, and the socket is closed."""
        listener, address = self.listen()
        connecting = self.connect(address, "a.test")
        self.reactor.turn(3)
        accepted, _ = listener.accept()
        self.addCleanup(accepted.close)
        connecting.cancel()
        connecting.cancel()
        self.reactor.advance(10)
        self.assertEqual((self.failures, self.protocol.reasons), ([], []))
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))
        self.assertGreater(len(accepted.recv(10_000)), 100, "the hello")
        self.assertEqual(accepted.recv(1), b"")


class ContextTest(Case):
    """What a pool may be configured with."""

    def problem(self, **options: Any) -> str:
        """Why a context cannot be made."""
        return str(self.assertRaises(CannotLoad, client_context, **options))

    def test_broken_files(self) -> None:
        """Unusable files are told with what was expected."""
        empty = self.directory / "empty"
        empty.write_bytes(b"")
        self.assertEqual(
            self.problem(ca=empty), f"{empty}: expected certificates in PEM to trust, got none"
        )
        self.assertIn("no such file or directory", self.problem(ca=self.directory / "none"))
        self.assertIn("expected a certificate", self.problem(cert=empty))

    def test_own_certificate(self) -> None:
        """A client's certificate is shown to a server that asks."""
        address = self.serve("a.test")
        self.handshakes.context.load_verify_locations(self.ca)
        self.handshakes.context.verify_mode = ssl.CERT_REQUIRED
        mine = AUTHORITY.issue("client.test").save(self.directory / "mine")
        self.connect(address, "a.test", context=client_context(self.ca, mine))
        self.reactor.turn(6)
        shown = self.served[0].transport.getPeerCertificate()  # type: ignore[union-attr]  # it is a TlsStream
        self.assertIsNotNone(shown)
