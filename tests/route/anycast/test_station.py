"""One ExaBGP and its sections: wishes and renewals, a helper that is late, the order of ends."""

from __future__ import annotations

import os
import signal
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectError, ProcessDone
from twisted.python.failure import Failure

from balancer.route.anycast.exabgp import HELPER_WITHIN
from balancer.route.anycast.frames import Heard, Wish, encode
from balancer.route.anycast.lines import Route
from balancer.route.anycast.protocol import Link
from balancer.route.anycast.station import ORPHAN_WITHIN
from tests.route.anycast.stations import KEY, SITE, Member, StationTestCase


class StationTests(StationTestCase):
    """Our own ExaBGP."""

    def setUp(self) -> None:
        """Start it."""
        super().setUp()
        self.station.start()

    def test_starts_after_a_while(self) -> None:
        """ExaBGP is started when the helper of an older one had its time, with all that sections
        ask for in its file; and once."""
        self.assertEqual(0, self.reactor.spawned)
        self.reactor.advance(ORPHAN_WITHIN)
        self.assertEqual(1, self.reactor.spawned)
        text = next(iter(self.files.values())).decode()
        for part in ("neighbor 10.9.0.2 {", "--orphan", "local-address 10.9.0.1", "c2VjcmV0"):
            self.assertIn(part, text)
        self.station.refresh()
        self.station.start()
        self.assertEqual((1, []), (self.reactor.spawned, self.reactor.signals))

    def test_wishes(self) -> None:
        """A helper is told at once what is wished, again four times in a lease, and whenever that
        changes; the serial grows with changes only."""
        link = self.helper()
        (wish,) = self.told(link)
        assert isinstance(wish, Wish)
        self.assertEqual((1, 2.0, {KEY: Route(KEY[1])}), wish)
        self.reactor.pump([0.5] * 4)
        self.assertEqual([wish] * 4, self.told(link))
        self.member.on = False
        self.station.renew()
        self.assertEqual([Wish(2, 2.0, {})], self.told(link))

    def test_stood_still(self) -> None:
        """After the balancer itself stood still for longer than the lease, sections hear of that
        before anything is wished again."""
        link = self.helper()
        self.told(link)
        self.reactor.rightNow += 10.0
        self.station.renew()
        self.assertEqual(([10.0], [Wish(2, 2.0, {})]), (self.member.lapses, self.told(link)))

    def test_lapsed(self) -> None:
        """When the helper says that the lease had run out, sections hear of it, once."""
        link = self.helper()
        self.told(link)
        self.report(link, lapsed=True)
        self.report(link, lapsed=True)
        self.assertEqual(1, len(self.member.lapses))
        self.assertEqual([Wish(2, 2.0, {})], self.told(link))

    def test_clear(self) -> None:
        """A route is gone when a helper acknowledges that; before, it may be there, also when the
        helper has gone meanwhile."""
        keys = {KEY: None}
        self.assertTrue(self.station.wishes.clear_of(keys))
        link = self.helper()
        self.assertFalse(self.station.wishes.clear_of(keys))
        self.report(link, KEY)
        self.assertTrue(self.station.wishes.may_have(KEY[1]))
        self.member.on = False
        self.station.renew()
        self.assertFalse(self.station.wishes.clear_of(keys))
        link.connectionLost()
        self.assertFalse(self.station.wishes.clear_of(keys))
        self.report(self.helper())
        self.assertTrue(self.station.wishes.clear_of(keys))
        self.assertFalse(self.station.wishes.may_have(KEY[1]))

    def test_late(self) -> None:
        """An ExaBGP that does not answer is ended."""
        self.reactor.advance(ORPHAN_WITHIN)
        link = self.helper()
        self.report(link, late=True, settled=False, fault="ExaBGP has not answered")
        self.assertEqual(["KILL"], self.reactor.signals)
        self.assertIn("has not answered", self.station.fault())

    def silence(self, link: Link) -> None:
        """The helper answers for a while, then no more, for longer than a lease."""
        for _ in range(10):
            link.dataReceived(encode(Heard(1)))
            self.reactor.advance(0.5)
        self.assertEqual("", self.station.fault())
        self.reactor.pump([0.5] * 5)

    def test_silent_helper(self) -> None:
        """A helper that has not answered wishes for a lease is killed, and ExaBGP is not: it starts
        another. If it does not, that is ended as well."""
        killed: list[tuple[int, int]] = []
        self.patch(os, "kill", lambda pid, number: killed.append((pid, number)))
        self.reactor.advance(ORPHAN_WITHIN)
        link = self.helper()
        self.silence(link)
        self.assertEqual(([(4711, signal.SIGKILL)], []), (killed, self.reactor.signals))
        self.assertIn("not connected", self.station.fault())
        self.reactor.advance(HELPER_WITHIN - 1.0)
        self.assertEqual([], self.reactor.signals)
        self.reactor.advance(1.0)
        self.assertEqual(["KILL"], self.reactor.signals)

    def test_silent_helper_replaced(self) -> None:
        """When the next helper comes all is well."""
        self.patch(os, "kill", lambda pid, number: None)
        self.reactor.advance(ORPHAN_WITHIN)
        self.silence(self.helper())
        link = self.helper()
        for _ in range(30):
            link.dataReceived(encode(Heard(1)))
            self.reactor.advance(0.5)
        self.assertEqual(("", []), (self.station.fault(), self.reactor.signals))

    def test_cannot_kill(self) -> None:
        """A helper that we may not kill, or that is of another pid namespace, is left behind: its
        ExaBGP is ended."""
        def refuse(pid: int, number: int) -> None:
            raise PermissionError
        self.patch(os, "kill", refuse)
        self.reactor.advance(ORPHAN_WITHIN)
        for pid in (4711, 0):
            self.pid = pid
            self.reactor.signals.clear()
            link = self.helper()
            self.silence(link)
            self.assertEqual((["KILL"], True), (self.reactor.signals, link.transport.aborted))

    def test_own_silence(self) -> None:
        """After the balancer itself stood still the helper is not blamed."""
        self.reactor.advance(ORPHAN_WITHIN)
        link = self.helper()
        self.reactor.rightNow += 10.0
        self.reactor.pump([0.5] * 2)
        self.assertFalse(link.transport.aborted)

    def test_no_helper(self) -> None:
        """When no helper comes that is a fault, with what may be the reason, and ExaBGP is started
        anew."""
        self.reactor.advance(ORPHAN_WITHIN)
        self.reactor.advance(HELPER_WITHIN)
        self.assertEqual(["KILL"], self.reactor.signals)
        self.assertIn("may run", self.station.fault())
        link = self.helper()
        self.assertEqual("", self.station.fault())
        link.connectionLost()
        self.assertIn("not connected", self.station.fault())

    def test_helper_dies_early(self) -> None:
        """A helper that dies soon after ExaBGP's start leaves that its full time to start another;
        then there is none, and ExaBGP is started anew."""
        self.reactor.advance(ORPHAN_WITHIN)
        link = self.helper()
        for _ in range(19):
            link.dataReceived(encode(Heard(1)))
            self.reactor.advance(HELPER_WITHIN / 20)
        link.connectionLost()
        self.reactor.advance(HELPER_WITHIN - 0.1)
        self.assertEqual([], self.reactor.signals)
        self.reactor.advance(0.1)
        self.assertEqual(["KILL"], self.reactor.signals)

    def test_leaves(self) -> None:
        """When the last section leaves, ExaBGP is stopped and nothing is left to come."""
        other = Member(SITE.replace("web]", "other]").replace("192.0.2.53", "192.0.2.54"))
        self.station.join(other)
        self.reactor.advance(ORPHAN_WITHIN)
        self.helper()
        self.successResultOf(self.station.leave(other))
        left = self.station.leave(self.member)
        self.assertEqual(["TERM"], self.reactor.signals)
        self.reactor.protocol.processEnded(Failure(ProcessDone(0)))
        self.successResultOf(left)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_bfd(self) -> None:
        """BIRD gets the neighbors of sections that ask for BFD, and runs while there are any. It
        ends after ExaBGP, so that no router takes the end of BGP for an error."""
        ours = self.station.detection.bird
        assert ours is not None
        asked: list[str] = []

        def ask(question: str) -> Deferred[str]:
            asked.append(question)
            return fail(ConnectError())
        ours.ask, ours.find = ask, lambda: "/usr/sbin/bird"
        self.reactor.advance(ORPHAN_WITHIN)
        self.assertEqual((1, ["down"], None, "off"), (
            self.reactor.spawned, asked, self.station.detection.status(),
            self.station.detection.of("10.9.0.2")))
        self.helper()
        exabgp: Any = self.reactor.protocol
        self.station.leave(self.member)
        exabgp.processEnded(Failure(ProcessDone(0)))
        self.station.open()
        self.station.start()
        self.station.join(Member(f"{SITE}bfd = 3x50ms\n"))
        self.member = next(iter(self.station._members))  # type: ignore[assignment]
        self.reactor.advance(ORPHAN_WITHIN)
        self.assertEqual(3, self.reactor.spawned)
        bird: Any = ours._running
        self.assertIn(b"neighbor 10.9.0.2;", self.files[ours.path])
        status = self.station.detection.status()
        assert status is not None
        self.assertEqual(("BIRD does not answer", "unknown"),
                         (status["fault"], self.station.detection.of("10.9.0.2")))
        ours.sessions, ours.answers = {"10.9.0.2": "up"}, True
        self.assertEqual("up", self.station.detection.of("10.9.0.2"))
        ours.sessions, ours.known = {}, True
        status = self.station.detection.status()
        assert status is not None
        self.assertIn("10.9.0.2", status["fault"])
        assert self.station.exabgp.program is not None
        exabgp = self.station.exabgp.program._running
        assert exabgp is not None
        self.reactor.signals = []
        left = self.station.leave(self.member)
        self.assertEqual((True, False), (exabgp.asked, bird.asked))
        exabgp.processEnded(Failure(ProcessDone(0)))
        self.assertEqual((True, None), (bird.asked, self.assertNoResult(left)))
        bird.processEnded(Failure(ProcessDone(0)))
        self.successResultOf(left)
        self.assertEqual([], self.reactor.getDelayedCalls())


