"""The service that probes in time."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.check.interfaces import NotAsked
from balancer.check.service import AT_ONCE, CheckService, Timing
from balancer.interfaces import CheckFailed, ICheck
from balancer.pool.events import Event, WentDown, WentUp
from balancer.pool.pool import Pool
from balancer.wire.address import Address, literal
from tests.check.fakes import Asked, FakeCheck, FakeServerCheck, passing, pool_of

WALL = 1_700_000_000.0


class ServiceTestCase(SynchronousTestCase):
    """A service on a clock; what it published is in `published`."""

    def setUp(self) -> None:
        """A clock that did not begin at 0."""
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.check = FakeCheck(self.clock.seconds)
        self.published: list[tuple[float, Event]] = []

    def publish(self, pool: Pool, events: Sequence[Event]) -> None:
        """Note events with their time."""
        self.published += [(self.clock.seconds(), event) for event in events]

    def service(
        self, pool: Pool, check: ICheck | None = None, timing: Timing | None = None
    ) -> CheckService:
        """A started service that ends with the test."""
        service = CheckService(
            self.clock,
            pool,
            self.check if check is None else check,
            timing or Timing(interval=2.0, timeout=1.0, fast_interval=2.0),
            self.publish,
            Random(3),
            lambda: WALL,
        )
        service.startService()
        self.addCleanup(self._stop, service)
        return service

    def _stop(self, service: CheckService) -> None:
        if service.running:
            service.stopService()

    def pass_time(self, seconds: float, step: float = 0.01) -> None:
        """Let time pass in small steps."""
        self.clock.pump([step] * round(seconds / step))

    def since_start(self, asked: Asked) -> float:
        """When it was asked, from the start of the service."""
        return asked.at - 1000.0


class FirstTests(ServiceTestCase):
    """What happens at the start."""

    def test_all_at_once(self) -> None:
        """Every server is asked within the first tenth of a second, in the order of the pool."""
        self.service(pool_of(20))
        self.pass_time(0.1)
        ports = [asked.target.port for asked in self.check.asked]
        self.assertEqual(ports, list(range(80, 100)))

    def test_first_decides(self) -> None:
        """The first result decides at once, and is published in the same turn."""
        pool = pool_of(2)
        self.service(pool)
        self.pass_time(0.1)
        first, second = self.check.asked
        first.deferred.callback("fine")
        self.assertEqual(self.published, [(self.clock.seconds(), WentUp("web/s0", "fine"))])
        second.deferred.errback(CheckFailed("refused"))
        self.assertEqual(self.published[1][1], WentDown("web/s1", "refused"))
        self.assertEqual([server.state for server in pool.servers], ["up", "down"])

    def test_batches(self) -> None:
        """No more than `AT_ONCE` probes are in progress; each that ends lets the next one begin."""
        self.service(pool_of(AT_ONCE + 10), timing=Timing(10.0, 5.0, 10.0))
        self.pass_time(0.2)
        self.assertEqual(len(self.check.asked), AT_ONCE)
        for asked in self.check.asked[:10]:
            asked.deferred.callback("fine")
        self.pass_time(0.01)
        self.assertEqual(len(self.check.asked), AT_ONCE + 10)

    def test_nobody(self) -> None:
        """A pool without servers costs nothing."""
        self.service(pool_of(0))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TimeTests(ServiceTestCase):
    """One probe per interval and server, spread."""

    def test_interval(self) -> None:
        """Each server is asked once per interval."""
        self.check.answer = passing
        self.service(pool_of(5))
        self.pass_time(10.0)
        for port in range(80, 85):
            times = [asked.at for asked in self.check.asked if asked.target.port == port]
            self.assertIn(len(times), (5, 6))
            gaps = [later - earlier for earlier, later in pairwise(times[1:])]
            self.assertLess(max(abs(gap - 2.0) for gap in gaps), 0.02)

    def test_spread(self) -> None:
        """Once started, the checks of many servers never burst."""
        self.check.answer = passing
        self.service(pool_of(100))
        self.pass_time(6.0)
        times = sorted(asked.at for asked in self.check.asked if self.since_start(asked) > 2.0)
        in_tenths = [int((at - 1000.0) * 10) for at in times]
        self.assertLessEqual(max(in_tenths.count(tenth) for tenth in in_tenths), 6)

    def test_one_call(self) -> None:
        """However many servers there are, there is one delayed call."""
        self.check.answer = passing
        self.service(pool_of(200))
        for _ in range(300):
            self.clock.advance(0.01)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_fast_interval(self) -> None:
        """While a verdict is pending the fast interval holds, and the interval afterwards."""
        pool = pool_of(1)
        self.check.answer = passing
        self.service(pool, timing=Timing(interval=2.0, timeout=1.0, fast_interval=0.25))
        self.pass_time(3.0)
        self.check.answer = _failing
        begun = len(self.check.asked)
        self.pass_time(2.6)
        times = [asked.at for asked in self.check.asked[begun:]]
        self.assertLess(abs(times[1] - times[0] - 0.25), 0.02)
        self.assertLess(abs(times[2] - times[1] - 0.25), 0.02)
        self.assertEqual(pool.servers[0].state, "down")
        self.assertEqual(self.published[-1][0], times[2])
        self.pass_time(6.0)
        later = [asked.at for asked in self.check.asked[begun + 3 :]]
        self.assertGreater(later[1] - later[0], 1.9)

    def test_own_port(self) -> None:
        """`port` overrides the servers', and the rest of the address stays."""
        self.service(pool_of(1), timing=Timing(port=9000))
        self.pass_time(0.01)
        self.assertEqual(self.check.asked[0].target, literal("192.0.2.1", 9000))

    def test_own_port_in_ipv6(self) -> None:
        """`port` keeps an IPv6 address as it is; a unix socket has no port."""
        pool = pool_of(2)
        pool.servers[0].address = literal("2001:db8::1", 80)
        pool.servers[1].address = literal("unix:/run/x.sock", 0)
        self.service(pool, timing=Timing(port=9000))
        self.pass_time(0.1)
        targets = [asked.target for asked in self.check.asked]
        self.assertEqual(targets, [literal("2001:db8::1", 9000), literal("unix:/run/x.sock", 0)])

    def test_address_moves(self) -> None:
        """A server's address is read anew for each probe."""
        pool = pool_of(1)
        self.check.answer = passing
        self.service(pool)
        self.pass_time(0.1)
        pool.servers[0].address = literal("192.0.2.9", 8080)
        self.pass_time(2.1)
        self.assertEqual(str(self.check.asked[-1].target), "192.0.2.9:8080")

    def test_unresolved(self) -> None:
        """A name that did not resolve yet fails its check, and nobody is asked."""
        pool = pool_of(1)
        pool.servers[0].address = literal("0.0.0.0", 0)
        service = self.service(pool, timing=Timing(port=9000))
        self.pass_time(0.1)
        self.assertEqual(self.check.asked, [])
        self.assertEqual(service.status()["s0"]["reason"], "its name does not resolve")

    def test_maintenance(self) -> None:
        """Servers in maintenance are not asked, and asked again within an interval of their end."""
        pool = pool_of(2, disabled=(1,))
        self.check.answer = passing
        self.service(pool)
        self.pass_time(4.0)
        self.assertEqual({asked.target.port for asked in self.check.asked}, {80})
        pool.ready(pool.servers[1])
        self.pass_time(2.0)
        self.assertEqual({asked.target.port for asked in self.check.asked}, {80, 81})

    def test_maintenance_during_a_probe(self) -> None:
        """A result that comes after maintenance began does not reach the pool."""
        pool = pool_of(1)
        self.service(pool)
        self.pass_time(0.1)
        pool.maintain(pool.servers[0])
        self.check.asked[0].deferred.errback(CheckFailed("stopped"))
        self.assertEqual(pool.servers[0].verdict, "unknown")


