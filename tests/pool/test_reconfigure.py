"""A pool that follows a changed site file."""

from __future__ import annotations

from collections import Counter

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from balancer.pool.events import (
    BecameReady,
    EnteredMaintenance,
    WasAdded,
    WasReadmitted,
    WasRemoved,
    WentUp,
)
from balancer.pool.pool import Pool
from balancer.pool.settings import Algorithm, Ejection, KeySource, PoolSettings, ServerSettings
from tests.pool.world import (
    Waiting,
    chosen,
    down,
    few_slots,
    named,
    pool_of,
    reconfigured,
    servers,
    up_pool,
)


class WhoStaysTests(SynchronousTestCase):
    """Servers that stay, come and go."""

    def test_kept(self) -> None:
        """A server of the same name and address stays, with its work, verdict and counts."""
        pool = up_pool(servers(1, 1))
        a, b = pool.servers
        pool.begin(a, 0.0)
        pool.succeeded(a, 0.2, 0.0)
        pool.failed(a, "reset", 0.0)
        down(pool, "b")
        before = [server.status() for server in pool.servers]
        self.assertEqual(reconfigured(pool, servers(1, 1, 1)), [WasAdded("p/c", "at c")])
        self.assertEqual(pool.servers[:2], (a, b))
        self.assertEqual([server.status() for server in (a, b)], before)
        self.assertIs(pool.server("c"), pool.servers[2])
        self.assertEqual(pool.server("c").state, "unknown")

    def test_removed(self) -> None:
        """A removed server gets no new work at once, and what it had ends as ever."""
        pool = up_pool(servers(1, 1))
        a, b = pool.servers
        for _ in range(2):
            pool.begin(a, 0.0)
        events = reconfigured(pool, servers(1, 1)[1:])
        self.assertEqual(events, [WasRemoved("p/a", 2)])
        self.assertEqual(events[0].text(), "p/a was removed, 2 in flight may end")
        self.assertEqual(pool.servers, (b,))
        self.assertFalse(a.candidate)
        self.assertEqual(a.state, "removed")
        self.assertRaises(KeyError, pool.server, "a")
        self.assertEqual(chosen(pool, 4), "bbbb")
        self.assertEqual(pool.leaving, (a,))
        self.assertEqual(pool.status()["in_flight"], 2)
        pool.finish(a, 2.0)
        pool.finish(a, 2.0)
        self.assertEqual((a.in_flight, pool.leaving), (0, ()))
        self.assertRaises(ValueError, pool.finish, a, 2.0)

    def test_totals_stay(self) -> None:
        """What removed servers did still counts for the pool."""
        pool = up_pool(servers(1, 1))
        for server in pool.servers:
            pool.begin(server, 0.0)
            pool.failed(server, "reset", 0.0)
        reconfigured(pool, servers(1))
        pool.failed(pool.leaving[0], "reset", 2.0)
        pool.finish(pool.leaving[0], 2.0)
        pool.tick(2.0)
        status = pool.status()
        self.assertEqual((status["requests_total"], status["failures_total"]), (2, 3))
        self.assertEqual((status["in_flight"], status["leaving"]), (1, []))

    def test_moved(self) -> None:
        """A new address under an old name is a new server; the old one leaves."""
        pool = up_pool(servers(1, 1))
        a = pool.server("a")
        pool.begin(a, 0.0)
        events = reconfigured(pool, servers(1, 1), moved="a")
        self.assertEqual(events, [WasRemoved("p/a", 1), WasAdded("p/a", "now a")])
        self.assertIsNot(pool.server("a"), a)
        self.assertEqual(pool.server("a").state, "unknown")
        self.assertEqual(pool.server("a").in_flight, 0)
        self.assertEqual(chosen(pool, 2), "bb")

    def test_removed_is_left_alone(self) -> None:
        """Late news of a removed server, and late orders for it, change nothing and say nothing."""
        pool = up_pool(servers(1, 1), eject=Ejection(1, 5.0, 5.0))
        a = pool.server("a")
        reconfigured(pool, servers(1, 1)[1:])
        for late in (
            pool.record(a, False, "refused", 2.0),
            pool.failed(a, "reset", 2.0),
            pool.drain(a),
            pool.maintain(a),
            pool.ready(a),
            pool.set_weight(a, 5),
        ):
            self.assertEqual(list(late), [])
        self.assertEqual((a.state, a.verdict), ("removed", "up"))
        self.assertEqual(chosen(pool, 2), "bb")

    def test_last_one_leaves(self) -> None:
        """A pool may lose all servers, and get others."""
        pool = up_pool(servers(1))
        reconfigured(pool, [])
        self.assertIsNone(pool.choose(None))
        self.assertFalse(pool.available)
        reconfigured(pool, servers(1))
        pool.trust_all(2.0)
        self.assertEqual(chosen(pool, 1), "a")

    def test_refused(self) -> None:
        """An algorithm that does not exist, or another pool's settings, changes nothing."""
        pool = up_pool(servers(1, 1))
        before = pool.status()
        with self.assertRaises(ValueError):
            reconfigured(pool, servers(1), algorithm=Algorithm("best"))
        with self.assertRaises(ValueError):
            pool.reconfigure(PoolSettings("q"), [], 1.0)
        self.assertEqual(pool.status(), before)


