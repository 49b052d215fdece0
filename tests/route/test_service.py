"""`[ecmp NAME]` at work, on a kernel in memory."""

from __future__ import annotations

import errno
from ipaddress import ip_network

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.interfaces import (
    IBalancerMaker,
    IExplains,
    IPrepared,
    IShowsCommands,
    NoPrivilege,
    NotDone,
    PlannedServer,
    PrepareError,
)
from balancer.kernel import netlink, route
from balancer.kernel.nexthop import Hop
from balancer.kernel.route import Route
from balancer.route.maker import maker
from balancer.route.settings import first_id
from tests.route.world import OWN_PORT, Machine, World


class EcmpTestCase(SynchronousTestCase):
    """A machine and a site."""

    def setUp(self) -> None:
        self.machine = Machine()
        self.world = World(self.machine)
        self.ecmp = self.world.ecmp

    def begin(self, up: str = "abc", **options: object) -> None:
        """The section works, and these servers are up."""
        self.world.up(up)
        self.world.begin(**options)

    def again(self, words: str = "a b c") -> None:
        """Another process comes after this one, which was killed."""
        self.world = World(self.machine, words)
        self.ecmp = self.world.ecmp


class PoolTests(EcmpTestCase):
    """It follows the verdicts."""

    def test_interfaces(self) -> None:
        """It is what the site asks for."""
        verifyObject(IBalancerMaker, maker)
        verifyObject(IExplains, self.ecmp)
        verifyObject(IShowsCommands, self.ecmp)
        verifyObject(IPrepared, self.ecmp.prepare(self.world.settings()))

    def test_verdicts(self) -> None:
        """Who goes down leaves in the same turn, who comes up joins."""
        self.begin()
        self.assertEqual(self.world.hops(), "a b c")
        self.world.down("b")
        self.assertEqual(self.world.hops(), "a c")
        self.world.up("bb")
        self.assertEqual(self.world.hops(), "a b c")

    def test_told(self) -> None:
        """Each change of next hops is told with the event that led to it; what only weighs
        otherwise is not, nor that there was nothing at first."""
        self.world.begin(last="withdraw")
        self.assertEqual(self.world.told, [])
        self.world.up("ab")
        self.assertEqual([did for _, did, _ in self.world.told], [
            "sends 192.0.2.0/24 to 10.1.0.1", "sends 192.0.2.0/24 to 10.1.0.1, 10.1.0.2"])
        self.world.told.clear()
        self.world.the_pool.set_weight(self.world.the_pool.server("a"), 5)
        self.world.reactor.advance(0.1)
        self.assertEqual(self.world.told, [])
        self.world.down("a")
        self.world.number = 7
        self.world.down("b")
        self.assertEqual(self.world.told[-1], ("ecmp:e", "has no route for 192.0.2.0/24", 7))

    def test_nothing_before_a_check(self) -> None:
        """Without any verdict there is no route; the first server that is up makes it."""
        self.world.begin()
        self.assertEqual((self.machine.routes, self.machine.objects), ({}, {}))
        self.world.up("c")
        self.assertEqual(self.world.hops(), "c")

    def test_keep(self) -> None:
        """The last one stays though it is down, and whoever comes up takes its place."""
        self.begin()
        self.world.down("abc")
        self.assertEqual(self.world.hops(), "c")
        self.world.up("aa")
        self.assertEqual(self.world.hops(), "a")

    def test_withdraw(self) -> None:
        """With `last = withdraw` nothing is left when nobody is."""
        self.begin(last="withdraw")
        self.world.down("abc")
        self.assertEqual((self.machine.routes, self.machine.objects), ({}, {}))
        self.world.up("aa")
        self.assertEqual(self.world.hops(), "a")

    def test_operator(self) -> None:
        """Drained and in maintenance is out; weights follow within a moment."""
        self.begin()
        pool = self.world.the_pool
        self.world.publish(pool.drain(pool.server("a")))
        self.world.publish(pool.maintain(pool.server("b")))
        self.assertEqual(self.world.hops(), "c")
        self.world.publish(pool.ready(pool.server("a")))
        pool.set_weight(pool.server("a"), 3)
        self.world.reactor.advance(0.1)
        self.assertEqual(self.world.hops(), "a3 c")

    def test_backup(self) -> None:
        """A backup stands in when no other is up."""
        self.again("a B")
        self.begin("ab")
        self.assertEqual(self.world.hops(), "a")
        self.world.down("a")
        self.assertEqual(self.world.hops(), "b")

    def test_nothing_for_nothing(self) -> None:
        """The kernel is not asked to change anything while nothing changes."""
        self.begin()
        self.machine.asked.clear()
        self.world.up("abc")
        self.world.reactor.pump([0.1] * 20)
        self.assertEqual(self.machine.asked, [])

    def test_other_machines(self) -> None:
        """Servers that are no neighbours, or of the other family, are left out with the reason."""
        self.begin(prefix=ip_network("2001:db8:1::/48"))
        self.assertEqual(self.world.hops(), "")
        self.assertIn("no IPv6", self.ecmp.status()["left_out"]["a"])
        self.again("a z")
        self.begin("az")
        self.assertEqual(self.world.hops(), "a")
        self.assertIn("behind a gateway", self.ecmp.status()["left_out"]["10.1.0.26"])


