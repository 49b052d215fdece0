"""The checks http and https: their words, what they ask, and what each answer means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.config.values import Unreadable
from balancer.http import check
from balancer.http.check import HttpCheck, HttpsCheck
from balancer.http.question import Question, question
from balancer.interfaces import CheckFailed, ICheck, ICheckMaker
from balancer.wire.address import Address, literal
from balancer.wire.connect import ConnectFailed, ConnectImpossible
from balancer.wire.connect_tls import Trust, client_context, secured

SERVER = literal("192.0.2.1", 8080)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


@define(eq=False)
class Connects:
    """Stands for wire's connect: remembers what it was asked."""

    protocol: IProtocol | None = None
    failed: Callable[[ConnectFailed], None] | None = None
    cancelled: bool = False
    transport: StringTransport = field(factory=StringTransport)

    def __call__(self, reactor: Any, address: Address, protocol: Any, failed: Any, _: float) -> Any:
        self.protocol, self.failed = protocol, failed
        return self

    def cancel(self) -> None:
        """As Connecting's."""
        self.cancelled = True

    def succeed(self) -> None:
        """The server took the connection."""
        assert self.protocol is not None
        self.protocol.makeConnection(self.transport)

    def say(self, *parts: bytes) -> None:
        """The server sends."""
        assert self.protocol is not None
        for part in parts:
            self.protocol.dataReceived(part)

    def close(self) -> None:
        """The server closes."""
        assert self.protocol is not None
        self.protocol.connectionLost(Failure(CONNECTION_DONE))


class WordsTests(SynchronousTestCase):
    """What the site file may say."""

    def test_nothing(self) -> None:
        """Without words it is GET / and any status from 200 to 399."""
        self.assertEqual(question([]), Question("GET", "/", ((200, 399),), "", None))

    def test_everything(self) -> None:
        """Method, path, codes, host and pattern are read; a path may have a query."""
        asked = question(["HEAD", "/up?full=1", "expect=200,204,300-399", "host=a.example:8080"])
        self.assertEqual((asked.method, asked.path), ("HEAD", "/up?full=1"))
        self.assertEqual(asked.host, "a.example:8080")
        self.assertEqual(asked.expect, ((200, 200), (204, 204), (300, 399)))
        body = question(["/up", "body=o[kK]"]).body
        self.assertEqual(body and body.pattern, b"o[kK]")

    def test_unreadable(self) -> None:
        """Anything else is told, with what was expected."""
        for words, expected in (
            ("expect=99", "status codes"),
            ("expect=200-", "status codes"),
            ("expect=399-200", "status codes"),
            ("expect=600", "status codes"),
            ("host=a/b", "a host name"),
            ("host=", "a host name"),
            ("body=(", "a regular expression"),
            ("HEAD body=x", "no body= with HEAD"),
            ("CONNECT", "a method"),
            ("/a#b", "a path"),
            ("/\xe9", "a path"),
            ("get /", "expect="),
            ("/ /", "expect="),
            ("expet=200", "expect="),
            ("host=a host=b", "host once"),
        ):
            error = self.assertRaises(Unreadable, question, words.split())
            self.assertIn(expected, error.expected)

    def test_request(self) -> None:
        """The request is whole and asks for no second one."""
        self.assertEqual(
            question(["/up", "host=a.example"]).request("192.0.2.1:80"),
            b"GET /up HTTP/1.1\r\nHost: a.example\r\nUser-Agent: balancer-check\r\nAccept: */*\r\n"
            b"Connection: close\r\n\r\n",
        )


