"""Which servers are answered."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns.standing import shortest_turn, stand, time_to_turn, ttl_within
from balancer.pool.pool import Pool
from balancer.pool.settings import ServerSettings
from balancer.wire.address import literal
from tests.dns.world import all_up, judge, pool_of


def names(pool: Pool, *remembered: str, panic: float = 0.0, when_down: str = "all") -> list[str]:
    """The servers that are answered."""
    pool.settings = evolve(pool.settings, panic=panic)
    found = stand(pool, when_down, remembered)
    return [server.name for server in found.servers]


class StandingTests(SynchronousTestCase):
    """Verdicts, the operator, the start, and nobody left."""

    def setUp(self) -> None:
        """Three servers and a backup."""
        self.pool = pool_of(
            {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3", "z": "192.0.2.9"},
            {"z": {"backup": True}},
        )

    def test_up(self) -> None:
        """Servers that are up are answered; nothing is wrong then."""
        all_up(self.pool)
        judge(self.pool, b=False)
        self.assertEqual(names(self.pool), ["a", "c"])
        self.assertIsNone(stand(self.pool, "all").fault)

    def test_backup(self) -> None:
        """A backup is answered while no other server is up."""
        all_up(self.pool)
        judge(self.pool, a=False, b=False, c=False)
        self.assertEqual(names(self.pool), ["z"])

    def test_operator(self) -> None:
        """Drained servers and those in maintenance are not answered."""
        all_up(self.pool)
        self.pool.drain(self.pool.server("a"))
        self.pool.maintain(self.pool.server("b"))
        self.assertEqual(names(self.pool), ["c"])

    def test_weight_zero(self) -> None:
        """Weight 0 is no new work, in DNS too."""
        all_up(self.pool)
        self.pool.set_weight(self.pool.server("c"), 0)
        self.assertEqual(names(self.pool), ["a", "b"])

    def test_first_query(self) -> None:
        """Before the first verdict, with nothing remembered, all are answered, and said to be
        unchecked; the first verdict does not make the one server that it is about the only one."""
        self.assertEqual(names(self.pool), ["a", "b", "c"])
        fault = stand(self.pool, "all").fault
        self.assertEqual(fault and fault[0], 3)
        self.pool.record(self.pool.server("a"), True, "", 1.0)
        self.assertEqual(names(self.pool), ["a", "b", "c"])
        self.pool.record(self.pool.server("b"), False, "", 1.0)
        self.assertEqual(names(self.pool), ["a", "c"])

    def test_remembered(self) -> None:
        """Those that were up before the restart are answered until the first verdict."""
        self.assertEqual(names(self.pool, "b"), ["b"])
        self.pool.record(self.pool.server("a"), True, "", 1.0)
        self.assertEqual(names(self.pool, "b"), ["a", "b"])
        self.pool.record(self.pool.server("b"), False, "", 1.0)
        self.assertEqual(names(self.pool, "b"), ["a"])

    def test_newcomer(self) -> None:
        """A server that comes to a pool by a reload is answered when it was checked, also under a
        name that is remembered with another address, and never while others are up."""
        all_up(self.pool)
        lines = [(ServerSettings(name=name), literal(host, 80)) for name, host in (
            ("a", "192.0.2.1"), ("b", "192.0.2.22"), ("new", "192.0.2.4"))]
        self.pool.reconfigure(self.pool.settings, lines, 5.0)
        for remembered in ((), ("a", "b")):
            self.assertEqual(names(self.pool, *remembered), ["a"])
        self.pool.record(self.pool.server("new"), True, "", 6.0)
        self.assertEqual(names(self.pool), ["a", "new"])
        judge(self.pool, a=False, new=False)
        self.assertEqual(names(self.pool), ["b"])

    def test_remembered_are_gone(self) -> None:
        """When all that were remembered fail, servers not yet checked are better than none."""
        self.pool.record(self.pool.server("b"), False, "", 1.0)
        self.assertEqual(names(self.pool, "b"), ["a", "c"])

    def test_nobody(self) -> None:
        """With no server up, `when-down` decides, and the fault says so."""
        judge(self.pool, a=False, b=False, c=False, z=False)
        self.assertEqual(names(self.pool), ["a", "b", "c"])
        self.assertEqual(names(self.pool, when_down="nodata"), [])
        self.assertEqual(names(self.pool, when_down="servfail"), [])
        self.assertTrue(stand(self.pool, "servfail").refuses)
        self.assertFalse(stand(self.pool, "nodata").refuses)
        self.assertIn("no server is up", str(stand(self.pool, "all").fault))

    def test_nobody_but_drained(self) -> None:
        """`when-down = all` does not bring back what the operator took out."""
        judge(self.pool, a=False, b=False, c=False, z=False)
        self.pool.drain(self.pool.server("a"))
        self.assertEqual(names(self.pool), ["b", "c"])
        for name in "bcz":
            self.pool.maintain(self.pool.server(name))
        self.assertEqual(names(self.pool), [])

    def test_panic(self) -> None:
        """Below panic all willing servers are answered, and a drained one is not."""
        all_up(self.pool)
        self.pool.drain(self.pool.server("c"))
        judge(self.pool, a=False, z=False)
        self.assertEqual(names(self.pool, panic=0.5), ["b"])
        self.assertEqual(names(self.pool, panic=0.6), ["a", "b", "z"])

    def test_panic_at_the_start(self) -> None:
        """Servers that are remembered, or all before anything is known, are no reason to panic."""
        self.pool.settings = evolve(self.pool.settings, panic=1.0)
        self.assertEqual(stand(self.pool, "all").fault, (
            3, "pool web: not all of these servers have been checked yet"))


class TtlTests(SynchronousTestCase):
    """How long an answer may hold."""

    def setUp(self) -> None:
        """Two servers that are up; rise 2, fall 3, checked each 2 s."""
        self.pool = all_up(pool_of({"a": "192.0.2.1", "b": "192.0.2.2"}))

    def ttl(self, ttl: int = 30) -> int:
        """The TTL now."""
        return ttl_within(ttl, shortest_turn(self.pool.servers, self.pool.scale, 2.0))

    def test_pending_down(self) -> None:
        """Each failed check brings the turn nearer, and the TTL with it."""
        server = self.pool.server("a")
        self.assertEqual(self.ttl(), 30)
        self.pool.record(server, False, "", 1.0)
        self.assertEqual(self.ttl(), 4)
        self.assertEqual(self.ttl(3), 3)
        self.pool.record(server, False, "", 1.0)
        self.assertEqual(self.ttl(), 2)
        self.pool.record(server, False, "", 1.0)
        self.assertEqual(server.verdict, "down")
        self.assertEqual(self.ttl(), 30)

    def test_pending_up(self) -> None:
        """So does each passed one of a server that is down."""
        judge(self.pool, a=False)
        self.pool.record(self.pool.server("a"), True, "", 1.0)
        self.assertEqual(self.ttl(), 2)

    def test_unchecked(self) -> None:
        """Before the first verdict an answer holds until that is due."""
        pool = pool_of({"a": "192.0.2.1"})
        self.assertEqual(ttl_within(30, shortest_turn(pool.servers, pool.scale, 2.0)), 2)
        self.assertEqual(ttl_within(30, shortest_turn(pool.servers, pool.scale, 0.1)), 1)

    def test_nobody_checks(self) -> None:
        """Without checks, and for servers that the operator took out, no turn is due."""
        server = self.pool.server("a")
        self.assertIsNone(time_to_turn(server, self.pool.scale, 0.0))
        self.pool.record(server, False, "", 1.0)
        self.pool.maintain(server)
        self.assertEqual(self.ttl(), 30)

    def test_revision(self) -> None:
        """The pool's revision grows with all that changes an answer, and with nothing else."""
        server, pool = self.pool.server("a"), self.pool
        before = pool.revision
        pool.record(server, True, "", 1.0)
        self.assertEqual(pool.revision, before)
        for change in (
            lambda: pool.record(server, False, "", 1.0),
            lambda: pool.record(server, True, "", 1.0),
            lambda: pool.set_weight(server, 7),
            lambda: pool.drain(server),
            lambda: pool.ready(server),
        ):
            change()
            self.assertGreater(pool.revision, before)
            before = pool.revision