class LifeTests(EcmpTestCase):
    """Start, restart, reload, end."""

    def test_privilege(self) -> None:
        """Who may not change routes is told which privilege it takes; nothing is left open."""
        self.machine.refuses_all = errno.EPERM
        settings = self.world.settings()
        error = self.assertRaises(NoPrivilege, self.ecmp.prepare, settings)
        self.assertEqual(str(error), "[ecmp e] lacks a privilege: routes need CAP_NET_ADMIN")
        self.assertEqual([each.fileno() for each in self.machine.sockets], [-1, -1])

    def test_old_kernel(self) -> None:
        """A kernel without next hop objects is told so."""
        self.machine.refuses_all = errno.EOPNOTSUPP
        error = self.assertRaises(PrepareError, self.ecmp.prepare, self.world.settings())
        self.assertIn("Linux 5.3", str(error))

    def test_abandoned(self) -> None:
        """A plan that comes to nothing closes what it opened, and touches nothing of another."""
        self.ecmp.prepare(self.world.settings()).abandon()
        self.assertEqual([each.fileno() for each in self.machine.sockets], [-1, -1])
        self.begin()
        self.ecmp.prepare(self.world.settings(table=9)).abandon()
        self.assertNotIn(-1, [each.fileno() for each in self.machine.sockets[2:]])
        self.world.down("a")
        self.assertEqual(self.world.hops(), "b c")

    def test_stop(self) -> None:
        """The route stays when the balancer stops; nobody is called any more."""
        self.begin()
        before = dict(self.machine.routes)
        stopped: Deferred[None] = self.ecmp.stopService()
        self.successResultOf(stopped)
        self.successResultOf(self.ecmp.drain())
        self.assertEqual(self.machine.routes, before)
        self.assertEqual(self.world.reactor.getDelayedCalls(), [])
        self.assertEqual((self.world.reactor.readers, self.world.subscribers), (set(), []))

    def test_removed(self) -> None:
        """A section that the site file has no more leaves nothing behind."""
        self.begin()
        self.world.there = False
        self.ecmp.stopService()
        self.assertEqual((self.machine.routes, self.machine.objects), ({}, {}))

    def test_adopted(self) -> None:
        """The next process changes nothing before it knows better: who was next hop stays, though
        not checked yet, and who was not waits for a check."""
        self.begin("ab")
        self.machine.asked.clear()
        self.again()
        self.world.begin()
        self.assertEqual(self.machine.asked, [])
        self.world.up("a")
        self.assertEqual(self.world.hops(), "a b")
        self.world.down("b")
        self.world.up("c")
        self.assertEqual(self.world.hops(), "a c")

    def test_reload(self) -> None:
        """Other options are put in force in place; the old route goes after the new one came."""
        self.begin()
        self.machine.asked.clear()
        self.ecmp.prepare(self.world.settings(table=100, protocol=77, buckets=64)).commit()
        self.assertEqual(list(self.machine.routes), [("192.0.2.0/24", 100)])
        self.assertEqual({each.protocol for each in self.machine.objects.values()}, {77})
        self.assertEqual(self.machine.asked[-2:], ["route 192.0.2.0/24", "del route 192.0.2.0/24"])

    def test_others_route(self) -> None:
        """A route of somebody else's for the prefix is told of and left; ours comes after it."""
        where = ("192.0.2.0/24", 254)
        theirs = self.machine.routes[where] = Route(*where, 5, 3)
        self.begin()
        self.assertEqual(self.machine.routes, {where: theirs})
        self.assertIn("a route of others", self.ecmp.status()["state"])
        del self.machine.routes[where]
        self.world.reactor.advance(1)
        self.assertEqual(self.ecmp.status()["state"], "in force")

    def test_others_next_hops(self) -> None:
        """Next hops of others that lie among our ids are used around."""
        theirs = Hop(first_id("e") + 2, "10.1.0.9", 3, 5)
        self.machine.objects[theirs.id] = theirs
        self.begin()
        self.world.there = False
        self.ecmp.stopService()
        self.assertEqual(self.machine.objects, {theirs.id: theirs})