class ProbeTests(SynchronousTestCase):
    """Answers of a server, and the lack of them."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.connects = Connects()

    def probe(self, words: str = "", target: Address = SERVER) -> Deferred[str]:
        """A probe that waits for its connection."""
        made = HttpCheck(self.reactor, question(words.split()), self.connects)
        return made.probe(target, 1.0)

    def answered(self, words: str, *parts: bytes, close: bool = False) -> Deferred[str]:
        """A probe whose server says `parts`."""
        done = self.probe(words)
        self.connects.succeed()
        self.connects.say(*parts)
        if close:
            self.connects.close()
        return done

    def failed(self, done: Deferred[str], reason: str) -> None:
        """The probe failed for that reason, and nothing is left of it."""
        self.assertEqual(str(self.failureResultOf(done, CheckFailed).value), reason)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_interfaces(self) -> None:
        """Makers and checks are what the site expects."""
        for maker in (check.http, check.https):
            verifyObject(ICheckMaker, maker)
            context: Any = self
            verifyObject(ICheck, maker.parse(["/up"])(context))

    def test_good(self) -> None:
        """An expected status ends the probe at once and frees everything."""
        done = self.answered("", OK)
        self.assertEqual(self.successResultOf(done), "status 200")
        self.assertTrue(self.connects.transport.disconnecting)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_host(self) -> None:
        """Host is the server's address, in brackets for IPv6 and without its zone."""
        for target, name in (
            (SERVER, b"192.0.2.1:8080"),
            (literal("::1", 80), b"[::1]:80"),
            (literal("unix:/run/x", 0), b"localhost"),
        ):
            self.connects = Connects()
            self.probe(target=target).addErrback(lambda _: None)
            self.connects.succeed()
            self.assertIn(b"\r\nHost: " + name + b"\r\n", self.connects.transport.value())

    def test_byte_by_byte(self) -> None:
        """An answer may come byte by byte."""
        head = OK + b"hello"
        done = self.answered("body=hello", *(head[at : at + 1] for at in range(len(head))))
        self.assertEqual(self.successResultOf(done), "status 200")

    def test_status(self) -> None:
        """Another status fails with what was expected."""
        answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
        self.failed(self.answered("", answer), "status 503, expected 200-399")
        self.failed(
            self.answered("expect=200,204-206", answer), "status 503, expected 200,204-206"
        )

    def test_bodies(self) -> None:
        """A body is matched however it is framed."""
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for parts in (
            (OK + b"hello",),
            (OK, b"he", b"llo"),
            (chunked, b"2\r\nhe\r\n3\r", b"\nllo\r\n0\r\n\r\n"),
            (b"HTTP/1.0 200 OK\r\n\r\n", b"hel", b"lo"),
        ):
            done = self.answered("body=^hello$", *parts, close=parts[0][7:8] == b"0")
            self.assertEqual(self.successResultOf(done), "status 200")
            self.connects = Connects()

    def test_other_body(self) -> None:
        """A body that does not match fails with the pattern."""
        self.failed(self.answered("body=^ready", OK + b"hello"), "body does not match ^ready")
        empty = b"HTTP/1.1 204 No Content\r\n\r\n"
        self.failed(self.answered("body=x", empty), "body does not match x")

    def test_endless_body(self) -> None:
        """No more than 64 KiB of a body are read."""
        endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 65536
        self.failed(self.answered("body=y", endless, b"y"), "body does not match y")

    def test_interim(self) -> None:
        """Interim answers are skipped, a few of them."""
        interim = b"HTTP/1.1 103 Hints\r\n\r\n"
        self.assertEqual(self.successResultOf(self.answered("", interim * 8 + OK)), "status 200")
        self.failed(self.answered("", interim * 9), "not HTTP: too many interim answers")

    def test_not_http(self) -> None:
        """What is no HTTP fails with the reason."""
        done = self.answered("", b"SSH-2.0-OpenSSH_9.2\r\n")
        self.failed(done, "not HTTP: not an HTTP status line")
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        done = self.answered("body=x", chunked + b"-1\r\n")
        self.failed(done, "not HTTP: bad chunk size")

    def test_closed(self) -> None:
        """A server that closes early fails with when it did."""
        self.failed(self.answered("", b"HT", close=True), "connection closed before an answer")
        done = self.answered("body=x", OK + b"he", close=True)
        self.failed(done, "connection closed within the body")

    def test_refused(self) -> None:
        """No connection fails with the system's reason."""
        done = self.probe()
        assert self.connects.failed is not None
        self.connects.failed(ConnectFailed(SERVER, 111))
        self.failed(done, "connection refused")

    def test_short_of_descriptors(self) -> None:
        """What this machine lacks is told as that, not as the server's fault."""
        done = self.probe()
        assert self.connects.failed is not None
        self.connects.failed(ConnectImpossible(SERVER, 24))
        self.failureResultOf(done, ConnectImpossible)

    def test_timeout(self) -> None:
        """The timeout holds for all of the probe, and tells in what it ran out."""
        done = self.probe()
        self.reactor.advance(1.0)
        self.failed(done, "timed out after 1s connecting")
        self.assertTrue(self.connects.cancelled)
        done = self.probe()
        self.connects.succeed()
        self.reactor.advance(0.9)
        self.connects.say(b"HTTP/1.1 ")
        self.reactor.advance(0.1)
        self.failed(done, "timed out after 1s waiting for an answer")
        done = self.answered("body=x", OK)
        self.reactor.advance(1.0)
        self.failed(done, "timed out after 1s in the body")

    def test_cancel(self) -> None:
        """A cancelled probe ends at once, connected or not, and hears no more."""
        for connected in (False, True):
            self.connects = Connects()
            done = self.probe()
            if connected:
                self.connects.succeed()
            done.cancel()
            self.failureResultOf(done, CancelledError)
            self.assertEqual(self.reactor.getDelayedCalls(), [])
            self.assertEqual(self.connects.cancelled, not connected)
            self.assertEqual(self.connects.transport.disconnecting, connected)


class TlsTests(SynchronousTestCase):
    """What https adds."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.connects = Connects()

    def hello(self, words: str, target: Address = SERVER) -> bytes:
        """The first bytes to the server."""
        made = HttpsCheck(self.reactor, question(words.split()), self.connects)
        self.done = made.probe(target, 1.0)
        self.connects.succeed()
        first: bytes = self.connects.transport.value()
        return first

    def test_name(self) -> None:
        """The name that the certificate must be for is told to the server, without its port."""
        hello = self.hello("host=a.example:8443")
        self.assertEqual(hello[:2], b"\x16\x03")
        self.assertIn(b"\0\x09a.example", hello)

    def test_address(self) -> None:
        """An address is never told as a name."""
        for target in (SERVER, literal("::1", 443)):
            self.connects = Connects()
            self.assertNotIn(target.host.encode(), self.hello("", target))

    def test_server_with_tls(self) -> None:
        """A server that is connected to under TLS anyway is asked without another TLS in it."""
        target = secured(SERVER, Trust(client_context(verify=False)))
        self.assertEqual(self.hello("", target)[:16], b"GET / HTTP/1.1\r\n")

    def test_no_tls(self) -> None:
        """A server that answers in the clear fails with a reason about TLS."""
        self.hello("")
        self.connects.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.connects.close()
        self.assertIn("TLS: ", str(self.failureResultOf(self.done, CheckFailed).value))

    def test_timeout(self) -> None:
        """A server that says nothing fails within the time, in the handshake."""
        self.hello("")
        self.reactor.advance(1.0)
        reason = str(self.failureResultOf(self.done, CheckFailed).value)
        self.assertEqual(reason, "timed out after 1s in the TLS handshake")
