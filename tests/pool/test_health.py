"""Rise and fall in one integer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.pool.health import UNKNOWN, Scale


class ScaleTests(SynchronousTestCase):
    """The integer's way up and down."""

    def after(self, results: str, rise: int = 2, fall: int = 3, health: int = UNKNOWN) -> bool:
        """Whether a server is up after results such as '++-'."""
        scale = Scale(rise, fall)
        for result in results:
            health = scale.passed(health) if result == "+" else scale.failed(health)
        return scale.is_up(health)

    def test_first_result_decides(self) -> None:
        """The first result decides at once, either way."""
        self.assertTrue(self.after("+"))
        self.assertFalse(self.after("-"))

    def test_unknown_is_not_up(self) -> None:
        """Before the first result a server is not up."""
        self.assertFalse(self.after(""))

    def test_fall(self) -> None:
        """It takes `fall` failures in a row to go down."""
        self.assertTrue(self.after("+--"))
        self.assertFalse(self.after("+---"))
        self.assertTrue(self.after("+--+--"))

    def test_rise(self) -> None:
        """It takes `rise` passes in a row to come up again."""
        self.assertFalse(self.after("-+"))
        self.assertTrue(self.after("-++"))
        self.assertFalse(self.after("-+-+"))

    def test_one(self) -> None:
        """With rise and fall of 1 every result decides."""
        self.assertTrue(self.after("-+", 1, 1))
        self.assertFalse(self.after("+-", 1, 1))

    def test_pending(self) -> None:
        """A verdict is pending before the first result and while results disagree with it."""
        scale = Scale(2, 3)
        self.assertTrue(scale.is_pending(UNKNOWN))
        self.assertFalse(scale.is_pending(scale.best))
        self.assertFalse(scale.is_pending(0))
        self.assertTrue(scale.is_pending(scale.failed(scale.best)))
        self.assertTrue(scale.is_pending(scale.passed(0)))

    @settings(deadline=None, database=None, max_examples=15)
    @given(st.text("+-", max_size=40), st.integers(1, 5), st.integers(1, 5))
    def test_same_as_counting(self, results: str, rise: int, fall: int) -> None:
        """The integer decides as two counters of consecutive results would."""
        up: bool | None = None
        row = 0
        for n, result in enumerate(results):
            ok = result == "+"
            row = row + 1 if n and results[n - 1] == result else 1
            if up is None or (ok != up and row >= (rise if ok else fall)):
                up = ok
        self.assertEqual(self.after(results, rise, fall), bool(up))