class KernelTests(EcmpTestCase):
    """What else happens in the kernel."""

    def test_link(self) -> None:
        """Next hops go with their link and come back with it, in the order of the site's verdicts
        meanwhile."""
        self.begin()
        self.machine.link_goes()
        self.world.read()
        self.assertEqual(self.ecmp.status()["state"], "withdrawn: no next hop")
        self.assertIn("10.1.0.1", self.ecmp.status()["left_out"])
        self.world.down("a")
        self.machine.link_comes()
        self.world.read()
        self.assertEqual(self.world.hops(), "b c")
        self.assertEqual(self.ecmp.status()["lost_total"], 0)

    def test_untold(self) -> None:
        """A link that comes back while nobody listens is found by trying again."""
        self.machine.up = False
        self.begin()
        self.machine.up = True
        self.world.reactor.advance(1)
        self.assertEqual(self.world.hops(), "a b c")

    def test_one_refused(self) -> None:
        """A next hop that the kernel does not take is left out with the reason, tried again, and
        is in nobody's way."""
        self.machine.refuse["10.1.0.2"] = errno.EHOSTUNREACH
        self.begin()
        self.assertEqual(self.world.hops(), "a c")
        self.assertEqual(self.ecmp.status()["left_out"], {"10.1.0.2": "EHOSTUNREACH"})
        self.machine.refuse.clear()
        self.world.reactor.advance(1)
        self.assertEqual(self.world.hops(), "a b c")

    def test_all_refused(self) -> None:
        """When the kernel takes nobody, `withdraw` withdraws, and `keep` keeps what is there."""
        for last, left in (("keep", "a"), ("withdraw", "")):
            self.setUp()
            self.begin("a", last=last)
            self.machine.refuse |= dict.fromkeys(("10.1.0.2", "10.1.0.3"), errno.EHOSTUNREACH)
            self.world.up("bc")
            self.world.down("a")
            self.assertEqual(self.world.hops(), left)

    def test_restored_once(self) -> None:
        """What somebody removes is there again in the next turn; what is removed again comes back
        after a second, then two, and the first to be lost after two quiet minutes at once."""
        self.begin()
        self.machine.foreign_removal()
        self.world.read()
        self.assertEqual(self.world.hops(), "a b c")
        for wait in (1.0, 2.0, 4.0):
            self.machine.foreign_removal()
            self.world.read()
            self.assertEqual(self.world.hops(), "", wait)
            self.assertIn("removed by others", self.ecmp.status()["state"])
            self.world.reactor.advance(wait - 0.07)
            self.assertEqual(self.world.hops(), "", wait)
            self.world.reactor.advance(0.1)
            self.assertEqual(self.world.hops(), "a b c", wait)
        self.assertEqual(self.ecmp.status()["lost_total"], 4)
        self.world.reactor.advance(121)
        self.machine.foreign_removal()
        self.world.read()
        self.assertEqual(self.world.hops(), "a b c")

    def test_replaced(self) -> None:
        """A route that somebody puts in place of ours is replaced."""
        self.begin()
        ((where, ours),) = self.machine.routes.items()
        theirs = self.machine.routes[where] = Route(*where, 0, 3)
        (message,) = netlink.messages(route.put(theirs, 1, replace=True))
        self.machine.tell(evolve(message, port=666))
        self.world.read()
        self.assertEqual(self.machine.routes[where], ours)

    def test_own_changes(self) -> None:
        """What we changed ourselves is no loss, and nothing is read again for it."""
        self.begin()
        ((_, ours),) = self.machine.routes.items()
        self.machine.routes.clear()
        (message,) = netlink.messages(route.drop(ours, 1))
        self.machine.tell(evolve(message, port=OWN_PORT))
        self.world.read()
        self.assertEqual((self.world.hops(), self.ecmp.status()["lost_total"]), ("", 0))

    def test_overrun(self) -> None:
        """When notifications were lost everything is looked at anew, a second later."""
        self.begin()
        self.machine.routes.clear()
        for each in self.machine.sockets:
            if each.listens:
                each.waiting.append(OSError(errno.ENOBUFS, "lost"))
        self.world.read()
        self.assertEqual(self.world.hops(), "")
        self.world.reactor.advance(1)
        self.assertEqual(self.world.hops(), "a b c")
        self.assertEqual(self.ecmp.status()["overruns_total"], 1)

    def test_refuses(self) -> None:
        """A kernel that refuses is asked again after 1 s, 2 s and so on, with the reason in the
        status, until it does it."""
        self.machine.refuse["group"] = errno.ENOMEM
        self.begin()
        self.assertEqual(self.ecmp.status()["state"], "failing: ENOMEM")
        attempts = 0
        for wait in (1, 2, 4):
            self.machine.asked.clear()
            self.world.reactor.advance(wait)
            attempts += self.machine.asked.count("group")
        self.assertEqual(attempts, 3)
        self.machine.refuse.clear()
        self.world.reactor.advance(8)
        self.assertEqual(self.ecmp.status()["state"], "in force")
        self.assertEqual(self.ecmp.status()["errors_total"], 4)


