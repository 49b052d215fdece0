"""`[anycast NAME]` in the site: reloads, leaves in order, tells."""

from __future__ import annotations

from pathlib import Path

from balancer.interfaces import PrepareError
from balancer.route.anycast.frames import Neighbor
from balancer.route.anycast.withdrawal import ACKNOWLEDGED_WITHIN, SETTLED_AFTER
from tests.route.anycast.section import KEY, SITE, ServiceTestCase, Station, settings_of


class ReloadTests(ServiceTestCase):
    """Other settings while it is at work."""

    def test_prefix(self) -> None:
        """A new prefix is announced once its address is there, and an old address goes after its
        route; what stays is not touched."""
        self.begin(SITE.replace("53/32", "53/32 192.0.2.54/32"))
        self.journal.clear()
        text = SITE.replace("53/32", "53/32 192.0.2.55/32")
        self.anycast.prepare(settings_of(text)).commit()
        self.assertEqual({KEY}, set(self.station.announced))
        self.turn()
        self.assertEqual({KEY, (KEY[0], "192.0.2.55/32")}, set(self.station.announced))
        removed = [each for each in self.journal if "del" in each]
        self.assertEqual(["address del 192.0.2.54/32"], removed)
        self.assertLess(self.journal.index("announced 1"), self.journal.index(removed[0]))
        self.assertEqual("up", self.state())

    def test_attributes(self) -> None:
        """Another MED is told at once."""
        self.begin()
        self.anycast.prepare(settings_of(SITE + "med = 5\n")).commit()
        self.assertEqual(5, self.station.announced[KEY].med)

    def test_external(self) -> None:
        """A section with an ExaBGP of its own has a station of its own; it leaves the other."""
        self.begin()
        other = Station([])
        self.patch(self.anycast, "_stations", lambda context, name: other)
        self.anycast.prepare(settings_of(SITE + "exabgp = external\n")).commit()
        self.assertEqual(([], [self.anycast.work]), (self.station.members, other.members))
        self.assertEqual([""], self.names)

    def test_abandoned(self) -> None:
        """A dropped change leaves no trace."""
        self.anycast.prepare(settings_of()).abandon()
        self.assertEqual(([], True), (self.context.subscribers, self.station.closed))

    def test_no_balancer(self) -> None:
        """A section of which nothing is made cannot be healthy."""
        settings = settings_of(SITE.replace("http:www", "third:party"))
        error = self.assertRaises(PrepareError, self.anycast.prepare, settings)
        self.assertIn("[anycast far] when: expected a balancer or a pool, got 'third:party'",
                      str(error))

    def test_passwords(self) -> None:
        """A password's file has one line of bounded length, or nothing is put in force."""
        path = Path(self.mktemp())
        text = SITE.replace("as=65001", f"as=65001 password-file={path}")
        for content in (None, b"", b"\n", b"a\nb\n", b"x" * 81, b"x" * 5000):
            if content is not None:
                path.write_bytes(content)
            error = self.assertRaises(PrepareError, self.anycast.prepare, settings_of(text))
            self.assertIn(f"password-file={path}", str(error))
        path.write_bytes(b"two words\r\n")
        self.anycast.prepare(settings_of(text)).commit()
        self.assertEqual({"10.9.0.2": b"two words"}, self.anycast.work.passwords)


class LeaveTests(ServiceTestCase):
    """The end of it."""

    def test_withdraw(self) -> None:
        """It drains, then withdraws, then waits for routers, and keeps its addresses until it is
        stopped."""
        self.begin()
        first, second = self.anycast.withdraw(), self.anycast.drain()
        self.assertEqual((9, "draining"), (self.station.announced[KEY].med, self.state()))
        self.turn(2.9)
        self.assertEqual(1, len(self.station.announced))
        self.turn(0.2)
        self.assertEqual(({}, "gone"), (self.station.announced, self.state()))
        self.assertNoResult(first)
        self.turn(SETTLED_AFTER + 0.1)
        self.successResultOf(first)
        self.successResultOf(second)
        self.successResultOf(self.anycast.withdraw())
        self.assertNotIn("address del 192.0.2.53/32", self.journal)
        self.stop()
        self.assertEqual(["address del 192.0.2.53/32", "left"], self.journal[-2:])

    def stop(self) -> None:
        """Stop it; nothing is left to come."""
        stopped = self.anycast.stopService()
        self.turn(3.0)
        self.successResultOf(stopped)
        self.assertEqual([], self.context.subscribers)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_withdraw_what_is_not(self) -> None:
        """What is not announced is withdrawn at once."""
        self.start()
        withdrawn = self.anycast.withdraw()
        self.turn()
        self.successResultOf(withdrawn)
        self.stop()

    def test_fails_while_draining(self) -> None:
        """What fails while it drains is withdrawn at once."""
        self.begin()
        withdrawn = self.anycast.withdraw()
        self.context.check(False)
        self.turn(SETTLED_AFTER + 0.1)
        self.successResultOf(withdrawn)
        self.stop()

    def test_nobody_answers(self) -> None:
        """The wait for an acknowledgement ends, also when none comes."""
        self.begin()
        self.station.silent = True
        withdrawn = self.anycast.withdraw()
        self.turn(3.0 + ACKNOWLEDGED_WITHIN - 0.1)
        self.assertNoResult(withdrawn)
        self.turn(0.2)
        self.successResultOf(withdrawn)
        self.stop()

    def test_stop_at_once(self) -> None:
        """Stopped without a drain it withdraws first, removes its addresses, and leaves."""
        self.begin()
        self.journal.clear()
        self.stop()
        self.assertEqual(["announced 0", "address del 192.0.2.53/32", "left"], self.journal)

    def test_never_started(self) -> None:
        """What never started has nothing to withdraw."""
        self.anycast.prepare(settings_of()).commit()
        self.successResultOf(self.anycast.withdraw())
        self.stop()


class TellingTests(ServiceTestCase):
    """Status and metrics."""

    def test_status(self) -> None:
        """Each neighbor has its state, its routes, and its last error."""
        text = SITE.replace("neighbors = ", "neighbors =\n  10.9.0.9 as=1\n  ")
        self.start(text)
        self.context.check(True)
        self.turn(1.0)
        self.assertLess(abs(self.anycast.status()["announced_in"] - 1.0), 0.2)
        self.turn(1.2)
        self.station.sessions = {"10.9.0.2": Neighbor("10.9.0.2", "up", "")}
        self.assertEqual(
            {"10.9.0.2": {"as": 65001, "established": True, "state": "up", "last_error": "",
                          "routes": 1, "bfd": "off"},
             "10.9.0.9": {"as": 1, "established": False, "state": "unknown",
                          "last_error": "no route to it", "routes": 1, "bfd": "off"}},
            self.anycast.status()["neighbors"])

    def test_metrics(self) -> None:
        """Every sample has the label `balancer`; the state that it is in is 1."""
        self.begin()
        found = {each.name: each.samples for each in self.anycast.metrics()}
        self.assertTrue(all(each.labels["balancer"] == "far"
                            for samples in found.values() for each in samples))
        self.assertEqual(["up"], [each.labels["state"] for each in found["balancer_anycast_state"]
                                  if each.value])
        self.assertEqual([1.0], [each.value for each in found["balancer_anycast_routes"]])
        self.assertNotIn("balancer_anycast_bfd_up", found)
