"""
The helper's table, edge by edge, against an ExaBGP of a few lines that answers as the real one.

    listening -due-> reading            ReadingTests.test_quiet_first
    reading -done-> idle                ReadingTests.test_reconciles
    reading -refused-> listening        ReadingTests.test_refused
    idle -asked-> asking                AskingTests.test_one_in_flight
    idle -read again-> reading          AskingTests.test_refused_withdrawal
    idle -quit-> leaving                LeavingTests.test_quit, test_orphan
    asking -done-> idle                 AskingTests.test_one_in_flight
    asking -refused-> idle              AskingTests.test_refused_announcement
    any -leaving-> leaving              LeavingTests.test_told
"""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from balancer.route.anycast.frames import Heard, Key, Neighbor, Report, Wish
from balancer.route.anycast.lines import (
    SHOW,
    SHUTDOWN,
    Done,
    Kept,
    Leaving,
    Other,
    Refused,
    Route,
    Session,
)
from balancer.route.anycast.speaker import (
    ANSWER_WITHIN,
    ASKING,
    IDLE,
    LEAVING,
    LISTENING,
    MAX_NEIGHBORS,
    ORPHAN_AFTER,
    QUIET,
    READING,
    RETIRES_AFTER,
    RETRY_AFTER,
    TABLE,
    Speaker,
)

A, B = "10.9.0.2", "10.9.0.3"
ONE, TWO = "192.0.2.1/32", "192.0.2.2/32"
LEASE = 3.0


def routes(*pairs: Key, med: int | None = None) -> Mapping[Key, Route]:
    """Routes of the prefixes to the neighbors."""
    return {pair: Route(pair[1], med=med) for pair in pairs}


class World:
    """A speaker and its ExaBGP. `rib` is what that has; commands wait in `asked` to be answered."""

    def __init__(self, *rib: Key, only: tuple[str, ...] = (), orphan: bool = False) -> None:
        self.now = 0.0
        self.rib: dict[Key, str] = dict.fromkeys(rib, "?")
        self.speaker = Speaker(0.0, LEASE, only, orphan)
        self.asked: list[str] = []
        self.log: list[str] = []
        self.eors: list[str] = []
        self.report = Report(0, False, False, ())
        self.neighbors: dict[str, Neighbor] = {}
        self.established: set[str] = set()

    def pump(self) -> None:
        """Take what the speaker says; at most one command waits for an answer."""
        for command in self.speaker.commands():
            self.asked.append(command)
            self.log.append(command)
        assert len(self.asked) <= 1, self.asked
        for frame in self.speaker.frames():
            if isinstance(frame, Report):
                self.report = frame
            elif isinstance(frame, Neighbor):
                self.neighbors[frame.address] = frame

    def wish(self, wished: Mapping[Key, Route], serial: int = 1) -> None:
        """The balancer's word."""
        self.speaker.wish(Wish(serial, LEASE, wished), self.now)
        self.pump()

    def at(self, now: float) -> None:
        """Time passes."""
        self.now = now
        self.speaker.tick(now)
        self.pump()

    def say(self, *said: Done | Refused | Kept | Session | Leaving | Other) -> None:
        """ExaBGP says something."""
        for each in said:
            self.speaker.said(each, self.now)
        self.pump()

    def up(self, neighbor: str) -> None:
        """A session is established."""
        self.established.add(neighbor)
        self.say(Session(neighbor, "up"))

    def answer(self) -> None:
        """Do as the command in flight says, and acknowledge."""
        command = self.asked.pop()
        if command == SHOW:
            self.say(*(Kept(*key) for key in self.rib), Done())
            return
        words = command.replace(",", "").split()
        neighbors = [words[at + 1] for at, word in enumerate(words) if word == "neighbor"]
        rest = words[2 * len(neighbors) :]
        if rest[:2] == ["announce", "eor"]:
            good = set(neighbors) <= self.established
            self.eors += neighbors if good else []
            self.say(Done() if good else Refused())
            return
        for neighbor in neighbors:
            if rest[0] == "announce":
                self.rib[neighbor, rest[2]] = " ".join(rest[3:])
            else:
                self.rib.pop((neighbor, rest[2]), None)
        self.say(Done())

    def settle(self) -> None:
        """Answer all that is asked for."""
        for _ in range(100):
            if not self.asked:
                return
            self.answer()
        raise AssertionError(f"no end of commands: {self.log[-3:]}")

    def started(self) -> World:
        """Past the quiet and the first reading."""
        self.at(QUIET)
        self.settle()
        return self


class TableTests(SynchronousTestCase):
    """The table itself."""

    def test_edges(self) -> None:
        """Nothing leads out of leaving, and ExaBGP's end leads there from everywhere."""
        phases = {LISTENING, READING, IDLE, ASKING, LEAVING}
        self.assertEqual(phases, {phase for phase, _ in TABLE} | set(TABLE.values()))
        self.assertNotIn(LEAVING, {phase for phase, _ in TABLE})
        self.assertEqual(phases - {LEAVING}, {p for p, event in TABLE if event == "leaving"})


