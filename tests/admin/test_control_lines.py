"""The frame of the control socket: lines in, requests read, answers written."""

from __future__ import annotations

import contextlib
import json
from types import MappingProxyType

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.admin.control_lines import (
    MOST_LINE,
    PIECE,
    Garbage,
    Lines,
    answer,
    pieces,
    read,
    refusal,
    shown,
)


def cut(*pieces: bytes) -> list[bytes]:
    """The lines of what is fed in pieces."""
    lines, found = Lines(), []
    for piece in pieces:
        lines.feed(piece)
        while (line := lines.next()) is not None:
            found.append(line)
    return found


class Cutting(SynchronousTestCase):
    """Bytes to lines."""

    def test_whole(self) -> None:
        """Several lines that come at once are all given, in order, without their ends."""
        self.assertEqual(cut(b"one\ntwo\r\n three \n"), [b"one", b"two", b"three"])

    def test_byte_by_byte(self) -> None:
        """Lines that come a byte at a time are the same lines."""
        self.assertEqual(cut(*(bytes([each]) for each in b"one\ntwo\n")), [b"one", b"two"])

    def test_truncated(self) -> None:
        """A line without its end is not given."""
        self.assertEqual(cut(b"one\ntw"), [b"one"])

    def test_blank(self) -> None:
        """Blank lines are passed over."""
        self.assertEqual(cut(b"\n\r\n  \none\n\n"), [b"one"])

    def test_longest(self) -> None:
        """A line of exactly the bound is taken."""
        self.assertEqual(cut(b"x" * MOST_LINE, b"\n"), [b"x" * MOST_LINE])

    def test_too_long(self) -> None:
        """A line above the bound is garbage, whether its end has come or not, at every asking."""
        for data in (b"x" * (MOST_LINE + 1), b"x" * (MOST_LINE + 1) + b"\n"):
            lines = Lines()
            lines.feed(data)
            self.assertTrue(lines.ready)
            self.assertIn(str(MOST_LINE), str(self.assertRaises(Garbage, lines.next)))
            self.assertRaises(Garbage, lines.next)

    def test_ready(self) -> None:
        """Lines are ready once one has ended."""
        lines = Lines()
        lines.feed(b"on")
        self.assertFalse(lines.ready)
        lines.feed(b"e\ntw")
        self.assertTrue(lines.ready)
        lines.next()
        self.assertFalse(lines.ready)
        self.assertEqual(len(lines), 2)

    @settings(deadline=None, database=None, max_examples=30)
    @given(st.lists(st.binary(max_size=12)))
    def test_any_pieces(self, pieces: list[bytes]) -> None:
        """Where the pieces part does not matter."""
        whole = b"".join(pieces)
        expected = [line.strip() for line in whole.split(b"\n")[:-1] if line.strip()]
        self.assertEqual(cut(*pieces), expected)


class Reading(SynchronousTestCase):
    """Lines to requests."""

    def test_request(self) -> None:
        """The verb is told apart from the other fields."""
        request = read(b'{"verb": "drain", "server": "web/a"}')
        self.assertEqual((request.verb, request.fields), ("drain", {"server": "web/a"}))

    def test_garbage(self) -> None:
        """What is no object with a verb is garbage, and the error shows no more than its start."""
        for line in (
            b"GET / HTTP/1.1", b"{", b'{"verb": "status"} x', b"[]", b"null", b'"status"', b"{}",
            b'{"verb": 1}', b"\xff\xfe", b"\0", b"9" * 9000, b"[" * 60000, b'{"verb":"a" ' * 999,
        ):
            error = self.assertRaises(Garbage, read, line)
            self.assertLess(len(str(error)), 400)
            self.assertTrue(str(error).isprintable())

    @settings(deadline=None, database=None, max_examples=30)
    @given(st.binary())
    def test_anything(self, line: bytes) -> None:
        """Whatever comes is a request or garbage, never another exception."""
        with contextlib.suppress(Garbage):
            read(line)

    def test_shown(self) -> None:
        """What is repeated is bounded, and cannot move a cursor."""
        self.assertEqual(shown("a\x1b[2Jb"), r"'a\x1b[2Jb'")
        self.assertEqual(len(shown("x" * 1000)), 82)
        self.assertEqual(shown({"a": 1}), "an object")
        self.assertEqual(shown(None), "'null'")


class Answering(SynchronousTestCase):
    """Results to lines."""

    def test_answer(self) -> None:
        """A result is one line of ASCII, whatever its texts contain."""
        line = answer({"text": "a\nb\u2028ü"})
        self.assertEqual(line.count(b"\n"), 1)
        self.assertTrue(line.isascii())
        self.assertEqual(json.loads(line), {"ok": True, "result": {"text": "a\nb\u2028ü"}})

    @settings(deadline=None, database=None, max_examples=15)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=20,
        )
    )
    def test_pieces(self, result: object) -> None:
        """An answer bit by bit is the same line."""
        self.assertEqual(b"".join(pieces(result)), answer(result))

    def test_long(self) -> None:
        """A long answer comes in pieces of about the same size."""
        found = list(pieces({"a": {"b": {str(each): "x" * 100 for each in range(3000)}}}))
        self.assertGreater(len(found), 4)
        self.assertLess(max(map(len, found)), PIECE * 1.1)

    def test_mappings(self) -> None:
        """Read-only mappings, tuples and sets are JSON as well."""
        line = answer(MappingProxyType({"a": (1, 2), "b": frozenset({"y", "x"})}))
        self.assertEqual(json.loads(line)["result"], {"a": [1, 2], "b": ["x", "y"]})

    def test_no_json(self) -> None:
        """What JSON does not have is an error of ours."""
        self.assertRaises(TypeError, answer, {"x": object()})
        self.assertRaises(ValueError, answer, {"x": float("inf")})

    def test_refusal(self) -> None:
        """A refusal has the error and the problems."""
        self.assertEqual(
            json.loads(refusal("no", ["f:1: bad"])),
            {"ok": False, "error": "no", "problems": ["f:1: bad"]},
        )