class HungTests(ServiceTestCase):
    """Servers that do not answer."""

    def test_timeout(self) -> None:
        """A probe without an answer is cancelled at the timeout, and has failed."""
        pool = pool_of(1)
        service = self.service(pool)
        self.pass_time(0.95)
        self.assertFalse(self.check.asked[0].cancelled)
        self.pass_time(0.1)
        self.assertTrue(self.check.asked[0].cancelled)
        self.assertEqual(pool.servers[0].state, "down")
        self.assertEqual(service.status()["s0"]["reason"], "no answer within 1 s")

    def test_never_two(self) -> None:
        """At no moment are two probes of one server in progress."""
        self.service(pool_of(3), timing=Timing(interval=0.3, timeout=1.0, fast_interval=0.1))
        for _ in range(500):
            self.clock.advance(0.01)
            open_ports = [a.target.port for a in self.check.asked if not a.cancelled]
            self.assertEqual(len(open_ports), len(set(open_ports)))
        self.assertGreater(len(self.check.asked), 12)

    def test_others_go_on(self) -> None:
        """A server that hangs delays no other."""
        def answer(target: Address, deferred: Deferred[str]) -> None:
            if target.port != 80:
                deferred.callback("fine")

        self.check.answer = answer
        pool = pool_of(3)
        self.service(pool)
        self.pass_time(8.0)
        ports = [asked.target.port for asked in self.check.asked]
        self.assertEqual(pool.servers[0].state, "down")
        for port in (81, 82):
            self.assertIn(ports.count(port), (4, 5))

    def test_detection(self) -> None:
        """A server that begins to hang is down within fall x interval + timeout."""
        pool = pool_of(1)
        self.check.answer = passing
        self.service(pool)
        self.pass_time(5.0)
        self.check.answer = None
        hung_at = self.clock.seconds()
        self.pass_time(7.1)
        at, event = self.published[-1]
        self.assertIsInstance(event, WentDown)
        self.assertLess(at - hung_at, 3 * 2.0 + 1.0)

    def test_own_words(self) -> None:
        """A check that says on cancellation how far it came is quoted."""
        deferred: Deferred[str] = Deferred(
            lambda d: d.errback(CheckFailed("connected, no answer"))
        )
        self.check.probe = lambda target, timeout: deferred  # type: ignore[method-assign]
        service = self.service(pool_of(1), timing=Timing(10.0, 1.0, 10.0))
        self.pass_time(1.1)
        self.assertEqual(service.status()["s0"]["reason"], "connected, no answer")

    def test_uncancellable(self) -> None:
        """A check whose Deferred outlives its cancellation has failed, and its late result is
        dropped."""
        inner: Deferred[str] = Deferred()

        def stubborn(target: Address, timeout: float) -> Deferred[str]:
            outer: Deferred[Any] = Deferred()
            return outer.addErrback(lambda _: inner)

        self.check.probe = stubborn  # type: ignore[method-assign]
        pool = pool_of(1)
        self.service(pool, timing=Timing(10.0, 1.0, 10.0))
        self.pass_time(1.1)
        self.assertEqual(pool.servers[0].state, "down")
        inner.callback("fine after all")
        self.assertEqual(pool.servers[0].health, 0)


