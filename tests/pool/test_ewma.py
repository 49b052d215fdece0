"""Peak EWMA."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.pool.world import chosen, named, servers, up_pool


class PeakEwmaTests(SynchronousTestCase):
    """The server whose answers are expected soonest."""

    def test_fast_server(self) -> None:
        """Of two servers with equal work, the one that answers faster is chosen."""
        pool = up_pool(servers(1, 1), "ewma")
        pool.succeeded(named(pool, "a"), 0.100, 1.0)
        pool.succeeded(named(pool, "b"), 0.020, 1.0)
        self.assertEqual(chosen(pool, 10), "b" * 10)

    def test_work_in_flight_counts(self) -> None:
        """A fast server with much to do is expected later than a slow idle one."""
        pool = up_pool(servers(1, 1), "ewma")
        pool.succeeded(named(pool, "a"), 0.100, 1.0)
        pool.succeeded(named(pool, "b"), 0.020, 1.0)
        for _ in range(5):
            pool.begin(named(pool, "b"), 1.0)
        self.assertEqual(chosen(pool, 10), "a" * 10)

    def test_peak(self) -> None:
        """A slow answer counts at once, fast ones win a server back over seconds."""
        pool = up_pool(servers(1), "ewma")
        a = pool.servers[0]
        pool.succeeded(a, 0.010, 0.0)
        pool.succeeded(a, 1.000, 0.1)
        self.assertEqual(a.latency, 1.0)
        pool.succeeded(a, 0.010, 0.2)
        self.assertTrue(0.9 < a.latency < 1.0)
        for n in range(600):
            pool.succeeded(a, 0.010, 0.3 + n / 10)
        self.assertTrue(0.010 <= a.latency < 0.015)

    def test_old_figures_fade(self) -> None:
        """A server that was slow long ago is tried again."""
        pool = up_pool(servers(1, 1), "ewma")
        pool.succeeded(named(pool, "a"), 1.0, 0.0)
        pool.succeeded(named(pool, "b"), 0.1, 0.0)
        self.assertEqual(chosen(pool, 5), "bbbbb")
        pool.succeeded(named(pool, "b"), 0.1, 30.0)
        self.assertEqual(chosen(pool, 5), "aaaaa")
        pool.succeeded(named(pool, "b"), 0.1, 1e9)
        self.assertEqual(chosen(pool, 5), "aaaaa")

    def test_unmeasured_server(self) -> None:
        """A server without a figure gets one piece of work, and no second before it answers."""
        pool = up_pool(servers(1, 1), "ewma")
        pool.succeeded(named(pool, "a"), 0.1, 0.0)
        self.assertEqual(chosen(pool, 3), "bbb")
        pool.begin(named(pool, "b"), 0.0)
        self.assertEqual(chosen(pool, 3), "aaa")

    def test_failing_fast_is_not_fast(self) -> None:
        """A server that refuses at once does not draw work to itself."""
        pool = up_pool(servers(1, 1), "ewma")
        pool.succeeded(named(pool, "a"), 0.1, 0.0)
        pool.failed(named(pool, "b"), "refused", 0.0)
        self.assertEqual(chosen(pool, 5), "aaaaa")
