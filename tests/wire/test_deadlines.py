"""
Tests of `balancer.wire.deadlines`.
"""

from __future__ import annotations

import math
import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.wire.deadlines import Ticker, Wheel


class Entry:
    """Remembers when it expired."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.times: list[float] = []

    def expired(self, now: float) -> None:
        self.times.append(now)


class Raising(Entry):
    """Expires with a bang."""

    def expired(self, now: float) -> None:
        super().expired(now)
        raise RuntimeError("bang")


class WheelTests(SynchronousTestCase):
    """Deadlines fire once, not early, and at most a tick late."""

    @settings(max_examples=30, deadline=None, database=None)
    @given(st.lists(st.floats(0, 300, allow_nan=False), max_size=20))
    def test_precision(self, deadlines: list[float]) -> None:
        """Any deadline, within the wheel's span or beyond it, is met within a tick."""
        wheel = Wheel(0.0, tick=1.0, slots=16)
        entries = [Entry(deadline) for deadline in deadlines]
        for entry in entries:
            wheel.add(entry)
        for second in range(1, 303):
            wheel.advance(float(second))
        for entry in entries:
            (fired,) = entry.times
            self.assertGreaterEqual(fired, entry.deadline)
            self.assertLessEqual(fired, max(entry.deadline + 1, 1))
        self.assertEqual(len(wheel), 0)

    def test_later_by_assignment(self) -> None:
        """A deadline put off by plain assignment fires once, at the new time."""
        wheel = Wheel(100.0, tick=0.1)
        entry = Entry(101.0)
        wheel.add(entry)
        now = 100.0
        for step in range(1, 60):
            now = 100.0 + step / 10
            if step < 30:
                entry.deadline = now + 1.0
            wheel.advance(now)
        self.assertEqual(len(entry.times), 1)
        self.assertApproximates(entry.times[0], 103.95, 0.06)

    def test_hasten(self) -> None:
        """A deadline that moved earlier counts once the wheel was told."""
        wheel = Wheel(0.0)
        entry = Entry(50.0)
        wheel.add(entry)
        entry.deadline = 1.0
        wheel.hasten(entry)
        wheel.advance(1.2)
        self.assertEqual(entry.times, [1.2])
        wheel.advance(60.0)
        self.assertEqual(entry.times, [1.2])

    def test_infinite(self) -> None:
        """No deadline is no entry, and a finite one brings it back."""
        wheel = Wheel(0.0)
        entry = Entry(1.0)
        wheel.add(entry)
        entry.deadline = math.inf
        wheel.advance(5.0)
        self.assertEqual(entry.times, [])
        self.assertEqual(len(wheel), 0)
        wheel.add(entry)
        self.assertEqual(len(wheel), 0)
        entry.deadline = 6.0
        wheel.hasten(entry)
        wheel.advance(6.1)
        self.assertEqual(entry.times, [6.1])

    def test_discard(self) -> None:
        """A discarded entry does not fire, even when its bucket is being emptied; again is fine."""
        wheel = Wheel(0.0)
        other = Entry(1.0)

        class Killer(Entry):
            def expired(self, now: float) -> None:
                super().expired(now)
                for entry in (first, last, other):
                    wheel.discard(entry)

        first, last = Killer(1.0), Killer(1.0)
        for entry in (first, other, last):
            wheel.add(entry)
        wheel.advance(2.0)
        self.assertEqual(len(first.times + last.times + other.times), 1)
        self.assertEqual(len(wheel), 0)

    def test_past(self) -> None:
        """A deadline in the past fires at the next tick, not in the same call."""
        wheel = Wheel(0.0, tick=1.0)
        wheel.advance(10.0)
        entry = Entry(3.0)
        wheel.add(entry)
        wheel.advance(10.5)
        self.assertEqual(entry.times, [])
        wheel.advance(11.0)
        self.assertEqual(entry.times, [11.0])

    def test_added_again_while_expiring(self) -> None:
        """An entry that adds itself again with a past deadline does not hold the turn up."""
        wheel = Wheel(0.0, tick=1.0)

        class Again(Entry):
            def expired(self, now: float) -> None:
                super().expired(now)
                wheel.add(self)

        entry = Again(1.0)
        wheel.add(entry)
        wheel.advance(1.0)
        self.assertEqual(entry.times, [1.0])

    def test_long_sleep(self) -> None:
        """After a sleep longer than the wheel spans everything due fires, and nothing else."""
        wheel = Wheel(0.0, tick=1.0, slots=8)
        due, later = Entry(5.0), Entry(2000.0)
        wheel.add(due)
        wheel.add(later)
        wheel.advance(1000.0)
        self.assertEqual(due.times, [1000.0])
        self.assertEqual(later.times, [])
        for second in range(1001, 2002):
            wheel.advance(float(second))
        self.assertEqual(later.times, [2000.0])

    def test_bounded_turn(self) -> None:
        """A mass expiry is done in slices, each entry once."""
        wheel = Wheel(0.0)
        entries = [Entry(1.0) for _ in range(25)]
        for entry in entries:
            wheel.add(entry)
        turns = 1
        while wheel.advance(2.0, most=10):
            turns += 1
        self.assertEqual(turns, 3)
        self.assertEqual({len(entry.times) for entry in entries}, {1})

    def test_raising(self) -> None:
        """An entry that raises costs the others nothing."""
        wheel = Wheel(0.0)
        bad, good = Raising(1.0), Entry(1.0)
        for entry in (good, bad):
            wheel.add(entry)
        self.assertRaises(RuntimeError, wheel.advance, 2.0)
        wheel.advance(2.0)
        self.assertEqual((len(bad.times), len(good.times)), (1, 1))

    def test_many(self) -> None:
        """Thirty thousand entries are added, put off and turned at a few microseconds each."""
        wheel = Wheel(0.0)
        entries = [Entry(60.0 + i % 30) for i in range(30_000)]
        begun = time.process_time()
        for entry in entries:
            wheel.add(entry)
        while wheel.advance(59.0):
            pass
        for entry in entries:
            wheel.discard(entry)
        spent = time.process_time() - begun
        self.assertEqual(len(wheel), 0)
        self.assertLess(spent, 0.3)


