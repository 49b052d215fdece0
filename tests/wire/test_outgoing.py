"""
Tests of `balancer.wire.outgoing`.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.wire.outgoing import ALONE, JOIN_LIMIT, Outgoing


class OutgoingTests(SynchronousTestCase):
    """Bytes leave in order, without being copied again and again."""

    @settings(max_examples=20, deadline=None, database=None)
    @given(st.lists(st.binary(max_size=50), max_size=20), st.lists(st.integers(0, 40), max_size=9))
    def test_order(self, parts: list[bytes], takes: list[int]) -> None:
        """Whatever sizes are written and taken, the bytes come out once and in order."""
        out = Outgoing()
        for part in parts:
            out.add(part)
        self.assertEqual(out.size, len(b"".join(parts)))
        got = b""
        for take in (*takes, *[1 << 20] * len(parts)):
            if not out.size:
                break
            head = out.head()
            took = bytes(head[:take])
            out.sent(len(took))
            got += took
        self.assertEqual(got, b"".join(parts))
        self.assertEqual(out.size, 0)

    def test_small_writes_join(self) -> None:
        """A hundred small writes become one send."""
        out = Outgoing()
        for _ in range(100):
            out.add(b"0123456789")
        self.assertEqual(len(out.head()), 1000)

    def test_join_is_bounded(self) -> None:
        """No more is joined than one send is likely to take."""
        out = Outgoing()
        for _ in range(100):
            out.add(bytes(ALONE - 1))
        self.assertLessEqual(len(out.head()), JOIN_LIMIT)
        self.assertGreater(len(out.head()), JOIN_LIMIT - ALONE)

    def test_large_is_not_copied(self) -> None:
        """A large buffer goes out as it is, and what is left of it without a copy."""
        out = Outgoing()
        large = bytes(10 * ALONE)
        out.add(large)
        out.add(b"tail")
        self.assertIs(out.head(), large)
        out.sent(1000)
        rest = out.head()
        self.assertIsInstance(rest, memoryview)
        self.assertIs(rest.obj, large)  # type: ignore[union-attr]  # asserted above

    def test_head_stands(self) -> None:
        """Until bytes are taken, what was to be sent stays the beginning of what will be."""
        out = Outgoing()
        out.add(b"ab")
        out.add(b"cd")
        first = bytes(out.head())
        out.add(b"ef")
        self.assertTrue(bytes(out.head()).startswith(first))
