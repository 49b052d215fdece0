"""Where bodies end, and chunk framing that is refused."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.http.body import Chunks, Lengths, Unchunked, UntilClose
from balancer.http.head import BadAnswer, Refused, bad_request

BODY = b'5\r\nhello\r\n10;a=b; c="d"\r\n0123456789abcdef\r\n0\r\nA: b\r\nC:\r\n\r\n'


def pieces(data: bytes, size: int) -> list[bytes]:
    """`data` in pieces of `size` bytes."""
    return [data[at : at + size] for at in range(0, len(data), size)]


class LengthsTests(SynchronousTestCase):
    """Bodies of a known length, and of none."""

    def test_length(self) -> None:
        """A body ends after its length, and what follows is not consumed."""
        body = Lengths(10)
        self.assertEqual(body.feed(b"12345"), (5, False))
        self.assertEqual(body.feed(b"1234"), (4, False))
        self.assertEqual(body.feed(b"1GET /"), (1, True))

    def test_nothing(self) -> None:
        """A body of no bytes is over at once."""
        self.assertEqual(Lengths(0).feed(b"x"), (0, True))

    def test_until_close(self) -> None:
        """Everything belongs to a body that ends with the connection."""
        self.assertEqual(UntilClose().feed(b"12345"), (5, False))


class ChunksTests(SynchronousTestCase):
    """Sound chunks."""

    def test_whole(self) -> None:
        """A whole body is over at its last empty line; what follows is not consumed."""
        self.assertEqual(Chunks(BadAnswer).feed(BODY), (len(BODY), True))
        self.assertEqual(Chunks(BadAnswer).feed(BODY + b"GET /"), (len(BODY), True))
        self.assertEqual(Chunks(BadAnswer).feed(b"0\r\n\r\n0"), (5, True))

    def test_pieces(self) -> None:
        """Pieces of any size give the same end; all is consumed until then."""
        for size in range(1, len(BODY)):
            body, seen = Chunks(BadAnswer), 0
            for piece in pieces(BODY + b"XYZ", size):
                consumed, done = body.feed(piece)
                seen += consumed
                if done:
                    break
                self.assertEqual(consumed, len(piece))
            self.assertEqual((seen, done), (len(BODY), True))

    def test_truncated(self) -> None:
        """A truncated body is not over."""
        for size in range(len(BODY)):
            self.assertEqual(Chunks(BadAnswer).feed(BODY[:size]), (size, False))

    def test_sizes(self) -> None:
        """Sizes are hexadecimal in both cases, with leading zeros, of up to 16 digits."""
        for size in (b"a", b"A", b"00a", b"000000000000000a"):
            body = size + b"\r\n0123456789\r\n0\r\n\r\n"
            self.assertEqual(Chunks(BadAnswer).feed(body), (len(body), True))

    def test_large(self) -> None:
        """Nothing of a large chunk is held; its size may be more than ever fits in memory."""
        body = Chunks(BadAnswer)
        self.assertEqual(body.feed(b"3fffffffffffffff\r\n"), (18, False))
        self.assertEqual(body.feed(b"x" * 65536), (65536, False))
        self.assertEqual(body._line, b"")

    def test_unchunked(self) -> None:
        """The data without its chunks is given piece by piece, without the trailers."""
        for size in range(1, len(BODY)):
            body, data = Unchunked(BadAnswer), b""
            for piece in pieces(BODY, size):
                body.feed(piece)
                data += body.take()
            self.assertEqual(data, b"hello0123456789abcdef")
            self.assertEqual(body.take(), b"")


class BadChunksTests(SynchronousTestCase):
    """Chunk framing that two parties could read apart."""

    def bad(self, data: bytes, reason: str = "bad chunk size") -> None:
        """`data` is refused with the given fault, whole and in pieces of any size."""
        for size in {1, 2, 3, 7, len(data)}:
            body = Chunks(bad_request)

            def feed(body: Chunks = body, size: int = size) -> None:
                for piece in pieces(data, size):
                    body.feed(piece)

            refused = self.assertRaises(Refused, feed)
            self.assertEqual((refused.status, refused.reason), (400, reason), (data, size))

    def test_sizes(self) -> None:
        """Signs, 0x, underscores, blanks, other digits, and nothing at all."""
        for size in (b"+5", b"-5", b"0x5", b"1_0", b" 5", b"5 ", b"5\t", b"\t5", b"", b"g", b"5h",
                     b"5,5", b"5 ;a", b"\x0b5", b"\xb25"):  # fmt: skip
            self.bad(size + b"\r\nhello\r\n0\r\n\r\n")

    def test_digits(self) -> None:
        """More than 16 digits, though they be zeros."""
        self.bad(b"0" * 16 + b"5\r\nhello\r\n0\r\n\r\n")
        self.bad(b"1" + b"0" * 16 + b"\r\n")

    def test_too_large(self) -> None:
        """A size that is negative in signed 64 bits."""
        self.bad(b"ffffffffffffffff\r\nx", "chunk too large")
        self.bad(b"8000000000000005\r\nhello", "chunk too large")

    def test_line_ends(self) -> None:
        """Bare LF and bare CR in sizes, extensions, behind data, and in trailers."""
        self.bad(b"5\nhello\r\n0\r\n\r\n")
        self.bad(b"5\rhello\r\n0\r\n\r\n")
        self.bad(b"5;a\nhello\r\n0\r\n\r\n")
        self.bad(b"5;a\rb\r\nhello\r\n0\r\n\r\n")
        self.bad(b"5\r\r\nhello\r\n")
        self.bad(b"5\r\nhello\n0\r\n\r\n", "chunk without its end")
        self.bad(b"5\r\nhello\r0\r\n\r\n", "chunk without its end")
        self.bad(b"0\n\n")
        self.bad(b"0\r\n\n", "bad trailer")
        self.bad(b"0\r\nA: b\n\r\n", "bad trailer")
        self.bad(b"0\r\nA: b\rC: d\r\n\r\n", "bad trailer")

    def test_data_too_long(self) -> None:
        """Data that goes on where its chunk should end."""
        self.bad(b"5\r\nhello!\r\n0\r\n\r\n", "chunk without its end")
        self.bad(b"5\r\nhello0\r\n\r\n", "chunk without its end")

    def test_extension(self) -> None:
        """Control bytes in extensions, and extensions without end."""
        self.bad(b"5;a\0\r\nhello\r\n0\r\n\r\n")
        self.bad(b"5;" + b"a" * 600)

    def test_trailers(self) -> None:
        """Trailers that are no fields, folded ones, and fields that frame or route."""
        for trailer in (b"A : b", b": b", b"A\r", b" A: b", b"A: \0", b"A: b\r\n c", b"A"):
            self.bad(b"0\r\n" + trailer + b"\r\n\r\n", "bad trailer")
        for trailer in (b"Content-Length: 5", b"transfer-encoding: a", b"Host: a", b"TE:",
                        b"Content_Type: a"):  # fmt: skip
            name = trailer.partition(b":")[0].decode()
            self.bad(b"0\r\n" + trailer + b"\r\n\r\n", f"trailer {name}")

    def test_endless_trailers(self) -> None:
        """Trailers of more than 8 KiB, in one line or many."""
        self.bad(b"0\r\n" + b"A: b\r\n" * 1400, "trailers too long")
        body = Chunks(BadAnswer)
        body.feed(b"0\r\nA: ")
        self.assertRaises(BadAnswer, body.feed, b"b" * 8192)


class ChunksProperties(SynchronousTestCase):
    """Whatever comes, in whatever pieces."""

    @settings(max_examples=15, deadline=None, database=None)
    @given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.integers(1, 9), st.binary())
    def test_round_trip(self, parts: list[bytes], size: int, rest: bytes) -> None:
        """What a sender put in chunks comes out again, and the end is found exactly."""
        wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        body, seen = Unchunked(BadAnswer), 0
        for piece in pieces(wire + rest, size):
            consumed, done = body.feed(piece)
            seen += consumed
            if done:
                break
        self.assertEqual((seen, body.take()), (len(wire), b"".join(parts)))

    @settings(max_examples=15, deadline=None, database=None)
    @given(st.integers(0, len(BODY)), st.sampled_from(b"\r\n 0;gA:\x00\xff"), st.integers(1, 70))
    def test_mutations(self, at: int, byte: int, size: int) -> None:
        """A byte more ends in the given fault, or in the same way whole and in pieces."""
        data = BODY[:at] + bytes([byte]) + BODY[at:]

        def run(size: int) -> tuple[int, bool] | str:
            body, seen, done = Chunks(BadAnswer), 0, False
            try:
                for piece in pieces(data, size):
                    consumed, done = body.feed(piece)
                    seen += consumed
                    if done:
                        break
            except BadAnswer as fault:
                return fault.reason
            return seen, done

        self.assertEqual(run(size), run(len(data)))