class FaultTests(ServiceTestCase):
    """Failures of all kinds."""

    def test_raises(self) -> None:
        """A check that raises has failed; that is logged once for each new reason."""
        def broken(target: Address, timeout: float) -> Deferred[str]:
            raise ZeroDivisionError("no\nway")

        self.check.probe = broken  # type: ignore[method-assign]
        pool = pool_of(1)
        service = self.service(pool)
        self.pass_time(6.0)
        self.assertEqual(pool.servers[0].state, "down")
        self.assertEqual(service.status()["s0"]["reason"], "ZeroDivisionError: no way")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_os_errors(self) -> None:
        """The kernel's errors are told in words, and are not faults of ours."""
        service = self.service(pool_of(1))
        self.pass_time(0.1)
        self.check.asked[0].deferred.errback(OSError(errno.ECONNREFUSED, "x"))
        self.assertEqual(service.status()["s0"]["reason"], "connection refused")

    def test_shortage(self) -> None:
        """What we are short of changes no verdict: a busy balancer does not take out its pool."""
        pool = pool_of(1)
        self.check.answer = passing
        self.service(pool)
        self.pass_time(0.1)
        for error in (OSError(errno.EMFILE, "x"), NotAsked("no process")):
            self.check.answer = lambda _, deferred, error=error: deferred.errback(error)
            self.pass_time(10.0)
            self.assertEqual(pool.servers[0].state, "up")
        self.assertEqual(len(self.published), 1)

    def test_long_reason(self) -> None:
        """What a server says is cut and cleaned before it reaches log and status."""
        service = self.service(pool_of(1))
        self.pass_time(0.1)
        self.check.asked[0].deferred.errback(CheckFailed("a\x00\n" + "b" * 10_000))
        reason = service.status()["s0"]["reason"]
        self.assertTrue(reason.startswith("a? bbb"))
        self.assertEqual(len(reason), 200)

    def test_publish_raises(self) -> None:
        """A subscriber that raises is logged, and the probes go on."""
        def publish(pool: Pool, events: Sequence[Event]) -> None:
            raise ZeroDivisionError

        self.check.answer = passing
        service = CheckService(
            self.clock, pool_of(1), self.check, Timing(), publish, Random(1)
        )
        service.startService()
        self.pass_time(4.5)
        service.stopService()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertGreaterEqual(len(self.check.asked), 3)


