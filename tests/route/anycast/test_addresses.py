"""The addresses of one section: which device has them, and which are in place."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.route.anycast.addresses import GONE_WITHIN, Addresses
from balancer.route.anycast.lines import Route

ONE, TWO = ip_network("192.0.2.53/32"), ip_network("192.0.2.54/32")
ROUTES = {("10.9.0.2", str(each)): Route(str(each)) for each in (ONE, TWO)}


class AddressesTests(SynchronousTestCase):
    """Addresses, and an `ip` that is done in the next turn, unless it hangs."""

    def setUp(self) -> None:
        """Make them."""
        self.clock = Clock()
        self.batches: list[str] = []
        self.told: list[str] = []
        self.why = ""
        self.hangs = False
        self.addresses = Addresses(self.clock, self.run_ip, self.told.append)

    def run_ip(self, batch: str, done: Callable[[str], None]) -> None:
        """Do as the batch says."""
        self.batches += batch.splitlines()
        if not self.hangs:
            self.clock.callLater(0, done, self.why)

    def want(self, *prefixes: object, still: bool = False) -> None:
        """Have these in place."""
        self.addresses.want(prefixes, lambda each: still)  # type: ignore[arg-type]
        self.clock.pump([0.0] * 3)

    def test_somebody_elses(self) -> None:
        """Without a device all count as in place, and nothing is done."""
        self.addresses.use(None)
        self.want(ONE)
        self.assertEqual((True, ROUTES, "", []), (
            self.addresses.have([ONE, TWO]), self.addresses.placed(ROUTES),
            self.addresses.fault, self.batches))
        self.successResultOf(self.addresses.leave())

    def test_in_place(self) -> None:
        """Routes are good whose prefixes are in place; their owner is told when they are."""
        self.addresses.use("lo")
        self.assertEqual({}, self.addresses.placed(ROUTES))
        self.want(ONE)
        self.assertEqual((True, False, [""]), (
            self.addresses.have([ONE]), self.addresses.have([ONE, TWO]), self.told))
        self.assertEqual({str(ONE)}, {key[1] for key in self.addresses.placed(ROUTES)})

    def test_still_needed(self) -> None:
        """What is wanted no more stays while it is still needed; what never was is not added."""
        self.addresses.use("lo")
        self.want(ONE)
        self.want(still=True)
        self.assertTrue(self.addresses.have([ONE]))
        self.want(still=False)
        self.assertEqual((False, "address del 192.0.2.53/32 dev lo"),
                         (self.addresses.have([ONE]), self.batches[-1]))
        self.want(still=True)
        self.assertFalse(self.addresses.have([ONE]))

    def test_fault(self) -> None:
        """What cannot be placed is a fault, with the reason."""
        self.addresses.use("lo")
        self.why = "Operation not permitted"
        self.want(ONE)
        self.assertEqual((self.why, [self.why], False), (
            self.addresses.fault, self.told, self.addresses.have([ONE])))

    def test_another_device(self) -> None:
        """On another device they are placed anew, and go from the one before; the same device
        changes nothing."""
        self.addresses.use("lo")
        self.want(ONE)
        self.addresses.use("lo")
        self.assertTrue(self.addresses.have([ONE]))
        self.addresses.use("dummy0")
        self.assertFalse(self.addresses.have([ONE]))
        self.want(ONE)
        self.assertEqual(["address del 192.0.2.53/32 dev lo",
                          "address replace 192.0.2.53/32 dev dummy0"], self.batches[1:])

    def test_leave_while_added(self) -> None:
        """Who has left hears no more of what was being added then."""
        self.addresses.use("lo")
        self.addresses.want([ONE], lambda each: False)
        gone = self.addresses.leave()
        self.clock.pump([0.0, 0.0, 0.02])
        self.successResultOf(gone)
        self.assertEqual(([], "address del 192.0.2.53/32 dev lo"), (self.told, self.batches[-1]))

    def test_leave(self) -> None:
        """At the end they are removed, which is waited for, within bounds; nothing is told of
        it."""
        for self.hangs in (False, True):
            self.told.clear()
            self.addresses.use("lo")
            hangs, self.hangs = self.hangs, False
            self.want(ONE)
            self.hangs = hangs
            gone = self.addresses.leave()
            self.assertNoResult(gone)
            self.clock.advance(0)
            self.clock.advance(0.02)
            if hangs:
                self.assertNoResult(gone)
                self.clock.advance(GONE_WITHIN)
            self.successResultOf(gone)
            self.assertEqual(([""], "address del 192.0.2.53/32 dev lo"),
                             (self.told, self.batches[-1]))
