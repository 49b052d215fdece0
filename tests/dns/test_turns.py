"""Whose turn it is."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import turns


class TurnTests(SynchronousTestCase):
    """The orders of the policies."""

    def test_shared(self) -> None:
        """Names that follow one pool share the variants of their answers, and not whose turn it
        is."""
        for make in (lambda: turns.rotating(5000, 2), lambda: turns.weighted([1] * 5000, 2)):
            one, two = make(), make()
            self.assertIs(one.windows, two.windows)
            one.next()
            self.assertNotEqual(one.next.peek(), two.next.peek())

    def test_only(self) -> None:
        """The same first addresses every time, and an empty answer for nobody."""
        order = turns.only(5, 2)
        self.assertEqual(order.windows, ((0, 1),))
        self.assertEqual([order.next() for _ in range(3)], [0, 0, 0])
        self.assertEqual(turns.only(0, 3).windows, ((),))

    def test_rotation(self) -> None:
        """Each comes first in its turn, and the others follow in order."""
        order = turns.rotating(3, 9)
        got = [order.windows[order.next()] for _ in range(4)]
        self.assertEqual(got, [(0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 1, 2)])

    def test_rotation_of_some(self) -> None:
        """With at most two addresses an answer, each still is in as many answers as the others."""
        order = turns.rotating(5, 2)
        seen = Counter(at for _ in range(5) for at in order.windows[order.next()])
        self.assertEqual(set(seen.values()), {2})

    def test_rotation_of_few_ways(self) -> None:
        """It begins where it is told, and few ways are spread evenly over all."""
        order = turns.rotating(10, 2, 12, 5)
        self.assertEqual(order.windows, ((2, 3), (4, 5), (6, 7), (8, 9), (0, 1)))

    def test_rotation_is_bounded(self) -> None:
        """A thousand servers do not make a million records."""
        order = turns.rotating(1000, 1000)
        self.assertLessEqual(sum(map(len, order.windows)), turns.MAX_RECORDS)
        self.assertGreater(len({window[0] for window in order.windows}), 30)
        self.assertEqual(turns.rotating(0, 4).windows, ((),))

    @settings(max_examples=8, deadline=None)
    @given(st.lists(st.integers(1, 2560), min_size=2, max_size=30))
    def test_shares(self, weights: list[int]) -> None:
        """Over 10,000 queries each share is its weight's within 2 percent of all."""
        order = turns.weighted(weights, 1)
        seen = Counter(order.windows[order.next()][0] for _ in range(10_000))
        for at, weight in enumerate(weights):
            self.assertLess(abs(seen[at] / 10_000 - weight / sum(weights)), 0.02)

    def test_shares_in_any_stretch(self) -> None:
        """Weights 3 and 1 are spread over a few queries, not nine and three in a row."""
        order = turns.weighted([3, 1], 1)
        firsts = [order.windows[order.next()][0] for _ in range(40)]
        for start in range(32):
            self.assertIn(firsts[start : start + 8].count(1), (1, 2, 3))

    def test_weighted_more(self) -> None:
        """With max=2 the next one in the file follows the first."""
        order = turns.weighted([1, 1, 1], 2)
        self.assertEqual({order.windows[order.next()] for _ in range(3)},
                         {(0, 1), (1, 2), (2, 0)})

    def test_peek(self) -> None:
        """Whoever looks at whose turn it is does not take it."""
        for order in (turns.only(3, 3), turns.rotating(3, 3), turns.weighted([3, 1], 1)):
            for _ in range(4):
                due = order.next.peek()
                self.assertEqual(order.next.peek(), due)
                self.assertEqual(order.next(), due)

    def test_no_weight(self) -> None:
        """Servers of weight 0, answered as a last resort, share alike."""
        order = turns.weighted([0, 0], 1)
        self.assertEqual(Counter(order.next() for _ in range(10)), {0: 5, 1: 5})