class StopTests(ServiceTestCase):
    """The end, and a new beginning."""

    def test_stop(self) -> None:
        """A stop cancels every probe, changes no verdict, and leaves no delayed call."""
        pool = pool_of(3)
        service = self.service(pool)
        self.pass_time(0.1)
        service.stopService()
        self.assertTrue(all(asked.cancelled for asked in self.check.asked))
        self.assertEqual({server.state for server in pool.servers}, {"unknown"})
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.published, [])

    def test_stopped_by_its_own_event(self) -> None:
        """Whoever hears of an event may stop the service."""
        def publish(pool: Pool, events: Sequence[Event]) -> None:
            service.stopService()

        self.check.answer = passing
        service = CheckService(
            self.clock, pool_of(2), self.check, Timing(), publish, Random(1)
        )
        service.startService()
        self.pass_time(1.0)
        self.assertEqual(len(self.check.asked), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_again(self) -> None:
        """A service that was stopped may start again, and asks everybody at once."""
        service = self.service(pool_of(3))
        self.pass_time(0.1)
        service.stopService()
        service.startService()
        self.pass_time(0.1)
        self.assertEqual(len(self.check.asked), 6)


class StatusTests(ServiceTestCase):
    """What is told to people."""

    def test_status(self) -> None:
        """The last result by the server's name: verdict, reason, duration, Unix time."""
        service = self.service(pool_of(2))
        self.pass_time(0.1)
        self.assertEqual(service.status(), {})
        self.check.asked[0].deferred.callback("200 OK")
        (name, result), = service.status().items()
        self.assertEqual(name, "s0")
        seconds = result.pop("seconds")
        self.assertLess(abs(seconds - 0.09), 0.02)
        self.assertEqual(result, {"last": "up", "reason": "200 OK", "at": WALL})

    def test_server_checks(self) -> None:
        """A check that wants it is told the server's name, and its own bound holds."""
        check = FakeServerCheck(self.clock.seconds)
        self.service(pool_of(5), check)
        self.pass_time(0.2)
        self.assertEqual(check.names, ["web/s0", "web/s1"])
        check.asked[0].deferred.callback("fine")
        self.pass_time(0.01)
        self.assertEqual(check.names, ["web/s0", "web/s1", "web/s2"])


def _failing(target: Address, deferred: Deferred[str]) -> None:
    deferred.errback(CheckFailed("refused"))
