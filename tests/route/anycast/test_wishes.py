"""What is wished and known of one helper: its state table, serials, what may be announced."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.route.anycast.frames import Report, Wish
from balancer.route.anycast.lines import Route
from balancer.route.anycast.wishes import (
    ASKED,
    AWAY,
    EVENTS,
    NOTHING,
    READY,
    SILENT,
    STATES,
    TABLE,
    News,
    Wishes,
)

ONE, TWO = ("10.9.0.2", "192.0.2.53/32"), ("10.9.0.3", "192.0.2.54/32")
LEASE = 2.0


def routes(*keys: tuple[str, str]) -> dict[tuple[str, str], Route]:
    """Routes without attributes."""
    return {key: Route(key[1]) for key in keys}


class WishesTestCase(SynchronousTestCase):
    """A station's wishes; renewals began at 0."""

    def setUp(self) -> None:
        """Begin."""
        self.wishes = Wishes()
        self.wishes.begin(0.0)

    def bring(self, state: str) -> None:
        """The helper is in that state at second 10, when its wish came at 5."""
        self.setUp()
        if state != AWAY:
            self.wishes.came()
        if state in (ASKED, SILENT):
            self.wishes.renew({}, LEASE, 5.0)
        if state == SILENT:
            self.assertTrue(self.wishes.falls_silent(10.0, LEASE))
        self.assertEqual(state, self.wishes.state)

    def report(self, *announced: tuple[str, str], settled: bool = True) -> News:
        """The helper reports of the latest wish."""
        return self.wishes.take(Report(self.wishes.serial, settled, False, announced))


class TableTests(WishesTestCase):
    """The state table."""

    def test_closed(self) -> None:
        """It speaks of its states and events alone, and none of them is never used."""
        self.assertEqual({state for state, _ in TABLE}, set(STATES))
        self.assertEqual(set(TABLE.values()), set(STATES))
        self.assertEqual({event for _, event in TABLE}, set(EVENTS))

    def test_every_cell(self) -> None:
        """Each call does what the table says in each state, and nothing elsewhere."""
        calls = {
            "came": lambda: self.wishes.came(),
            "went": lambda: self.wishes.went(),
            "wished": lambda: self.wishes.renew({}, LEASE, 10.0),
            "answered": lambda: self.wishes.answered(),
            "overdue": lambda: self.wishes.falls_silent(10.0, LEASE),
            "overslept": lambda: self.wishes.overslept(10.0, LEASE),
        }
        self.assertEqual(set(EVENTS), set(calls))
        for state in STATES:
            for event, call in calls.items():
                self.bring(state)
                call()
                self.assertEqual(TABLE.get((state, event), state), self.wishes.state,
                                 (state, event))


class RenewalTests(WishesTestCase):
    """What is sent, and when somebody is late."""

    def test_serial(self) -> None:
        """The serial grows when the routes are others; each renewal tells them all."""
        self.wishes.came()
        for serial, keys in ((1, (ONE,)), (1, (ONE,)), (2, (ONE, TWO)), (3, ()), (3, ())):
            wish = self.wishes.renew(routes(*keys), LEASE, 0.0)
            self.assertEqual(Wish(serial, LEASE, routes(*keys)), wish)

    def test_nobody(self) -> None:
        """Without a helper there is nothing to send; the serial grows all the same."""
        self.assertIsNone(self.wishes.renew(routes(ONE), LEASE, 0.0))
        self.wishes.came()
        self.assertEqual(Wish(1, LEASE, routes(ONE)), self.wishes.renew(routes(ONE), LEASE, 0.0))

    def test_first_unanswered(self) -> None:
        """The first wish without an answer counts, whatever is renewed meanwhile; it is told
        once."""
        self.wishes.came()
        for at in range(5):
            self.wishes.renew({}, LEASE, at * 0.5)
            self.assertFalse(self.wishes.falls_silent(at * 0.5, LEASE))
        self.assertTrue(self.wishes.falls_silent(2.1, LEASE))
        self.assertFalse(self.wishes.falls_silent(9.0, LEASE))

    def test_answers(self) -> None:
        """An answer makes good for all wishes before it, and ends a silence."""
        self.wishes.came()
        self.wishes.renew({}, LEASE, 0.0)
        self.assertFalse(self.wishes.answered())
        self.assertFalse(self.wishes.falls_silent(9.0, LEASE))
        self.wishes.renew({}, LEASE, 9.0)
        self.assertTrue(self.wishes.falls_silent(11.1, LEASE))
        self.assertTrue(self.wishes.answered())
        self.assertEqual(READY, self.wishes.state)

    def test_overslept(self) -> None:
        """Who stood still for more than a lease learns for how long; the helper has a lease from
        the next wish on."""
        self.wishes.came()
        self.wishes.renew({}, LEASE, 1.0)
        self.assertEqual(0.0, self.wishes.overslept(3.0, LEASE))
        self.assertEqual(6.5, self.wishes.overslept(7.5, LEASE))
        self.wishes.renew({}, LEASE, 7.5)
        self.assertEqual(0.0, self.wishes.overslept(7.5, LEASE))
        self.assertFalse(self.wishes.falls_silent(9.5, LEASE))
        self.assertTrue(self.wishes.falls_silent(9.6, LEASE))