class TellingTests(EcmpTestCase):
    """What it tells."""

    def test_before(self) -> None:
        """Before it has settings there is nothing to tell."""
        self.assertEqual((self.ecmp.status(), self.ecmp.metrics()), ({"kind": "ecmp"}, []))
        self.assertRaises(NotDone, self.ecmp.explain, {})
        self.assertEqual(self.ecmp.commands(None, ()), ())

    def test_explain(self) -> None:
        """Who is next hop with which weight, and why others are not; the last one says why."""
        self.begin()
        self.world.down("b")
        found = self.ecmp.explain({})
        self.assertEqual(found["candidates"], [
            {"server": "a", "usable": True, "why": ""},
            {"server": "b", "usable": False, "why": "down: dead"},
            {"server": "c", "usable": True, "why": ""},
        ])
        self.assertEqual(sorted(found["answer"].split(", ")),
                         ["10.1.0.1 weight 1", "10.1.0.3 weight 1"])
        self.world.down("ac")
        found = self.ecmp.explain({})
        self.assertEqual(found["candidates"][2],
                         {"server": "c", "usable": True, "why": "kept, being the last: down: dead"})

    def test_metrics(self) -> None:
        """Next hops, changes and losses are counted under the section's name."""
        self.begin()
        self.machine.foreign_removal()
        self.world.read()
        found = {each.name: each.samples[0] for each in self.ecmp.metrics()}
        self.assertEqual(found["balancer_ecmp_next_hops"].value, 3)
        self.assertEqual(found["balancer_ecmp_changes_total"].value, 6)
        self.assertEqual(found["balancer_ecmp_lost_total"].value, 1)
        self.assertEqual({each.labels["balancer"] for each in found.values()}, {"e"})

    def test_dry_run(self) -> None:
        """The commands that would do it, asked of a section that works, of one that never did, and
        for one that goes; nothing is changed."""
        lines = [PlannedServer("p", "a", "10.1.0.1", 1, False, False),
                 PlannedServer("p", "d", "10.1.0.4", 2, False, False),
                 PlannedServer("p", "x", "10.1.0.5", 2, False, True),
                 PlannedServer("p", "y", "y.example", 2, False, False),
                 PlannedServer("p", "z", "192.0.2.1", 2, False, False)]
        found = self.ecmp.commands(self.world.settings(), lines)
        self.assertEqual([" ".join(each.split()[:3]) for each in found],
                         ["ip nexthop add", "ip nexthop add", "ip nexthop replace", "ip route add",
                          "# no next"])
        self.assertEqual(self.machine.asked, [])
        self.begin()
        self.machine.asked.clear()
        found = self.ecmp.commands(self.world.settings(), lines[:2])
        self.assertEqual([" ".join(each.split()[:3]) for each in found],
                         ["ip nexthop add", "ip nexthop replace", "ip nexthop del",
                          "ip nexthop del"])
        self.world.down("a")
        self.assertNotIn("10.1.0.1", str(self.ecmp.commands(self.world.settings(), lines[:2])))
        found = self.ecmp.commands(None, ())
        self.assertEqual([" ".join(each.split()[:3]) for each in found],
                         ["ip route del", *["ip nexthop del"] * 3])
        self.assertEqual(self.machine.asked, ["group"])
