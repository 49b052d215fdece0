"""Slow start."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from balancer.pool.pool import Pool
from tests.pool.world import chosen, down, named, servers, up_pool


def share(pool: Pool, name: str) -> float:
    """That server's part of 220 choices, as a share of what its equal gets."""
    had = Counter(chosen(pool, 220))
    return had[name] / had["b"]


class SlowStartTests(SynchronousTestCase):
    """A server that came back."""

    def came_back(self) -> Pool:
        """A pool whose server a comes up again at 100 s, slowly over 10 s."""
        pool = up_pool(servers(2, 2), slow_start=10.0)
        down(pool, "a", 90.0)
        for now in (99.0, 100.0):
            pool.record(named(pool, "a"), True, "", now)
        return pool

    def test_grows(self) -> None:
        """Its share grows from a tenth to all over the time."""
        pool = self.came_back()
        self.assertAlmostEqual(share(pool, "a"), 0.1, places=1)
        pool.tick(104.0)
        self.assertAlmostEqual(share(pool, "a"), 0.5, places=1)
        pool.tick(110.0)
        self.assertEqual(share(pool, "a"), 1.0)
        self.assertEqual(named(pool, "a").status()["effective_weight"], 2)

    def test_new_weight_on_the_way(self) -> None:
        """A new weight keeps the share that was reached."""
        pool = self.came_back()
        pool.tick(104.0)
        pool.set_weight(named(pool, "a"), 4)
        self.assertEqual(named(pool, "a").status()["effective_weight"], 2)
        pool.tick(111.0)
        self.assertEqual(named(pool, "a").status()["effective_weight"], 4)

    def test_after_maintenance(self) -> None:
        """A server that the operator gives back starts slowly too."""
        pool = up_pool(servers(1, 1), slow_start=10.0)
        pool.maintain(named(pool, "a"))
        pool.tick(50.0)
        pool.ready(named(pool, "a"))
        self.assertAlmostEqual(share(pool, "a"), 0.1, places=1)

    def test_not_at_the_start(self) -> None:
        """A first verdict is no come-back: a start gives all servers their full weight."""
        pool = up_pool(servers(1, 1), slow_start=10.0)
        self.assertEqual(share(pool, "a"), 1.0)

    def test_down_on_the_way(self) -> None:
        """A server that goes down while it warms starts anew when it comes back."""
        pool = self.came_back()
        pool.tick(108.0)
        down(pool, "a", 108.0)
        pool.tick(120.0)
        for now in (129.0, 130.0):
            pool.record(named(pool, "a"), True, "", now)
        self.assertAlmostEqual(share(pool, "a"), 0.1, places=1)

    def test_keys_do_not_move(self) -> None:
        """Where a key goes does not depend on when a server came back."""
        pool = up_pool(servers(1, 1), "uri", slow_start=10.0)
        keys = [b"/%d" % n for n in range(50)]
        before = [pool.choose(key) for key in keys]
        down(pool, "a")
        for now in (99.0, 100.0):
            pool.record(named(pool, "a"), True, "", now)
        self.assertEqual([pool.choose(key) for key in keys], before)
