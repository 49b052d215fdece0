"""`[anycast NAME]` at work: follows health, addresses first and last, leaves in order."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.config.schema import read
from balancer.config.values import Endpoint
from balancer.interfaces import (
    IBalancer,
    IBalancerMaker,
    IPrepared,
    IWithdraws,
    PrepareError,
    Published,
)
from balancer.pool.events import WentDown
from balancer.pool.pool import Pool
from balancer.pool.settings import PoolSettings, ServerSettings
from balancer.route.anycast.frames import Key, Neighbor
from balancer.route.anycast.lines import Route
from balancer.route.anycast.maker import maker
from balancer.route.anycast.service import Anycast
from balancer.route.anycast.settings import SECTION, AnycastSettings
from balancer.route.anycast.withdrawal import ACKNOWLEDGED_WITHIN, SETTLED_AFTER
from balancer.wire.address import literal
from tests.lent import Lent

SITE = """\
[anycast far]
prefixes = 192.0.2.53/32
when = pool:web, http:www
neighbors = 10.9.0.2 as=65001
local-as = 65010
hold-down = 2s
drain-wait = 3s
drain-med = 9
"""
KEY = ("10.9.0.2", "192.0.2.53/32")


def settings_of(text: str = SITE) -> AnycastSettings:
    """The settings of a section."""
    file = read(text, "x.ini", [SECTION])
    assert not file.problems, [str(each) for each in file.problems]
    settings: AnycastSettings = file.sections[0].settings
    return settings


class Station:
    """An ExaBGP that acknowledges at once, unless it is `silent`."""

    program = None
    unreachable = ("10.9.0.9",)

    def __init__(self, journal: list[str]) -> None:
        self.journal = journal
        self.members: list[Any] = []
        self.announced: dict[Key, Route] = {}
        self.silent = False
        self.sessions: dict[str, Neighbor] = {}
        self.closed = False

    def open(self) -> None:
        """Nothing to open."""

    def of(self, address: str) -> str:
        """No BFD."""
        return "off"

    def close_unused(self) -> None:
        """Remember it."""
        self.closed = True

    def start(self) -> None:
        """Nothing to start."""

    def join(self, member: Any) -> None:
        """One more."""
        if member not in self.members:
            self.members.append(member)

    def leave(self, member: Any) -> Deferred[None]:
        """One less."""
        self.members.remove(member)
        self.journal.append("left")
        return succeed(None)

    def renew(self) -> None:
        """Take what is wished for what is."""
        if self.silent:
            return
        wished: dict[Key, Route] = {}
        for member in self.members:
            wished.update(member.routes())
        if wished == self.announced:
            return
        self.announced = wished
        self.journal.append(f"announced {len(wished)}")
        for member in self.members:
            member.reported()

    def may_have(self, prefix: str) -> bool:
        """Whether it is announced."""
        return any(key[1] == prefix for key in self.announced)

    def clear_of(self, keys: Mapping[Key, Any]) -> bool:
        """Whether it is not."""
        return not any(key in self.announced for key in keys)

    @property
    def report(self) -> Any:
        """What it tells."""
        return self

    wishes = exabgp = detection = report

    def status(self) -> Mapping[str, Any]:
        """Nothing of use."""
        return {}

    def configuration(self) -> str:
        """Any text."""
        return "neighbor"


class Asking:
    """Asks nobody; a test says what was heard."""

    def __init__(self, path: str, heard: Callable[[Endpoint, float, bytes, str], None]) -> None:
        self.path, self.heard = path, heard
        self.sites: tuple[Endpoint, ...] = ()
        self.urgent = 0

    def want(self, sites: tuple[Endpoint, ...]) -> None:
        """Ask these."""
        self.sites = sites

    def ask_now(self) -> None:
        """Ask all of them."""
        self.urgent += 1


class Context(Lent):
    """A site with a pool of two servers, of which none was checked yet, and `http:www`."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        lines = [(ServerSettings(each), literal("192.0.2.1", 80 + at))
                 for at, each in enumerate("ab")]
        self.web = Pool(PoolSettings("web", rise=1, fall=1), lines, 0.0, random.Random(1))
        self.www = True
        self.subscribers: list[Callable[[Published], None]] = []
        self.count = 0
        self.told: list[tuple[str, str, int]] = []

    def pool(self, name: str) -> Pool:
        """The only one."""
        return {"web": self.web}[name]

    def balancer(self, key: str) -> IBalancer:
        """The only one."""
        found: Any = {"http:www": self}[key]
        return found  # type: ignore[no-any-return]

    def healthy(self, key: str) -> bool:
        """As it is set."""
        return {"http:www": self.www}[key]

    def tell(self, balancer: str, did: str, cause: int) -> None:
        """Keeps it."""
        self.told.append((balancer, did, cause))

    def subscribe(self, subscriber: Callable[[Published], None]) -> None:
        """One more."""
        self.subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Callable[[Published], None]) -> None:
        """One less."""
        self.subscribers.remove(subscriber)

    def check(self, good: bool, *names: int) -> None:
        """Checks pass or fail for these servers; everybody is told in the same turn."""
        for name in names or (0, 1):
            for event in self.web.record(self.web.servers[name], good, "x", 1.0):
                self.count += 1
                for subscriber in self.subscribers:
                    subscriber(Published(self.count, 0.0, "web", event))


class ServiceTestCase(SynchronousTestCase):
    """A section, its station and its `ip`, which is done at once unless `stuck` is set."""

    def setUp(self) -> None:
        """Make them."""
        self.journal: list[str] = []
        self.context = Context()
        self.reactor = self.context.reactor
        self.station = Station(self.journal)
        self.why = ""
        self.names: list[str] = []
        self.anycast = self.make()

    def make(self) -> Anycast:
        """A section."""
        return Anycast("far", self.context, self.run_ip, self.of, self.ask)  # type: ignore[arg-type]

    def ask(self, reactor: Any, path: str, heard: Any) -> Any:
        """What asks the other sites."""
        self.asking = Asking(path, heard)
        return self.asking

    def of(self, context: Any, name: str) -> Any:
        """The station of that name."""
        self.names.append(name)
        return self.station

    def run_ip(self, batch: str, done: Callable[[str], None]) -> None:
        """Do as the batch says, in the next turn."""
        self.journal.append(" ".join(batch.split()[:3]))
        self.reactor.callLater(0, done, self.why)

    def start(self, text: str = SITE) -> None:
        """Put a section in force."""
        self.anycast.prepare(settings_of(text)).commit()
        self.anycast.startService()

    def state(self) -> str:
        """What the status says."""
        return str(self.anycast.status()["state"])

    def begin(self, text: str = SITE) -> None:
        """Up to the announcement."""
        self.start(text)
        self.context.check(True)
        self.turn(2.1)
        self.assertEqual("up", self.state())

    def turn(self, seconds: float = 0.0) -> None:
        """Time passes, in small steps."""
        end = self.reactor.seconds() + seconds
        while self.reactor.seconds() < end - 1e-9:
            self.reactor.advance(min(0.1, end - self.reactor.seconds()))
        self.reactor.advance(0)
        self.reactor.advance(0)


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
