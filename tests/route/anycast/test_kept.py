"""`last-site = keep`: one section at work, and another site."""

from __future__ import annotations

import json

from balancer.config.values import Endpoint
from tests.route.anycast.section import KEY, SITE, ServiceTestCase, settings_of


class LastSiteTests(ServiceTestCase):
    """`last-site = keep`: another site is at hand, or not."""

    text = SITE + "last-site = keep\nsites = http://192.0.2.9:9180/\n"
    there = Endpoint("192.0.2.9", 9180)

    def hear(self, state: str = "", routes: int = 1) -> None:
        """The other site says that, or nothing."""
        status = {"state": state, "prefixes": ["192.0.2.53/32"],
                  "neighbors": {"10.9.9.9": {"established": True, "routes": routes}}}
        answer = f"HTTP/1.1 200 OK\r\n\r\n{json.dumps(status)}".encode() if state else b""
        self.asking.heard(self.there, self.reactor.seconds(), answer,
                          "" if state else "it hangs up")

    def go_down(self) -> None:
        """No server is left."""
        self.context.check(False)
        self.turn()

    def test_asks(self) -> None:
        """The others are asked for their section of that name while this one runs."""
        self.anycast.prepare(settings_of(self.text)).commit()
        self.assertEqual(("/api/status/anycast:far", ()), (self.asking.path, self.asking.sites))
        self.anycast.startService()
        self.assertEqual((self.there,), self.asking.sites)
        self.anycast.prepare(settings_of()).commit()
        self.assertEqual((), self.asking.sites)
        self.anycast.prepare(settings_of(self.text)).commit()
        self.anycast.stopService()
        self.assertEqual((), self.asking.sites)

    def test_other_is_up(self) -> None:
        """While another site is up it is withdrawn in the turn of the verdict, as ever, and the
        others are asked once more after that."""
        self.begin(self.text)
        self.hear("up")
        self.go_down()
        self.assertEqual(("down", {}, 1), (self.state(), self.station.announced,
                                           self.asking.urgent))
        self.hear("up")
        self.turn(5.0)
        self.assertEqual("down", self.state())

    def test_kept(self) -> None:
        """While none is up it stays announced, with its addresses, and says why; it is withdrawn
        when another comes up."""
        for state in ("", "down", "held", "draining", "kept"):
            self.setUp()
            self.begin(self.text)
            self.hear(state)
            self.journal.clear()
            self.go_down()
            self.turn(3.0)
            self.assertEqual(("kept", {KEY}, [], 0), (
                self.state(), set(self.station.announced), self.journal, self.asking.urgent))
            self.assertEqual("pool:web has no server up, and no other site is up",
                             self.anycast.status()["reason"])
            self.hear("up", routes=0)
            self.assertEqual("kept", self.state())
            self.hear("up")
            self.turn()
            self.assertEqual(("down", {}), (self.state(), self.station.announced))

    def test_flapping(self) -> None:
        """A site that is up and is not in turns takes the prefixes away three times, and then no
        more for a minute."""
        self.begin(self.text)
        self.go_down()
        states = []
        for _each in range(20):
            self.hear("up")
            self.turn(0.5)
            states.append(self.state())
            self.hear("down")
            self.turn(0.5)
            self.assertEqual("kept", self.state())
        self.assertEqual(["down"] * 3 + ["kept"] * 17, states)
        self.turn(60.0)
        self.hear("up")
        self.assertEqual("down", self.state())

    def test_recovers(self) -> None:
        """What is kept is as announced as before when its service comes back."""
        self.begin(self.text)
        self.go_down()
        self.journal.clear()
        self.context.check(True)
        self.turn()
        self.hear("up")
        self.turn(3.0)
        self.assertEqual(("up", [], 0), (
            self.state(), self.journal, self.anycast.status()["withdrawals_total"]))

    def test_both_at_once(self) -> None:
        """When the other has withdrawn as well, that is taken back: a round trip later it is
        announced again, with its addresses."""
        self.begin(self.text)
        self.hear("up")
        self.go_down()
        self.assertEqual("address del 192.0.2.53/32", self.journal[-1])
        self.hear("down")
        self.turn()
        self.assertEqual(("kept", {KEY}), (self.state(), set(self.station.announced)))
        self.assertEqual(["address replace 192.0.2.53/32", "announced 1"], self.journal[-2:])
        self.hear("kept")
        self.turn(2.0)
        self.assertEqual("kept", self.state())

    def test_never_up(self) -> None:
        """What was not announced is not kept: a balancer that starts waits for its service."""
        self.start(self.text)
        self.hear("down")
        self.turn(5.0)
        self.context.check(True)
        self.turn(1.0)
        self.go_down()
        self.hear("down")
        self.turn(5.0)
        self.assertEqual(("down", []), (self.state(), self.journal))

    def test_leaves(self) -> None:
        """A drain and a lease that ran out withdraw what is kept."""
        self.begin(self.text)
        self.go_down()
        self.anycast.withdraw()
        self.assertEqual((9, "draining"), (self.station.announced[KEY].med, self.state()))
        self.turn(3.1)
        self.assertEqual({}, self.station.announced)
        self.setUp()
        self.begin(self.text)
        self.go_down()
        self.anycast.work.lapsed(self.reactor.seconds())
        self.station.renew()
        self.hear("down")
        self.turn(5.0)
        self.assertEqual(({}, "down"), (self.station.announced, self.state()))

    def test_turned_off(self) -> None:
        """A reload without it withdraws what was kept."""
        self.begin(self.text)
        self.go_down()
        self.anycast.prepare(settings_of()).commit()
        self.turn()
        self.assertEqual(({}, "down"), (self.station.announced, self.state()))

    def test_told(self) -> None:
        """Status and metrics have each site, and how often it was kept."""
        self.begin(self.text)
        self.hear("down")
        self.go_down()
        self.assertEqual({"http://192.0.2.9:9180/": {"state": "down", "up": False, "fault": ""}},
                         self.anycast.status()["sites"])
        found = {each.name: each.samples for each in self.anycast.metrics()}
        self.assertEqual([1.0], [each.value for each in found["balancer_anycast_kept"]])
        self.assertEqual([("192.0.2.9:9180", 0.0)], [
            (each.labels["site"], each.value) for each in found["balancer_anycast_site_up"]])
