"""Token buckets: what they allow, what they refuse, and how much they remember."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.limit.rates import Rates

RATES = st.floats(min_value=0.01, max_value=10_000)
STEPS = st.lists(st.floats(min_value=0, max_value=2), min_size=1, max_size=60)


class RatesTests(SynchronousTestCase):
    """One key, and several, over time."""

    def test_burst_then_refused(self) -> None:
        """A new key may have `burst` at once and not one more."""
        rates = Rates(10, burst=5)
        self.assertEqual([rates.allow("a", 100.0) for _ in range(7)], [True] * 5 + [False] * 2)
        self.assertEqual(rates.refused_total, 2)

    def test_exactly_on_time(self) -> None:
        """A caller that keeps to the rate is never refused, however long it goes on."""
        rates = Rates(10, burst=1)
        self.assertTrue(all(rates.allow("a", 1e6 + turn / 10) for turn in range(2000)))

    def test_refill(self) -> None:
        """A refused caller is allowed again when one token has come, not before."""
        rates = Rates(2, burst=1)
        self.assertTrue(rates.allow("a", 0.0))
        self.assertFalse(rates.allow("a", 0.49))
        self.assertTrue(rates.allow("a", 0.5))

    def test_refusals_cost_nothing(self) -> None:
        """Refused calls do not put off the moment at which the next one is allowed."""
        rates = Rates(1, burst=1)
        rates.allow("a", 0.0)
        for turn in range(10):
            self.assertFalse(rates.allow("a", turn / 11))
        self.assertTrue(rates.allow("a", 1.0))

    def test_slow_rates(self) -> None:
        """A rate below one a second works."""
        rates = Rates(0.1, burst=1)
        answers = [rates.allow("a", now) for now in (0.0, 9.0, 10.0)]
        self.assertEqual(answers, [True, False, True])

    def test_keys_apart(self) -> None:
        """One key's use takes nothing from another's."""
        rates = Rates(1, burst=1)
        self.assertTrue(rates.allow("a", 0.0))
        self.assertTrue(rates.allow("b", 0.0))
        self.assertFalse(rates.allow("a", 0.0))

    def test_clock_back(self) -> None:
        """A clock that goes back gives nobody more."""
        rates = Rates(1, burst=2)
        self.assertTrue(rates.allow("a", 10.0))
        self.assertFalse(rates.allow("a", 5.0))
        self.assertTrue(rates.allow("a", 10.0))

    def test_nonsense(self) -> None:
        """A rate, burst or bound that could allow nothing is refused at once."""
        for rate, burst, most in ((0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1)):
            self.assertRaises(ValueError, Rates, rate, burst, most)

    @settings(deadline=None, database=None, max_examples=10)
    @given(rate=RATES, burst=st.integers(1, 100), start=st.floats(0, 1e6), steps=STEPS)
    def test_never_more(self, rate: float, burst: int, start: float, steps: list[float]) -> None:
        """In any stretch of time t, no more than burst + rate * t are allowed."""
        rates = Rates(rate, burst)
        now = start
        allowed: list[float] = []
        for step in steps:
            now += step
            allowed += [now for _ in range(3) if rates.allow("a", now)]
        for first, begun in enumerate(allowed):
            for count, at in enumerate(allowed[first:], 1):
                self.assertLessEqual(count, burst + rate * (at - begun) + 0.001)

    @settings(deadline=None, database=None, max_examples=10)
    @given(rate=RATES, burst=st.integers(1, 100), steps=STEPS)
    def test_never_less(self, rate: float, burst: int, steps: list[float]) -> None:
        """A refusal means that the bucket, refilled as it should be, has not one token."""
        rates = Rates(rate, burst)
        now, tokens = 0.0, float(burst)
        for step in steps:
            now += step
            tokens = min(burst, tokens + step * rate)
            if rates.allow("a", now):
                tokens -= 1
            else:
                self.assertLess(tokens, 1.001)
            self.assertGreater(tokens, -0.001)


class TableTests(SynchronousTestCase):
    """What is remembered, and what is forgotten first."""

    @settings(deadline=None, database=None, max_examples=10)
    @given(
        most=st.integers(1, 8),
        calls=st.lists(st.tuples(st.integers(0, 30), st.floats(0, 1)), max_size=60),
    )
    def test_bound(self, most: int, calls: list[tuple[int, float]]) -> None:
        """There are never more keys than `most`."""
        rates = Rates(5, burst=2, most=most)
        now = 0.0
        for key, step in calls:
            now += step
            rates.allow(key, now)
            self.assertLessEqual(len(rates), most)

    def test_full_first(self) -> None:
        """Buckets that are full again go as new keys come, and nobody loses by it."""
        rates = Rates(1, burst=1, most=100)
        for key in range(50):
            rates.allow(key, 0.0)
        for key in range(50, 75):
            rates.allow(key, 10.0)
        self.assertEqual(len(rates), 25)
        self.assertEqual(rates.forgotten_total, 0)

    def test_flood(self) -> None:
        """In a full table the key unused for longest is forgotten, and that is counted."""
        rates = Rates(0.001, burst=1, most=3)
        for key in "abc":
            rates.allow(key, 0.0)
        self.assertFalse(rates.allow("a", 1.0))
        self.assertTrue(rates.allow("d", 2.0))
        self.assertEqual(rates.forgotten_total, 1)
        self.assertFalse(rates.allow("a", 3.0), "a was used after b, so b has gone")
        self.assertTrue(rates.allow("b", 3.0))
