"""
The announcer's table, edge by edge, and how long a prefix waits.

`EdgeTests` walks each pair of state and event: those of the table lead where it says, all others
change nothing. The rest is what the states mean.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from balancer.route.anycast.announcer import (
    DOWN,
    DRAINING,
    EVENTS,
    GONE,
    HELD,
    KEPT,
    PLACING,
    STATES,
    TABLE,
    UP,
    Announcer,
    Timing,
)
from balancer.route.anycast.damping import Damping, Patience

TIMING = Timing(10.0, 5.0, Damping(3, 60.0))

WAY = {
    DOWN: (),
    HELD: ("healthy",),
    PLACING: ("healthy", "due"),
    UP: ("healthy", "due", "placed"),
    KEPT: ("healthy", "due", "placed", "alone"),
    DRAINING: ("healthy", "due", "placed", "drain"),
    GONE: ("leave",),
}
"""How each state is reached from the start."""


class World:
    """An announcer and its clock."""

    def __init__(self, timing: Timing = TIMING, state: str = DOWN) -> None:
        self.now = 100.0
        self.announcer = Announcer(timing)
        for event in WAY[state]:
            self.do(event)
        assert self.announcer.state == state

    def do(self, event: str) -> bool:
        """Let it happen; `due` at its time."""
        announcer, now = self.announcer, self.now
        if event == "due":
            self.now = max(now, announcer.until or now)
            return announcer.tick(self.now)
        return {
            "healthy": lambda: announcer.judge("", now),
            "failed": lambda: announcer.judge("pool:web has no server up", now),
            "alone": lambda: announcer.judge("pool:web has no server up", now, True),
            "regretted": lambda: announcer.regret(now),
            "placed": lambda: announcer.placing("", now),
            "misplaced": lambda: announcer.placing("no such device", now),
            "lapsed": lambda: announcer.lapsed(now),
            "drain": lambda: announcer.drain(now),
            "leave": lambda: announcer.leave(now),
        }[event]()


class EdgeTests(SynchronousTestCase):
    """All pairs."""

    def test_every_pair(self) -> None:
        """An event leads where the table says, or nowhere."""
        for state in STATES:
            for event in EVENTS:
                world = World(state=state)
                moved = world.do(event)
                expected = TABLE.get((state, event), state)
                self.assertEqual(expected, world.announcer.state, (state, event))
                self.assertEqual(expected != state, moved, (state, event))

    def test_table(self) -> None:
        """No way leads out of gone; failing, lapsing or leaving never leads to an announcement,
        and what is kept is never left for anything but health, a withdrawal or the way out."""
        for (state, event), after in TABLE.items():
            self.assertNotEqual(GONE, state)
            if event in ("failed", "lapsed", "leave", "misplaced", "healthy") and state != KEPT:
                self.assertNotIn(after, (UP, KEPT, DRAINING), (state, event))
        for after, edges in (
            (DRAINING, [(UP, "drain"), (KEPT, "drain")]),
            (UP, [(PLACING, "placed"), (KEPT, "healthy")]),
            (KEPT, [(DOWN, "regretted"), (UP, "alone")]),
        ):
            self.assertEqual(edges, [edge for edge, other in TABLE.items() if other == after])


class MeaningTests(SynchronousTestCase):
    """What states stand for."""

    def test_announced(self) -> None:
        """It is announced while it is up or drains; addresses are in place a step before that."""
        announced = [state for state in STATES if World(state=state).announcer.announced]
        placed = [state for state in STATES if World(state=state).announcer.placed]
        self.assertEqual(([UP, KEPT, DRAINING], [PLACING, UP, KEPT, DRAINING]),
                         (announced, placed))

    def test_hold_down(self) -> None:
        """It waits for all of hold-down, and from the start when it failed meanwhile."""
        world = World()
        world.do("healthy")
        self.assertEqual(110.0, world.announcer.until)
        self.assertFalse(world.announcer.tick(109.9))
        world.now = 105.0
        world.do("failed")
        self.assertIsNone(world.announcer.until)
        self.assertEqual("pool:web has no server up", world.announcer.reason)
        world.do("healthy")
        self.assertEqual(115.0, world.announcer.until)
        self.assertFalse(world.announcer.tick(110.0))
        self.assertTrue(world.announcer.tick(115.0))

    def test_no_hold_down(self) -> None:
        """Without hold-down it is due at once."""
        world = World(Timing(0.0, 0.0, None))
        world.do("healthy")
        self.assertTrue(world.announcer.tick(world.now))

    def test_lapsed_holds_again(self) -> None:
        """After the balancer was silent hold-down begins anew, also where it was waiting."""
        world = World(state=UP)
        world.now = 200.0
        self.assertTrue(world.do("lapsed"))
        self.assertEqual((HELD, 210.0), (world.announcer.state, world.announcer.until))
        world.now = 205.0
        self.assertFalse(world.do("lapsed"))
        self.assertEqual(215.0, world.announcer.until)

    def test_drain_waits(self) -> None:
        """It drains for drain-wait, or until it fails."""
        world = World(state=DRAINING)
        self.assertEqual(world.now + 5.0, world.announcer.until)
        self.assertTrue(world.do("due"))
        self.assertEqual(GONE, world.announcer.state)
        world = World(state=DRAINING)
        world.do("failed")
        self.assertEqual((GONE, None), (world.announcer.state, world.announcer.until))

    def test_kept(self) -> None:
        """What the last site keeps is no withdrawal; it is one when another site comes up. Health
        makes it an announcement like others without hold-down, since it never went."""
        world = World(state=KEPT)
        self.assertEqual((0, 1, "pool:web has no server up"), (
            world.announcer.withdrawals, world.announcer.kept, world.announcer.reason))
        self.assertFalse(world.announcer.judge("http:www is not healthy", world.now, True))
        self.assertEqual("http:www is not healthy", world.announcer.reason)
        self.assertTrue(world.do("healthy"))
        self.assertEqual((UP, None, ""), (
            world.announcer.state, world.announcer.until, world.announcer.reason))
        world.do("alone")
        world.do("failed")
        self.assertEqual((DOWN, 1, 2), (
            world.announcer.state, world.announcer.withdrawals, world.announcer.kept))
        self.assertTrue(world.do("regretted"))
        self.assertEqual(3, world.announcer.kept)

    def test_reason_follows(self) -> None:
        """While it is down the reason is the latest one."""
        announcer = Announcer(TIMING)
        announcer.judge("one", 0.0)
        self.assertEqual("one", announcer.reason)
        announcer.judge("two", 1.0)
        self.assertEqual("two", announcer.reason)
        announcer.judge("", 2.0)
        self.assertEqual("", announcer.reason)

    @settings(deadline=None, database=None, max_examples=20)
    @given(some.lists(some.tuples(some.sampled_from(EVENTS), some.floats(0.0, 20.0)), max_size=30))
    def test_never_without_service(self, events: list[tuple[str, float]]) -> None:
        """In whatever order things happen, it is announced as up only when the last word on its
        service was that it is healthy, for all of hold-down, unless it was kept until then; and
        kept only after the word that no other site is up."""
        world = World()
        healthy_since: float | None = None
        kept = False
        for event, passed in events:
            world.now += passed
            was = world.announcer.state
            world.do(event)
            kept = world.announcer.state == KEPT or (kept and world.announcer.state == UP)
            if event in ("failed", "alone"):
                healthy_since = None
            elif event == "healthy" and healthy_since is None:
                healthy_since = world.now
            if world.announcer.state == KEPT:
                self.assertTrue(event in ("alone", "regretted") or was == KEPT)
            elif world.announcer.state == UP and not kept:
                assert healthy_since is not None
                self.assertGreaterEqual(world.now, healthy_since + TIMING.hold_down)


class DampingTests(SynchronousTestCase):
    """What flaps waits longer."""

    def flap(self, world: World, passed: float) -> None:
        """Up, and down after that time."""
        world.do("healthy")
        world.do("due")
        world.do("placed")
        world.now += passed
        world.do("failed")

    def test_damped(self) -> None:
        """Three withdrawals in a minute make it wait for a minute from the last one."""
        world = World()
        for _ in range(2):
            self.flap(world, 1.0)
            world.do("healthy")
            self.assertFalse(world.announcer.damped)
            world.do("failed")
        self.flap(world, 1.0)
        last = world.now
        world.now += 2.0
        world.do("healthy")
        self.assertEqual((last + 60.0, True, "damped", 3), (
            world.announcer.until, world.announcer.damped, world.announcer.reason,
            world.announcer.withdrawals,
        ))
        world.do("failed")
        self.assertFalse(world.announcer.damped)
        world.now = last + 61.0
        world.do("healthy")
        self.assertEqual(world.now + 10.0, world.announcer.until)

    def test_slow_flaps(self) -> None:
        """Withdrawals that are further apart are none too many."""
        world = World()
        for _ in range(10):
            self.flap(world, 30.0)
        world.do("healthy")
        self.assertFalse(world.announcer.damped)

    def test_off(self) -> None:
        """Without damping nothing is remembered."""
        world = World(Timing(10.0, 5.0, None))
        for _ in range(10):
            self.flap(world, 0.0)
            world.do("healthy")
            self.assertEqual(world.now + 10.0, world.announcer.until)
            world.do("failed")

    def test_bounded(self) -> None:
        """No more withdrawals are remembered than count."""
        patience, damping = Patience(), Damping(3, 60.0)
        for at in range(1000):
            patience.withdrawn(float(at))
            patience.damped(float(at), damping)
            self.assertLessEqual(len(patience._withdrawals), 3)

    @settings(deadline=None, database=None, max_examples=20)
    @given(some.lists(some.floats(0.0, 50.0), max_size=20))
    def test_as_defined(self, gaps: list[float]) -> None:
        """It is damped exactly when the last three are within the period, and the last is no older
        than that."""
        patience, damping, times = Patience(), Damping(3, 60.0), [0.0]
        for gap in gaps:
            times.append(times[-1] + gap)
        for time in times:
            patience.withdrawn(time)
        now = times[-1] + 30.0
        last = times[-3:]
        expected = len(last) == 3 and last[-1] - last[0] <= 60.0
        self.assertEqual(expected, patience.damped(now, damping))
        self.assertFalse(patience.damped(times[-1] + 60.0, damping))