class ExternalTests(StationTestCase):
    """An operator's ExaBGP."""

    name = "web"

    def test_silent_helper(self) -> None:
        """A helper that does not answer is a fault, and no more than that: it is the operator's.
        The fault ends when it answers."""
        self.station.start()
        link = self.helper()
        self.reactor.pump([0.5] * 20)
        self.assertIn("has not answered for 2 s", self.station.fault())
        self.assertFalse(link.transport.aborted)
        link.dataReceived(encode(Heard(1)))
        self.assertEqual("", self.station.fault())

    def test_status(self) -> None:
        """The status shows the configuration for it, without secrets; nothing is started."""
        self.station.start()
        self.reactor.pump([0.5] * 120)
        self.assertEqual(0, self.reactor.spawned)
        text = self.station.status()["configuration"]
        self.assertIn("--only 192.0.2.53/32", text)
        self.assertIn("# md5-password as in /etc/secret;", text)
        self.assertNotIn("c2VjcmV0", text)
        self.assertNotIn("--orphan", text)
        self.assertIsNone(self.station.detection.status())
        self.station.join(Member(f"{SITE.replace('web]', 'b]')}bfd = 3x50ms\n"))
        shown = self.station.detection.status()
        assert shown is not None
        self.assertIn("neighbor 10.9.0.2;", shown["configuration"])
        self.assertNotIn("router id", shown["configuration"])
        self.assertEqual("unknown", self.station.detection.of("10.9.0.2"))
        self.assertEqual([Wish(1, 2.0, {KEY: Route(KEY[1])})], self.told(self.helper()))