class KnownTests(WishesTestCase):
    """What may be announced."""

    def test_told_is_maybe(self) -> None:
        """What the helper was told may be announced, until it acknowledges another wish."""
        self.wishes.came()
        self.wishes.renew(routes(ONE), LEASE, 0.0)
        self.wishes.renew({}, LEASE, 0.0)
        self.report(ONE, settled=False)
        self.assertTrue(self.wishes.may_have(ONE[1]))
        self.assertFalse(self.wishes.clear_of([ONE]))
        self.report()
        self.assertFalse(self.wishes.may_have(ONE[1]))
        self.assertTrue(self.wishes.clear_of([ONE]))

    def test_told_alone(self) -> None:
        """What the helper was just told may be announced before it says a word."""
        self.wishes.came()
        self.report()
        self.wishes.renew(routes(ONE), LEASE, 0.0)
        self.assertEqual((True, False),
                         (self.wishes.may_have(ONE[1]), self.wishes.may_have(TWO[1])))

    def test_old_report(self) -> None:
        """A report of an earlier wish acknowledges nothing."""
        self.wishes.came()
        self.wishes.renew(routes(ONE), LEASE, 0.0)
        self.wishes.renew({}, LEASE, 0.0)
        self.wishes.take(Report(1, True, False, ()))
        self.assertEqual((False, False), (self.wishes.acknowledged, self.wishes.clear_of([ONE])))

    def test_never_told(self) -> None:
        """Before any helper came nothing is announced; one that came may have what it has from
        another balancer, until it reports."""
        self.assertTrue(self.wishes.clear_of([ONE]))
        self.wishes.came()
        self.wishes.renew(routes(TWO), LEASE, 0.0)
        self.assertFalse(self.wishes.clear_of([ONE]))
        self.report(TWO)
        self.assertEqual((True, False),
                         (self.wishes.clear_of([ONE]), self.wishes.clear_of([ONE, TWO])))

    def test_went(self) -> None:
        """A helper that goes leaves what it announced; the next one says what there is."""
        self.wishes.came()
        self.wishes.renew(routes(ONE), LEASE, 0.0)
        self.report(ONE)
        self.wishes.renew({}, LEASE, 0.0)
        self.wishes.went()
        self.assertEqual((False, False), (self.wishes.acknowledged, self.wishes.clear_of([ONE])))
        self.wishes.came()
        self.report()
        self.assertTrue(self.wishes.clear_of([ONE]))

    def test_another_comes(self) -> None:
        """The word of one helper is not that of the next: it may have what nobody knows of."""
        self.wishes.came()
        self.wishes.renew({}, LEASE, 0.0)
        self.report()
        self.assertTrue(self.wishes.acknowledged)
        self.wishes.went()
        self.wishes.came()
        self.assertEqual((False, False), (self.wishes.acknowledged, self.wishes.clear_of([ONE])))

    def test_forgotten(self) -> None:
        """With ExaBGP's end its routes are gone, and its faults."""
        self.wishes.came()
        self.wishes.renew(routes(ONE), LEASE, 0.0)
        self.wishes.take(Report(1, True, False, (ONE,), "a fault"))
        self.wishes.forget()
        self.assertEqual((NOTHING, False), (self.wishes.report, self.wishes.may_have(ONE[1])))

    def test_news(self) -> None:
        """Each fault, and that ExaBGP is late or the lease had run out, is news once while it
        lasts, and again when it comes again."""
        bad = Report(0, False, True, (), "a fault", True)
        self.assertEqual(News("a fault", True, True), self.wishes.take(bad))
        self.assertEqual(News("", False, False), self.wishes.take(bad))
        self.assertEqual(News("another", False, False),
                         self.wishes.take(bad._replace(fault="another")))
        self.assertEqual(News("", False, False), self.wishes.take(NOTHING))
        self.assertEqual(News("a fault", True, True), self.wishes.take(bad))
