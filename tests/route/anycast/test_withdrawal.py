"""How a section leaves: the state table, and how long each state lasts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.route.anycast.withdrawal import (
    ACKNOWLEDGED_WITHIN,
    EVENTS,
    LEAVING,
    SETTLED_AFTER,
    SETTLING,
    STATES,
    STAYING,
    TABLE,
    UNHEARD,
    WITHDRAWN,
    Withdrawal,
)

LATER = 1000.0
DRAIN_WAIT = 3.0


class TableTests(SynchronousTestCase):
    """The state table."""

    def bring(self, state: str) -> Withdrawal:
        """One in that state."""
        found = Withdrawal()
        if state != STAYING:
            found.ask(0.0, True, DRAIN_WAIT)
        if state in (SETTLING, WITHDRAWN):
            found.clear(0.0)
        if state in (WITHDRAWN, UNHEARD):
            found.tick(LATER)
        self.assertEqual(state, found.state)
        return found

    def test_closed(self) -> None:
        """It speaks of its states and events alone, and none of them is never used."""
        self.assertEqual({*TABLE.values(), *(state for state, _ in TABLE)}, set(STATES))
        self.assertEqual({event for _, event in TABLE}, set(EVENTS))

    def test_every_cell(self) -> None:
        """Each call does what the table says in each state, and nothing elsewhere."""
        calls = {
            "asked": lambda each: each.ask(LATER, True, DRAIN_WAIT),
            "idle": lambda each: each.skip(),
            "clear": lambda each: each.clear(LATER),
            "due": lambda each: each.tick(LATER),
        }
        self.assertEqual(set(EVENTS), set(calls))
        for state in STATES:
            for event, call in calls.items():
                found = self.bring(state)
                until = found.until
                call(found)
                self.assertEqual(TABLE.get((state, event), state), found.state, (state, event))
                if (state, event) not in TABLE:
                    self.assertEqual(until, found.until)

    def test_asked_and_over(self) -> None:
        """It was asked for in each state but the first, and others may drain in the last ones."""
        self.assertEqual({LEAVING, SETTLING, WITHDRAWN, UNHEARD},
                         {each for each in STATES if self.bring(each).asked})
        self.assertEqual({WITHDRAWN, UNHEARD},
                         {each for each in STATES if self.bring(each).over})


class TimeTests(SynchronousTestCase):
    """How long that takes."""

    def test_announced(self) -> None:
        """What is announced drains, and routers have a second from the helper's word on."""
        found = Withdrawal()
        self.assertTrue(found.ask(10.0, True, DRAIN_WAIT))
        self.assertFalse(found.ask(11.0, False, 0.0))
        self.assertEqual(10.0 + DRAIN_WAIT + ACKNOWLEDGED_WITHIN, found.until)
        self.assertTrue(found.clear(13.5))
        self.assertFalse(found.clear(14.0))
        self.assertEqual(13.5 + SETTLED_AFTER, found.until)
        self.assertFalse(found.tick(14.4))
        self.assertTrue(found.tick(14.5))
        self.assertFalse(found.tick(15.0))
        self.assertEqual((WITHDRAWN, None), (found.state, found.until))

    def test_not_announced(self) -> None:
        """What is not announced has nothing to drain, and no router to wait for."""
        found = Withdrawal()
        found.ask(10.0, False, DRAIN_WAIT)
        self.assertEqual(10.0 + ACKNOWLEDGED_WITHIN, found.until)
        found.clear(10.0)
        self.assertTrue(found.tick(10.0))

    def test_unheard(self) -> None:
        """Without the helper's word it is over all the same, and known for that."""
        found = Withdrawal()
        found.ask(0.0, True, DRAIN_WAIT)
        self.assertFalse(found.tick(7.9))
        self.assertTrue(found.tick(8.0))
        self.assertEqual((UNHEARD, False), (found.state, found.clear(9.0)))

    def test_idle(self) -> None:
        """What was never at work is withdrawn at once; what leaves already is not hurried."""
        found = Withdrawal()
        found.skip()
        self.assertEqual((WITHDRAWN, None), (found.state, found.until))
        found = Withdrawal()
        found.ask(0.0, True, DRAIN_WAIT)
        found.skip()
        self.assertEqual(LEAVING, found.state)
