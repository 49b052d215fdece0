"""BIRD for BFD: what it is told, what it answers, when it is started, taken over and ended."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from balancer.route.anycast import bfd
from balancer.route.anycast.beside import HANGS, LOOK_EVERY, bird
from balancer.route.anycast.bfd import CONFIGURE, DOWN, SESSIONS, Timers
from balancer.route.anycast.program import BACK_OFF
from tests.route.anycast.test_program import Process

GREETING = "0001 BIRD 2.0.12 ready.\n"
TOLD = f"""\
{GREETING}1020-balancer:
 IP address                Interface  State      Since         Interval  Timeout
 10.9.0.2                  b0         Up         18:30:18.503    0.050    0.150
 10.9.0.7                  b0         Down       18:30:17.756    1.000    0.000
 fd09::2                   b0         Init       18:30:17.756    1.000    0.000
0000 \n"""
"""As BIRD 2.0.12 sent it."""

RECONFIGURED = f"{GREETING}0002-Reading configuration from x\n0003 Reconfigured\n"
REFUSED = f"{GREETING}0002-Reading configuration from x\n8002 x:1:1 syntax error\n"


class TextTests(SynchronousTestCase):
    """Texts."""

    def test_configuration(self) -> None:
        """All routers with the timers, and nothing that touches a route; none for no router."""
        text = bfd.configuration({"10.9.0.2": Timers(3, 50), "fd09::2": Timers(3, 50)})
        for part in ("min rx interval 50 ms;", "min tx interval 50 ms;", "multiplier 3;",
                     "neighbor 10.9.0.2;", "neighbor fd09::2;", "router id"):
            self.assertIn(part, text)
        for part in ("kernel", "direct", "static", "bgp"):
            self.assertNotIn(part, text)
        self.assertEqual("", bfd.configuration({}))

    def test_beside_others(self) -> None:
        """An operator's BIRD has an identifier and devices of its own."""
        text = bfd.protocol({"10.9.0.2": Timers(3, 50)})
        self.assertTrue(text.startswith("protocol bfd balancer {"))
        self.assertEqual(("", 1), (bfd.protocol({}), text.count("protocol")))

    def test_reply(self) -> None:
        """It is whole with its last line, however it comes; a line of a table is not one."""
        self.assertTrue(bfd.is_whole(TOLD))
        for length in range(len(TOLD)):
            self.assertFalse(bfd.is_whole(TOLD[:length]))
        self.assertEqual(("", "x:1:1 syntax error"), (bfd.error(TOLD), bfd.error(REFUSED)))

    def test_sessions(self) -> None:
        """Only a session that is up is; what is no session is passed over."""
        found = bfd.sessions(TOLD)
        self.assertEqual({"10.9.0.2": "up", "10.9.0.7": "down", "fd09::2": "down"}, found)
        for odd in ("", GREETING, f"{GREETING}9001 syntax error\n", " 10.9.0.2\n x y z\n"):
            self.assertEqual({}, bfd.sessions(odd))
        self.assertEqual("", bfd.unseen(["10.9.0.2"], found))
        self.assertIn("a network with 10.9.0.9: ", bfd.unseen(["10.9.0.2", "10.9.0.9"], found))