class ReadingTests(SynchronousTestCase):
    """The start: what is there already."""

    def test_quiet_first(self) -> None:
        """It says nothing at first, and an answer that is another's is not taken for its own."""
        world = World((A, ONE))
        world.wish({})
        world.say(Done(), Refused(), Kept(B, TWO), Other())
        self.assertEqual(([], LISTENING), (world.log, world.speaker.phase))
        self.assertAlmostEqual(QUIET, world.speaker.deadline())
        world.at(QUIET)
        self.assertEqual(([SHOW], READING), (world.log, world.speaker.phase))

    def test_reconciles(self) -> None:
        """Routes that are not wished are withdrawn, those that are stay and are said again, since
        their attributes are not known."""
        world = World((A, ONE), (A, TWO))
        world.wish(routes((A, ONE), med=5))
        world.started()
        self.assertEqual({(A, ONE): "next-hop self med 5"}, world.rib)
        self.assertEqual(f"neighbor {A} withdraw route {TWO}", world.log[1])
        self.assertEqual(((A, ONE),), world.report.announced)
        self.assertTrue(world.report.settled)

    def test_waits_for_a_wish(self) -> None:
        """Until the balancer says what is to be announced, or its time is over, routes stay."""
        world = World((A, ONE)).started()
        self.assertEqual([SHOW], world.log)
        self.assertFalse(world.report.settled)
        world.at(LEASE - 0.01)
        self.assertEqual([SHOW], world.log)
        world.at(LEASE)
        world.settle()
        self.assertEqual({}, world.rib)
        self.assertTrue(world.report.lapsed)

    def test_refused(self) -> None:
        """If ExaBGP does not say what there is it is asked again later."""
        world = World()
        world.at(QUIET)
        world.asked.clear()
        world.say(Refused())
        self.assertEqual(LISTENING, world.speaker.phase)
        self.assertIn("refused", world.report.fault)
        world.at(QUIET + RETRY_AFTER)
        self.assertEqual([SHOW, SHOW], world.log)

    def test_only_ours(self) -> None:
        """Beside others' routes it touches none but its own, and refuses what is not among these
        with a word."""
        world = World((A, ONE), (A, TWO), only=(ONE,))
        world.wish({})
        world.started()
        self.assertEqual({(A, TWO): "?"}, world.rib)
        world.wish(routes((A, TWO)), 2)
        world.settle()
        self.assertEqual({(A, TWO): "?"}, world.rib)
        self.assertIn(TWO, world.report.fault)


