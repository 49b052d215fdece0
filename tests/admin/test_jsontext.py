"""JSON in pieces."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.admin.jsontext import ITEMS_A_PIECE, pieces

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
)


class PiecesTests(SynchronousTestCase):
    """The same as in one piece."""

    @settings(deadline=None, database=None, max_examples=30)
    @given(VALUES, st.integers(0, 5))
    def test_same(self, value: object, levels: int) -> None:
        """However it is cut up, it is what json.dumps writes."""
        self.assertEqual(b"".join(pieces(value, levels)), json.dumps(value).encode())

    def test_many(self) -> None:
        """A large mapping comes in many pieces, and is the same."""
        value = {"pools": {"large": {f"s{n}": {"n": n} for n in range(5 * ITEMS_A_PIECE + 1)}}}
        found = list(pieces(value, 3))
        self.assertGreater(len(found), 6)
        self.assertEqual(json.loads(b"".join(found)), value)