class LinesTests(SynchronousTestCase):
    """Lines that changed, and what the operator set at run time."""

    def test_line_counts(self) -> None:
        """Weight, backup and max-connections are as the site file says now."""
        pool = up_pool(servers(1, 1, 1))
        a, b, c = servers(3, 1, 1)
        lines = [a, evolve(b, max_connections=1), evolve(c, backup=True)]
        self.assertEqual(reconfigured(pool, lines), [])
        self.assertEqual(Counter(chosen(pool, 8)), {"a": 6, "b": 2})
        pool.begin(pool.server("b"), 1.0)
        self.assertEqual(chosen(pool, 3), "aaa")
        reconfigured(pool, servers(3, 1, 1))
        self.assertEqual(set(chosen(pool, 10)), {"a", "b", "c"})

    def test_run_time_orders_stay(self) -> None:
        """Weight, drain and maintenance by the operator outlive a reload that does not say so."""
        pool = up_pool(servers(1, 1, 1))
        a, b, c = pool.servers
        pool.set_weight(a, 7)
        pool.drain(b)
        pool.maintain(c)
        reconfigured(pool, servers(1, 2, 2, 1))
        self.assertEqual(a.weight, 7)
        self.assertEqual([server.state for server in (a, b, c)], ["up", "drain", "maint"])
        self.assertEqual(b.weight, 2)
        reconfigured(pool, servers(2, 2, 2, 1))
        self.assertEqual(a.weight, 2)

    def test_disabled(self) -> None:
        """`disabled` that appears is maintenance; when it goes, the server is ready."""
        pool = up_pool(servers(1, 1))
        a, b = servers(1, 1)
        events = reconfigured(pool, [evolve(a, disabled=True), b])
        self.assertEqual(events, [EnteredMaintenance("p/a")])
        self.assertEqual(chosen(pool, 2), "bb")
        self.assertEqual(reconfigured(pool, [a, b]), [BecameReady("p/a", "up")])
        pool.maintain(pool.server("a"))
        self.assertEqual(reconfigured(pool, [a, evolve(b, weight=2)]), [])
        self.assertEqual(pool.server("a").state, "maint")

    def test_slow_start_goes_on(self) -> None:
        """A server that is warming up goes on from its share, also with another weight."""
        pool = up_pool(servers(1, 1), slow_start=10.0)
        down(pool, "b")
        for _ in range(2):
            pool.record(named(pool, "b"), True, "", 0.0)
        pool.tick(4.0)
        reconfigured(pool, servers(1, 2), now=4.0)
        self.assertEqual(pool.server("b").effective_weight, 10)
        reconfigured(pool, servers(1, 2), now=4.0, slow_start=0.0)
        self.assertEqual(pool.server("b").effective_weight, 20)
        self.assertEqual(pool.tick(5.0), [])