class AskingTests(SynchronousTestCase):
    """One command after the other."""

    def test_one_in_flight(self) -> None:
        """Nothing is said before the last command is answered; neighbors that get the same share
        one."""
        world = World()
        world.wish(routes((A, ONE), (B, ONE), (A, TWO)))
        world.started()
        self.assertEqual(
            [SHOW, f"neighbor {A}, neighbor {B} announce route {ONE} next-hop self",
             f"neighbor {A} announce route {TWO} next-hop self"],
            world.log[:3],
        )
        self.assertEqual(ASKING, asking().speaker.phase)

    def test_latest_wish_wins(self) -> None:
        """However many wishes come while a command is in flight, the latest is what comes next."""
        world = asking()
        for serial in range(2, 500):
            world.wish(routes((A, ONE), med=serial), serial)
        world.settle()
        announcements = [line for line in world.log if "announce route" in line]
        self.assertEqual(2, len(announcements))
        self.assertTrue(announcements[1].endswith("med 499"))
        self.assertEqual(499, world.report.serial)
        self.assertTrue(world.report.settled)

    def test_withdraws_first(self) -> None:
        """What is to go goes before anything comes."""
        world = World()
        world.wish(routes((A, ONE)))
        world.started()
        world.log.clear()
        world.wish(routes((A, TWO)), 2)
        world.settle()
        self.assertIn("withdraw", world.log[0])
        self.assertEqual([(A, TWO)], list(world.rib))

    def test_refused_announcement(self) -> None:
        """A refused announcement is told of, does not keep others back, and is tried again."""
        world = asking()
        world.wish(routes((A, ONE), (A, TWO)), 2)
        world.asked.clear()
        world.say(Refused())
        self.assertIn("refused", world.report.fault)
        world.settle()
        self.assertEqual([(A, TWO)], list(world.rib))
        self.assertFalse(world.report.settled)
        self.assertAlmostEqual(world.now + RETRY_AFTER, world.speaker.deadline())
        world.at(world.now + RETRY_AFTER)
        world.settle()
        self.assertIn((A, ONE), world.rib)
        self.assertEqual("", world.report.fault)

    def test_refused_withdrawal(self) -> None:
        """A refused withdrawal means no such neighbor: what there is is read again. What is still
        there then is withdrawn again."""
        world = World()
        world.wish(routes((A, ONE)))
        world.started()
        world.wish({}, 2)
        world.asked.clear()
        world.say(Refused())
        self.assertEqual((READING, [SHOW]), (world.speaker.phase, world.asked))
        world.answer()
        self.assertEqual(((A, ONE),), world.report.announced)
        self.assertEqual([], world.asked)
        world.at(world.now + RETRY_AFTER)
        world.settle()
        self.assertEqual({}, world.rib)
        self.assertTrue(world.report.settled)

    def test_late(self) -> None:
        """An answer that does not come is told of, and waited for: nothing else is said."""
        world = asking()
        world.at(world.now + ANSWER_WITHIN)
        self.assertTrue(world.report.late)
        self.assertIn("has not answered", world.report.fault)
        world.at(world.now + 100)
        self.assertEqual(1, len(world.asked))
        world.settle()
        self.assertEqual((False, ""), (world.report.late, world.report.fault))

    def test_end_of_rib(self) -> None:
        """A neighbor that comes up hears the end of the RIB once all is announced; one whose
        session is not up is told when it is."""
        world = World()
        world.wish(routes((A, ONE)))
        world.up(A)
        self.assertEqual([], world.eors)
        world.started()
        self.assertEqual([A], world.eors)
        world.say(Session(A, "down", "reset"), Session(A, "connected"))
        self.assertEqual(Neighbor(A, "connected", "reset"), world.neighbors[A])
        world.up(A)
        world.settle()
        self.assertEqual([A, A], world.eors)
        self.assertEqual(Neighbor(A, "up", ""), world.neighbors[A])

    def test_end_of_rib_before(self) -> None:
        """A helper that starts while a session is up says the end of the RIB there, too."""
        world = World((A, ONE))
        world.established.add(A)
        world.wish(routes((A, ONE)))
        world.started()
        self.assertEqual([A], world.eors)

    def test_bounded_neighbors(self) -> None:
        """States are kept for so many neighbors and no more."""
        world = World().started()
        for at in range(MAX_NEIGHBORS + 10):
            world.say(Session(f"10.0.0.{at}", "down"))
        self.assertEqual(MAX_NEIGHBORS, len(world.neighbors))


def asking() -> World:
    """A world with an announcement in flight."""
    world = World().started()
    world.wish(routes((A, ONE)))
    assert len(world.asked) == 1
    return world


class LeaseTests(SynchronousTestCase):
    """The balancer is silent."""

    def test_heard(self) -> None:
        """Every wish is answered, once, though nothing changes by it, and whatever ExaBGP does;
        nothing else is."""
        world = World().started()
        for speaker in (world.speaker, asking().speaker, World().speaker):
            speaker.frames()
            for serial in (1, 1, 2):
                speaker.wish(Wish(serial, LEASE, {}), world.now)
                self.assertEqual([Heard(serial)],
                                 [each for each in speaker.frames() if isinstance(each, Heard)])
                self.assertEqual([], speaker.frames())

    def test_lapses(self) -> None:
        """Without a wish for the time of the lease everything is withdrawn, and a new wish brings
        it back."""
        world = World()
        world.wish(routes((A, ONE)))
        world.started()
        for now in (1.0, 2.0, 3.0):
            world.at(now)
            world.wish(routes((A, ONE)))
        world.at(3.0 + LEASE - 0.01)
        self.assertEqual([(A, ONE)], list(world.rib))
        self.assertAlmostEqual(3.0 + LEASE, world.speaker.deadline())
        world.at(3.0 + LEASE)
        world.settle()
        self.assertEqual(({}, True, True), (world.rib, world.report.lapsed, world.report.settled))
        world.wish(routes((A, ONE)), 2)
        world.settle()
        self.assertEqual((False, [(A, ONE)]), (world.report.lapsed, list(world.rib)))

    def test_lapses_in_flight(self) -> None:
        """What was being announced when the lease ran out is withdrawn as soon as it is there."""
        world = asking()
        world.at(world.now + LEASE)
        world.settle()
        self.assertEqual({}, world.rib)

    def test_end_of_rib_after_lapse(self) -> None:
        """A neighbor that comes up when nobody wishes anything hears that there is nothing."""
        world = World().started()
        world.at(LEASE)
        world.up(A)
        world.settle()
        self.assertEqual([A], world.eors)


