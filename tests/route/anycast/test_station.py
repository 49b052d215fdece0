"""One ExaBGP and its sections: the socket's end, wishes and renewals, what helpers say."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError, ProcessDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.schema import read
from balancer.interfaces import PrepareError
from balancer.route.anycast import protocol, reach
from balancer.route.anycast.announcer import UP
from balancer.route.anycast.exabgp import HELPER_WITHIN
from balancer.route.anycast.frames import (
    Frame,
    Heard,
    Hello,
    Key,
    Neighbor,
    Quit,
    Report,
    Wish,
    decode,
    encode,
)
from balancer.route.anycast.lines import Route
from balancer.route.anycast.protocol import MAX_LINKS, Link
from balancer.route.anycast.settings import SECTION, AnycastSettings
from balancer.route.anycast.station import LOOK_EVERY, ORPHAN_WITHIN, Station
from tests.lent import Lent

SITE = """\
[anycast web]
prefixes = 192.0.2.53/32
when = pool:web
neighbors = 10.9.0.2 as=65001 password-file=/etc/secret
local-as = 65010
lease = 2s
"""
KEY = ("10.9.0.2", "192.0.2.53/32")


def settings_of(text: str = SITE) -> AnycastSettings:
    """The settings of a section."""
    settings: AnycastSettings = read(text, "x.ini", [SECTION]).sections[0].settings
    return settings


class Member:
    """A section that is announced while `on`."""

    def __init__(self, text: str = SITE) -> None:
        self.settings = settings_of(text)
        self.passwords: Mapping[str, bytes] = {"10.9.0.2": b"secret"}
        self.on = True
        self.lapses: list[float] = []
        self.reports = 0

    def routes(self) -> Mapping[Key, Route]:
        """What it wants."""
        return self.settings.routes(UP) if self.on else {}

    def reported(self) -> None:
        """It is told."""
        self.reports += 1

    def lapsed(self, now: float) -> None:
        """It is told, and wants nothing then."""
        self.lapses.append(now)
        self.on = False


class Transport(StringTransport):
    """A unix socket's."""

    aborted = False

    def abortConnection(self) -> None:
        """Remember it, and be gone."""
        self.aborted = True
        self.link.connectionLost()

    link: Any


class FakeSocket:
    """A socket that is bound."""

    closed = False

    def fileno(self) -> int:
        """Any number."""
        return 99

    def close(self) -> None:
        """Remember it."""
        self.closed = True


class FakePort:
    """A port that was adopted."""

    def stopListening(self) -> None:
        """Nothing to do."""


class Reactor(MemoryReactorClock):
    """A reactor that adopts unix sockets, and has processes."""

    factory: Any = None
    spawned = 0

    def adoptStreamPort(self, fileno: int, family: int, factory: Any) -> Any:
        """Remember who wants the connections."""
        assert family == socket.AF_UNIX
        self.factory = factory
        return FakePort()

    def spawnProcess(self, protocol: Any, *args: Any, **more: Any) -> None:
        """Start nothing."""
        self.spawned += 1
        self.protocol = protocol
        self.signals: list[str] = []
        protocol.transport = self
        self.pid = 1000 + self.spawned

    def signalProcess(self, name: str) -> None:
        """Remember it."""
        self.signals.append(name)


class Context(Lent):
    """What the station takes from a site."""

    def __init__(self) -> None:
        self.reactor = Reactor()


