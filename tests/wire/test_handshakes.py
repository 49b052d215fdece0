"""
Tests of `balancer.wire.handshakes`: how TLS connections begin, and how they fail to.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

from twisted.internet.interfaces import INegotiated, ISSLTransport, ITCPTransport
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface.verify import verifyClass, verifyObject

from balancer.wire import handshakes as module
from balancer.wire.address import literal
from balancer.wire.handshakes import GAVE_WAY, HANDSHAKE_SECONDS, STEPS_A_TURN, STOPPED
from balancer.wire.listener import Listener, bind_tcp
from balancer.wire.reasons import DONE
from balancer.wire.stock import serve
from balancer.wire.tls import TlsStream
from balancer.wire.tls_reasons import CLOSED, TIMED_OUT
from tests.wire.reactors import Recorder, drain, reset
from tests.wire.tls import AUTHORITY, Case, Client, stuff, unstuff


class HandshakeTest(Case):
    """From the accepted socket to the connected protocol."""

    alpn = ("h2", "http/1.1")

    def test_connects_when_done(self) -> None:
        """The protocol hears of the connection only when it may send and receive."""
        protocol, theirs = self.serve()
        client = Client(theirs)
        client.step()
        client.flush()
        self.turn(2)
        self.assertIsNone(protocol.transport)
        self.assertEqual(self.handshakes.in_progress, 1)
        self.shake(client)
        self.assertIsNotNone(protocol.transport)
        self.assertEqual((self.handshakes.in_progress, self.handshakes.done_total), (0, 1))

    def test_bytes_flow(self) -> None:
        """What one side writes the other reads."""
        protocol, client = self.connect()
        client.write(b"hello")
        self.turn(2)
        self.assertEqual(protocol.data, b"hello")
        self.stream(protocol).write(b"good ")
        self.stream(protocol).writeSequence([b"", b"day"])
        client.feed()
        self.assertEqual(client.read(), b"good day")

    def test_byte_by_byte(self) -> None:
        """A handshake that trickles in succeeds, and so does data behind it."""
        protocol, theirs = self.serve()
        client = Client(theirs)
        for _ in range(4):
            client.step()
            for byte in client.outgoing.read():
                theirs.send(bytes([byte]))
                self.turn()
            client.feed()
        client.write(b"hello")
        self.turn(2)
        self.assertEqual(protocol.data, b"hello")

    def test_data_with_finished(self) -> None:
        """Data that comes in one packet with the end of the handshake is not lost."""
        protocol, theirs = self.serve()
        client = Client(theirs)
        client.step()
        client.flush()
        self.turn()
        client.feed()
        client.step()
        client.tls.write(b"early")
        theirs.sendall(client.outgoing.read())
        self.turn(2)
        self.assertEqual(protocol.data, b"early")

    def test_full_socket(self) -> None:
        """A handshake that finds the socket full goes on when it takes bytes again."""
        ours, theirs = self.pair()
        count = stuff(ours)
        protocol = Recorder()
        self.handshakes.serve(ours, ours.getpeername(), protocol)
        client = Client(theirs)
        client.step()
        client.flush()
        self.turn(2)
        self.assertEqual(self.reactor.readers, set(), "it would spin")
        unstuff(theirs, count)
        self.shake(client)
        self.assertIsNotNone(protocol.transport)
        self.assertEqual(self.reactor.writers, set())

    def test_tls12(self) -> None:
        """A client of TLS 1.2 is served."""
        protocol, client = self.connect(maximum_version=ssl.TLSVersion.TLSv1_2)
        self.assertEqual(self.stream(protocol).version, "TLSv1.2")
        client.write(b"hello")
        self.turn(2)
        self.assertEqual(protocol.data, b"hello")

    def test_attributes(self) -> None:
        """The stream tells what was agreed."""
        protocol, _ = self.connect(alpn=["http/1.1"])
        stream = self.stream(protocol)
        self.assertEqual(stream.negotiated, b"http/1.1")
        self.assertEqual(stream.negotiatedProtocol, b"http/1.1")
        self.assertEqual(stream.version, "TLSv1.3")
        self.assertIsNone(stream.getPeerCertificate())
        self.assertFalse(stream.session_reused)

    def test_nothing_agreed(self) -> None:
        """A client without ALPN and SNI is served all the same."""
        protocol, _ = self.connect(name=None)
        self.assertIsNone(self.stream(protocol).negotiated)

    def test_interfaces(self) -> None:
        """Stock protocols see a TLS transport."""
        protocol, _ = self.connect()
        for interface in (INegotiated, ISSLTransport, ITCPTransport):
            verifyClass(interface, TlsStream)
            verifyObject(interface, self.stream(protocol))

    def test_resumption(self) -> None:
        """A client that comes again with its ticket is spared the full handshake, in 1.2 too."""
        for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            protocol, client = self.connect(maximum_version=version)
            protocol, again = self.connect(session=(client.context, client.tls.session))
            self.assertTrue(again.tls.session_reused)
            self.assertTrue(self.stream(protocol).session_reused)
        self.assertEqual((self.handshakes.done_total, self.handshakes.reused_total), (4, 2))

    def test_one_ticket(self) -> None:
        """A client of TLS 1.3 gets one ticket, since each is dear to make."""
        _, theirs = self.serve()
        client = Client(theirs)
        for _ in range(2):
            client.step()
            client.flush()
            self.turn()
            sent = drain(theirs)
            client.incoming.write(sent)
        records = 0
        while sent:
            sent = sent[5 + int.from_bytes(sent[3:5], "big") :]
            records += 1
        self.assertEqual(records, 1)

    def test_raising_protocol(self) -> None:
        """A protocol that raises when it is connected loses the connection, and nobody else."""
        protocol, theirs = self.serve()

        def raises(transport: Any) -> None:
            raise RuntimeError

        protocol.makeConnection = raises  # type: ignore[method-assign]  # as a faulty one would
        self.shake(Client(theirs))
        self.assertEqual(protocol.reasons, [RuntimeError])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class ServerNameTest(Case):
    """Which certificate is sent."""

    tcp = True

    def certify(self) -> None:
        for file, names in {
            "a.pem": ["a.test"],
            "b.pem": ["*.b.test"],
            "c.pem": ["exact.b.test"],
            "d.pem": ["127.0.0.1"],
        }.items():
            AUTHORITY.issue(*names).save(self.directory / file)

    def names(self, name: str | None, **options: Any) -> list[str]:
        """What the certificate is for that a client of `name` gets."""
        _, client = self.connect(name, **options)
        certificate: Any = client.tls.getpeercert()
        return [value for _, value in certificate["subjectAltName"]]

    def test_names(self) -> None:
        """Exact before wildcard, the first for the unknown, by address where nothing is named."""
        self.assertEqual(self.names("exact.b.test"), ["exact.b.test"])
        self.assertEqual(self.names("other.b.test"), ["*.b.test"])
        self.assertEqual(self.names("Other.B.Test"), ["*.b.test"])
        self.assertEqual(self.names("elsewhere.test"), ["a.test"])
        self.assertEqual(self.names(None), ["127.0.0.1"])
        self.assertEqual(self.names("127.0.0.1"), ["127.0.0.1"])
        old = ssl.TLSVersion.TLSv1_2
        self.assertEqual(self.names("exact.b.test", maximum_version=old), ["exact.b.test"])

    def test_resumption_of_others(self) -> None:
        """Sessions that began with a later certificate resume as well."""
        _, client = self.connect("other.b.test")
        session = (client.context, client.tls.session)
        protocol, _ = self.connect("other.b.test", session=session)
        self.assertTrue(self.stream(protocol).session_reused)

    def test_undecodable(self) -> None:
        """A name that is not ASCII ends the handshake, and nothing is printed."""
        _, theirs = self.serve()
        client = Client(theirs, "zzzz.b.test")
        client.step()
        theirs.sendall(client.outgoing.read().replace(b"zzzz", b"\xffzzz"))
        self.turn(2)
        self.assertEqual(self.failed[0][1], "a server name that is not ASCII")


class FailureTest(Case):
    """Clients that do not get through; none of them is heard of by a protocol."""

    tcp = True

    def assertFailed(self, protocol: Recorder, reason: str) -> None:
        """The protocol was given back, and the listener is rid of the connection."""
        self.assertEqual(self.failed, [(protocol, reason)])
        self.assertEqual(self.handshakes.failures, {reason: 1})
        self.assertIsNone(protocol.transport)
        self.assertEqual(protocol.reasons, [])
        self.assertEqual(self.handshakes.in_progress, 0)
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))

    def test_garbage(self) -> None:
        """Bytes that are not TLS end it at once."""
        protocol, theirs = self.serve()
        theirs.sendall(b"\0" * 100)
        self.turn(2)
        self.assertFailed(protocol, "not TLS")

    def test_plain_http(self) -> None:
        """A plain request is called what it is."""
        protocol, theirs = self.serve()
        theirs.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        self.turn(2)
        self.assertFailed(protocol, "plain HTTP on a TLS port")

    def test_plain_answer(self) -> None:
        """A plain request is answered in the clear if there is an answer, and sees a clean end."""
        self.handshakes.plain = b"HTTP/1.1 400 Bad Request\r\n\r\n"
        _, theirs = self.serve()
        theirs.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        self.turn(2)
        self.assertEqual(theirs.recv(100), self.handshakes.plain)
        self.assertEqual(theirs.recv(100), b"")

    def test_old_version(self) -> None:
        """A client that knows only TLS 1.1 is told in an alert."""
        protocol, theirs = self.serve()
        hello = b"\3\2" + b"r" * 32 + b"\0" + b"\0\2\xc0\x13" + b"\1\0"
        theirs.sendall(b"\x16\3\1\0\x2d" + b"\1\0\0\x29" + hello)
        self.turn(2)
        self.assertFailed(protocol, "only TLS versions older than 1.2")
        self.assertEqual(theirs.recv(100), b"\x15\3\2\0\2\x02\x46", "alert protocol_version")

    def test_closes(self) -> None:
        """A client that closes in the middle is gone."""
        protocol, theirs = self.serve()
        client = Client(theirs)
        client.step()
        theirs.sendall(client.outgoing.read(50))
        self.turn(2)
        theirs.close()
        self.turn(2)
        self.assertFailed(protocol, CLOSED)

    def test_resets(self) -> None:
        """A client that resets in the middle is gone."""
        protocol, theirs = self.serve()
        reset(theirs)
        self.turn(2)
        self.assertFailed(protocol, "reset during the handshake")

    def test_reset_before(self) -> None:
        """A client that has reset before it is looked at costs nobody anything."""
        ours, theirs = self.pair()
        reset(theirs)
        protocol = Recorder()
        self.handshakes.serve(ours, ("127.0.0.1", 2), protocol)
        self.turn(2)
        self.assertEqual([p for p, _ in self.failed], [protocol])
        self.assertEqual(ours.fileno(), -1)

    def test_times_out(self) -> None:
        """A client has so many seconds, however busily it trickles."""
        protocol, theirs = self.serve()
        client = Client(theirs)
        client.step()
        hello = client.outgoing.read()
        for second in range(int(HANDSHAKE_SECONDS)):
            self.assertEqual(self.failed, [])
            theirs.send(hello[second : second + 1])
            self.turn()
            self.reactor.advance(1)
        self.assertFailed(protocol, TIMED_OUT)
        self.turn(2)
        self.assertEqual(theirs.recv(1), b"")

    def test_each_has_its_time(self) -> None:
        """A later client's time is its own, and a finished handshake's does not end."""
        done, _ = self.connect()
        self.serve()
        self.reactor.advance(HANDSHAKE_SECONDS / 2)
        later, _ = self.serve()
        self.reactor.advance(HANDSHAKE_SECONDS / 2)
        self.assertEqual(self.handshakes.failures, {TIMED_OUT: 1})
        self.reactor.advance(HANDSHAKE_SECONDS / 2)
        self.assertEqual(self.handshakes.failures, {TIMED_OUT: 2})
        self.assertIs(self.failed[1][0], later)
        self.assertTrue(self.stream(done).connected)

    def test_less_time(self) -> None:
        """Less time than before counts for handshakes that begin from then on."""
        self.serve()
        self.handshakes.timeout = HANDSHAKE_SECONDS / 4
        later, _ = self.serve()
        self.reactor.advance(HANDSHAKE_SECONDS / 4)
        self.assertEqual(self.handshakes.failures, {TIMED_OUT: 2})
        self.assertIs(self.failed[1][0], later)

    def test_lost_by_the_reactor(self) -> None:
        """A reactor that gives everything up ends handshakes, once."""
        protocol, _theirs = self.serve()
        [stream] = self.reactor.readers
        stream.readConnectionLost(DONE)
        stream.connectionLost(DONE)
        self.assertFailed(protocol, CLOSED)

    def test_logs_seldom(self) -> None:
        """Many failures make one line a second, with their count."""
        lines: list[dict[str, Any]] = []
        self.patch(module._log, "observer", lines.append)
        for _ in range(5):
            _, theirs = self.serve()
            theirs.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.turn(2)
        self.reactor.advance(1)
        _, theirs = self.serve()
        theirs.close()
        self.turn(2)
        self.assertEqual([line["count"] for line in lines], [1, 5])
        self.assertEqual(lines[0]["reason"], "plain HTTP on a TLS port")
        self.assertEqual(lines[0]["peer"], "127.0.0.1")


class BoundTest(Case):
    """More handshakes than are good."""

    options = {"most": 2}  # noqa: RUF012  # overridden as a whole

    def setUp(self) -> None:
        super().setUp()
        self.listener.accepted = lambda sock, peer: None
        self.listener.start()

    @property
    def listening(self) -> bool:
        """Whether the listener accepts."""
        return self.listener in self.reactor.readers

    def test_pauses(self) -> None:
        """The listener pauses at the bound, and goes on when a handshake is over."""
        _, theirs = self.serve()
        self.assertTrue(self.listening)
        self.serve()
        self.assertFalse(self.listening)
        theirs.close()
        self.turn()
        self.assertTrue(self.listening)

    def test_owner_paused(self) -> None:
        """A listener that its owner has paused stays so when handshakes end."""
        _, one = self.serve()
        self.serve()
        self.listener.pause()
        one.close()
        self.turn()
        self.assertFalse(self.listening)
        self.listener.resume()
        self.assertTrue(self.listening)

    def test_oldest_gives_way(self) -> None:
        """At the bound a silent client has a second, so that others come to their turn."""
        first, _ = self.serve()
        self.reactor.advance(0.5)
        self.serve()
        self.assertFalse(self.listening)
        self.reactor.advance(0.5)
        self.assertEqual(self.failed, [(first, GAVE_WAY)])
        self.assertTrue(self.listening)
        self.reactor.advance(5)
        self.assertEqual(len(self.failed), 1)

    def test_stop(self) -> None:
        """Stopping ends handshakes in progress, frees the listener and leaves connections."""
        done, _ = self.connect()
        self.serve()
        self.serve()
        self.handshakes.stop()
        self.assertEqual(self.handshakes.failures, {STOPPED: 2})
        self.assertTrue(self.listening)
        self.assertTrue(self.stream(done).connected)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class StepsTest(Case):
    """A storm of handshakes."""

    def test_steps_a_turn(self) -> None:
        """No more than so many take a step in one turn; the others do in the next."""
        clients = []
        for _ in range(STEPS_A_TURN + 10):
            _, theirs = self.serve()
            client = Client(theirs)
            client.step()
            client.flush()
            clients.append(client)
        self.turn()
        self.assertEqual(self.answered(clients), STEPS_A_TURN)
        self.turn()
        self.assertEqual(self.answered(clients), STEPS_A_TURN + 10)

    def answered(self, clients: list[Client]) -> int:
        """How many clients have been answered."""
        count = 0
        for client in clients:
            try:
                count += bool(client.socket.recv(1, socket.MSG_PEEK))
            except BlockingIOError:
                continue
        return count


class StockTest(Case):
    """Twisted's own server on a TLS listener."""

    def test_site(self) -> None:
        """twisted.web sees that its requests came under TLS."""

        class Page(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                return b"secure" if request.isSecure() else b"plain"

        address = literal("127.0.0.1", 0)
        bound = bind_tcp(address)
        listener = Listener(self.reactor, bound, literal("127.0.0.1", bound.getsockname()[1]))
        self.handshakes.listener = listener
        give_up = serve(listener, Site(Page(), reactor=self.reactor), self.handshakes)
        self.addCleanup(listener.stop)
        self.addCleanup(give_up)
        listener.start()
        theirs = socket.create_connection(bound.getsockname())
        self.addCleanup(theirs.close)
        client = Client(theirs)
        self.shake(client)
        client.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        self.turn(4)
        client.feed()
        self.assertTrue(client.read().endswith(b"secure"))