class LeavingTests(SynchronousTestCase):
    """The end."""

    def test_quit(self) -> None:
        """Told to quit it ends ExaBGP, after the command in flight, with its routes as they are."""
        world = asking()
        world.speaker.quit(world.now)
        world.pump()
        self.assertEqual(1, len(world.asked))
        world.answer()
        self.assertEqual(([SHUTDOWN], LEAVING), (world.asked, world.speaker.phase))
        self.assertFalse(world.speaker.told_to_leave)
        world.at(world.now + 1000)
        self.assertEqual([SHUTDOWN], world.asked)
        self.assertEqual([(A, ONE)], list(world.rib))

    def test_orphan(self) -> None:
        """An ExaBGP that the balancer started ends when there is none for long; an operator's own
        does not."""
        for orphan in (True, False):
            world = World(orphan=orphan).started()
            world.wish(routes((A, ONE)))
            world.settle()
            world.at(QUIET + LEASE)
            world.settle()
            world.at(QUIET + LEASE + ORPHAN_AFTER)
            self.assertEqual([SHUTDOWN] if orphan else [], world.asked)

    def test_retire(self) -> None:
        """When nobody takes over, all is withdrawn at once, and a second later an ExaBGP that the
        balancer started ends; a wish that comes all the same keeps it."""
        for orphan in (True, False):
            for wished in (True, False):
                world = World(orphan=orphan).started()
                world.wish(routes((A, ONE)))
                world.settle()
                world.speaker.retire(world.now)
                world.pump()
                world.settle()
                self.assertEqual(({}, True), (world.rib, world.report.settled))
                if wished:
                    world.wish(routes((A, ONE)), 2)
                    world.settle()
                world.at(world.now + RETIRES_AFTER)
                self.assertEqual([SHUTDOWN] if orphan and not wished else [], world.asked)
                self.assertEqual([(A, ONE)] if wished else [], list(world.rib))

    def test_retire_in_flight(self) -> None:
        """Where ExaBGP does not answer there is nothing to do at once, however late it is."""
        leaving = World(orphan=True).started()
        leaving.at(LEASE + ORPHAN_AFTER)
        reading = World(orphan=True)
        reading.at(QUIET)
        for world in (leaving, reading):
            world.speaker.retire(world.now)
            world.pump()
            world.at(world.now + ANSWER_WITHIN)
            self.assertEqual(len(world.asked), 1)
            self.assertGreater(world.speaker.deadline(), world.now)

    def test_retire_late(self) -> None:
        """Said after the lease ran out it changes nothing but the end of ExaBGP."""
        world = World(orphan=True).started()
        world.at(LEASE + 5)
        world.speaker.retire(world.now)
        world.at(world.now + RETIRES_AFTER)
        self.assertEqual([SHUTDOWN], world.asked)

    def test_told(self) -> None:
        """When ExaBGP says that it stops nothing is said any more, in whatever phase."""
        reading, idle = World(), World().started()
        reading.at(QUIET)
        for world in (World(), reading, idle, asking()):
            world.asked.clear()
            world.say(Leaving())
            self.assertTrue(world.speaker.told_to_leave)
            world.wish(routes((B, TWO)), 9)
            world.at(world.now + 100)
            self.assertEqual((LEAVING, []), (world.speaker.phase, world.asked))


EVENTS = some.lists(
    some.one_of(
        some.tuples(some.just("wish"), some.sets(some.sampled_from(
            [(A, ONE), (A, TWO), (B, ONE)]))),
        some.tuples(some.just("answer"), some.just(None)),
        some.tuples(some.just("refuse"), some.just(None)),
        some.tuples(some.just("wait"), some.floats(0.0, 4.0)),
        some.tuples(some.just("up"), some.sampled_from([A, B])),
    ),
    max_size=25,
)


class AnyOrderTests(SynchronousTestCase):
    """Whatever happens, in whatever order."""

    @settings(deadline=None, database=None, max_examples=20)
    @given(EVENTS)
    def test_converges(self, events: list[tuple[str, object]]) -> None:
        """There is never more than one command in flight, and when all is answered ExaBGP has what
        was wished last, or nothing after the lease."""
        world = World((B, TWO))
        wished: Mapping[Key, Route] = {}
        for serial, (what, value) in enumerate(events):
            if what == "wish":
                wished = routes(*value)  # type: ignore[misc]
                world.wish(wished, serial)
            elif what == "answer" and world.asked:
                world.answer()
            elif what == "refuse" and world.asked:
                world.asked.clear()
                world.say(Refused())
            elif what == "wait":
                world.at(world.now + float(value))  # type: ignore[arg-type]
            elif what == "up":
                world.up(str(value))
        for _ in range(4):
            world.wish(wished, 1000)
            world.at(world.now + RETRY_AFTER)
            world.settle()
        self.assertEqual(set(wished), set(world.rib))
        self.assertTrue(world.report.settled)
        world.at(world.now + LEASE)
        world.settle()
        world.at(world.now + RETRY_AFTER)
        world.settle()
        self.assertEqual({}, world.rib)
