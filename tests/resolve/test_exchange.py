"""One DNS server asked: by datagrams, by a stream, and by somebody who lies."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.names import dns
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.resolve.exchange import MAX_STRAY, NO_ANSWER, Exchange
from balancer.resolve.looking import Ask, Reply
from balancer.resolve.message import AAAA, MAX_MESSAGE, A, Answer, Question, wire_name
from balancer.wire.address import Address, literal
from balancer.wire.connect import ConnectFailed
from tests.resolve.messages import ID, reply

SERVER = ("192.0.2.53", 5353)
QUESTIONS = (Question(wire_name("app.test"), AAAA), Question(wire_name("app.test"), A))
FOUR = reply("app.test", A, ("app.test", 30, "192.0.2.1"))
NO_SIX = reply("app.test", AAAA)


class Stream(StringTransport):
    """A connection that may be aborted."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class ExchangeTests(SynchronousTestCase):
    """An exchange whose sockets are the test's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[bytes] = []
        self.opened: list[Address] = []
        self.closed = 0
        self.connections: list[Any] = []
        self.cancelled = 0
        reactor: Any = self.clock
        self.exchange = Exchange(reactor, Random(1), self.open, self.connect)

    def open(self, reactor: Any, address: Address, received: Any, failed: Any) -> Any:
        """The socket is the test itself."""
        self.opened.append(address)
        self.received, self.failed = received, failed
        return self

    def send(self, data: bytes) -> bool:
        """As a socket."""
        self.sent.append(data)
        return True

    def close(self) -> None:
        """As a socket."""
        self.closed += 1

    def connect(self, reactor: Any, to: Address, protocol: Any, failed: Any, timeout: float) -> Any:
        """A connection under way is the test itself, too."""
        self.connections.append(protocol)
        return self

    def cancel(self) -> None:
        """As a connection under way."""
        self.cancelled += 1

    def ask(self) -> Deferred[Sequence[Reply]]:
        """Ask both questions."""
        return self.exchange.ask(Ask(SERVER, QUESTIONS, 2.0))

    def answer(self, at: int, data: bytes) -> None:
        """The server answers a question by its id."""
        self.received(self.sent[at][:2] + data[2:])

    def test_asked(self) -> None:
        """Both questions go to the server under ids of their own, which nobody knows before."""
        self.ask()
        self.assertEqual(self.opened, [literal(*SERVER)])
        ids = [int.from_bytes(each[:2], "big") for each in self.sent]
        self.assertNotEqual(ids[0], ids[1])
        self.assertEqual(
            self.sent, [each.ask(id) for each, id in zip(QUESTIONS, ids, strict=True)]
        )

    def test_answered(self) -> None:
        """Answers come in any order; with the last of them all is given back."""
        asked = self.ask()
        self.answer(1, FOUR)
        self.answer(1, FOUR)
        self.assertNoResult(asked)
        self.answer(0, NO_SIX)
        none, four = self.successResultOf(asked)
        assert isinstance(none, Answer) and isinstance(four, Answer)
        self.assertEqual((none.records, len(four.records)), ((), 1))
        self.assertEqual((self.closed, self.clock.getDelayedCalls()), (1, []))

    def test_silence(self) -> None:
        """After the time what came counts, and what did not has no answer."""
        asked = self.ask()
        self.answer(1, FOUR)
        self.clock.advance(2.0)
        six, four = self.successResultOf(asked)
        self.assertEqual(six, NO_ANSWER)
        self.assertIsInstance(four, Answer)
        self.assertEqual(self.closed, 1)

    def test_refused(self) -> None:
        """A server of which ICMP says that it is not there is not waited for."""
        asked = self.ask()
        self.failed(OSError(errno.ECONNREFUSED, "Connection refused"))
        self.assertEqual(self.successResultOf(asked), ["Connection refused"] * 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_socket(self) -> None:
        """Where no socket can be had, the reason is told, in a later turn."""
        def none(*arguments: Any) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

        self.exchange.open = none
        asked = self.ask()
        self.assertNoResult(asked)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(asked), ["Too many open files"] * 2)

    def test_strangers(self) -> None:
        """What has another id or question is passed over; a flood of it ends the exchange."""
        asked = self.ask()
        wrong = bytes(2) + FOUR[2:]
        self.assertNotIn(bytes(2), [each[:2] for each in self.sent])
        for _ in range(MAX_STRAY - 2):
            self.received(wrong)
        self.answer(0, FOUR)
        self.assertNoResult(asked)
        self.received(b"")
        self.assertEqual(len(self.successResultOf(asked)), 2)
        self.assertEqual(self.closed, 1)

    def test_cancel(self) -> None:
        """Cancelling gives everything back."""
        asked = self.ask()
        self.answer(1, self.cut())
        asked.cancel()
        self.failureResultOf(asked)
        self.assertEqual((self.closed, self.cancelled), (1, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    # -- by a stream

    def cut(self) -> bytes:
        """A truncated answer."""
        message = dns.Message(id=ID, answer=1, trunc=1)
        message.queries = [dns.Query(b"app.test", dns.A, dns.IN)]
        return bytes(message.toStr())

    def stream(self) -> tuple[Deferred[Sequence[Reply]], Any, Stream]:
        """An exchange whose second question goes on by a stream, and that stream."""
        asked = self.ask()
        self.answer(0, NO_SIX)
        self.answer(1, self.cut())
        self.answer(1, FOUR)  # too late: it may be a stranger's
        self.assertNoResult(asked)
        (protocol,) = self.connections
        transport = Stream()
        protocol.makeConnection(transport)
        return asked, protocol, transport

    def test_truncated(self) -> None:
        """A truncated answer is asked for by TCP, and read however it is cut."""
        asked, protocol, transport = self.stream()
        question = transport.value()
        self.assertEqual(question, len(question[2:]).to_bytes(2, "big") + self.sent[1])
        message = question[2:4] + FOUR[2:]
        for byte in len(message).to_bytes(2, "big") + message:
            protocol.dataReceived(bytes((byte,)))
        _, four = self.successResultOf(asked)
        assert isinstance(four, Answer)
        self.assertEqual((len(four.records), transport.aborted), (1, True))

    def test_bad_streams(self) -> None:
        """A stream that ends early, is too long, or answers something else is no answer."""
        def lost(protocol: Any) -> None:
            protocol.connectionLost(Failure(ConnectionDone()))

        wrong = len(NO_SIX).to_bytes(2, "big") + NO_SIX
        failed = ConnectFailed(literal(*SERVER), errno.ECONNREFUSED, "refused")
        ends = {
            "closed the connection": lost,
            f"over {MAX_MESSAGE} bytes": lambda stream: stream.dataReceived(b"\xff\xff"),
            "no answer to this question": lambda stream: stream.dataReceived(wrong),
            "refused": lambda stream: stream.failed(failed),
        }
        for reason, end in ends.items():
            self.setUp()
            asked, protocol, _ = self.stream()
            end(protocol)
            self.assertEqual(self.successResultOf(asked)[1], reason)

    def test_slow_stream(self) -> None:
        """A stream has no more time than the exchange has."""
        asked, _, transport = self.stream()
        self.clock.advance(2.0)
        self.assertEqual(self.successResultOf(asked)[1], NO_ANSWER)
        self.assertTrue(transport.aborted)
