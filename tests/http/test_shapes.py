"""Answers of a known shape are read as all others are."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.http import shapes
from balancer.http.grammar import CHUNKED, BadAnswer
from balancer.http.head import ResponseReader
from balancer.http.message import ResponseHead
from balancer.http.shapes import Shapes
from tests.http.feeding import byte_by_byte, lines, outcome
from tests.http.test_head_properties import ODDMENTS, answers, plain, values

FIRSTS = (
    *(b"HTTP/1.1 %d OK" % code for code in (200, 206, 304, 404, 500)), b"HTTP/1.0 200 OK",
    b"HTTP/1.1 200 ", b"HTTP/1.1 200", b"HTTP/1.1 200 No", b"HTTP/1.1 204 OK",
)  # fmt: skip
FRAMED = (
    b"Content-Length: 0", b"Content-Length: 17", b"content-length: 1", b"Content-Length: 01",
    b"Content-Length: 1 ", b"Content-Length:1", b"Content-Length: " + b"9" * 18,
    b"Content-Length: " + b"9" * 19, b"Transfer-Encoding: chunked", b"Connection: close",
    b"Connection: keep-alive", b"Connection: X-A", b"Keep-Alive: timeout=5", b"X-Cut: here",
    b"Content_Length: 1", b"Transfer-Encoding: gzip", b"Upgrade: h2c", b"Host: x",
)  # fmt: skip
others = st.tuples(st.sampled_from((b"X-A", b"Vary", b"x-a")), values).map(b": ".join)
blocks = st.lists(others | plain | st.sampled_from(FRAMED), max_size=5)


def facts(head: Any) -> Any:
    """All that a head says."""
    if not isinstance(head, ResponseHead):
        return str(head)
    return {name: getattr(head, name) for name in ResponseHead.__slots__}


class ShapeTests(SynchronousTestCase):
    """A reader that learns beside one that does not."""

    def setUp(self) -> None:
        self.patch(shapes, "SAMPLE", 1)
        self.patch(shapes, "ENOUGH", 1)

    def reader(self, known: Shapes | None = None) -> ResponseReader:
        """A reader that cuts a field out."""
        return ResponseReader(400, remove=(b"x-cut",), shapes=known)

    def same(self, known: Shapes, data: bytes, method: bytes) -> None:
        """Both read `data` alike, whole and byte by byte."""
        for feed in (byte_by_byte, lambda read, data: read(data)):
            told = []
            for reader in (self.reader(), self.reader(known)):
                read = lambda part, reader=reader: reader.read(part, method)  # noqa: E731
                told.append(facts(outcome(BadAnswer, feed, read, data)))
            self.assertEqual(*told)

    @settings(max_examples=20, deadline=None, database=None)
    @given(
        st.lists(st.tuples(st.sampled_from(FIRSTS), blocks), min_size=1, max_size=3),
        blocks,
        st.sampled_from(ODDMENTS),
        st.floats(0, 1),
        st.sampled_from((b"GET", b"HEAD")),
    )
    def test_same(self, told: Any, block: Any, put: bytes, where: float, method: bytes) -> None:
        """Whatever was learned, every answer reads as it would without."""
        known = Shapes()
        for first, fields in told:
            outcome(BadAnswer, self.reader(known).read, lines(*fields, first=first), b"GET")
        for first, fields in (*told, (told[0][0], block)):
            data = lines(*fields, first=first)
            at = int(where * len(data))
            self.same(known, data + b"more", method)
            self.same(known, data[:at] + put + data[at:], method)

    @settings(max_examples=10, deadline=None, database=None)
    @given(answers, answers)
    def test_others(self, one: bytes, other: bytes) -> None:
        """So it is with answers of all kinds."""
        known = Shapes()
        outcome(BadAnswer, self.reader(known).read, one, b"GET")
        self.same(known, one, b"GET")
        self.same(known, other, b"GET")

    def test_learned(self) -> None:
        """An answer of a known shape is not read in full; values and length may differ, and what
        is cut is cut."""
        framings = ((b"Content-Length: %d", 12), (b"Transfer-Encoding: chunked", CHUNKED))
        for framing, length in framings:
            reader = self.reader()
            fields = [b"Connection: close", b"X-A: 1", framing, b"X-Cut: 1", b"X-B:"]
            told = [f % 7 if b"%d" in f else f for f in fields]
            reader.read(lines(*told, first=b"HTTP/1.1 200 OK"), b"GET")
            self.assertEqual(len(reader.shapes.known), 1)
            reader._match = None  # type: ignore[assignment]  # it would be called
            asked = [b"Connection: close", b"X-A: \xff", framing, b"X-Cut: 22", b"X-B:"]
            asked = [f % 12 if b"%d" in f else f for f in asked]
            head = reader.read(lines(*asked, first=b"HTTP/1.1 200 OK"), b"POST")
            assert head is not None
            self.assertEqual((head.length, head.keep_alive), (length, False))
            self.assertTrue(head.out.startswith(b"HTTP/1.1 200 OK\r\nX-A: \xff\r\n"))
            self.assertNotIn(b"X-Cut", head.out)

    def test_too_large(self) -> None:
        """A head that has grown too large is refused, known shape or not."""
        known = Shapes()
        data = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX-A: %b\r\n\r\n"
        self.reader(known).read(data % b"", b"GET")
        self.same(known, data % (b"a" * 346), b"GET")
        self.same(known, data % (b"a" * 347), b"GET")
        self.same(known, data % (b"a" * 400), b"GET")

    def test_seldom(self) -> None:
        """A shape is learned when it was seen often enough, and the oldest makes room."""
        self.patch(shapes, "SAMPLE", 2)
        self.patch(shapes, "ENOUGH", 3)
        known = Shapes()
        for count, code in enumerate((200, 201, 202, 203, 404, 405)):
            data = lines(b"Content-Length: 0", first=b"HTTP/1.1 %d OK" % code)
            for _ in range(6):
                self.assertEqual(len(known.known), min(count, shapes.MOST))
                self.reader(known).read(data, b"GET")
        sources = [shape.source for shape in known.known]
        self.assertTrue(all(map(bytes.__contains__, sources, (b"202", b"203", b"404", b"405"))))

    def test_bounded(self) -> None:
        """Neither many fields nor many shapes make it grow."""
        self.patch(shapes, "ENOUGH", 2)
        known = Shapes()
        fields = [b"X-%d: a" % index for index in range(shapes.MOST_FIELDS)]
        reader = ResponseReader(shapes=known)
        for _ in range(3):
            reader.read(lines(b"Content-Length: 0", *fields, first=b"HTTP/1.1 200 OK"), b"GET")
        self.assertEqual((known.known, len(known._counts)), ((), 0))
        for index in range(shapes.MOST_COUNTED * 3):
            reader.read(
                lines(b"Content-Length: 0", b"X-%d: a" % index, first=b"HTTP/1.1 200 OK"), b"GET"
            )
            self.assertLessEqual(len(known._counts), shapes.MOST_COUNTED)
