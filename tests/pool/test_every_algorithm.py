"""What every algorithm keeps to, whatever happens to the servers."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.pool.settings import ALGORITHMS, Ejection, ServerSettings
from tests.pool.world import few_slots, pool_of

LINES = [
    ServerSettings("a", 3, max_connections=1),
    ServerSettings("b", 1, max_connections=2),
    ServerSettings("c", 2),
    ServerSettings("x", 1, backup=True, max_connections=1),
]
DIFFERENT = [a for a in ALGORITHMS if a not in ("header", "cookie", "query")]
DOING = ("work", "end", "pass", "fail", "error", "drain", "maint", "ready", "weight", "tick")
STEPS = st.lists(st.tuples(st.sampled_from(DOING), st.integers(0, 11)), max_size=40)


class Life:
    """A pool to which things happen, at one second each."""

    def __init__(self, algorithm: str) -> None:
        self.pool: Pool = pool_of(LINES, algorithm, rise=1, fall=1, eject=Ejection(2, 5.0, 3.0))
        self.busy: list[Server] = []
        self.now = 0.0

    def step(self, doing: str, number: int) -> None:
        """One thing happens."""
        pool = self.pool
        self.now += 1
        server = pool.servers[number % len(pool.servers)]
        match doing:
            case "work":
                if (chosen := pool.choose(b"key%d" % number)) is not None:
                    pool.begin(chosen, self.now)
                    self.busy.append(chosen)
            case "end":
                if self.busy:
                    ended = self.busy.pop(number % len(self.busy))
                    pool.succeeded(ended, number / 10, self.now)
                    pool.finish(ended, self.now)
            case "pass" | "fail":
                pool.record(server, doing == "pass", doing, self.now)
            case "error":
                pool.failed(server, "reset", self.now)
            case "drain":
                pool.drain(server)
            case "maint":
                pool.maintain(server)
            case "ready":
                pool.ready(server)
            case "weight":
                pool.set_weight(server, number // 4)
            case _:
                pool.tick(self.now)


class EveryAlgorithmTests(SynchronousTestCase):
    """Properties of all of them."""

    def setUp(self) -> None:
        """Many tables are built."""
        few_slots(self)

    @settings(deadline=None, database=None, max_examples=10)
    @given(st.sampled_from(DIFFERENT), STEPS)
    def test_never_chooses_whom_it_must_not(
        self, algorithm: str, steps: list[tuple[str, int]]
    ) -> None:
        """No algorithm chooses a server that is down, out, ejected, full or tried, or none while
        there is one; counts of work are right; `rank` foresees `choose`."""
        life = Life(algorithm)
        for doing, number in steps:
            life.step(doing, number)
        pool = life.pool
        for server in pool.servers:
            self.assertEqual(server.in_flight, life.busy.count(server))
        tried: list[Server] = []
        for key in (b"some", None):
            foreseen = next(pool.rank(key), None)
            self.assertIs(pool.choose(key), foreseen)
        while (best := pool.choose(b"key", tried)) is not None:
            self.assertIn(best.state, ("up", "unknown"))
            self.assertTrue(best.weight > 0 and best.in_flight < best.limit)
            self.assertNotIn(best, tried)
            tried.append(best)
        candidates = {s for s, usable, _ in pool.candidates() if usable}
        self.assertEqual(set(tried[: len(candidates)]), candidates)
        self.assertEqual(candidates, set(pool.rank(b"key")))

    def test_rank_foresees(self) -> None:
        """For every algorithm `rank` begins with what `choose` gives, choice after choice."""
        for algorithm in ALGORITHMS:
            life = Life(algorithm)
            life.pool.trust_all(0.0)
            for n in range(12):
                key = b"key%d" % n
                foreseen = next(life.pool.rank(key), None)
                self.assertIs(life.pool.choose(key), foreseen, algorithm)
                life.step("work" if n % 3 else "end", n)
