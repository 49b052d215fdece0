"""Whatever is reloaded while work goes on: counts are right, and nobody who left gets work."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.pool.settings import ALGORITHMS, Algorithm, Ejection, PoolSettings, ServerSettings
from tests.pool.world import Waiting, few_slots, pool_of

DOING = ("reload", "work", "end", "pass", "fail", "error", "drain", "ready", "weight", "tick")
ADDRESSES = {name: (f"at {name}", f"now {name}") for name in "abcd"}

LINE = st.builds(
    lambda name, weight, backup, most, disabled, moved: (
        ServerSettings(name, weight, backup, most, disabled),
        ADDRESSES[name][moved],
    ),
    st.sampled_from("abcd"),
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
)
LINES = st.lists(LINE, max_size=4, unique_by=lambda line: line[0].name)
SETTINGS = st.builds(
    lambda algorithm, rise, queue, eject, slow: PoolSettings(
        "p", Algorithm(algorithm), rise, rise, queue, slow_start=slow, eject=eject
    ),
    st.sampled_from(ALGORITHMS),
    st.integers(1, 3),
    st.integers(0, 2),
    st.sampled_from((None, Ejection(1, 5.0, 3.0))),
    st.sampled_from((0.0, 4.0)),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(DOING), st.integers(0, 11), LINES, SETTINGS), max_size=25
)


class Life:
    """A pool in which things happen, at one second each, and what should be true of it."""

    def __init__(self, algorithm: str) -> None:
        self.pool: Pool = pool_of([ServerSettings(name) for name in "abc"], algorithm, queue=1)
        self.busy: list[Server] = []
        self.waiting: list[Waiting] = []
        self.begun = 0
        self.now = 0.0

    def step(
        self,
        doing: str,
        number: int,
        lines: list[tuple[ServerSettings, str]],
        settings: PoolSettings,
    ) -> None:
        """One thing happens."""
        pool = self.pool
        self.now += 1
        if doing == "reload":
            self.reload(lines, settings)
        elif doing == "work":
            self.work(number)
        elif doing == "end" and self.busy:
            server = self.busy.pop(number % len(self.busy))
            waiter = pool.finish(server, self.now)
            if waiter is not None:
                self.go(waiter, server)
        elif doing == "tick":
            pool.tick(self.now)
        elif pool.servers:
            self.befall(doing, pool.servers[number % len(pool.servers)], number)
        for waiter, server in pool.admit(self.now):
            self.go(waiter, server)

    def befall(self, doing: str, server: Server, number: int) -> None:
        """Something happens to one server."""
        pool = self.pool
        match doing:
            case "pass" | "fail":
                pool.record(server, doing == "pass", doing, self.now)
            case "error":
                pool.failed(server, "reset", self.now)
            case "drain":
                pool.drain(server)
            case "ready":
                pool.ready(server)
            case "weight":
                pool.set_weight(server, number // 4)

    def reload(self, lines: list[tuple[ServerSettings, str]], settings: PoolSettings) -> None:
        """Reload, and see that those who stay are the same as before."""
        before = {(s.name, s.address): (s, self.learnt(s)) for s in self.pool.servers}
        self.pool.reconfigure(settings, lines, self.now)
        assert [(s.name, s.address) for s in self.pool.servers] == [(e.name, a) for e, a in lines]
        for server in self.pool.servers:
            kept, learnt = before.pop((server.name, server.address), (None, None))
            assert kept in (None, server)
            assert self.learnt(server) == learnt if kept else server.verdict == "unknown"
        for gone, _ in before.values():
            assert not gone.candidate and gone.state == "removed"

    def learnt(self, server: Server) -> tuple[object, ...]:
        """What no reload may change."""
        counts = (server.requests_total, server.failures_total, server.ejections_total)
        return server.verdict, server.in_flight, server.latency, counts

    def work(self, number: int) -> None:
        """A request comes."""
        server = self.pool.choose(b"key%d" % number)
        if server is None:
            waiter = Waiting(1e9, b"key")
            if self.pool.enqueue(waiter, self.now):
                self.waiting.append(waiter)
            return
        assert server in self.pool.servers
        self.pool.begin(server, self.now)
        self.busy.append(server)
        self.begun += 1

    def go(self, waiter: object, server: Server) -> None:
        """A waiter was admitted."""
        assert server in self.pool.servers and server.in_flight <= server.limit
        self.waiting.remove(waiter)  # type: ignore[arg-type]  # no others are enqueued
        self.busy.append(server)
        self.begun += 1


class ReconfigureTests(SynchronousTestCase):
    """Properties of all algorithms."""

    def setUp(self) -> None:
        """Many tables are built."""
        few_slots(self)

    @settings(deadline=None, database=None, max_examples=10)
    @given(st.sampled_from(ALGORITHMS), STEPS)
    def test_life(
        self,
        algorithm: str,
        steps: list[tuple[str, int, list[tuple[ServerSettings, str]], PoolSettings]],
    ) -> None:
        """Work in flight and totals are right, waiters are neither lost nor doubled, `rank`
        foresees `choose`, and only servers of the pool that may get work are chosen."""
        life = Life(algorithm)
        pool = life.pool
        for step in steps:
            life.step(*step)
            for known in {*pool.servers, *life.busy}:
                self.assertEqual(known.in_flight, life.busy.count(known))
            self.assertEqual(pool.queue_length, len(life.waiting))
        leaving = set(life.busy) - set(pool.servers)
        self.assertEqual(set(pool.leaving), leaving)
        status = pool.status()
        self.assertEqual(status["requests_total"], life.begun)
        self.assertEqual(status["in_flight"], len(life.busy))
        for _ in range(2):
            foreseen = next(pool.rank(b"key"), None)
            self.assertIs(pool.choose(b"key"), foreseen)
            tried: list[Server] = []
            while (server := pool.choose(b"key", tried)) is not None:
                tried.append(server)
            candidates = {s for s, usable, _ in pool.candidates() if usable}
            self.assertEqual(set(tried[: len(candidates)]), candidates)
            self.assertTrue(set(tried) <= set(pool.servers))
            pool.build()
