"""Requests out of bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.demo.requests import (
    CHUNKED,
    END,
    MAX_HEAD,
    MAX_LINE,
    MAX_TRAILERS,
    Malformed,
    Part,
    Reader,
    Request,
)

COUNTED = b"POST /echo?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
IN_CHUNKS = (
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"3\r\nhel\r\n002 ; x=y\r\nlo\r\n0\r\nTrailer: t\r\n\r\n"
)
PLAIN = b"GET / HTTP/1.0\r\n\r\n"


def parts(data: bytes, step: int = 0) -> list[Part]:
    """Everything in `data`, with adjacent pieces of a body joined; fed whole or `step` by step."""
    reader = Reader()
    found: list[Part] = []
    step = step or len(data) or 1
    for start in range(0, len(data), step):
        reader.receive(data[start : start + step])
        while (part := reader.next()) is not None:
            if found and isinstance(part, bytes) and isinstance(found[-1], bytes):
                found[-1] += part
            else:
                found.append(part)
    return found


class ReaderTests(SynchronousTestCase):
    """Framing."""

    def test_counted(self) -> None:
        """A body with Content-Length ends where that says."""
        request, body, end = parts(COUNTED)
        self.assertEqual(
            request, Request(b"POST", b"/echo", b"a=1", 1, 5, True, False)
        )
        self.assertEqual((body, end), (b"hello", END))

    def test_chunked(self) -> None:
        """A body in chunks is put together; extensions and trailers are read over."""
        request, body, end = parts(IN_CHUNKS)
        assert isinstance(request, Request)
        self.assertEqual(request.length, CHUNKED)
        self.assertEqual((body, end), (b"hello", END))

    def test_pipelined(self) -> None:
        """Requests that come together are told apart, whole and byte by byte."""
        data = COUNTED + IN_CHUNKS + PLAIN + b"\r\n" + PLAIN
        whole = parts(data)
        self.assertEqual(len(whole), 3 + 3 + 2 + 2)
        self.assertEqual(parts(data, 1), whole)

    def test_truncated(self) -> None:
        """Whatever is cut off gives no END, and no error."""
        for data in (COUNTED, IN_CHUNKS, PLAIN):
            for length in range(len(data)):
                self.assertNotIn(END, parts(data[:length]))

    def test_keep_alive(self) -> None:
        """HTTP/1.1 goes on unless told to close, HTTP/1.0 only when told to."""
        for minor, field, kept in (
            (1, b"", True),
            (1, b"Connection: x, Close\r\n", False),
            (0, b"", False),
            (0, b"Connection: Keep-Alive\r\n", True),
        ):
            request = parts(b"GET / HTTP/1.%d\r\n%s\r\n" % (minor, field))[0]
            assert isinstance(request, Request)
            self.assertEqual(request.keep_alive, kept)

    def test_number(self) -> None:
        """A count in the query is read; anything else there is an error."""
        request = Request(b"GET", b"/", b"n=12&m=-1&o=", 1, 0, True, False)
        self.assertEqual(request.number("n"), 12)
        self.assertEqual(request.number("absent"), 0)
        self.assertRaises(ValueError, request.number, "m")

    def test_malformed(self) -> None:
        """What is no request, or could be read in two ways, is refused."""
        for head in (
            b"GET /\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nno field\r\n\r\n",
            b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b\nB: c\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        ):
            self.assertRaises(Malformed, parts, head)

    def test_malformed_chunks(self) -> None:
        """Chunks without a size, or longer than it, are refused."""
        head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        for body in (b"x\r\n", b"-1\r\n", b"\r\n", b"1" * 16 + b"\r\n", b"1\r\nab\r\n"):
            self.assertRaises(Malformed, parts, head + body)

    def test_bounds(self) -> None:
        """Heads, size lines and trailers without end are refused at their bounds."""
        head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        for data in (
            b"GET / HTTP/1.1\r\nA: " + b"a" * MAX_HEAD,
            head + b"1;" + b"a" * MAX_LINE,
            head + b"0\r\n" + b"A: b\r\n" * (MAX_TRAILERS + 1),
        ):
            self.assertRaises(Malformed, parts, data)

    @settings(deadline=None, database=None, max_examples=20)
    @given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.integers(1, 30))
    def test_any_body(self, pieces: list[bytes], step: int) -> None:
        """Any body comes out as it went in, in chunks or counted, however it is cut."""
        body = b"".join(pieces)
        head = b"POST / HTTP/1.1\r\n%s\r\n\r\n"
        counted = head % (b"Content-Length: %d" % len(body)) + body
        chunked = head % b"Transfer-Encoding: chunked"
        chunked += b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        for data in (counted, chunked + b"0\r\n\r\n"):
            found = parts(data + PLAIN, step)
            self.assertEqual(b"".join(p for p in found if isinstance(p, bytes)), body)
            self.assertEqual(found.count(END), 2)

    @settings(deadline=None, database=None, max_examples=30)
    @given(st.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """Whatever comes, there is a request, nothing, or Malformed."""
        try:
            parts(data)
        except Malformed as error:
            self.assertTrue(str(error))
