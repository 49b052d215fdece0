"""Servers drawn by chance."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.pool.world import chosen, named, servers, up_pool

DRAWS = 40_000


class DrawnTests(SynchronousTestCase):
    """Random, and the better of two draws."""

    def test_weights(self) -> None:
        """Weights are honoured within 2 %, by p2c at equal load."""
        for algorithm in ("random", "p2c"):
            had = Counter(chosen(up_pool(servers(1, 1, 2), algorithm), DRAWS))
            for name, share in (("a", 0.25), ("b", 0.25), ("c", 0.5)):
                self.assertTrue(abs(had[name] / DRAWS / share - 1) < 0.02, (algorithm, had))

    def test_two_choices_avoid_the_busy(self) -> None:
        """Of two servers p2c takes the one with less in flight for its weight."""
        pool = up_pool(servers(1, 3), "p2c")
        pool.begin(named(pool, "a"), 0.0)
        self.assertEqual(chosen(pool, 20), "b" * 20)
        for _ in range(4):
            pool.begin(named(pool, "b"), 0.0)
        self.assertEqual(chosen(pool, 20), "a" * 20)

    def test_one_server(self) -> None:
        """A single server is drawn, whatever its load, and nobody is drawn from nobody."""
        for algorithm in ("random", "p2c", "ewma"):
            pool = up_pool(servers(1), algorithm)
            pool.begin(pool.servers[0], 0.0)
            self.assertEqual(chosen(pool, 3), "aaa")
            pool.maintain(pool.servers[0])
            self.assertEqual(chosen(pool, 1), "-")

    def test_rare_server_is_found(self) -> None:
        """A server of tiny weight is found when the others were tried."""
        for algorithm in ("random", "p2c", "ewma"):
            pool = up_pool(servers(10**6, 10**6, 1), algorithm)
            tried = [named(pool, "a"), named(pool, "b")]
            self.assertEqual(pool.choose(None, tried), named(pool, "c"))