class SettingsTests(SynchronousTestCase):
    """Settings of the pool."""

    def test_rise_and_fall(self) -> None:
        """Verdicts stay when `rise` and `fall` change, and so do results against them."""
        pool = up_pool(servers(1, 1), rise=3, fall=5)
        a, b = pool.servers
        for _ in range(3):
            pool.record(a, False, "refused", 0.0)
        down(pool, "b")
        pool.record(b, True, "", 0.0)
        reconfigured(pool, servers(1, 1), rise=2, fall=4)
        self.assertEqual([server.verdict for server in (a, b)], ["up", "down"])
        pool.record(a, False, "refused", 2.0)
        pool.record(b, True, "", 2.0)
        self.assertEqual([server.verdict for server in (a, b)], ["down", "up"])

    def test_fewer_falls_than_happened(self) -> None:
        """A shorter `fall` condemns nobody before the next result."""
        pool = up_pool(servers(1), fall=5)
        for _ in range(4):
            pool.record(pool.servers[0], False, "refused", 0.0)
        reconfigured(pool, servers(1), fall=1, rise=1)
        self.assertEqual(pool.servers[0].verdict, "up")
        pool.record(pool.servers[0], False, "refused", 2.0)
        self.assertEqual(pool.servers[0].verdict, "down")

    def test_queue(self) -> None:
        """Who waits goes on waiting, and is admitted when there is room; a lower bound refuses
        those who come."""
        pool = up_pool(servers(1, max_connections=1), queue=2)
        pool.begin(pool.servers[0], 0.0)
        first, second, third = Waiting(9.0), Waiting(9.0), Waiting(9.0)
        self.assertTrue(pool.enqueue(first, 0.0) and pool.enqueue(second, 0.0))
        reconfigured(pool, servers(1, max_connections=1), queue=1)
        self.assertEqual(pool.queue_length, 2)
        self.assertFalse(pool.enqueue(third, 1.0))
        reconfigured(pool, servers(1, max_connections=2), queue=1)
        self.assertEqual(pool.admit(1.0), [(first, pool.servers[0])])
        self.assertEqual(pool.finish(pool.servers[0], 2.0), second)

    def test_place_of_a_removed_server(self) -> None:
        """The place that gets free on a removed server is nobody's."""
        pool = up_pool(servers(1, 1, max_connections=1), queue=1)
        a, b = pool.servers
        for server in (a, b):
            pool.begin(server, 0.0)
        waiter = Waiting(9.0)
        pool.enqueue(waiter, 0.0)
        reconfigured(pool, servers(1, 1, max_connections=1)[1:])
        self.assertIsNone(pool.finish(a, 1.0))
        self.assertIs(pool.finish(b, 1.0), waiter)

    def test_no_ejection(self) -> None:
        """Whoever is out comes back when nobody is to be ejected any more."""
        pool = up_pool(servers(1, 1), eject=Ejection(1, 5.0, 60.0))
        pool.failed(pool.servers[0], "reset", 0.0)
        events = reconfigured(pool, servers(1, 1), eject=Ejection(9, 5.0, 60.0))
        self.assertEqual((list(events), pool.servers[0].state), ([], "ejected"))
        events = reconfigured(pool, servers(1, 1), eject=None)
        self.assertEqual(events, [WasReadmitted("p/a", "nobody is ejected any more")])
        self.assertEqual(Counter(chosen(pool, 2)), {"a": 1, "b": 1})

    def test_others_of_an_ejected_one_leave(self) -> None:
        """An ejected server is better than none when the others are removed."""
        pool = up_pool(servers(1, 1), eject=Ejection(1, 5.0, 60.0))
        pool.failed(pool.servers[0], "reset", 0.0)
        events = reconfigured(pool, servers(1))
        self.assertEqual(events[-1], WasReadmitted("p/a", "no other server is usable"))
        self.assertEqual(chosen(pool, 1), "a")

    def test_panic(self) -> None:
        """A new `panic` counts at once."""
        pool = up_pool(servers(1, 1, 1))
        down(pool, "a")
        down(pool, "b")
        reconfigured(pool, servers(1, 1, 1), panic=0.5)
        self.assertTrue(pool.panicking)
        self.assertEqual(set(chosen(pool, 3)), {"a", "b", "c"})

    def test_checked_no_more(self) -> None:
        """A pool that is checked no more takes all servers for up, those that were down too."""
        pool = pool_of(servers(1, 1))
        down(pool, "a")
        self.assertEqual(pool.trust_all(1.0), [WentUp("p/b", "not checked")])
        self.assertEqual(pool.trust_all(1.0, down_too=True), [WentUp("p/a", "not checked")])


