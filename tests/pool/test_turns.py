"""Orders in which weights take turns."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.pool.turns import endless, reduced, smooth, spread

WEIGHTS = st.lists(st.integers(1, 20), min_size=1, max_size=8)
QUICK = settings(deadline=None, database=None, max_examples=12)


class TurnsTests(SynchronousTestCase):
    """Both orders."""

    def test_nginx(self) -> None:
        """The sequences that nginx gives."""
        self.assertEqual(smooth([5, 1, 1]), [0, 0, 1, 0, 2, 0, 0])
        self.assertEqual(smooth([4, 2, 1]), [0, 1, 0, 2, 0, 1, 0])
        self.assertEqual(smooth([1, 1, 1]), [0, 1, 2])

    def test_reduced(self) -> None:
        """A common divisor does not lengthen the period; no weights are no error."""
        self.assertEqual(reduced([10, 20, 30]), [1, 2, 3])
        self.assertEqual(reduced([]), [])

    def test_none(self) -> None:
        """Nobody has no turns."""
        self.assertEqual((smooth([]), spread([]), list(endless([]))), ([], [], []))

    @QUICK
    @given(WEIGHTS)
    def test_exact(self, weights: list[int]) -> None:
        """Each order gives every weight exactly its turns over a period, and over the next one."""
        wanted = dict(enumerate(weights))
        turns = endless(weights)
        for order in (
            smooth(weights),
            spread(weights),
            list(islice(turns, sum(weights))),
            list(islice(turns, sum(weights))),
        ):
            self.assertEqual(Counter(order), wanted)

    @QUICK
    @given(WEIGHTS)
    def test_spread_is_even(self, weights: list[int]) -> None:
        """At any moment nobody is more than one turn a competitor from its share."""
        total = sum(weights)
        for order in (smooth(weights), spread(weights)):
            had = [0] * len(weights)
            for n, index in enumerate(order, 1):
                had[index] += 1
                for weight, turns in zip(weights, had, strict=True):
                    self.assertTrue(abs(turns - n * weight / total) < len(weights))
