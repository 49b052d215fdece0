"""Our own ExaBGP: its configuration's file, its neighbors, its sessions."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from balancer.route.anycast import reach
from balancer.route.anycast.exabgp import Exabgp, ours
from balancer.route.anycast.frames import MAX_ROUTES, Neighbor, encode
from balancer.route.anycast.members import Members
from balancer.route.anycast.station import LOOK_EVERY, ORPHAN_WITHIN
from tests.route.anycast.stations import (
    KEY,
    SITE,
    Context,
    Member,
    StationTestCase,
    settings_of,
)


class ExabgpTests(StationTestCase):
    """Of a station that has one."""

    def setUp(self) -> None:
        """Start it."""
        super().setUp()
        self.station.start()

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

    def test_ended(self) -> None:
        """When it ends its file is written again, whatever became of it."""
        self.reactor.advance(ORPHAN_WITHIN)
        before = dict(self.files)
        self.files.clear()
        self.station._ended()
        self.assertEqual(before, self.files)

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


class AloneTests(SynchronousTestCase):
    """Without a station."""

    def setUp(self) -> None:
        """One that is an operator's, and one of ours that is never started."""
        self.patch(reach, "local_address", lambda neighbor: "10.9.0.1")
        self.members = Members()
        self.members.join(Member())
        context = Context()
        self.theirs = Exabgp(self.members, "name")
        self.spawned = ours(context, self.write, started=lambda: None,  # type: ignore[arg-type]
                            ended=lambda: None, unwritten=lambda: None)
        self.spawned.program.find = lambda: None
        self.ours = Exabgp(self.members, "name", self.spawned)

    def write(self, path: str, data: bytes) -> Deferred[None]:
        """Write nothing."""
        return succeed(None)

    def test_configuration(self) -> None:
        """Ours has its token and secrets; an operator's is shown without, and for our prefixes
        alone."""
        text = self.ours.configuration()
        self.assertEqual((True, True, False), (
            f"--token {self.ours.token}" in text, "c2VjcmV0" in text, "--only" in text))
        text = self.theirs.configuration()
        self.assertEqual(("", False, False, True), (
            self.theirs.token, "--token" in text, "c2VjcmV0" in text,
            "--only 192.0.2.53/32" in text))

    def test_lease(self) -> None:
        """Another lease makes no other configuration: for that nothing is started again."""
        before = self.ours.configuration()
        self.assertIn("--lease 2 ", before)
        (member,) = self.members
        member.settings = settings_of(SITE.replace("lease = 2s", "lease = 1s"))
        self.assertEqual(before, self.ours.configuration())

    def test_fault(self) -> None:
        """A program that is not there is a fault; an operator's is not ours to start."""
        self.assertEqual(("", ""), (self.ours.fault(), self.theirs.fault()))
        for each in (self.ours, self.theirs):
            each.refresh()
        self.addCleanup(self.ours.stop)
        self.assertIn("not installed", self.ours.fault())
        self.theirs.lacks_helper()
        self.theirs.kill()
        self.assertEqual(("", "external"), (self.theirs.fault(), self.theirs.status()["run"]))

    def test_many_sessions(self) -> None:
        """Sessions are bounded; those that are known still change."""
        for number in range(MAX_ROUTES + 5):
            self.ours.session(Neighbor(str(number), "up"))
        self.ours.session(Neighbor("0", "down", "Cease"))
        self.assertEqual((MAX_ROUTES, "down"),
                         (len(self.ours.sessions), self.ours.sessions["0"].state))
