"""One section at work: follows health, addresses first and last."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from balancer.interfaces import IBalancerMaker, IPrepared, IWithdraws, Published
from balancer.pool.events import WentDown
from balancer.route.anycast.maker import maker
from tests.route.anycast.section import SITE, ServiceTestCase, settings_of


class FollowTests(ServiceTestCase):
    """It follows what `when` names."""

    def test_interfaces(self) -> None:
        """It is what it says it is."""
        self.start()
        self.assertTrue(verifyObject(IWithdraws, self.anycast))
        self.assertTrue(verifyObject(IBalancerMaker, maker))
        self.assertTrue(verifyObject(IPrepared, self.anycast.prepare(settings_of())))

    def test_not_yet_checked(self) -> None:
        """Servers that no check has seen yet are no reason to announce."""
        self.start()
        self.turn(10.0)
        self.assertEqual(("down", "pool:web has no server up"),
                         (self.state(), self.anycast.status()["reason"]))
        self.assertEqual([], self.journal)

    def test_order(self) -> None:
        """Addresses come before the announcement and go after the withdrawal, which comes in the
        turn of the verdict."""
        self.begin()
        self.assertEqual(["address replace 192.0.2.53/32", "announced 1"], self.journal)
        self.context.check(False)
        self.turn()
        self.assertEqual(["announced 0", "address del 192.0.2.53/32"], self.journal[2:])
        self.assertEqual(("down", 4), (self.state(), self.anycast.status()["event"]))

    def test_told(self) -> None:
        """Each state is told with the event that led to it: of those of one turn, that of a pool
        that `when` names."""
        self.begin()
        self.assertEqual(self.context.told[-1], ("anycast:far", "is up", 2))
        self.context.check(False, 0)
        self.context.check(False, 1)
        for subscriber in self.context.subscribers:
            subscriber(Published(9, 0.0, "other", WentDown("other/x")))
        self.turn()
        self.assertEqual(self.context.told[-1],
                         ("anycast:far", "is down: pool:web has no server up", 4))
        self.context.told.clear()
        self.anycast.withdraw()
        self.turn()
        self.assertEqual({cause for _, _, cause in self.context.told}, {0})

    def test_thousands_of_events(self) -> None:
        """Many events in one turn are one look."""
        self.begin()
        looks: list[str] = []

        def healthy(key: str) -> bool:
            looks.append(key)
            return True

        self.patch(self.context, "healthy", healthy)
        for _ in range(50):
            self.context.check(False, 0)
            self.context.check(True, 0)
        self.turn()
        self.assertEqual(1, len(looks))

    def test_without_an_event(self) -> None:
        """A balancer whose health changes without an event is noticed within a second."""
        self.begin()
        self.context.www = False
        self.turn(1.1)
        self.assertEqual("http:www is not healthy", self.anycast.status()["reason"])

    def test_least(self) -> None:
        """A pool has as many servers as are asked for, or it is not healthy."""
        self.begin(SITE.replace("pool:web", "pool:web>=2"))
        self.context.check(False, 1)
        self.turn()
        self.assertEqual("pool:web has 1 of 2 servers up", self.anycast.status()["reason"])

    def test_not_placed(self) -> None:
        """Without its addresses nothing is announced, and it says why."""
        self.why = "RTNETLINK answers: Operation not permitted"
        self.start()
        self.context.check(True)
        self.turn(10.0)
        self.assertEqual(("placing", self.why), (self.state(), self.anycast.status()["vip_fault"]))
        self.assertNotIn("announced 1", self.journal)
        self.why = ""
        self.turn(30.0)
        self.assertEqual(("up", ""), (self.state(), self.anycast.status()["reason"]))

    def test_displaced(self) -> None:
        """When its addresses go it is withdrawn."""
        self.begin()
        self.why = "Cannot find device"
        self.turn(6.0)
        self.assertEqual(({}, "placing"), (self.station.announced, self.state()))

    def test_somebody_elses_addresses(self) -> None:
        """With `vip-device = off` no address is touched."""
        self.begin(SITE + "vip-device = off\n")
        self.context.check(False)
        self.turn()
        self.assertEqual(["announced 1", "announced 0"], self.journal)

    def test_lapsed(self) -> None:
        """After the lease ran out it waits for hold-down again."""
        self.begin()
        self.anycast.work.lapsed(self.reactor.seconds())
        self.station.renew()
        self.assertEqual(({}, "held"), (self.station.announced, self.state()))
        self.turn(2.1)
        self.assertEqual("up", self.state())

    def test_withdrawal_unheard(self) -> None:
        """While no helper says that the route is gone, addresses stay."""
        self.begin()
        self.station.silent = True
        self.context.check(False)
        self.turn(5.0)
        self.assertNotIn("address del 192.0.2.53/32", self.journal)
        self.station.silent = False
        self.station.renew()
        self.turn()
        self.assertEqual("address del 192.0.2.53/32", self.journal[-1])
