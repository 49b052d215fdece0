"""The HTTP side of a demo server."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.demo.answers import MAX_BYTES, MAX_ECHO, Place
from balancer.demo.http import IDLE, PIECE, HttpConnection
from tests.demo.fakes import FakeStream


class FakeServer:
    """The server that connections belong to."""

    def __init__(self) -> None:
        self.failing = False
        self.requests_total = 0
        self.connections: list[HttpConnection] = []
        self.eased_total = 0

    def turn(self, failing: bool) -> None:
        """As DemoServer has it."""
        self.failing = failing
        if failing:
            for connection in self.connections:
                connection.close()

    def left(self, connection: HttpConnection) -> None:
        """Forget it."""
        self.connections.remove(connection)

    def eased(self) -> None:
        """Count it."""
        self.eased_total += 1


def answer_of(data: bytes) -> tuple[int, dict[str, str], bytes]:
    """The one answer in `data`, its body as long as it says."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    assert len(body) == int(fields["Content-Length"]), (fields, body)
    return int(first.split()[1]), fields, body


class HttpTestCase(SynchronousTestCase):
    """A server `a`, and connections to it."""

    def setUp(self) -> None:
        """A clock and a server."""
        self.clock = Clock()
        self.server = FakeServer()

    def connect(self) -> FakeStream:
        """A new connection."""
        connection = HttpConnection(self.server, Place("a", "127.0.0.1:9001"), self.clock)
        self.server.connections.append(connection)
        transport = FakeStream(connection)
        transport.start()
        return transport

    def send(self, transport: FakeStream, data: bytes) -> bytes:
        """What `data` brings back at once."""
        transport.protocol.dataReceived(data)
        return transport.taken()

    def ask(
        self, target: str, method: str = "GET", body: bytes = b"", on: FakeStream | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """The answer to one request."""
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        return answer_of(self.send(on or self.connect(), head.encode() + body))


class AnswerTests(HttpTestCase):
    """What is answered."""

    def test_hello(self) -> None:
        """`GET /` says who answers, in the body and in Server-Name."""
        status, fields, body = self.ask("/")
        self.assertEqual((status, body), (200, b"hello from a (127.0.0.1:9001)\n"))
        self.assertEqual(fields["Server-Name"], "a")
        self.assertIn("GMT", fields["Date"])

    def test_any_path(self) -> None:
        """Any other path answers too, and is told in a second line."""
        body = self.ask("/some/where?x=1", "PUT", b"12345")[2]
        self.assertEqual(body, b"hello from a (127.0.0.1:9001)\n/some/where\n5 bytes\n")

    def test_head(self) -> None:
        """HEAD has the head of GET, and no body."""
        answer = self.send(self.connect(), b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"Content-Length: 30\r\n", answer)
        self.assertTrue(answer.endswith(b"\r\n\r\n"))

    def test_health(self) -> None:
        """/health is 200."""
        self.assertEqual(self.ask("/health")[::2], (200, b"ok\n"))

    def test_echo(self) -> None:
        """/echo gives the body back, counted or in chunks."""
        self.assertEqual(self.ask("/echo", "POST", b"hi\x00")[2], b"hi\x00")
        answer = self.send(self.connect(), (
            b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        ))
        self.assertEqual(answer_of(answer)[2], b"hi")

    def test_echo_bound(self) -> None:
        """A body that is too long to be held is read over and answered with 413."""
        transport = self.connect()
        size = MAX_ECHO + 1
        self.send(transport, b"POST /echo HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(MAX_ECHO // PIECE):
            self.assertEqual(self.send(transport, bytes(PIECE)), b"")
        status, _, _ = answer_of(self.send(transport, b"x"))
        self.assertEqual(status, 413)
        self.assertEqual(self.ask("/", on=transport)[0], 200)

    def test_continue(self) -> None:
        """A client that waits for 100 gets it before its body."""
        transport = self.connect()
        said = self.send(transport, (
            b"POST /echo HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        ))
        self.assertEqual(said, b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertEqual(answer_of(self.send(transport, b"hi"))[2], b"hi")

    def test_malformed(self) -> None:
        """What is no request gets 400, and the connection is closed."""
        transport = self.connect()
        status, fields, _ = answer_of(self.send(transport, b"HELO x\r\n\r\n"))
        self.assertEqual((status, fields["Connection"]), (400, "close"))
        self.assertTrue(transport.disconnecting)

    def test_wrong_numbers(self) -> None:
        """Counts that are none, or too high, get 400 with the reason."""
        for target in ("/slow?ms=x", "/slow?ms=60001", "/bytes?n=-1", f"/bytes?n={MAX_BYTES + 1}"):
            status, _, body = self.ask(target)
            self.assertEqual(status, 400)
            self.assertIn(b"expected", body)


class ConnectionTests(HttpTestCase):
    """How connections go on and end."""

    def test_kept_alive(self) -> None:
        """One connection carries many requests."""
        transport = self.connect()
        for _ in range(3):
            self.assertEqual(self.ask("/", on=transport)[0], 200)
        self.assertFalse(transport.disconnecting)
        self.assertEqual(self.server.requests_total, 3)

    def test_byte_by_byte(self) -> None:
        """A request may come in any pieces."""
        transport = self.connect()
        data = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        for byte in data[:-1]:
            self.assertEqual(self.send(transport, bytes([byte])), b"")
        self.assertEqual(answer_of(self.send(transport, data[-1:]))[0], 200)

    def test_close(self) -> None:
        """`Connection: close` and plain HTTP/1.0 end the connection after the answer."""
        for data in (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"):
            transport = self.connect()
            fields = answer_of(self.send(transport, data))[1]
            self.assertEqual(fields["Connection"], "close")
            self.assertTrue(transport.disconnecting)

    def test_old_keep_alive(self) -> None:
        """HTTP/1.0 that asks for it is kept alive, and told so."""
        transport = self.connect()
        fields = answer_of(
            self.send(transport, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        )[1]
        self.assertEqual(fields["Connection"], "keep-alive")
        self.assertFalse(transport.disconnecting)

    def test_pipelined(self) -> None:
        """Requests that come together are answered in order, a slow one included."""
        transport = self.connect()
        first = b"GET /slow?ms=500 HTTP/1.1\r\n\r\n"
        self.assertEqual(self.send(transport, first + b"GET /b HTTP/1.1\r\n\r\n"), b"")
        self.assertTrue(transport.paused)
        self.clock.advance(0.5)
        answers = transport.taken()
        self.assertLess(answers.index(b"/slow\n"), answers.index(b"/b\n"))
        self.assertFalse(transport.paused)

    def test_many_pipelined(self) -> None:
        """Thousands of requests in one read are answered without recursion."""
        for target in (b"/", b"/bytes?n=1"):
            transport = self.connect()
            answers = self.send(transport, b"GET %s HTTP/1.1\r\n\r\n" % target * 3000)
            self.assertEqual(answers.count(b"HTTP/1.1 200 OK"), 3000)

    def test_half_close(self) -> None:
        """A client that sends its end with its request still gets its answer."""
        transport = self.connect()
        self.send(transport, b"GET /slow?ms=100 HTTP/1.1\r\n\r\n")
        transport.half_close()
        self.assertFalse(transport.disconnecting)
        self.clock.advance(0.1)
        self.assertIn(b"hello from a", transport.taken())
        self.assertTrue(transport.disconnecting)

    def test_half_close_of_half_a_request(self) -> None:
        """A client that ends within its request is gone."""
        transport = self.connect()
        self.send(transport, b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhi")
        transport.half_close()
        self.assertTrue(transport.disconnecting)

    def test_gone_while_slow(self) -> None:
        """A client that goes while it waits leaves nothing behind."""
        transport = self.connect()
        self.send(transport, b"GET /slow?ms=100 HTTP/1.1\r\n\r\n")
        transport.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.server.connections, [])

    def test_deadline(self) -> None:
        """Every progress moves the deadline, at which the connection is reset."""
        transport = self.connect()
        connection: Any = transport.protocol
        self.assertEqual(connection.deadline, IDLE)
        self.clock.advance(10.0)
        self.send(transport, b"G")
        self.assertEqual(connection.deadline, 10.0 + IDLE)
        self.send(transport, b"ET /slow?ms=60000 HTTP/1.1\r\n\r\n")
        self.assertEqual(connection.deadline, 10.0 + 60.0 + IDLE)
        connection.expired(200.0)
        self.assertTrue(transport.aborted)


class BytesTests(HttpTestCase):
    """/bytes streams."""

    def test_streams(self) -> None:
        """The body comes in pieces, each when the client has taken the last."""
        transport = self.connect()
        size = 10 * PIECE + 1
        said = self.send(transport, b"GET /bytes?n=%d HTTP/1.1\r\n\r\n" % size)
        self.assertIn(b"Content-Length: %d\r\n" % size, said)
        first = len(said.partition(b"\r\n\r\n")[2])
        self.assertEqual(first, PIECE)
        self.assertTrue(transport.paused)
        self.assertEqual(first + transport.drain(), size)
        self.assertFalse(transport.paused)
        self.assertEqual(self.ask("/", on=transport)[0], 200)

    def test_nothing(self) -> None:
        """No bytes are a body of length 0."""
        self.assertEqual(self.ask("/bytes")[2], b"")

    def test_gone(self) -> None:
        """A client that goes stops the stream."""
        transport = self.connect()
        self.send(transport, b"GET /bytes?n=1000000 HTTP/1.1\r\n\r\n")
        producer = transport.producer
        assert producer is not None
        producer.stopProducing()
        producer.resumeProducing()
        self.assertEqual(transport.taken(), b"")


class FailingTests(HttpTestCase):
    """`POST /down` and `POST /up`."""

    def down(self) -> None:
        """Make it fail."""
        status, fields, body = self.ask("/down", "POST")
        self.assertEqual((status, body), (200, b"down\n"))
        self.assertEqual(fields["Connection"], "close")

    def test_down(self) -> None:
        """After /down a request gets its connection closed without a byte of answer."""
        self.down()
        transport = self.connect()
        self.assertEqual(self.send(transport, b"GET /health HTTP/1.1\r\n\r\n"), b"")
        self.assertTrue(transport.disconnecting)

    def test_idle_ones(self) -> None:
        """/down closes idle connections at once; those at work answer, and are closed then."""
        idle, working = self.connect(), self.connect()
        self.ask("/", on=idle)
        self.send(working, b"GET /slow?ms=100 HTTP/1.1\r\n\r\n")
        self.down()
        self.assertTrue(idle.disconnecting)
        self.assertFalse(working.disconnecting)
        self.clock.advance(0.1)
        self.assertEqual(answer_of(working.taken())[1]["Connection"], "close")
        self.assertTrue(working.disconnecting)

    def test_pipelined_behind_down(self) -> None:
        """What was sent behind /down is not answered."""
        said = self.send(self.connect(), b"POST /down HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        self.assertEqual(said.count(b"HTTP/1.1"), 1)

    def test_down_twice(self) -> None:
        """A server that fails still takes /down and /up."""
        self.down()
        self.down()
        status, fields, body = self.ask("/up", "POST")
        self.assertEqual((status, body), (200, b"up\n"))
        self.assertNotIn("Connection", fields)
        self.assertEqual(self.ask("/")[0], 200)

    def test_only_post(self) -> None:
        """GET /down changes nothing."""
        for path in ("/down", "/up"):
            status, fields, _ = self.ask(path)
            self.assertEqual((status, fields["Allow"]), (405, "POST"))
        self.assertFalse(self.server.failing)
