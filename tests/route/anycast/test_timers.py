"""Delayed calls by name, and waiting until something is so."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.route.anycast.timers import Timers, within


class TimersTests(SynchronousTestCase):
    """Calls by name."""

    def setUp(self) -> None:
        """A clock, and what was called."""
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.called: list[str] = []

    def later(self, what: str, seconds: float, word: str = "") -> None:
        """Ask for a call."""
        self.timers.later(what, seconds, lambda: self.called.append(word or what))

    def test_moves(self) -> None:
        """A name is called once: what is asked for last counts, sooner or later."""
        self.later("a", 1.0, "first")
        self.later("b", 2.0)
        self.later("a", 3.0, "second")
        self.clock.pump([1.0] * 5)
        self.assertEqual(["b", "second"], self.called)
        self.later("a", 9.0)
        self.later("a", 1.0, "third")
        self.clock.pump([1.0] * 9)
        self.assertEqual("third", self.called[-1])
        self.assertEqual(3, len(self.called))

    def test_due(self) -> None:
        """A call is due at once or not; one that was made is not."""
        self.assertFalse(self.timers.is_due("a"))
        self.later("a", 1.0)
        self.assertFalse(self.timers.is_due("a"))
        self.later("a", 0.0)
        self.assertTrue(self.timers.is_due("a"))
        self.clock.advance(0)
        self.assertFalse(self.timers.is_due("a"))

    def test_stop(self) -> None:
        """After a stop nothing comes."""
        self.later("a", 1.0)
        self.later("b", 0.0)
        self.clock.advance(0)
        self.timers.stop()
        self.assertEqual(([], ["b"]), (self.clock.getDelayedCalls(), self.called))


class WithinTests(SynchronousTestCase):
    """Waiting."""

    def test_at_once(self) -> None:
        """What is so is not waited for."""
        self.successResultOf(within(Clock(), 1.0, lambda: True))

    def test_becomes(self) -> None:
        """It fires within a moment after it became so."""
        clock, found = Clock(), [False]
        done = within(clock, 1.0, lambda: found[0])
        clock.pump([0.01] * 20)
        self.assertNoResult(done)
        found[0] = True
        clock.advance(0.011)
        self.successResultOf(done)
        self.assertEqual([], clock.getDelayedCalls())

    def test_never(self) -> None:
        """What does not become so is given up."""
        clock = Clock()
        done = within(clock, 1.0, lambda: False)
        clock.pump([0.01] * 98)
        self.assertNoResult(done)
        clock.pump([0.01] * 3)
        self.successResultOf(done)
