"""The service that probes, when the pool or the way it is checked changes."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.check.schedule import Timing
from balancer.check.service import MOST_SCHEDULES, CheckService, Rota
from balancer.interfaces import CheckFailed
from balancer.pool.events import WentDown
from balancer.pool.pool import Pool
from balancer.pool.settings import PoolSettings, ServerSettings
from balancer.wire.address import Address, literal
from tests.check.fakes import FakeCheck, FakeServerCheck, passing, pool_of
from tests.check.test_service import WALL, ServiceTestCase

TIMING = Timing(interval=2.0, timeout=1.0, fast_interval=2.0)
STEPS = ("add", "drop", "retime", "wait")


def has(pool: Pool, *ports: int) -> None:
    """The site file has these servers now: s0 at port 80 and so on, as `pool_of` makes them."""
    lines = [(ServerSettings(f"s{port - 80}"), literal("192.0.2.1", port)) for port in ports]
    pool.reconfigure(PoolSettings("web"), lines, 0.0)


class ServersTests(ServiceTestCase):
    """Servers that come and go."""

    def times(self, port: int, check: FakeCheck | None = None) -> list[float]:
        """When the server at that port was asked."""
        asked = (check or self.check).asked
        return [round(each.at - 1000.0, 2) for each in asked if each.target.port == port]

    def test_new(self) -> None:
        """New servers are probed at once, and the phase of those that stay does not move."""
        self.check.answer = passing
        pool, other = pool_of(4), pool_of(4)
        service = self.service(pool)
        undisturbed = FakeCheck(self.clock.seconds, passing)
        self.service(other, undisturbed)
        self.pass_time(4.55)
        begun = len(self.check.asked)
        has(pool, 80, 90, 81, 82, 83, 91)
        service.update(self.check, TIMING)
        self.pass_time(0.1)
        ports = {each.target.port for each in self.check.asked[begun:]}
        self.assertTrue(ports >= {90, 91})
        self.pass_time(8.0)
        for port in range(80, 84):
            self.assertEqual(self.times(port), self.times(port, undisturbed))
        for port in (90, 91):
            self.assertIn(len(self.times(port)), (5, 6))

    def test_removed(self) -> None:
        """The probe of a removed server is cancelled, counts for nothing, and is the last."""
        pool = pool_of(3)
        service = self.service(pool)
        self.pass_time(0.1)
        self.check.asked[0].deferred.callback("fine")
        gone = pool.servers[1]
        has(pool, 80, 82)
        service.update(self.check, TIMING)
        self.assertEqual([each.cancelled for each in self.check.asked], [False, True, False])
        self.check.answer = passing
        self.pass_time(8.0)
        self.assertEqual(len(self.times(81)), 1)
        self.assertEqual(gone.verdict, "unknown")
        self.assertEqual(list(service.status()), ["s0", "s2"])

    def test_removed_while_waiting(self) -> None:
        """Who waits for its turn to be probed is forgotten, and so is who is not due yet."""
        check = FakeServerCheck(self.clock.seconds)
        pool = pool_of(5)
        service = self.service(pool, check)
        self.pass_time(0.06)
        has(pool, 80, 84)
        service.update(check, TIMING)
        self.pass_time(0.05)
        self.assertEqual(check.names, ["web/s0", "web/s1", "web/s4"])

    def test_moved(self) -> None:
        """A new address under an old name is probed at once; the old one's result is gone."""
        self.check.answer = passing
        pool = pool_of(1)
        service = self.service(pool)
        self.pass_time(0.1)
        self.check.answer = None
        pool.reconfigure(
            pool.settings, [(ServerSettings("s0"), literal("192.0.2.9", 80))], 0.0
        )
        service.update(self.check, TIMING)
        self.assertEqual(service.status(), {})
        self.pass_time(0.05)
        self.assertEqual(str(self.check.asked[-1].target), "192.0.2.9:80")
        self.check.asked[-1].deferred.callback("here")
        self.assertEqual(service.status()["s0"]["reason"], "here")

    def test_all_removed(self) -> None:
        """A pool that loses all servers costs nothing any more."""
        self.check.answer = passing
        pool = pool_of(3)
        service = self.service(pool)
        self.pass_time(3.0)
        has(pool)
        service.update(self.check, TIMING)
        self.pass_time(3.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_changed(self) -> None:
        """Fifty reloads that change nothing do not change when anybody is asked."""
        self.check.answer = passing
        pool, other = pool_of(4), pool_of(4)
        service = self.service(pool)
        undisturbed = FakeCheck(self.clock.seconds, passing)
        self.service(other, undisturbed)
        for _ in range(50):
            self.pass_time(0.1)
            service.update(self.check, Timing(2.0, 1.0, 2.0))
        for port in range(80, 84):
            self.assertEqual(self.times(port), self.times(port, undisturbed))

    def test_one_by_one(self) -> None:
        """Servers that come one by one are all asked once per interval, however many come."""
        self.check.answer = passing
        pool = pool_of(1)
        service = self.service(pool)
        for last in range(1, 2 * MOST_SCHEDULES + 4):
            has(pool, *range(80, 81 + last))
            service.update(self.check, TIMING)
            self.pass_time(0.1, step=0.05)
        for port in range(80, 80 + last):
            times = self.times(port)
            gaps = [later - earlier for earlier, later in pairwise(times)]
            self.assertLess(max(gaps, default=0.0), 2.11)

    def test_not_running(self) -> None:
        """What is said before the start holds from the start."""
        pool = pool_of(1)
        service = CheckService(
            self.clock, pool, self.check, TIMING, self.publish, Random(3), lambda: WALL
        )
        check = FakeCheck(self.clock.seconds)
        has(pool, 80, 81)
        service.update(check, Timing(5.0, 3.0, 5.0, port=9000))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        service.startService()
        self.addCleanup(service.stopService)
        self.pass_time(0.2)
        self.assertEqual([each.timeout for each in check.asked], [3.0, 3.0])
        self.assertEqual(check.asked[0].target, literal("192.0.2.1", 9000))

    def test_removed_by_its_own_event(self) -> None:
        """Whoever hears of an event may reload."""
        pool = pool_of(2)
        service = self.service(pool)
        self.pass_time(0.1)

        def publish(*_: object) -> None:
            has(pool, 81)
            service.update(self.check, TIMING)

        service._publish = publish
        self.check.asked[0].deferred.callback("fine")
        self.assertEqual([server.name for server in pool.servers], ["s1"])
        self.assertEqual(service.status(), {})

    def test_canceller_raises(self) -> None:
        """A check that cannot be cancelled is logged, and the reload goes on."""
        def stubborn(_: object) -> None:
            raise ZeroDivisionError

        self.check.probe = lambda target, timeout: Deferred(stubborn)  # type: ignore[method-assign]
        pool = pool_of(1)
        service = self.service(pool)
        self.pass_time(0.1)
        has(pool)
        service.update(self.check, TIMING)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class WayTests(ServiceTestCase):
    """Another check, or another timing."""

    def test_check(self) -> None:
        """Another check asks from the next time on; what is in progress counts, and verdicts stay
        until it turns them."""
        self.check.answer = passing
        pool = pool_of(1)
        service = self.service(pool)
        self.pass_time(3.0)
        self.check.answer = None
        begun = len(self.check.asked)
        while len(self.check.asked) == begun:
            self.pass_time(0.01)
        other = FakeCheck(self.clock.seconds, _refusing)
        service.update(other, TIMING)
        self.assertEqual(service.status()["s0"]["reason"], "fine")
        self.assertFalse(self.check.asked[-1].cancelled)
        self.check.asked[-1].deferred.callback("late")
        self.assertEqual(service.status()["s0"]["reason"], "late")
        self.pass_time(1.8)
        self.assertEqual((other.asked, pool.servers[0].state), ([], "up"))
        self.pass_time(4.4)
        self.assertEqual(len(self.check.asked), begun + 1)
        self.assertEqual((len(other.asked), pool.servers[0].state), (3, "down"))

    def test_bound(self) -> None:
        """Another check brings its own bound on how many run at once."""
        pool = pool_of(6)
        check = FakeServerCheck(self.clock.seconds)
        service = self.service(pool, check)
        self.pass_time(0.2)
        self.assertEqual(len(check.asked), 2)
        service.update(self.check, TIMING)
        self.pass_time(0.1)
        self.assertEqual(len(self.check.asked), 4)

    def test_shorter_interval(self) -> None:
        """A shorter interval holds within itself, without a burst."""
        self.check.answer = passing
        service = self.service(pool_of(100), timing=Timing(60.0, 1.0, 60.0))
        self.pass_time(5.0)
        begun = self.clock.seconds()
        service.update(self.check, TIMING)
        self.assert_even(begun, 100, 2.0)

    def test_longer_interval(self) -> None:
        """With a longer interval, nobody waits longer than that, without a burst."""
        self.check.answer = passing
        service = self.service(pool_of(100))
        self.pass_time(5.0)
        begun = self.clock.seconds()
        service.update(self.check, Timing(4.0, 1.0, 4.0))
        self.pass_time(2.01)
        first = {each.target.port for each in self.check.asked if each.at > begun}
        self.assertEqual(len(first), 100)
        begun = self.clock.seconds()
        self.assert_even(begun, 50, 4.0)

    def assert_even(self, begun: float, rate_in_two: int, interval: float) -> None:
        """In the interval that follows everybody is asked, never much more than the rate."""
        self.pass_time(interval + 0.02)
        times = [each.at for each in self.check.asked if each.at > begun]
        self.assertEqual(len({e.target.port for e in self.check.asked if e.at > begun}), 100)
        tenths = [int((at - begun) * 10) for at in times]
        self.assertLessEqual(max(map(tenths.count, tenths)), 3 * rate_in_two / 20 + 3)

    def test_shorter_timeout(self) -> None:
        """A probe in progress ends no later than a new timeout from now, in order."""
        pool = pool_of(2)
        service = self.service(pool, timing=Timing(20.0, 10.0, 20.0))
        self.pass_time(3.0)
        service.update(self.check, Timing(20.0, 2.0, 20.0))
        self.pass_time(1.9)
        self.assertEqual(self.published, [])
        self.pass_time(0.2)
        self.assertEqual([type(event) for _, event in self.published], [WentDown, WentDown])
        self.assertTrue(all(each.cancelled for each in self.check.asked))

    def test_pending_goes_on(self) -> None:
        """A server about to turn is asked when it was due, and its results go on to add up."""
        self.check.answer = passing
        pool = pool_of(1, fall=3)
        timing = Timing(interval=10.0, timeout=1.0, fast_interval=0.5)
        service = self.service(pool, timing=timing)
        self.pass_time(1.0)
        self.check.answer = _refusing
        while pool.servers[0].health == pool.scale.best:
            self.pass_time(0.01)
        service.update(self.check, Timing(interval=20.0, timeout=1.0, fast_interval=0.5))
        self.pass_time(1.02)
        self.assertEqual(pool.servers[0].state, "down")


class RotaTests(SynchronousTestCase):
    """Who is due when."""

    @settings(deadline=None, database=None, max_examples=15)
    @given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5)), max_size=30))
    def test_everybody_once(self, steps: list[tuple[str, int]]) -> None:
        """Whoever is there is due once per interval, and whoever left never."""
        clock, timing = Clock(), Timing(2.0, 1.0, 2.0)
        rota = Rota(timing, Random(5))
        last: dict[int, float] = {}
        number = 0
        for step, size in steps:
            clock.advance(0.3)
            now = clock.seconds()
            if step == "add":
                new = list(range(number, number + size))
                number += size
                rota.add(new, now)
                last.update(dict.fromkeys(new, now))
            elif step == "drop" and last:
                gone = sorted(last)[size % len(last)]
                rota.drop([gone])
                del last[gone]
            elif step == "retime":
                rota.retime(Timing(2.0 - size / 4, 1.0, 2.0 - size / 4), now)
            while (due := rota.pop(now)) is not None:
                self.assertIn(due, last)
                last[due] = now
                rota.put(due, now, now, pending=False)
            self.assertTrue(all(now - at < 2.0 + 0.3 + 1e-9 for at in last.values()))
        self.assertEqual(set(last), set(rota._places))


def _refusing(target: Address, deferred: Deferred[str]) -> None:
    deferred.errback(CheckFailed("refused"))