class StationTestCase(SynchronousTestCase):
    """A station, its member, and helpers."""

    name = ""

    def setUp(self) -> None:
        """Make it, and start it."""
        self.uid: int = 0
        self.pid: int = 4711
        self.ours: str = "10.9.0.1"
        self.patch(protocol, "uid_of", lambda transport: self.uid)
        self.patch(protocol, "pid_of", lambda transport: self.pid)
        self.patch(reach, "local_address", lambda neighbor: self.ours)
        self.context = Context()
        self.reactor = self.context.reactor
        self.sockets: list[FakeSocket] = []
        self.files: dict[str, bytes] = {}
        self.station = Station(self.context, self.name, self.bind, self.write)  # type: ignore[arg-type]
        if self.station.exabgp.program is not None:
            self.station.exabgp.program.find = lambda: "/usr/sbin/exabgp"
        self.member = Member()
        self.station.open()
        self.station.join(self.member)

    def bind(self, name: str) -> Any:
        """Bind nothing."""
        self.sockets.append(FakeSocket())
        return self.sockets[-1]

    def write(self, path: str, data: bytes) -> Deferred[None]:
        """Write nothing."""
        self.files[path] = data
        return succeed(None)

    def helper(self, token: str | None = None) -> Link:
        """A helper that connects and says who it is."""
        link: Link = self.reactor.factory.buildProtocol(None)
        transport = Transport()
        transport.link = link
        link.makeConnection(transport)
        if not transport.aborted:
            own = self.station.exabgp.token if token is None else token
            link.dataReceived(encode(Hello(50, 40, own)))
        return link

    def told(self, link: Link) -> list[Frame]:
        """What the helper was told since it was asked last."""
        lines = link.transport.value().decode().splitlines()
        link.transport.clear()
        return [decode(line) for line in lines]

    def report(self, link: Link, *announced: Key, **changes: Any) -> None:
        """The helper says that all is as it shall be."""
        report = Report(self.station.wishes.serial, True, False, announced)._replace(**changes)
        link.dataReceived(encode(report))


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

    def test_full_pipe(self) -> None:
        """While a helper does not read, wishes do not gather: it gets the latest one then."""
        link = self.helper()
        self.told(link)
        link.pauseProducing()
        self.reactor.pump([0.5] * 4)
        self.assertEqual([], self.told(link))
        link.resumeProducing()
        self.assertEqual(1, len(self.told(link)))

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

    def test_orphan(self) -> None:
        """The helper of another balancer's ExaBGP is told to quit, and to announce nothing."""
        orphan = self.helper("other")
        self.assertEqual([Quit()], self.told(orphan))
        self.reactor.advance(5.0)
        self.report(orphan, KEY)
        self.assertEqual([], self.told(orphan))
        self.assertFalse(self.station.wishes.may_have(KEY[1]))

    def test_second_helper(self) -> None:
        """The latest helper is the one; the one before is hung up on."""
        first, second = self.helper(), self.helper()
        self.assertTrue(first.transport.aborted)
        self.assertEqual(1, len(self.told(second)))

    def test_strangers(self) -> None:
        """Who may not speak to us is hung up on, and so is who comes on top of many, and who says
        what is no frame."""
        self.uid = 12345
        self.assertTrue(self.helper().transport.aborted)
        self.uid = 0
        for _ in range(MAX_LINKS):
            self.assertFalse(self.helper("other").transport.aborted)
        self.assertTrue(self.helper("other").transport.aborted)
        link = self.reactor.factory.links[0]
        link.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTrue(link.transport.aborted)

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
        self.helper()
        self.assertEqual("", self.station.fault())

    def test_unreachable(self) -> None:
        """A neighbor that there is no route to is left out, told of, and looked for again."""
        self.ours = ""
        self.reactor.advance(ORPHAN_WITHIN)
        self.helper()
        self.assertEqual("there is no route to 10.9.0.2", self.station.fault())
        self.assertNotIn(b"neighbor", next(iter(self.files.values())))
        self.ours = "10.9.0.1"
        self.reactor.advance(LOOK_EVERY)
        self.assertEqual(["TERM"], self.reactor.signals)
        self.assertIn(b"neighbor 10.9.0.2", next(iter(self.files.values())))

    def test_unwritten(self) -> None:
        """A configuration that cannot be written is written later."""
        spawned = self.station.exabgp._spawned
        assert spawned is not None
        good = spawned._write
        spawned._write = lambda path, data: fail(OSError(28, "No space left on device"))
        self.reactor.advance(ORPHAN_WITHIN)
        self.assertEqual(0, self.reactor.spawned)
        spawned._write = good
        self.reactor.advance(LOOK_EVERY)
        self.assertEqual(1, self.reactor.spawned)

    def test_changed_while_written(self) -> None:
        """What changes while the file is written is written after that, and ExaBGP starts with
        it."""
        spawned = self.station.exabgp._spawned
        assert spawned is not None
        writing: list[tuple[bytes, Deferred[None]]] = []

        def slowly(path: str, data: bytes) -> Deferred[None]:
            writing.append((data, Deferred()))
            return writing[-1][1]
        spawned._write = slowly
        self.reactor.advance(ORPHAN_WITHIN)
        other = Member(SITE.replace("10.9.0.2", "10.9.0.3").replace("0.2.53", "0.2.54"))
        self.station.join(other)
        self.assertEqual(1, len(writing))
        writing[0][1].callback(None)
        self.assertEqual((2, 0), (len(writing), self.reactor.spawned))
        self.assertIn(b"neighbor 10.9.0.3", writing[1][0])
        writing[1][1].callback(None)
        self.assertEqual(1, self.reactor.spawned)

    def test_ended_while_written(self) -> None:
        """What changes while the file is written comes into it also if ExaBGP ends meanwhile."""
        spawned = self.station.exabgp._spawned
        assert spawned is not None
        self.reactor.advance(ORPHAN_WITHIN)
        writing: list[tuple[bytes, Deferred[None]]] = []

        def slowly(path: str, data: bytes) -> Deferred[None]:
            writing.append((data, Deferred()))
            return writing[-1][1]
        spawned._write = slowly
        for last in "34":
            text = SITE.replace("10.9.0.2", f"10.9.0.{last}").replace("0.2.53", f"0.2.5{last}")
            self.station.join(Member(text))
            self.station._ended()
        writing[0][1].callback(None)
        self.assertEqual(2, len(writing))
        self.assertIn(b"neighbor 10.9.0.4", writing[1][0])

    def test_stopped_while_written(self) -> None:
        """A stop while the file is written starts nothing after it."""
        spawned = self.station.exabgp._spawned
        assert spawned is not None
        writing: Deferred[None] = Deferred()
        spawned._write = lambda path, data: writing
        self.reactor.advance(ORPHAN_WITHIN)
        self.successResultOf(self.station.leave(self.member))
        writing.callback(None)
        self.assertEqual((0, []), (self.reactor.spawned, self.reactor.getDelayedCalls()))

    def test_sessions(self) -> None:
        """States of neighbors are kept, and all are down when ExaBGP ends."""
        self.reactor.advance(ORPHAN_WITHIN)
        link = self.helper()
        link.dataReceived(encode(Neighbor("10.9.0.2", "up")))
        self.report(link, KEY)
        self.assertEqual("up", self.station.exabgp.sessions["10.9.0.2"].state)
        self.station._ended()
        self.assertEqual(Neighbor("10.9.0.2", "down", "ExaBGP ended"),
                         self.station.exabgp.sessions["10.9.0.2"])
        self.assertFalse(self.station.wishes.may_have(KEY[1]))

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

    def test_bound_twice(self) -> None:
        """A socket that another balancer has is an error, with what to do."""
        def refuse(name: str) -> Any:
            raise OSError(98, "Address already in use")
        station = Station(self.context, "", refuse, self.write)  # type: ignore[arg-type]
        error = self.assertRaises(PrepareError, station.open)
        self.assertIn("set state in [site]", str(error))

    def test_unused(self) -> None:
        """A socket that nobody came to use is closed."""
        station = Station(self.context, "", self.bind, self.write)  # type: ignore[arg-type]
        station.open()
        station.open()
        station.close_unused()
        self.assertEqual([True], [each.closed for each in self.sockets[1:]])


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