class NothingMovesTests(SynchronousTestCase):
    """What did not change."""

    def test_round_robin(self) -> None:
        """Round-robin keeps its place in the period when nothing, or only settings, change."""
        lines = servers(5, 1, 1)
        pool, other = up_pool(lines), up_pool(lines)
        for _ in range(20):
            self.assertEqual(reconfigured(pool, lines), ())
            self.assertEqual(chosen(pool, 1), chosen(other, 1))
            reconfigured(pool, lines, retries=pool.settings.retries + 1)
            self.assertEqual(chosen(pool, 2), chosen(other, 2))

    def test_round_robin_goes_on(self) -> None:
        """A newcomer, or one who leaves when it was its turn, does not start the turns anew."""
        pool = up_pool(servers(1, 1, 1, 1))
        self.assertEqual(chosen(pool, 2), "ab")
        lines = servers(1, 1, 1, 1, 1)
        reconfigured(pool, lines)
        pool.trust_all(1.0)
        self.assertEqual(chosen(pool, 1), "c")
        reconfigured(pool, [line for line in lines if line.name != "d"])
        self.assertEqual(chosen(pool, 4), "eabc")

    def test_least_connections(self) -> None:
        """Ties of least-connections go on where they were."""
        lines = servers(3, 1, 2)
        pool, other = (up_pool(lines, "least-connections") for _ in range(2))
        for _ in range(20):
            reconfigured(pool, lines, retries=pool.settings.retries + 1)
            self.assertEqual(chosen(pool, 1), chosen(other, 1))

    def test_least_connections_after_weight_zero(self) -> None:
        """Work may end on a server that weighs nothing since a moment ago."""
        pool = up_pool(servers(1, 1), "least-connections")
        for _ in range(4):
            server = pool.choose(None)
            assert server is not None
            pool.begin(server, 0.0)
        pool.set_weight(pool.server("a"), 0)
        pool.finish(pool.server("a"), 1.0)
        reconfigured(pool, servers(2, 0))
        pool.finish(pool.server("b"), 1.0)
        self.assertEqual([server.in_flight for server in pool.servers], [1, 1])
        self.assertEqual(chosen(pool, 1), "a")


class WholeTableTests(SynchronousTestCase):
    """A table of the real size."""

    def test_adding_and_removing(self) -> None:
        """One server more or less: until its table is built no other key moves, and then at most
        1 % of the slots of those who stay."""
        lines = [ServerSettings(f"s{n}") for n in range(11)]
        pool = up_pool(lines[:10], "maglev")
        before = pool.slots()
        reconfigured(pool, lines)
        pool.trust_all(1.0)
        self.assertEqual(pool.slots(), before)
        pool.build()
        grown = pool.slots()
        moved = sum(
            old is not new and new.name != "s10" for old, new in zip(before, grown, strict=True)
        )
        self.assertIn(pool.server("s10"), grown)
        self.assertLess(moved, len(before) / 100)
        gone = pool.server("s10")
        reconfigured(pool, lines[:10])
        during = pool.slots()
        self.assertTrue(
            all(new is old or old is gone for old, new in zip(grown, during, strict=True))
        )
        self.assertNotIn(gone, during)
        pool.build()
        self.assertEqual(pool.slots(), before)


class KeyedTests(SynchronousTestCase):
    """Tables."""

    def setUp(self) -> None:
        """Many tables are built."""
        few_slots(self)

    def test_before_the_first_table(self) -> None:
        """Servers may come and go before the first table was needed."""
        for lines in (servers(1, 1, 1), servers(1), []):
            pool = up_pool(servers(1, 1), "maglev")
            reconfigured(pool, lines)
            pool.trust_all(1.0)
            self.assertIs(next(pool.rank(b"123456"), None), pool.choose(b"123456"))
            self.assertEqual(set(pool.slots()), set(pool.servers))

    def test_moved_server_keeps_its_slots(self) -> None:
        """A new address under an old name has the slots of that name at once."""
        pool = up_pool(servers(1, 1, 1), "maglev")
        before = [server.name for server in pool.slots()]
        reconfigured(pool, servers(1, 1, 1), moved="b")
        pool.trust_all(1.0)
        self.assertEqual([server.name for server in pool.slots()], before)
        self.assertIn(pool.server("b"), pool.slots())
        self.assertFalse(pool.advance())

    def test_all_replaced(self) -> None:
        """Servers without a table of theirs get work at once."""
        pool = up_pool(servers(1, 1), "maglev")
        pool.build()
        reconfigured(pool, [ServerSettings(name) for name in "xyz"])
        pool.trust_all(1.0)
        keys = [n.to_bytes(6, "big") for n in range(200)]
        self.assertEqual({s.name for k in keys if (s := pool.choose(k))}, {"x", "y", "z"})
        pool.build()
        self.assertEqual({s.name for k in keys if (s := pool.choose(k))}, {"x", "y", "z"})

    def test_backup_moves(self) -> None:
        """A server that becomes a backup leaves the table, and is there when nobody else is."""
        pool = up_pool(servers(1, 1), "maglev")
        a, b = servers(1, 1)
        pool.build()
        reconfigured(pool, [a, evolve(b, backup=True)])
        for _ in range(2):
            self.assertEqual(set(pool.slots()), {pool.server("a")})
            pool.build()
        down(pool, "a")
        self.assertEqual(set(pool.slots()), {pool.server("b")})


