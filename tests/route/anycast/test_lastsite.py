"""
Whether this is the last site: what answers mean, and that of sites that fail at once, in whatever
order their questions and withdrawals come, one takes its withdrawal back.
"""

from __future__ import annotations

import json
import os
import time
from ipaddress import ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.values import Endpoint
from balancer.route.anycast.announcer import DOWN, DRAINING, HELD, KEPT, PLACING, UP
from balancer.route.anycast.asking import MAX_ANSWER
from balancer.route.anycast.lastsite import LastSite, Said, understand

PREFIXES = (ip_network("192.0.2.53/32"), ip_network("2001:db8::53/128"))

STATUS: dict[str, Any] = {
    "state": "up",
    "prefixes": ["192.0.2.53/32", "2001:db8::53/128", "198.51.100.0/24"],
    "neighbors": {
        "10.9.0.2": {"established": True, "routes": 2},
        "10.9.0.3": {"established": False, "routes": 2},
        "fd09::2": {"established": True, "routes": 1},
    },
}

HERE, THERE = Endpoint("192.0.2.1", 80), Endpoint("192.0.2.2", 80)


def answer(status: object, head: str = "HTTP/1.1 200 OK\r\nServer: x") -> bytes:
    """An HTTP answer with that status."""
    return f"{head}\r\n\r\n{json.dumps(status)}\n".encode()


