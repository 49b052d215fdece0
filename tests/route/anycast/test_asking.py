"""Other sites are asked again and again, one question at a time, whatever they do."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.values import Endpoint
from balancer.route.anycast.asking import EVERY, MAX_ANSWER, WITHIN, Asking
from balancer.wire.address import Address
from balancer.wire.connect import ConnectFailed

SITE, OTHER = Endpoint("192.0.2.9", 9180), Endpoint("fd09::9", 9180)
ANSWER = b"HTTP/1.1 200 OK\r\n\r\n{}"


class Transport(StringTransport):
    """One that can be dropped."""

    aborted = False

    def abortConnection(self) -> None:
        """Remember it."""
        self.aborted = True


class Connecting:
    """A connection that a test makes, or not."""

    def __init__(self, address: Address, protocol: Any, failed: Any) -> None:
        self.address, self.protocol, self.failed = address, protocol, failed
        self.cancelled = False
        self.transport = Transport()

    def cancel(self) -> None:
        """Remember it."""
        self.cancelled = True

    def answer(self, *pieces: bytes) -> None:
        """It is made, and these come."""
        self.protocol.makeConnection(self.transport)
        for each in pieces:
            self.protocol.dataReceived(each)

    def close(self) -> None:
        """The other end closes."""
        self.protocol.connectionLost(Failure(ConnectionError("closed")))

    def refuse(self) -> None:
        """Nobody is there."""
        self.failed(ConnectFailed(self.address, 111))


class AskingTests(SynchronousTestCase):
    """Sites that answer as a test has them do."""

    def setUp(self) -> None:
        """Ask one."""
        self.clock = Clock()
        self.made: list[Connecting] = []
        self.heard: list[tuple[Endpoint, float, bytes, str]] = []
        self.asking = Asking(self.clock, "/api/status/anycast:web", self.hear, self.connect)
        self.asking.want((SITE,))
        self.clock.advance(0)

    def connect(self, reactor: Any, address: Address, protocol: Any, failed: Any,
                timeout: float) -> Connecting:
        """As `wire.connect` does."""
        self.made.append(Connecting(address, protocol, failed))
        return self.made[-1]

    def hear(self, *what: Any) -> None:
        """Take an answer."""
        self.heard.append(what)

    def test_question(self) -> None:
        """A site is asked by HTTP for the page, under its own address; the answer is whole when it
        closes, and was asked for at that time."""
        only = self.made[0]
        self.assertEqual("192.0.2.9:9180", str(only.address))
        only.answer(*(ANSWER[at : at + 1] for at in range(len(ANSWER))))
        self.assertEqual(b"GET /api/status/anycast:web HTTP/1.0\r\nHost: 192.0.2.9:9180\r\n\r\n",
                         only.transport.value())
        self.assertEqual([], self.heard)
        self.clock.advance(0.2)
        only.close()
        self.assertEqual([(SITE, 0.0, ANSWER, "")], self.heard)

    def test_again(self) -> None:
        """It is asked once a second, however fast it answers."""
        for count in range(1, 5):
            self.assertEqual(count, len(self.made))
            self.made[-1].answer(ANSWER)
            self.made[-1].close()
            self.clock.advance(EVERY - 0.01)
            self.assertEqual(count, len(self.made))
            self.clock.advance(0.01)

    def test_faults(self) -> None:
        """One that refuses, hangs up, says too much or nothing in time has that fault, its
        connection is dropped, and it is asked again at its time."""
        self.made[-1].refuse()
        self.clock.advance(EVERY)
        self.made[-1].answer()
        self.made[-1].close()
        self.clock.advance(EVERY)
        self.made[-1].answer(b"x" * MAX_ANSWER, b"x")
        self.assertTrue(self.made[-1].transport.aborted)
        self.made[-1].close()
        self.clock.advance(EVERY)
        slow = self.made[-1]
        slow.answer(ANSWER)
        self.clock.advance(WITHIN)
        self.assertTrue(slow.transport.aborted)
        self.clock.advance(0)
        self.clock.advance(WITHIN)
        for word, (_, _, answer, why) in zip(
            ("connection refused", "hangs up", "longer than", "not answer", "not answer"),
            self.heard, strict=True,
        ):
            self.assertIn(word, why)
            self.assertEqual(b"", answer)

    def test_never_connected(self) -> None:
        """A connection that is not made in time is given up."""
        self.clock.advance(WITHIN)
        self.assertEqual((True, 1), (self.made[0].cancelled, len(self.heard)))

    def test_now(self) -> None:
        """Asked for at once it is asked at once, or right after the question that is open; that
        one does not count for it."""
        self.clock.advance(0.3)
        self.asking.ask_now()
        self.asking.ask_now()
        self.assertEqual(1, len(self.made))
        self.made[0].answer(ANSWER)
        self.made[0].close()
        self.clock.advance(0)
        self.assertEqual((2, 0.0), (len(self.made), self.heard[0][1]))
        self.made[1].answer(ANSWER)
        self.made[1].close()
        self.asking.ask_now()
        self.assertEqual((3, 0.3), (len(self.made), self.heard[1][1]))

    def test_want(self) -> None:
        """Sites come and go without the others' noticing; of those that went nothing is heard."""
        self.asking.want((SITE, OTHER))
        self.clock.advance(0)
        self.assertEqual(["192.0.2.9:9180", "[fd09::9]:9180"],
                         [str(each.address) for each in self.made])
        self.made[0].answer(ANSWER)
        self.asking.want((OTHER,))
        self.assertTrue(self.made[0].transport.aborted)
        self.made[0].close()
        self.asking.want(())
        self.assertTrue(self.made[1].cancelled)
        self.assertEqual(([], []), (self.heard, self.clock.getDelayedCalls()))