class AlgorithmTests(SynchronousTestCase):
    """Another algorithm, or another seed."""

    def setUp(self) -> None:
        """Many tables are built."""
        few_slots(self)

    def slices(self, pool: Pool) -> int:
        """How many it takes until all is built."""
        count = 1
        while pool.advance():
            count += 1
        return count

    def test_without_a_table(self) -> None:
        """An algorithm that needs no table decides at once, and sees the work in flight."""
        pool = up_pool(servers(1, 1))
        for _ in range(3):
            pool.begin(pool.server("a"), 0.0)
        reconfigured(pool, servers(1, 1), algorithm=Algorithm("least-connections"))
        pool.begin(pool.server("b"), 0.0)
        self.assertEqual(chosen(pool, 2), "bb")
        for _ in range(3):
            pool.finish(pool.server("a"), 1.0)
        self.assertEqual(chosen(pool, 2), "aa")
        reconfigured(pool, servers(1, 1), algorithm=Algorithm("first"))
        self.assertEqual(chosen(pool, 2), "aa")

    def test_work_ends_first(self) -> None:
        """Work may end before anything is chosen by the new algorithm."""
        pool = up_pool(servers(1, 1), "least-connections")
        pool.begin(pool.servers[0], 0.0)
        reconfigured(pool, servers(1, 1), algorithm=Algorithm("first"))
        self.assertIsNone(pool.finish(pool.servers[0], 1.0))
        self.assertEqual(chosen(pool, 1), "a")

    def test_with_a_table(self) -> None:
        """The algorithm in force decides until the table of the new one is built, in slices; the
        key is the new one's at once."""
        pool = up_pool(servers(1, 1, 1))
        reconfigured(pool, servers(1, 1, 1), algorithm=Algorithm("header", "x"))
        self.assertEqual(pool.needs_key, KeySource("header", "x"))
        self.assertEqual(chosen(pool, 3, b"key"), "abc")
        self.assertTrue(pool.advance())
        self.assertEqual(chosen(pool, 3, b"key"), "abc")
        self.assertTrue(self.slices(pool) > 10)
        self.assertEqual(len(set(chosen(pool, 9, b"key"))), 1)

    def test_changes_meanwhile(self) -> None:
        """Servers that change while a table is built are in it; ticks bring it into force."""
        pool = up_pool(servers(1, 1))
        reconfigured(pool, servers(1, 1), algorithm=Algorithm("uri"))
        pool.advance()
        reconfigured(pool, servers(1, 1, 1)[1:])
        pool.trust_all(1.0)
        self.assertEqual(set(chosen(pool, 4, b"key")), {"b", "c"})
        for n in range(20):
            pool.tick(1 + n / 10)
        fresh = up_pool(servers(1, 1, 1)[1:], "uri").slots()
        self.assertEqual([s.name for s in pool.slots()], [s.name for s in fresh])

    def test_taken_back(self) -> None:
        """An algorithm that is taken back before its table was built leaves no trace."""
        pool = up_pool(servers(1, 1, 1))
        reconfigured(pool, servers(1, 1, 1), algorithm=Algorithm("maglev"))
        self.assertEqual(chosen(pool, 1), "a")
        reconfigured(pool, servers(1, 1, 1), algorithm=Algorithm("round-robin"))
        self.assertFalse(pool.advance())
        self.assertEqual(chosen(pool, 3, b"key"), "bca")

    def test_seed(self) -> None:
        """A new seed is in force, all of it, when its table is built, and not before."""
        pool = up_pool(servers(1, 1, 1), "maglev")
        before = pool.slots()
        reconfigured(pool, servers(1, 1, 1), seed="other")
        self.assertEqual(pool.slots(), before)
        pool.build()
        self.assertEqual(
            [server.name for server in pool.slots()],
            [server.name for server in up_pool(servers(1, 1, 1), "maglev", seed="other").slots()],
        )

    def test_same_table(self) -> None:
        """Another header, or the path instead of a cookie, needs no other table."""
        pool = up_pool(servers(1, 1), "cookie")
        pool.build()
        before = pool.slots()
        for algorithm in (Algorithm("cookie", "y"), Algorithm("uri")):
            reconfigured(pool, servers(1, 1), algorithm=algorithm)
            self.assertFalse(pool.advance())
            self.assertEqual(pool.slots(), before)
        self.assertEqual(pool.needs_key, KeySource("uri"))
