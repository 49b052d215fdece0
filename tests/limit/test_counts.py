"""Counts of what is held at once."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.limit.counts import Counts


class CountsTests(SynchronousTestCase):
    """Taking and giving."""

    def test_limit(self) -> None:
        """A key may have `limit` at once; one that is given may be taken again."""
        counts = Counts(2, most=10)
        self.assertEqual([counts.take("a") for _ in range(3)], [True, True, False])
        self.assertEqual(counts.refused_total, 1)
        counts.give("a")
        self.assertTrue(counts.take("a"))
        self.assertEqual(counts.held("a"), 2)

    def test_full_table(self) -> None:
        """When `most` keys hold something a new key is refused, and the old ones go on."""
        counts = Counts(2, most=2)
        self.assertTrue(counts.take("a") and counts.take("b"))
        self.assertFalse(counts.take("c"))
        self.assertTrue(counts.take("a"))
        counts.give("b")
        self.assertTrue(counts.take("c"))

    def test_too_much_given(self) -> None:
        """Giving what was never taken is a KeyError: the caller's fault is not hidden."""
        counts = Counts(2)
        counts.take("a")
        counts.give("a")
        self.assertRaises(KeyError, counts.give, "a")

    def test_nonsense(self) -> None:
        """Bounds that could allow nothing are refused at once."""
        self.assertRaises(ValueError, Counts, 0)
        self.assertRaises(ValueError, Counts, 1, 0)

    @settings(deadline=None, database=None, max_examples=10)
    @given(
        limit=st.integers(1, 4),
        most=st.integers(1, 4),
        calls=st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=80),
    )
    def test_against_a_list(
        self, limit: int, most: int, calls: list[tuple[bool, int]]
    ) -> None:
        """It agrees with a plain list of what is held, and holds no key that has nothing."""
        counts = Counts(limit, most)
        held: list[int] = []
        for taking, key in calls:
            if taking:
                fits = held.count(key) < limit and (key in held or len(set(held)) < most)
                self.assertEqual(counts.take(key), fits)
                held += [key] if fits else []
            elif key in held:
                counts.give(key)
                held.remove(key)
            self.assertEqual(len(counts), len(set(held)))
            self.assertEqual(counts.held(key), held.count(key))
