"""Ejection of servers that fail at work."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.pool.events import BecameReady, WasEjected, WasReadmitted, WentDown
from balancer.pool.pool import Pool
from balancer.pool.settings import Ejection
from tests.pool.world import chosen, down, named, servers, up_pool

EJECT = Ejection(failures=3, window=10.0, duration=30.0)


def fail(pool: Pool, name: str, *times: float) -> list[object]:
    """Let work on that server fail at these times."""
    return [event for now in times for event in pool.failed(named(pool, name), "reset", now)]


class EjectionTests(SynchronousTestCase):
    """Out and in again."""

    def test_ejected_and_readmitted(self) -> None:
        """Enough failures within the window eject a server for the duration."""
        pool = up_pool(servers(1, 1), eject=EJECT)
        events = fail(pool, "a", 1.0, 2.0, 3.0)
        self.assertEqual(events, [WasEjected("p/a", 33.0, "reset")])
        self.assertEqual((named(pool, "a").state, chosen(pool, 2)), ("ejected", "bb"))
        self.assertIn("ejected for another 30.0 s: reset", pool.candidates()[0][2])
        self.assertEqual(pool.tick(32.9), [])
        self.assertEqual(pool.tick(33.0), [WasReadmitted("p/a", "its time is over")])
        self.assertEqual(sorted(chosen(pool, 2)), ["a", "b"])
        self.assertEqual(pool.status()["ejections_total"], 1)

    def test_window(self) -> None:
        """Failures that lie further apart than the window eject nobody."""
        pool = up_pool(servers(1, 1), eject=EJECT)
        self.assertEqual(fail(pool, "a", 0.0, 9.0, 18.0, 27.0), [])
        self.assertEqual(len(fail(pool, "a", 28.0)), 1)

    def test_off(self) -> None:
        """Without `eject` failures are counted only."""
        pool = up_pool(servers(1, 1))
        self.assertEqual(fail(pool, "a", *(n / 100 for n in range(100))), [])
        self.assertEqual(named(pool, "a").failures_total, 100)

    def test_last_usable_server(self) -> None:
        """The last usable server is never ejected."""
        pool = up_pool(servers(1, 1), eject=EJECT)
        down(pool, "b")
        self.assertEqual(fail(pool, "a", 1.0, 1.1, 1.2, 1.3), [])

    def test_at_most_half(self) -> None:
        """At most half of the servers are ejected at a time."""
        pool = up_pool(servers(1, 1, 1, 1, 1), eject=EJECT)
        for name in "abcde":
            fail(pool, name, 1.0, 1.1, 1.2, 1.3)
        self.assertEqual([s.state for s in pool.servers], ["ejected"] * 2 + ["up"] * 3)

    def test_better_than_none(self) -> None:
        """When the last usable server goes, ejected ones are readmitted at once."""
        pool = up_pool(servers(1, 1), eject=EJECT)
        fail(pool, "a", 1.0, 1.1, 1.2)
        for _ in range(2):
            pool.record(named(pool, "b"), False, "refused", 2.0)
        self.assertEqual(
            pool.record(named(pool, "b"), False, "refused", 2.0),
            (WentDown("p/b", "refused"), WasReadmitted("p/a", "no other server is usable")),
        )
        self.assertEqual(chosen(pool, 1), "a")

    def test_operator_readmits(self) -> None:
        """`ready` ends an ejection."""
        pool = up_pool(servers(1, 1), eject=EJECT)
        fail(pool, "a", 1.0, 1.1, 1.2)
        self.assertEqual(pool.ready(named(pool, "a")), (BecameReady("p/a", "up"),))
        self.assertEqual(sorted(chosen(pool, 2)), ["a", "b"])

    def test_memory_is_bounded(self) -> None:
        """No more failures are remembered than decide."""
        pool = up_pool(servers(1), eject=EJECT)
        fail(pool, "a", *(n / 100 for n in range(100)))
        self.assertEqual(len(pool.servers[0].recent_failures), 3)
