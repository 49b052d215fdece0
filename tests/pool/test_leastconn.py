"""Least connections in a pool."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.pool.server import Server
from balancer.pool.settings import ServerSettings
from tests.pool.world import chosen, down, named, servers, up_pool


class LeastConnectionsTests(SynchronousTestCase):
    """Who has the least to do."""

    def test_idle_servers_take_turns_by_weight(self) -> None:
        """While nobody has work, weights decide exactly."""
        pool = up_pool(servers(3, 1, 2), "least-connections")
        self.assertEqual(Counter(chosen(pool, 60)), {"a": 30, "b": 10, "c": 20})

    def test_work_goes_by_weight(self) -> None:
        """Work that stays is spread by weight."""
        pool = up_pool(servers(1, 2, 3), "least-connections")
        for _ in range(60):
            server = pool.choose(None)
            assert server is not None
            pool.begin(server, 0.0)
        self.assertEqual([server.in_flight for server in pool.servers], [10, 20, 30])

    def test_finished_server_is_next(self) -> None:
        """Whoever just ended work has less of it, and gets the next."""
        pool = up_pool(servers(1, 1, 1), "least-connections")
        for server in pool.servers:
            pool.begin(server, 0.0)
        pool.finish(named(pool, "b"), 1.0)
        self.assertEqual(chosen(pool, 1), "b")

    def test_full_server_comes_back(self) -> None:
        """A full server gets work again when it has room."""
        pool = up_pool(servers(1, 1, max_connections=1), "least-connections")
        for server in pool.servers:
            pool.begin(server, 0.0)
        self.assertEqual(chosen(pool, 1), "-")
        pool.finish(named(pool, "a"), 1.0)
        self.assertEqual(chosen(pool, 1), "a")

    def test_late_comer_is_not_flooded(self) -> None:
        """A server that comes back among idle ones does not get all turns that it missed."""
        pool = up_pool(servers(1, 1), "least-connections")
        down(pool, "a")
        self.assertEqual(chosen(pool, 20), "b" * 20)
        pool.record(named(pool, "a"), True, "", 1.0)
        pool.record(named(pool, "a"), True, "", 1.0)
        self.assertEqual(Counter(chosen(pool, 10)), {"a": 5, "b": 5})

    def test_many(self) -> None:
        """The order's memory stays bounded by the number of servers, not by the work done."""
        pool = up_pool([ServerSettings(f"s{n}") for n in range(50)], "least-connections")
        for n in range(2000):
            server = pool.servers[n * 7 % 50]
            pool.begin(server, 0.0)
            pool.choose(None)
            pool.finish(server, 0.0)
        self.assertTrue(len(pool._succession.present._heap) <= 2 * 50 + 16)  # type: ignore[attr-defined]

    @settings(deadline=None, database=None, max_examples=12)
    @given(
        st.lists(st.integers(1, 5), min_size=1, max_size=6),
        st.lists(st.integers(0, 9), max_size=60),
    )
    def test_always_the_least(self, weights: list[int], ends: list[int]) -> None:
        """Whatever begins and ends, the choice has the least work for its weight."""
        pool = up_pool(servers(*weights), "least-connections")
        busy: list[Server] = []
        for end in ends:
            server = pool.choose(None)
            assert server is not None
            least = min(s.in_flight / s.weight for s in pool.servers)
            self.assertAlmostEqual(server.in_flight / server.weight, least)
            pool.begin(server, 0.0)
            busy.append(server)
            for _ in range(end % 3):
                if busy:
                    pool.finish(busy.pop(end % len(busy)), 0.0)
