"""The tables of one request's life."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.http import exchange
from balancer.http.exchange import (
    ANSWERING,
    ASKED,
    CLOSING,
    CONNECTING,
    FOLLOWS,
    FULL,
    HEAD,
    IDLE,
    NAMES,
    QUEUED,
    TABLE,
    TUNNEL,
    may_retry,
)

PHASES = (IDLE, HEAD, QUEUED, CONNECTING, ASKED, ANSWERING, TUNNEL, FULL, CLOSING)


class TableTests(SynchronousTestCase):
    """What happens, and what is done."""

    def test_phases(self) -> None:
        """Every phase has a name and followers, and can come to its end."""
        self.assertEqual(len(NAMES), len(PHASES))
        self.assertEqual(set(FOLLOWS), set(PHASES))
        for phase in PHASES:
            self.assertIn(CLOSING, FOLLOWS[phase])

    def test_clients_may_leave_at_any_time(self) -> None:
        """In every phase a client may leave and the balancer may stop, and time may be up
        wherever somebody is waited for."""
        for phase in PHASES:
            self.assertIn((phase, exchange.CLIENT_LEFT), TABLE)
            self.assertIn((phase, exchange.STOPPED), TABLE)
            if phase != CONNECTING:  # the connect's own time-out is told as its failure
                self.assertIn((phase, exchange.TIMED_OUT), TABLE)

    def test_no_second_answer(self) -> None:
        """Once an answer has begun, none of ours is sent."""
        for (phase, happening), outcome in TABLE.items():
            if phase in (ANSWERING, TUNNEL, FULL, CLOSING):
                self.assertIn(outcome.step, (exchange.CUT, exchange.DROP), (phase, happening))

    def test_nothing_is_sent_to_nobody(self) -> None:
        """A client that left is answered nothing."""
        for (phase, happening), outcome in TABLE.items():
            if happening == exchange.CLIENT_LEFT:
                self.assertEqual(outcome.step, exchange.DROP, NAMES[phase])
                self.assertFalse(outcome.fault)

    def test_retries_only_before_an_answer(self) -> None:
        """A request goes to another server only before a byte of an answer."""
        for (phase, _), outcome in TABLE.items():
            if outcome.step == exchange.RETRY:
                self.assertIn(phase, (CONNECTING, ASKED))
                self.assertTrue(outcome.fault)

    def test_letters(self) -> None:
        """The log's letters are two that HAProxy knows."""
        for outcome in TABLE.values():
            first, second = tuple(outcome.letters.decode())
            self.assertIn(first, "CSPRKcs-")
            self.assertIn(second, "RQCHDL-")

    def test_statuses(self) -> None:
        """An own answer has a status, unless the refusal brings it."""
        for (_, happening), outcome in TABLE.items():
            if outcome.step in (exchange.ANSWER, exchange.RETRY):
                self.assertEqual(outcome.status == 0, happening == exchange.REFUSED)


class RetryTests(SynchronousTestCase):
    """Whether a request may be sent again."""

    def test_not_reached(self) -> None:
        """Any method may go on to the next server when the first was not reached."""
        for method in (b"GET", b"POST"):
            self.assertTrue(may_retry(exchange.NOT_CONNECTED, method, True, 1, 2))
            self.assertTrue(may_retry(exchange.CONNECT_TIMED_OUT, method, True, 1, 2))

    def test_not_answered(self) -> None:
        """Only idempotent ones may when the server closed without an answer."""
        self.assertTrue(may_retry(exchange.SERVER_LEFT, b"PUT", True, 1, 2))
        self.assertFalse(may_retry(exchange.SERVER_LEFT, b"POST", True, 1, 2))
        self.assertFalse(may_retry(exchange.SERVER_LEFT, b"get", True, 1, 2))

    def test_bounds(self) -> None:
        """No more than `retries` times, never without the body, never for another reason."""
        self.assertTrue(may_retry(exchange.NOT_CONNECTED, b"GET", True, 2, 2))
        self.assertFalse(may_retry(exchange.NOT_CONNECTED, b"GET", True, 3, 2))
        self.assertFalse(may_retry(exchange.NOT_CONNECTED, b"GET", True, 1, 0))
        self.assertFalse(may_retry(exchange.NOT_CONNECTED, b"GET", False, 1, 2))
        self.assertFalse(may_retry(exchange.TIMED_OUT, b"GET", True, 1, 2))
