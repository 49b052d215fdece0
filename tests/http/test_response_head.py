"""Heads of answers: what is read from them, what goes on, and what is the server's fault."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.http.head import (
    CHUNKED,
    UNTIL_CLOSE,
    BadAnswer,
    ResponseHead,
    ResponseReader,
)
from tests.http.feeding import OK, byte_by_byte, lines, outcome


def answer(*fields: bytes, first: bytes = OK[:-2], method: bytes = b"GET") -> ResponseHead:
    """The answer's head read whole; byte by byte gives the same."""
    head, reader = lines(*fields, first=first), ResponseReader()
    found = ResponseReader().read(head, method)
    again = byte_by_byte(lambda data: reader.read(data, method), head)
    assert found is not None
    for name in ResponseHead.__slots__:
        assert getattr(found, name) == getattr(again, name), name
    assert found.end == len(head)
    return found


class AnswerTests(SynchronousTestCase):
    """Sound answers."""

    def test_plain(self) -> None:
        """An answer gives its facts, and goes on without the fields of its connection."""
        fields = (b"Server: x", b"Connection: keep-alive", b"Keep-Alive: timeout=5", b"A: b")
        head = answer(*fields, b"Content-Length: 5")
        self.assertEqual((head.status, head.reason, head.minor), (200, b"OK", 1))
        self.assertEqual((head.length, head.keep_alive, head.upgrade), (5, True, b""))
        self.assertEqual(head.out, OK + b"Server: x\r\nA: b\r\nContent-Length: 5\r\n")

    def test_no_reason(self) -> None:
        """A status line goes on with the space before its reason, even if it came without (RFC 9112
        section 4)."""
        for first in (b"HTTP/1.1 200", b"HTTP/1.1 200 "):
            head = answer(b"Content-Length: 5", first=first)
            self.assertEqual((head.reason, head.length), (b"", 5))
            self.assertEqual(head.out, b"HTTP/1.1 200 \r\nContent-Length: 5\r\n")

    def test_unfinished(self) -> None:
        """A head without its blank line is None, wherever it stops."""
        head = lines(b"Server: x", b"Content-Length: 5", first=b"HTTP/1.1 404 Not Found")
        for size in range(len(head)):
            self.assertIsNone(ResponseReader().read(head[:size], b"GET"))

    def test_chunked(self) -> None:
        """Chunked travels on in one spelling; `unchunked` is the head without it."""
        for field in (b"transfer-encoding: Chunked", b"Transfer-Encoding:\tchunked "):
            head = answer(field, b"A: b")
            self.assertEqual((head.length, head.keep_alive), (CHUNKED, True))
            self.assertEqual(head.out, OK + b"A: b\r\nTransfer-Encoding: chunked\r\n")
            self.assertEqual(head.unchunked, OK + b"A: b\r\n")

    def test_until_close(self) -> None:
        """Without framing the body ends with the connection, which cannot be used again."""
        head = answer(b"Connection: keep-alive")
        self.assertEqual((head.length, head.keep_alive), (UNTIL_CLOSE, False))

    def test_close(self) -> None:
        """Connection: close means that the connection cannot be used again."""
        for value in (b"close", b"Close", b"x, close"):
            head = answer(b"Connection: " + value, b"X: y", b"Content-Length: 0")
            self.assertEqual((head.keep_alive, b"Connection" in head.out), (False, False))

    def test_http_1_0(self) -> None:
        """An HTTP/1.0 server's answer goes on as HTTP/1.1; its connection closes by default."""
        head = answer(b"Content-Length: 5", first=b"HTTP/1.0 200 OK")
        self.assertEqual((head.length, head.keep_alive, head.minor), (5, False, 0))
        self.assertEqual(head.out, OK + b"Content-Length: 5\r\n")
        kept = answer(b"Content-Length: 5", b"Connection: Keep-Alive", first=b"HTTP/1.0 200 OK")
        self.assertTrue(kept.keep_alive)
        self.assertEqual(answer(first=b"HTTP/1.0 200 OK").length, UNTIL_CLOSE)

    def test_head(self) -> None:
        """The answer to HEAD has no body, whatever its fields say; they go on."""
        for field, minor in ((b"Content-Length: 5", b"1"), (b"Transfer-Encoding: chunked", b"1")):
            head = answer(field, first=b"HTTP/1.%b 200 OK" % minor, method=b"HEAD")
            self.assertEqual((head.length, head.keep_alive), (0, True))
            self.assertEqual(head.out, OK + field + b"\r\n")
        self.assertTrue(answer(method=b"HEAD").keep_alive)

    def test_304(self) -> None:
        """304 has no body; the length that it tells goes on."""
        head = answer(b"Content-Length: 5", first=b"HTTP/1.1 304 Not Modified")
        self.assertEqual((head.length, head.keep_alive), (0, True))
        self.assertIn(b"Content-Length: 5", head.out)

    def test_204(self) -> None:
        """204 has no body and must not tell a length; a server that sends one is not trusted on."""
        head = answer(first=b"HTTP/1.1 204 No Content")
        self.assertEqual((head.length, head.keep_alive), (0, True))
        head = answer(b"Content-Length: 0", first=b"HTTP/1.1 204 No Content")
        self.assertEqual((head.keep_alive, b"Length" in head.out), (True, False))
        for field in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
            head = answer(field, first=b"HTTP/1.1 204 No Content")
            self.assertEqual((head.length, head.keep_alive), (0, False))
            self.assertEqual(head.out, b"HTTP/1.1 204 No Content\r\n")

    def test_interim(self) -> None:
        """1xx answers have no body and another answer follows on the same connection."""
        for status in (b"100 Continue", b"102 Processing", b"103 Early Hints"):
            head = answer(b"Link: </a>", first=b"HTTP/1.1 " + status)
            self.assertEqual((head.length, head.keep_alive, head.status // 100), (0, True, 1))
            self.assertEqual(head.out, b"HTTP/1.1 " + status + b"\r\nLink: </a>\r\n")

    def test_101(self) -> None:
        """101 tells the protocol, and keeps the fields that switch to it."""
        head = answer(
            b"upgrade: WebSocket", b"connection: upgrade", b"A: b", first=b"HTTP/1.1 101 Switching"
        )
        self.assertEqual((head.status, head.upgrade, head.length), (101, b"websocket", 0))
        self.assertEqual(
            head.out,
            b"HTTP/1.1 101 Switching\r\nA: b\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n",
        )

    def test_offered_upgrade(self) -> None:
        """An upgrade that a server only offers is cut."""
        head = answer(b"Upgrade: h2,h2c", b"Connection: Upgrade", b"Content-Length: 0")
        self.assertEqual((head.upgrade, head.keep_alive), (b"", True))
        self.assertEqual(head.out, OK + b"Content-Length: 0\r\n")

    def test_status_lines(self) -> None:
        """A reason may be empty, absent, or anything printable."""
        for line, reason in (
            (b"HTTP/1.1 200", b""),
            (b"HTTP/1.1 200 ", b""),
            (b"HTTP/1.1 299 Tr\xe8s: bien", b"Tr\xe8s: bien"),
        ):
            self.assertEqual(answer(b"Content-Length: 0", first=line).reason, reason)

    def test_named_by_connection(self) -> None:
        """What Connection names is cut, but never a field that frames or means something."""
        head = answer(b"Connection: X-Hop, Content-Length", b"X-Hop: 1", b"Content-Length: 5")
        self.assertEqual((head.length, head.out), (5, OK + b"Content-Length: 5\r\n"))

    def test_removed(self) -> None:
        """Fields that the site file removes are cut."""
        reader = ResponseReader(remove=frozenset((b"server", b"x-powered-by")))
        head = reader.read(OK + b"SERVER: x\r\nX-Powered-By: y\r\nA: b\r\n\r\n", b"GET")
        self.assertEqual(head and head.out, OK + b"A: b\r\n")
        head = reader.read(OK + b"server: x\r\nHost: y\r\n\r\n", b"GET")
        self.assertEqual(head and head.out, OK + b"Host: y\r\n")

    def test_cookies(self) -> None:
        """Fields that come more than once go on in their order."""
        cookies = (b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"set-cookie: c=3")
        self.assertEqual(answer(*cookies).out, lines(*cookies, first=OK[:-2])[:-2])


class BadAnswerTests(SynchronousTestCase):
    """Answers that could be read as another one."""

    def bad(self, head: bytes, reason: str = "", method: bytes = b"GET") -> None:
        """`head` is the server's fault, whole and byte by byte; cut anywhere it is no head."""
        whole = outcome(BadAnswer, ResponseReader().read, head, method)
        self.assertIsInstance(whole, BadAnswer)
        self.assertIn(reason, whole.reason)
        reader = ResponseReader()
        pieces = outcome(BadAnswer, byte_by_byte, lambda data: reader.read(data, method), head)
        self.assertIsInstance(pieces, BadAnswer)
        for size in range(len(head)):
            part = outcome(BadAnswer, ResponseReader().read, head[:size], method)
            self.assertTrue(part is None or isinstance(part, BadAnswer), head[:size])

    def fields(self, *fields: bytes, reason: str = "") -> None:
        """An answer with these fields is the server's fault, to HEAD as well."""
        for method in (b"GET", b"HEAD"):
            self.bad(lines(b"A: b", *fields, first=OK[:-2]), reason, method)

    def test_length_and_chunked(self) -> None:
        """Content-Length with Transfer-Encoding, in either order."""
        both = (b"Content-Length: 5", b"Transfer-Encoding: chunked")
        self.fields(*both, reason="Content-Length with")
        self.fields(*reversed(both), reason="Content-Length with")

    def test_lengths(self) -> None:
        """Content-Length that is repeated, signed, a list, or no number."""
        self.fields(b"Content-Length: 5", b"Content-Length: 6", reason="repeated")
        self.fields(b"Content-Length: 0", b"Content-Length: 6", reason="repeated")
        for value in (b"+5", b"-5", b"5, 5", b"5 5", b"", b"0x5", b"1_0", b"9" * 19):
            self.fields(b"Content-Length: " + value, reason="malformed Content-Length")

    def test_codings(self) -> None:
        """Transfer-Encoding that is not exactly chunked."""
        for value in (b"identity", b"gzip, chunked", b"chunked, chunked", b"chunked;a", b""):
            self.fields(b"Transfer-Encoding: " + value, reason="other than chunked")
        self.fields(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")

    def test_chunked_in_http_1_0(self) -> None:
        """Transfer-Encoding in HTTP/1.0."""
        self.bad(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "in HTTP/1.0")

    def test_lines(self) -> None:
        """Bare LF, bare CR, folds, blanks before a colon, control bytes, names that are none."""
        for part, reason in (
            (b"A: b\nC: d\r\n", "bare LF"),
            (b"A: b\rC: d\r\n", "bare CR"),
            (b"A: b\r\n c\r\n", "folded"),
            (b"A : b\r\n", "blank before"),
            (b"A: \0\r\n", "NUL"),
            (b"A: \x1b\r\n", "control byte"),
            (b": b\r\n", "without a name"),
            (b"A\r\n", "without a colon"),
            (b"A(: b\r\n", "not a token"),
        ):
            self.bad(OK + part + b"\r\n", reason)
        self.bad(b"HTTP/1.1 200 OK\nA: b\r\n\r\n", "bare LF")

    def test_status_lines(self) -> None:
        """First lines that are none, and codes outside of 100 to 599."""
        for line in (
            b"HTTP/2.0 200 OK", b"HTTP/1.2 200 OK", b"HTTP/1.1 99 X", b"HTTP/1.1 099 X",
            b"HTTP/1.1 600 X", b"HTTP/1.1 2000 X", b"HTTP/1.1  200 OK", b"HTTP/1.1 200\tOK",
            b"http/1.1 200 OK", b"ICY 200 OK", b"SSH-2.0-OpenSSH_9.2", b"200 OK", b"", b"HTTP/1.1",
        ):  # fmt: skip
            self.bad(line + b"\r\n\r\n")

    def test_noise(self) -> None:
        """What can be no status line is found out at its first byte."""
        for noise in (b"\x15", b"S", b" ", b"\r\n", b"<"):
            self.assertRaises(BadAnswer, ResponseReader().read, noise, b"GET")

    def test_interim_with_a_body(self) -> None:
        """A 1xx answer with a body."""
        for field in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
            self.bad(b"HTTP/1.1 103 Hints\r\n" + field + b"\r\n\r\n", "with a body")

    def test_101_to_nothing(self) -> None:
        """101 that does not say which protocol."""
        self.bad(b"HTTP/1.1 101 Switching\r\n\r\n", "101 without")
        self.bad(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", "101 without")

    def test_too_much(self) -> None:
        """A head of more bytes or fields than the bounds."""
        reader = ResponseReader(max_head=4096, max_fields=10)
        endless = OK + b"A: " + b"b" * 4096
        self.assertIn("4096", outcome(BadAnswer, reader.read, endless, b"GET").reason)
        many = OK + b"A: b\r\n" * 11
        self.assertIn("10 fields", outcome(BadAnswer, reader.read, many, b"GET").reason)
