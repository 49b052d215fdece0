"""Weighted round-robin in a pool."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.pool.settings import ServerSettings
from tests.pool.world import chosen, down, named, servers, up_pool


class RoundRobinTests(SynchronousTestCase):
    """Whose turn it is."""

    def test_as_nginx(self) -> None:
        """The sequence is nginx's, period after period."""
        pool = up_pool(servers(5, 1, 1))
        self.assertEqual(chosen(pool, 14), "aabacaa" * 2)

    @settings(deadline=None, database=None, max_examples=12)
    @given(st.lists(st.integers(1, 30), min_size=1, max_size=6))
    def test_exact(self, weights: list[int]) -> None:
        """Weights are honoured exactly over a period."""
        pool = up_pool(servers(*weights))
        had = Counter(chosen(pool, sum(weights)))
        self.assertEqual(sorted(had.values()), sorted(weights))
        self.assertEqual([had[s.name] for s in pool.servers], weights)

    def test_exact_with_long_periods(self) -> None:
        """Weights whose period is too long for nginx's order, or to be held, are exact too."""
        for weights in ((997, 1009, 1013, 1), (40000, 30001)):
            pool = up_pool(servers(*weights))
            had = Counter(chosen(pool, sum(weights)))
            self.assertEqual([had[s.name] for s in pool.servers], list(weights))

    def test_many(self) -> None:
        """A thousand equal servers take turns in the order of the site file."""
        pool = up_pool([ServerSettings(f"s{n}") for n in range(1000)])
        names = [server.name for _ in range(1000) if (server := pool.choose(None))]
        self.assertEqual(names, [f"s{n}" for n in range(1000)])

    def test_goes_on_after_a_change(self) -> None:
        """A change of state does not start the turns anew."""
        pool = up_pool(servers(1, 1, 1, 1))
        self.assertEqual(chosen(pool, 2), "ab")
        down(pool, "a")
        self.assertEqual(chosen(pool, 3), "cdb")

    def test_light_server_with_a_long_period(self) -> None:
        """A server that rarely has a turn is still found when the others are tried."""
        pool = up_pool(servers(70000, 70001, 1))
        tried = [named(pool, "a"), named(pool, "b")]
        self.assertEqual(pool.choose(None, tried), named(pool, "c"))
        self.assertIsNone(pool.choose(None, pool.servers))

    def test_last_with_room(self) -> None:
        """The one server with room is found among many full ones, as `rank` says."""
        pool = up_pool([ServerSettings(f"s{n}", max_connections=1) for n in range(600)])
        for server in pool.servers[:-1]:
            pool.begin(server, 0.0)
        self.assertEqual(list(pool.rank(None)), [pool.servers[-1]])
        self.assertIs(pool.choose(None), pool.servers[-1])