class TickerTests(SynchronousTestCase):
    """One delayed call turns the wheel and calls the coarse subscribers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.wheel = Wheel(self.clock.seconds())
        self.ticker = Ticker(self.clock, self.wheel, 0.1)

    def test_turns(self) -> None:
        """The wheel moves with the clock, from start to stop."""
        entry, after = Entry(1001.0), Entry(1003.0)
        self.wheel.add(entry)
        self.wheel.add(after)
        self.ticker.start()
        self.ticker.start()
        self.clock.pump([0.1] * 12)
        self.assertEqual(len(entry.times), 1)
        self.assertApproximates(entry.times[0], 1001.05, 0.06)
        self.ticker.stop()
        self.ticker.stop()
        self.clock.advance(10)
        self.assertEqual(after.times, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_drift(self) -> None:
        """Turns that take their time do not push the ticks off."""
        times: list[float] = []
        self.ticker.every(times.append)
        self.ticker.start()
        for _ in range(100):
            self.clock.advance(0.103)
        late = [(time - 1000.0) % 0.1 for time in times]
        self.assertLess(sum(late) / len(late), 0.06)
        self.assertGreater(len(times), 85)

    def test_subscribers(self) -> None:
        """Each tick calls every subscriber, even behind one that raises, until it is forgotten."""
        times: list[float] = []

        def bad(now: float) -> None:
            raise RuntimeError("bang")

        self.ticker.every(bad)
        self.ticker.every(times.append)
        self.ticker.start()
        self.clock.advance(0.11)
        self.assertEqual(len(times), 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.ticker.forget(bad)
        self.ticker.forget(times.append)
        self.clock.advance(1)
        self.assertEqual(len(times), 1)

    def test_raising_entry(self) -> None:
        """A deadline that raises is logged, and the wheel goes on."""
        bad, good = Raising(1000.5), Entry(1000.5)
        for entry in (good, bad):
            self.wheel.add(entry)
        self.ticker.start()
        self.clock.pump([0.1] * 8)
        self.assertEqual(len(good.times), 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_slices(self) -> None:
        """A mass expiry goes on in turns of its own, before the next tick."""
        entries = [Entry(1000.5) for _ in range(2500)]
        for entry in entries:
            self.wheel.add(entry)
        self.ticker.start()
        self.clock.advance(0.55)
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual({len(entry.times) for entry in entries}, {1})
