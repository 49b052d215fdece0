"""One section's route, an attempt at a time, on a kernel in memory: no timer, no site."""

from __future__ import annotations

import errno
import random
from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from balancer.kernel.nexthop import Hop
from balancer.kernel.service import Netlink
from balancer.pool.pool import Pool
from balancer.pool.settings import PoolSettings
from balancer.route.installed import Installed
from balancer.route.settings import EcmpSettings, first_id
from balancer.route.upkeep import Attempt, Upkeep
from tests.route.world import Machine, servers

STRANGER = 666


class UpkeepTests(SynchronousTestCase):
    """A machine, and a pool of a, b and c, of which a and b are up."""

    def setUp(self) -> None:
        """Make them; nothing is in the kernel."""
        self.machine = Machine()
        self.pool = Pool(PoolSettings("p"), servers("a b c"), 0.0, random.Random(1))
        self.verdict("ab", True)
        self.upkeep = self.make()

    def make(self, **options: object) -> Upkeep:
        """The upkeep of a section."""
        installed = Installed(Netlink(self.machine.opened()), first_id("e"))
        return Upkeep("e", installed, self.settings(**options), self.pool)

    def settings(self, **options: object) -> EcmpSettings:
        """A section's."""
        return EcmpSettings(
            prefix=ip_network("192.0.2.0/24"), pool="p", **options)  # type: ignore[arg-type]

    def verdict(self, names: str, good: bool) -> None:
        """Checks find these up, or down."""
        for name in names:
            for _ in range(3):
                self.pool.record(self.pool.server(name), good, "x", 0.0)

    def test_does_and_tells(self) -> None:
        """An attempt makes the route and says where it goes; the next one has nothing to do."""
        self.assertEqual(Attempt(None, "sends 192.0.2.0/24 to 10.1.0.1, 10.1.0.2"),
                         self.upkeep.attempt(0.0))
        self.assertEqual({"10.1.0.1": 1, "10.1.0.2": 1}, self.machine.hops())
        self.machine.asked.clear()
        self.assertEqual((Attempt(), []), (self.upkeep.attempt(1.0), self.machine.asked))

    def test_nothing_at_first(self) -> None:
        """That there is no route is told of one that there was, not at first."""
        self.verdict("ab", False)
        self.upkeep = self.make(last="withdraw")
        self.assertEqual(Attempt(), self.upkeep.attempt(0.0))
        self.verdict("c", True)
        self.upkeep.attempt(1.0)
        self.verdict("c", False)
        self.assertEqual(Attempt(None, "has no route for 192.0.2.0/24"), self.upkeep.attempt(2.0))

    def test_stale(self) -> None:
        """It is stale before the first attempt, and when the pool has changed since the last."""
        self.assertTrue(self.upkeep.is_stale)
        self.upkeep.attempt(0.0)
        self.assertFalse(self.upkeep.is_stale)
        self.pool.set_weight(self.pool.server("a"), 5)
        self.assertTrue(self.upkeep.is_stale)
        self.assertEqual(Attempt(), self.upkeep.attempt(1.0))
        self.assertEqual((5, False), (self.machine.hops()["10.1.0.1"], self.upkeep.is_stale))

    def test_fails(self) -> None:
        """What the kernel refuses is tried again after 1 s, 2 s and so on; once it works the wait
        begins anew."""
        for _ in range(2):
            self.machine.refuse["group"] = errno.ENOMEM
            self.assertEqual([1.0, 2.0, 4.0], [self.upkeep.attempt(0.0).again for _ in range(3)])
            self.assertEqual("ENOMEM", self.upkeep.figures.error)
            self.machine.refuse.clear()
            self.assertIsNone(self.upkeep.attempt(9.0).again)
            self.assertEqual("", self.upkeep.figures.error)
            self.pool.set_weight(self.pool.server("a"), 5)

    def test_one_refused(self) -> None:
        """With a next hop that is not taken it is in force, and tried again."""
        self.machine.refuse["10.1.0.1"] = errno.EHOSTUNREACH
        self.assertEqual(Attempt(1.0, "sends 192.0.2.0/24 to 10.1.0.2"), self.upkeep.attempt(0.0))
        self.assertEqual({"10.1.0.1": "EHOSTUNREACH"}, self.upkeep.seen().refused)

    def test_contest(self) -> None:
        """What others remove is restored at once, and the next time only after a wait, in which
        nothing is done. Without a suspect nobody is to blame."""
        self.upkeep.attempt(0.0)
        waits = []
        for at in (1.0, 2.0):
            self.machine.routes.clear()
            self.upkeep.doubt(STRANGER)
            waits.append(self.upkeep.attempt(at).again)
        self.assertEqual([None, 1.0], waits)
        self.assertEqual({}, self.machine.hops())
        contest = self.upkeep.seen().contest
        self.assertEqual((2, True), (contest.lost_total, contest.is_fought))
        self.assertIsNone(self.upkeep.attempt(3.0).again)
        self.machine.routes.clear()
        self.upkeep.doubt()
        self.assertIsNone(self.upkeep.attempt(3.1).again)
        self.assertEqual((2, 2), (contest.lost_total, len(self.machine.hops())))

    def test_other_settings(self) -> None:
        """Under other settings the old route goes after the new one came."""
        self.upkeep.attempt(0.0)
        self.machine.asked.clear()
        self.upkeep.take(self.settings(table=100, protocol=77), self.pool)
        self.upkeep.attempt(1.0)
        self.assertEqual([("192.0.2.0/24", 100)], list(self.machine.routes))
        self.assertEqual(["route 192.0.2.0/24", "del route 192.0.2.0/24"], self.machine.asked[-2:])
        # What bears the old number from now on is somebody else's.
        theirs = Hop(first_id("e") + 9, "10.1.0.9", 3, self.settings().protocol)
        self.machine.objects[theirs.id] = theirs
        self.upkeep.doubt()
        self.upkeep.attempt(2.0)
        self.assertIn(theirs.id, self.machine.objects)

    def test_removed(self) -> None:
        """A section that is no more leaves nothing; a kernel that refuses is told of in the log,
        and nothing is raised."""
        self.upkeep.attempt(0.0)
        self.machine.refuses_all = errno.EPERM
        self.upkeep.remove()
        self.assertEqual(2, len(self.machine.hops()))
        self.machine.refuses_all = 0
        self.upkeep.remove()
        self.assertEqual(({}, {}), (self.machine.routes, self.machine.objects))