class BirdTests(SynchronousTestCase):
    """A BIRD whose processes and answers are of the test's own."""

    def setUp(self) -> None:
        """Make it; nobody answers."""
        reactor: Any = MemoryReactorClock()
        reactor.spawnProcess = self.spawn
        self.reactor = reactor
        self.processes: list[Process] = []
        self.asked: list[str] = []
        self.answers: dict[str, str] = {}
        self.where: str | None = "/usr/sbin/bird"
        self.bird = bird(reactor, "/run/x", self.ask)
        self.bird.find = lambda: self.where

    def spawn(self, protocol: Any, program: str, words: list[str], **more: Any) -> None:
        """As the reactor does."""
        self.processes.append(Process(protocol, words, 100 + len(self.processes)))

    def ask(self, question: str) -> Deferred[str]:
        """As the control socket does."""
        self.asked.append(question)
        if question in self.answers:
            return succeed(self.answers[question])
        return fail(ConnectError())

    def up(self) -> None:
        """From now on there is one that answers."""
        self.answers = {CONFIGURE: RECONFIGURED, SESSIONS: TOLD, DOWN: f"{GREETING}0007 Bye\n"}

    def test_started(self) -> None:
        """Where none answers one is started, once, and asked for its sessions."""
        self.bird.start()
        self.bird.start()
        self.assertEqual(["/usr/sbin/bird", "-f", "-c", "/run/x/bfd.conf", "-s", "/run/x/bfd.ctl"],
                         self.processes[0].words[1:])
        self.assertEqual("BIRD does not answer", self.bird.broken())
        self.up()
        self.reactor.advance(LOOK_EVERY)
        self.assertEqual(("up", "", False),
                         (self.bird.sessions["10.9.0.2"], self.bird.broken(), self.bird.adopted))
        self.assertEqual(1, len(self.processes))
        stopped = self.bird.stop()
        self.assertEqual(["TERM"], self.processes[0].signals)
        self.assertNotIn(DOWN, self.asked)
        self.processes[0].end()
        self.successResultOf(stopped)
        self.assertEqual(([], {}), (self.reactor.getDelayedCalls(), self.bird.sessions))

    def test_changed(self) -> None:
        """A change is taken by the one that runs; what it refuses is told."""
        self.bird.start()
        self.up()
        self.reactor.advance(LOOK_EVERY)
        self.asked.clear()
        self.bird.restart()
        self.assertEqual(([CONFIGURE, SESSIONS], []), (self.asked, self.processes[0].signals))
        self.answers[CONFIGURE] = REFUSED
        self.bird.restart()
        self.assertIn("x:1:1 syntax error", self.bird.broken())

    def test_changed_early(self) -> None:
        """One that does not answer yet is given the change when it does."""
        self.bird.start()
        self.bird.restart()
        self.asked.clear()
        self.up()
        self.reactor.advance(LOOK_EVERY)
        self.assertEqual([CONFIGURE, SESSIONS], self.asked)

    def test_taken_over(self) -> None:
        """One that a killed balancer left is taken over, and ended by its control socket. When it
        ends itself another is started."""
        self.up()
        self.bird.start()
        self.assertEqual((0, True, "up"), (len(self.processes), self.bird.adopted,
                                           self.bird.sessions["10.9.0.2"]))
        self.answers = {}
        self.reactor.advance(LOOK_EVERY)
        self.assertEqual((1, {}), (len(self.processes), self.bird.sessions))
        self.bird.stop()
        self.processes[0].end()
        self.up()
        self.bird.start()
        self.successResultOf(self.bird.stop())
        self.assertEqual(DOWN, self.asked[-1])
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_found_late(self) -> None:
        """One that hung, so that ours could not run beside it, is taken over when it answers."""
        self.bird.start()
        self.bird.heard("bird: I found another BIRD running.")
        self.processes[0].end(1)
        self.assertIn("another BIRD", self.bird.broken())
        self.up()
        self.bird.restart()
        self.assertTrue(self.bird.adopted)
        self.reactor.advance(10.0)
        self.assertEqual((1, ""), (len(self.processes), self.bird.broken()))

    def test_missing(self) -> None:
        """A program that is not there is a fault, and found when it comes."""
        self.where = None
        self.bird.start()
        self.assertIn("the program bird is not installed", self.bird.broken())
        self.where = "/usr/sbin/bird"
        self.reactor.advance(BACK_OFF[0])
        self.assertEqual(1, len(self.processes))

    def test_hangs(self) -> None:
        """One of ours that never answers is ended, and another started."""
        self.bird.start()
        self.reactor.pump([LOOK_EVERY] * (HANGS - 1))
        self.assertEqual(["KILL"], self.processes[0].signals)
        self.processes[0].end(None, 9)
        self.reactor.advance(BACK_OFF[0])
        self.assertEqual(2, len(self.processes))

    def test_late_answer(self) -> None:
        """An answer that comes after the end changes nothing."""
        waiting: list[Deferred[str]] = []

        def ask(question: str) -> Deferred[str]:
            waiting.append(Deferred())
            return waiting[-1]
        self.bird.ask = ask
        self.bird.start()
        self.bird.stop()
        waiting[0].callback(RECONFIGURED)
        self.assertEqual(([], False), (self.reactor.getDelayedCalls(), self.bird.answers))
