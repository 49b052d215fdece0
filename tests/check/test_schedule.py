"""When servers are probed: spread, phases, the fast interval."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.check.schedule import FIRST_SPREAD, Schedule, Timing


def drained(schedule: Schedule, until: float, took: float = 0.0) -> list[tuple[float, int]]:
    """Every probe until then, each over after `took` seconds."""
    found = []
    while schedule.next_due <= until:
        now = schedule.next_due
        index = schedule.pop(now)
        assert index is not None
        found.append((now, index))
        schedule.put(index, now, now + took, pending=False)
    return found


class ScheduleTests(SynchronousTestCase):
    """The heap of due times."""

    def test_first(self) -> None:
        """Every server is due once within the first moment, in order."""
        schedule = Schedule(10, Timing(interval=2.0), 100.0, Random(1))
        first = [schedule.pop(100.0 + FIRST_SPREAD) for _ in range(11)]
        self.assertEqual(first, [*range(10), None])

    def test_take_all(self) -> None:
        """All that is due can be taken at once, and comes back as it is put."""
        schedule = Schedule(3, Timing(interval=2.0), 100.0, Random(1))
        taken = schedule.take_all()
        self.assertEqual(sorted(index for _, index in taken), [0, 1, 2])
        self.assertEqual((schedule.next_due, schedule.pop(math.inf)), (math.inf, None))
        schedule.put(1, 100.0, 100.0, pending=False)
        self.assertEqual(schedule.pop(math.inf), 1)

    def test_first_of_a_short_interval(self) -> None:
        """An interval below the first spread bounds that, too."""
        schedule = Schedule(10, Timing(interval=0.01, fast_interval=0.01), 0.0, Random(1))
        self.assertEqual([schedule.pop(0.01) for _ in range(10)], [*range(10)])

    def test_empty(self) -> None:
        """With no servers nothing is ever due."""
        schedule = Schedule(0, Timing(), 0.0, Random(1))
        self.assertEqual(schedule.next_due, math.inf)
        self.assertIsNone(schedule.pop(1e9))

    def test_spread(self) -> None:
        """After the first moment the probes of N servers come interval / N apart."""
        schedule = Schedule(50, Timing(interval=2.0), 0.0, Random(1))
        times = [now for now, _ in drained(schedule, 10.0) if now > 2.0]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        self.assertLess(max(abs(gap - 0.04) for gap in gaps), 1e-6)

    def test_pools_differ(self) -> None:
        """Two pools with the same timing do not probe at the same moments."""
        one, other = (
            {now for now, _ in drained(Schedule(3, Timing(), 0.0, Random(seed)), 9) if now > 2}
            for seed in (1, 2)
        )
        self.assertEqual(one & other, set())

    def test_slow_probes_keep_their_phase(self) -> None:
        """A probe that takes long does not shift the ones that follow."""
        quick = drained(Schedule(4, Timing(), 0.0, Random(1)), 20.0)
        slow = drained(Schedule(4, Timing(), 0.0, Random(1)), 20.0, took=0.9)
        self.assertEqual(
            [at for at, index in quick if index == 3 and at > 2],
            [at for at, index in slow if index == 3 and at > 2],
        )

    def test_longer_than_the_interval(self) -> None:
        """After a probe that took longer than the interval the next is due at once, not before."""
        schedule = Schedule(1, Timing(interval=1.0, fast_interval=1.0), 0.0, Random(1))
        self.assertEqual(schedule.pop(0.0), 0)
        schedule.put(0, 0.0, 1.5, pending=False)
        self.assertEqual(schedule.next_due, 1.5)

    def test_fast(self) -> None:
        """A pending verdict brings the next probe nearer; the grid comes back afterwards."""
        timing = Timing(interval=2.0, fast_interval=0.5)
        schedule = Schedule(1, timing, 0.0, Random(1))
        schedule.pop(0.0)
        schedule.put(0, 0.0, 0.0, pending=False)
        point = schedule.next_due
        schedule.pop(point)
        schedule.put(0, point, point + 0.1, pending=True)
        self.assertEqual(schedule.next_due, point + 0.5)
        schedule.pop(point + 0.5)
        schedule.put(0, point + 0.5, point + 0.5, pending=False)
        self.assertAlmostEqual(schedule.next_due, point + 2.0)

    @settings(deadline=None, database=None, max_examples=20)
    @given(
        count=st.integers(1, 20),
        interval=st.floats(0.01, 100),
        start=st.floats(0, 1e7),
        took=st.floats(0, 0.45),
    )
    def test_no_gap(self, count: int, interval: float, start: float, took: float) -> None:
        """No server waits longer than the interval, and once on its grid not less."""
        timing = Timing(interval=interval, fast_interval=interval)
        schedule = Schedule(count, timing, start, Random(7))
        probes = drained(schedule, start + 5 * interval, took * interval)
        for server in range(count):
            times = [now for now, index in probes if index == server]
            gaps = [later - earlier for earlier, later in pairwise(times)]
            self.assertLess(max(gaps), interval * 1.0001)
            self.assertGreater(min(gaps), 0)
            self.assertGreater(min(gaps[2:]), interval * 0.9999)
