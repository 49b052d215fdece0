"""Whether a section is to be announced: its conditions, and the word of the other sites."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.schema import read
from balancer.config.values import Endpoint
from balancer.route.anycast.announcer import DOWN, HELD, KEPT, UP, Announcer, Timing
from balancer.route.anycast.judge import Judge, Judged
from balancer.route.anycast.lastsite import DOUBT_WITHIN, MOST_REGRETS
from balancer.route.anycast.settings import SECTION, AnycastSettings

SITE = """\
[anycast far]
prefixes = 192.0.2.53/32
when = pool:web, http:www
neighbors = 10.9.0.2 as=65001
local-as = 65010
"""
KEEP = SITE + "last-site = keep\nsites = http://192.0.2.9:9180/\n"
THERE = Endpoint("192.0.2.9", 9180)


def settings_of(text: str) -> AnycastSettings:
    """The settings of a section."""
    settings: AnycastSettings = read(text, "x.ini", [SECTION]).sections[0].settings
    return settings


class JudgeTests(SynchronousTestCase):
    """A section with a pool and a balancer, and perhaps another site."""

    def begin(self, text: str, up: bool = True) -> None:
        """It is announced, if it is to be `up`."""
        self.servers, self.www = 1, True
        self.judge = Judge(Announcer(Timing(0.0, 0.0, None)))
        self.judge.follow(settings_of(text))
        if up:
            self.look(0.0)
            self.judge.announcer.tick(0.0)
            self.judge.announcer.placing("", 0.0)
            self.assertEqual(UP, self.state)

    def look(self, now: float) -> Judged:
        """Look, with as many servers and as healthy a balancer as are set."""
        return self.judge.look(now, {"web": self.servers}.__getitem__,
                               {"http:www": self.www}.__getitem__)

    def hear(self, now: float, state: str = "", asked: float | None = None) -> bool:
        """The other site says that it is in that state, or does not answer."""
        status = {"state": state, "prefixes": ["192.0.2.53/32"],
                  "neighbors": {"10.9.9.9": {"established": True, "routes": 1}}}
        answer = f"HTTP/1.1 200 OK\r\n\r\n{json.dumps(status)}".encode() if state else b""
        return self.judge.heard(now, THERE, now if asked is None else asked, answer,
                                "" if state else "it hangs up")

    @property
    def state(self) -> str:
        """The announcer's."""
        return self.judge.announcer.state

    def test_conditions(self) -> None:
        """All conditions hold, or the first that does not is the reason; nobody is asked for what
        is of no use."""
        self.begin(SITE, up=False)
        self.assertEqual((Judged(True), HELD), (self.look(0.0), self.state))
        self.assertEqual(Judged(False), self.look(1.0))
        self.www = False
        self.assertEqual((Judged(True), DOWN), (self.look(2.0), self.state))
        self.assertEqual("http:www is not healthy", self.judge.announcer.reason)
        self.servers = 0
        self.look(3.0)
        self.assertEqual("pool:web has no server up", self.judge.announcer.reason)

    def test_without_others(self) -> None:
        """A section that does not keep its prefixes as the last one gives way to nobody."""
        self.begin(SITE)
        self.servers = 0
        self.assertEqual((Judged(True), DOWN), (self.look(1.0), self.state))

    def test_kept(self) -> None:
        """The last site keeps its prefixes and says why, until another is up: it gives way then."""
        self.begin(KEEP)
        self.servers = 0
        self.assertEqual((Judged(True), KEPT), (self.look(1.0), self.state))
        self.assertEqual("pool:web has no server up, and no other site is up",
                         self.judge.announcer.reason)
        self.assertFalse(self.hear(2.0, "down"))
        self.assertEqual(Judged(False), self.look(2.0))
        self.hear(3.0, "up")
        self.assertEqual((Judged(True, gave_way=True), DOWN), (self.look(3.0), self.state))

    def test_regret(self) -> None:
        """What gave way is kept again when none announces that was asked after that; an answer to
        an older question says nothing."""
        self.begin(KEEP)
        self.hear(0.5, "up")
        self.servers = 0
        self.assertEqual(Judged(True, gave_way=True), self.look(1.0))
        self.assertEqual((False, DOWN), (self.hear(1.2, "down", asked=0.9), self.state))
        self.assertEqual((True, KEPT), (self.hear(1.5, "down"), self.state))
        self.assertFalse(self.hear(1.6, "down"))

    def test_right(self) -> None:
        """While another announces there is nothing to regret."""
        self.begin(KEEP)
        self.hear(0.5, "up")
        self.servers = 0
        self.look(1.0)
        self.assertEqual((False, DOWN), (self.hear(1.5, "kept"), self.state))
        self.assertEqual((False, DOWN), (self.hear(1.6, "down"), self.state))

    def test_doubts(self) -> None:
        """After it was wrong three times in a minute nobody's word is gone by."""
        self.begin(KEEP)
        self.servers = 0
        for at in range(MOST_REGRETS):
            self.hear(at + 0.2, "up")
            self.assertTrue(self.look(at + 0.4).gave_way)
            self.assertTrue(self.hear(at + 0.6, "down"))
        self.hear(9.0, "up")
        self.assertEqual((Judged(False), KEPT), (self.look(9.0), self.state))
        self.assertIn("again and again", self.judge.announcer.reason)
        self.assertTrue(self.look(9.0 + DOUBT_WITHIN).gave_way)

    def test_not_announced(self) -> None:
        """What is not announced is not kept, and gives way to nobody."""
        self.begin(KEEP, up=False)
        self.servers = 0
        self.assertEqual((Judged(False), DOWN), (self.look(1.0), self.state))
        self.assertEqual("pool:web has no server up", self.judge.announcer.reason)

    def test_other_settings(self) -> None:
        """Other conditions count from the next look on; sites that are no more have no say."""
        self.begin(KEEP)
        self.hear(0.5, "up")
        self.servers = 0
        self.judge.follow(settings_of(KEEP.replace("pool:web, ", "")))
        self.assertEqual(Judged(False), self.look(1.0))
        self.judge.follow(settings_of(KEEP.replace("0.2.9:", "0.2.10:")))
        self.assertEqual((Judged(True), KEPT), (self.look(2.0), self.state))
