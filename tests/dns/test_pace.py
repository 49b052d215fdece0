"""Work of many connections in turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from balancer.dns.pace import A_TURN, Pace


class PaceTests(SynchronousTestCase):
    """Calls that take a millisecond and more."""

    def setUp(self) -> None:
        """A pace, and what was called."""
        self.now = 0.0
        self.turns: list[list[str]] = []
        self.calls: list[Callable[[], None]] = []
        self.pace = Pace(lambda: self.now, self.calls.append)

    def work(self, name: str, times: int, took: float) -> None:
        """Take so long, and ask for another turn until it was `times` turns."""
        self.turns[-1].append(name)
        self.now += took
        if times > 1:
            self.pace.soon(lambda: self.work(name, times - 1, took))

    def turn(self) -> list[str]:
        """One turn of the reactor."""
        self.turns.append([])
        calls = self.calls[:]
        self.calls.clear()
        for call in calls:
            call()
        return self.turns[-1]

    def test_one_after_the_other(self) -> None:
        """Whoever has much to do waits for the others each time, and nothing is called at once."""
        self.pace.soon(lambda: self.work("a", 3, A_TURN))
        self.pace.soon(lambda: self.work("b", 2, A_TURN))
        self.assertEqual([self.turn() for _ in range(6)], [["a"], ["b"], ["a"], ["b"], ["a"], []])

    def test_little(self) -> None:
        """Calls that take no time share a turn; what they ask for is the next one's."""
        for name in "abc":
            self.pace.soon(partial(self.work, name, 2, 0.0))
        self.assertEqual([self.turn() for _ in range(3)], [["a", "b", "c"], ["a", "b", "c"], []])

    def test_one_that_raises(self) -> None:
        """What a call raises is seen, and keeps nobody else from his turn."""
        def wrong() -> None:
            raise ZeroDivisionError
        self.pace.soon(wrong)
        self.pace.soon(partial(self.work, "a", 1, 0.0))
        self.assertRaises(ZeroDivisionError, self.turn)
        self.assertEqual(self.turn(), ["a"])