class AnswerTests(SynchronousTestCase):
    """Answers of other sites."""

    def said(self, **changes: Any) -> Said:
        """What a site with that status says."""
        return understand(answer({**STATUS, **changes}), PREFIXES, 7.0)

    def test_states(self) -> None:
        """A site is up if it is just that, announces while it is kept as well, and neither while
        it leaves or waits."""
        for state, up, announces in ((UP, True, True), (KEPT, False, True), (DOWN, False, False),
                                     (HELD, False, False), (PLACING, False, False),
                                     (DRAINING, False, False), ("new", False, False)):
            said = self.said(state=state)
            self.assertEqual((state, up, announces, "", 7.0),
                             (said.state, said.up, said.announces, said.fault, said.asked))

    def test_routed(self) -> None:
        """It counts only with all of our prefixes, and with a neighbor of each family that is
        there and has routes."""
        self.assertFalse(self.said(prefixes=["192.0.2.53/32"]).up)
        for address, change in (("10.9.0.2", {"established": False}), ("fd09::2", {"routes": 0}),
                                ("10.9.0.2", {"routes": 0})):
            neighbors = {**STATUS["neighbors"]}
            neighbors[address] = {**neighbors[address], **change}
            said = self.said(neighbors=neighbors)
            self.assertEqual((UP, False, False), (said.state, said.up, said.announces))
        self.assertTrue(understand(answer({**STATUS, "neighbors": {
            "10.9.0.2": {"established": True, "routes": 1}}}), PREFIXES[:1], 0.0).up)

    def test_faults(self) -> None:
        """What is no such status says so, and is nobody that is up."""
        for data, fault in (
            (b"", "does not speak HTTP"), (b"SSH-2.0-x\r\n", "does not speak HTTP"),
            (answer({}, "HTTP/1.1 404 Not Found"), "no such section (404)"),
            (answer(STATUS, "HTTP/1.1 503 x"), "it answers (503)"),
            (answer({}), "no status"), (answer([]), "no status"), (answer(None), "no status"),
            (answer({"state": "up"}), "no status"),
            (answer({**STATUS, "neighbors": 7}), "no status"),
            (answer({**STATUS, "neighbors": {"10.9.0.2": {"established": True, "routes": "x"}}}),
             "no status"),
            (answer(STATUS)[:-20], "no status"),
            (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000, "no status"),
        ):
            said = understand(data, PREFIXES, 0.0)
            self.assertIn(fault, said.fault)
            self.assertFalse(said.up or said.announces)

    def test_hostile(self) -> None:
        """An answer as long as may be is understood in some of the time that reading it takes,
        however many prefixes are ours."""
        ours = [ip_network(f"10.0.{each}.0/24") for each in range(256)]
        body = json.dumps({
            "state": "up",
            "prefixes": [1] * 40_000 + [str(each) for each in ours],
            "neighbors": {str(each): {"established": True, "routes": 0} for each in range(3000)}
            | {"10.9.0.2": {"established": True, "routes": 1}},
        }).encode()
        self.assertLess(len(body), MAX_ANSWER)
        begun = time.process_time()
        json.loads(body)
        read = time.process_time()
        said = understand(b"HTTP/1.0 200 OK\r\n\r\n" + body, ours, 0.0)
        self.assertLess(time.process_time() - read, 20 * (read - begun))
        self.assertTrue(said.up)

    @settings(deadline=None, database=None, max_examples=50)
    @given(some.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """Nothing makes it raise."""
        understand(data, PREFIXES, 0.0)
        understand(b"HTTP/1.0 200 OK\r\n\r\n" + data, PREFIXES, 0.0)


class AloneTests(SynchronousTestCase):
    """What follows from what they said."""

    def setUp(self) -> None:
        """Two other sites."""
        self.others = LastSite()
        self.others.follow((HERE, THERE))

    def test_alone(self) -> None:
        """Sites that said nothing yet, are silent, or are not up leave us alone; one that is up
        does not."""
        self.assertTrue(self.others.alone)
        self.others.heard(HERE, Said(1.0, fault="it hangs up"))
        self.others.heard(THERE, Said(1.0, KEPT, True))
        self.assertTrue(self.others.alone)
        self.others.heard(HERE, Said(2.0, UP, True))
        self.assertFalse(self.others.alone)
        self.others.heard(HERE, Said(3.0, fault="it hangs up"))
        self.assertTrue(self.others.alone)

    def test_follow(self) -> None:
        """What a site said is kept while it is followed; others are not listened to."""
        self.others.heard(HERE, Said(1.0, UP, True))
        self.others.follow((HERE,))
        self.assertFalse(self.others.alone)
        self.others.heard(THERE, Said(1.0, UP, True))
        self.others.follow((THERE,))
        self.assertTrue(self.others.alone)
        self.assertEqual([THERE], list(self.others.said))

    def test_regret(self) -> None:
        """A withdrawal is regretted when all were asked after it and none announces: once."""
        self.others.heard(HERE, Said(1.0, UP, True))
        self.assertFalse(self.others.regrets(0.0))
        self.others.withdrew(2.0)
        self.others.heard(THERE, Said(1.9, DOWN))
        self.assertFalse(self.others.regrets(0.0))
        self.others.heard(HERE, Said(2.0, DOWN))
        self.assertFalse(self.others.regrets(0.0))
        self.others.heard(THERE, Said(2.0, fault="it hangs up"))
        self.assertTrue(self.others.regrets(0.0))
        self.assertFalse(self.others.regrets(0.0))

    def test_doubts(self) -> None:
        """Who was wrong three times within a minute goes by nobody's word until that is over."""
        for now in (10.0, 20.0, 30.0):
            self.assertFalse(self.others.doubts(now))
            self.others.withdrew(now)
            for site in (HERE, THERE):
                self.others.heard(site, Said(now, DOWN))
            self.assertTrue(self.others.regrets(now))
        self.assertTrue(self.others.doubts(30.0))
        self.assertTrue(self.others.doubts(69.9))
        self.assertFalse(self.others.doubts(70.0))

    def test_no_regret_of_old(self) -> None:
        """Once no site is asked any more, a withdrawal is for good: sites that are followed later
        say nothing of it."""
        self.others.withdrew(2.0)
        self.others.follow(())
        self.others.follow((HERE,))
        self.others.heard(HERE, Said(900.0, DOWN))
        self.assertFalse(self.others.regrets(0.0))

    def test_no_regret(self) -> None:
        """One that announces, if only as the last, is enough; what it says later is not asked
        for."""
        for state in (UP, KEPT):
            self.others.withdrew(2.0)
            self.others.heard(HERE, Said(2.5, state, True))
            self.assertFalse(self.others.regrets(0.0))
            self.others.heard(HERE, Said(3.0, DOWN))
            self.others.heard(THERE, Said(3.0, DOWN))
            self.assertFalse(self.others.regrets(0.0))


class Site:
    """A site of several, whose service is gone for good once it fails."""

    def __init__(self, at: int, count: int) -> None:
        self.others = LastSite()
        self.sites = [Endpoint("192.0.2.1", each + 1) for each in range(count) if each != at]
        self.others.follow(self.sites)
        for each in self.sites:
            self.others.heard(each, Said(0.0, UP, True))
        self.state = UP
        self.to_ask: list[Endpoint] = []

    def fail(self, now: float) -> None:
        """Its service fails."""
        if self.state == UP:
            self.state = KEPT
            self.look(now)

    def look(self, now: float) -> None:
        """Withdraw if another is up, and ask all of them then."""
        if self.state == KEPT and not self.others.alone:
            self.state = DOWN
            self.others.withdrew(now)
            self.to_ask = list(self.sites)

    def heard(self, site: Endpoint, said: Said, now: float) -> None:
        """An answer came."""
        self.others.heard(site, said)
        if self.others.regrets(0.0) and self.state == DOWN:
            self.state = KEPT
        self.look(now)


class TogetherTests(SynchronousTestCase):
    """Sites that all fail, at times that are near each other."""

    @settings(deadline=None, database=None, max_examples=200 if os.environ.get("SOAKING") else 40)
    @given(some.integers(2, 4), some.lists(some.tuples(
        some.sampled_from(("fail", "ask", "answer", "hear")), some.integers(0, 99)), max_size=60))
    def test_one_stays(self, count: int, steps: list[tuple[str, int]]) -> None:
        """When all have failed and were answered, at least one announces, and it stays so."""
        sites = [Site(each, count) for each in range(count)]
        asked: list[tuple[int, int, float]] = []
        answered: list[tuple[int, int, Said]] = []
        now = 1.0

        def ask(at: int) -> None:
            if sites[at].to_ask:
                asked.append((at, sites[at].to_ask.pop().port - 1, now))

        def reply(at: int) -> None:
            if asked:
                asker, other, when = asked.pop(at % len(asked))
                answered.append((asker, other, Said(when, sites[other].state, True)))

        def hear(at: int) -> None:
            if answered:
                asker, other, said = answered.pop(at % len(answered))
                sites[asker].heard(Endpoint("192.0.2.1", other + 1), said, now)

        for what, at in steps:
            now += 0.01
            if what == "fail":
                sites[at % count].fail(now)
            elif what == "ask":
                ask(at % count)
            else:
                (reply if what == "answer" else hear)(at)
        for at in range(count):
            now += 0.01
            sites[at].fail(now)
        while now < 100.0 and (asked or answered or any(each.to_ask for each in sites)):
            now += 0.01
            for at in range(count):
                ask(at)
            reply(0)
            hear(0)
        kept = [each.state for each in sites].count(KEPT)
        self.assertGreaterEqual(kept, 1, [each.state for each in sites])
