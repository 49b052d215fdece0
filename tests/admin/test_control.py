"""The control socket's connections: order, bounds, streams, and what they survive."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.admin import control_connection
from balancer.admin.control import MOST_CONNECTIONS, ControlFactory
from balancer.admin.control_connection import FAREWELL_TIMEOUT, IDLE_TIMEOUT, Control
from balancer.admin.control_lines import MOST_LINE
from balancer.admin.control_verbs import Desk
from tests.admin.world import FakeOperator, FakeSite, event, not_done

STATUS = b'{"verb": "status"}\n'
RELOAD = b'{"verb": "reload"}\n'
FOLLOW = b'{"verb": "events", "since": 0}\n'


class Connections(SynchronousTestCase):
    """One factory, and as many connections as a test opens."""

    def setUp(self) -> None:
        """A site, its operator, and a clock."""
        self.clock = Clock()
        self.site, self.operator = FakeSite(), FakeOperator()
        desk = Desk(self.site, self.operator, self.clock.seconds)
        self.factory = ControlFactory(desk, self.clock)

    def connect(self) -> tuple[Control, StringTransport]:
        """A new connection."""
        protocol = self.factory.buildProtocol(UNIXAddress(None))
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    def said(self, transport: StringTransport) -> list[Any]:
        """The lines since the last time, with those of other turns."""
        self.turn()
        lines = transport.value().splitlines()
        transport.clear()
        return [json.loads(line) for line in lines]

    def assertLeft(self, transport: StringTransport, why: str) -> None:
        """The last line says why, and the connection closes."""
        last = self.said(transport)[-1]
        self.assertIs(last["ok"], False)
        self.assertIn(why, last["error"])
        self.assertTrue(transport.disconnecting)

    def turn(self) -> None:
        """All that was put off to other turns."""
        self.clock.advance(0)

    def lose(self, protocol: Control) -> None:
        """The connection is gone."""
        protocol.connectionLost(Failure(ConnectionError()))


class Requests(Connections):
    """Requests and their answers."""

    def test_interfaces(self) -> None:
        """A connection hears of half-closing, and of a peer that does not read."""
        protocol, _ = self.connect()
        verifyObject(IHalfCloseableProtocol, protocol)
        verifyObject(IPushProducer, protocol)

    def test_answer(self) -> None:
        """A request has one answer, and the connection stays."""
        protocol, transport = self.connect()
        protocol.dataReceived(RELOAD)
        self.assertEqual(self.said(transport), [{"ok": True, "result": {"done": True}}])
        self.assertFalse(transport.disconnecting)

    def test_byte_by_byte(self) -> None:
        """Requests may come in any pieces, and several at once."""
        protocol, transport = self.connect()
        for each in RELOAD + STATUS:
            protocol.dataReceived(bytes([each]))
        first, second = self.said(transport)
        self.assertEqual(first["result"], {"done": True})
        self.assertEqual(second["result"]["site"], {"name": "test"})

    def test_not_done(self) -> None:
        """What the operator cannot do is an answer with its problems; the connection stays."""
        protocol, transport = self.connect()
        self.operator.error = not_done("the site file is bad", "f:1: [pool x]: bad")
        protocol.dataReceived(RELOAD + STATUS)
        refused, status = self.said(transport)
        self.assertEqual(refused, {
            "ok": False, "error": "the site file is bad", "problems": ["f:1: [pool x]: bad"],
        })
        self.assertTrue(status["ok"])

    def test_unknown_verb(self) -> None:
        """A verb that does not exist is an answer, too."""
        protocol, transport = self.connect()
        protocol.dataReceived(b'{"verb": "top"}\n')
        self.assertEqual(self.said(transport)[0]["error"], "top: not in this version")
        self.assertFalse(transport.disconnecting)

    def test_our_fault(self) -> None:
        """A fault of ours is logged, and answered without a traceback; the connection stays."""
        protocol, transport = self.connect()
        self.operator.error = ZeroDivisionError("secret")
        protocol.dataReceived(RELOAD)
        self.operator.error, self.operator.result = None, {"x": object()}
        protocol.dataReceived(RELOAD)
        for line in self.said(transport):
            self.assertIn("its log says more", line["error"])
            self.assertNotIn("secret", line["error"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError, TypeError)), 2)

    def test_later(self) -> None:
        """A result that takes its time holds up what follows; reading stops meanwhile."""
        protocol, transport = self.connect()
        later: Deferred[Any] = Deferred()
        self.operator.result = later
        protocol.dataReceived(RELOAD + STATUS)
        self.assertEqual(self.said(transport), [])
        self.assertEqual(transport.producerState, "paused")
        self.clock.advance(IDLE_TIMEOUT * 2)
        later.callback({"changes": []})
        reloaded, status = self.said(transport)
        self.assertEqual(reloaded["result"], {"changes": []})
        self.assertIn("now", status["result"])
        self.assertEqual(transport.producerState, "producing")

    def test_later_fault(self) -> None:
        """A result that fails later is told in the same words."""
        protocol, transport = self.connect()
        for error in (not_done("no"), ZeroDivisionError()):
            later: Deferred[Any] = Deferred()
            self.operator.result = later
            protocol.dataReceived(RELOAD)
            later.errback(error)
        first, second = self.said(transport)
        self.assertEqual(first["error"], "no")
        self.assertIn("its log says more", second["error"])
        self.flushLoggedErrors(ZeroDivisionError)

    def test_later_than_the_connection(self) -> None:
        """A result for somebody who has gone is nobody's."""
        protocol, transport = self.connect()
        later: Deferred[Any] = Deferred()
        self.operator.result = later
        protocol.dataReceived(RELOAD + STATUS)
        self.lose(protocol)
        later.callback({})
        self.assertEqual(self.said(transport), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_turns(self) -> None:
        """Many requests at once have a turn each, and nothing is read meanwhile."""
        protocol, transport = self.connect()
        protocol.dataReceived(RELOAD * 3)
        self.assertEqual((len(self.operator.asked), transport.producerState), (1, "paused"))
        self.assertEqual(len(self.said(transport)), 3)
        self.assertEqual(transport.producerState, "producing")

    def long(self, servers: int = 20_000) -> Any:
        """A result of a megabyte and more."""
        return {"pools": {"web": {"servers": {str(each): "x" * 60 for each in range(servers)}}}}

    def test_long_answer(self) -> None:
        """A long answer goes out in several turns, before the next one, and is one line."""
        protocol, transport = self.connect()
        self.operator.result = self.long()
        protocol.dataReceived(RELOAD + STATUS)
        self.assertLess(len(transport.value()), 200_000)
        answer, status = self.said(transport)
        self.assertEqual(answer["result"], self.operator.result)
        self.assertIn("now", status["result"])

    def test_long_answer_waits(self) -> None:
        """A long answer is made only as fast as the peer reads; if it does not, it is cut off."""
        for reads in (True, False):
            protocol, transport = self.connect()
            self.operator.result = self.long()
            protocol.dataReceived(RELOAD)
            protocol.pauseProducing()
            self.turn()
            self.assertLess(len(transport.value()), 200_000)
            if reads:
                protocol.resumeProducing()
                self.assertEqual(self.said(transport)[0]["result"], self.operator.result)
            else:
                self.clock.advance(IDLE_TIMEOUT)
                self.assertFalse(transport.value().endswith(b"\n"))
                self.assertTrue(transport.disconnecting)
            self.lose(protocol)
            self.turn()
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_long_answer_breaks(self) -> None:
        """A long answer with what is no JSON behind its beginning ends the connection."""
        protocol, transport = self.connect()
        self.operator.result = {**self.long(), "bad": object()}
        protocol.dataReceived(RELOAD)
        self.turn()
        self.assertTrue(transport.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_peer_does_not_read(self) -> None:
        """While the peer does not read its answers, its requests wait."""
        protocol, transport = self.connect()
        protocol.pauseProducing()
        protocol.dataReceived(STATUS)
        self.assertEqual((self.said(transport), transport.producerState), ([], "paused"))
        protocol.resumeProducing()
        self.assertEqual(len(self.said(transport)), 1)
        self.assertEqual(transport.producerState, "producing")


class Ends(Connections):
    """How connections end."""

    def test_garbage(self) -> None:
        """Garbage is answered with an error, and nothing after it is read."""
        for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\n", b"[]\n",
                        b"x" * (MOST_LINE + 1)):
            protocol, transport = self.connect()
            protocol.dataReceived(garbage)
            self.assertEqual(len(transport.value().splitlines()), 1)
            self.assertLeft(transport, "expected")
            protocol.dataReceived(STATUS)
            self.assertEqual(self.said(transport), [])
            self.lose(protocol)

    def test_half_closed(self) -> None:
        """Who asks and sends its end is answered, then closed."""
        protocol, transport = self.connect()
        protocol.dataReceived(STATUS)
        protocol.readConnectionLost()
        self.assertEqual(len(self.said(transport)), 1)
        self.assertTrue(transport.disconnecting)

    def test_half_closed_while_asking(self) -> None:
        """An end that comes before the answer does not lose it, nor the answers behind it."""
        protocol, transport = self.connect()
        later: Deferred[Any] = Deferred()
        self.operator.result = later
        protocol.dataReceived(RELOAD + STATUS)
        protocol.readConnectionLost()
        self.turn()
        self.assertFalse(transport.disconnecting)
        later.callback({})
        self.assertEqual(len(self.said(transport)), 2)
        self.assertTrue(transport.disconnecting)

    def test_line_not_ended(self) -> None:
        """An end in the middle of a line is an error."""
        protocol, transport = self.connect()
        protocol.dataReceived(STATUS.rstrip())
        protocol.readConnectionLost()
        self.assertLeft(transport, "newline")

    def test_idle(self) -> None:
        """A connection without a whole request is closed, however many bytes trickle in."""
        protocol, transport = self.connect()
        for _ in range(int(IDLE_TIMEOUT)):
            protocol.dataReceived(b"x")
            self.clock.advance(1.0)
        self.assertLeft(transport, "60 s")

    def test_busy(self) -> None:
        """Each request puts the idle time-out off."""
        protocol, transport = self.connect()
        for _ in range(5):
            self.clock.advance(IDLE_TIMEOUT - 1)
            protocol.dataReceived(STATUS)
        self.assertFalse(transport.disconnecting)
        self.lose(protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_never_reads(self) -> None:
        """Who does not read the last line is reset."""
        protocol, transport = self.connect()
        protocol.pauseProducing()
        self.clock.advance(IDLE_TIMEOUT)
        self.assertTrue(transport.disconnecting)
        self.assertFalse(transport.disconnected)
        self.clock.advance(FAREWELL_TIMEOUT)
        self.assertTrue(transport.disconnected)

    def test_too_many(self) -> None:
        """One connection too many is told so; there is room again when another one ends."""
        protocol, _ = self.connect()
        for _ in range(MOST_CONNECTIONS - 1):
            self.connect()
        refused, transport = self.connect()
        self.assertLeft(transport, "connections are open")
        refused.dataReceived(STATUS)
        self.assertEqual(self.said(transport), [])
        self.lose(refused)
        self.lose(protocol)
        welcome, transport = self.connect()
        welcome.dataReceived(STATUS)
        self.assertTrue(self.said(transport)[0]["ok"])


class Streams(Connections):
    """Connections that follow events."""

    def follow(self, line: bytes = FOLLOW) -> tuple[Control, StringTransport]:
        """A connection that does."""
        protocol, transport = self.connect()
        protocol.dataReceived(line)
        return protocol, transport

    def numbers(self, transport: StringTransport) -> list[int]:
        """The events since the last time."""
        return [line["result"]["id"] for line in self.said(transport)]

    def test_kept_then_live(self) -> None:
        """The kept events come first, then each as it happens, once."""
        for number in (1, 2):
            self.site.publish(event(number))
        _, transport = self.follow()
        self.site.publish(event(3))
        self.assertEqual(self.numbers(transport), [1, 2, 3])
        self.site.publish(event(4))
        self.assertEqual(self.numbers(transport), [4])

    def test_only_live(self) -> None:
        """Without `since` there are only events from now on."""
        self.site.publish(event(1))
        _, transport = self.follow(b'{"verb": "events"}\n')
        self.site.publish(event(2))
        self.assertEqual(self.numbers(transport), [2])

    def test_list(self) -> None:
        """Who does not follow gets a list, and may ask on."""
        self.site.publish(event(1))
        protocol, transport = self.follow(b'{"verb": "events", "follow": false}\n' + STATUS)
        listed, status = self.said(transport)
        self.assertEqual([each["id"] for each in listed["result"]["events"]], [1])
        self.assertTrue(status["ok"])
        self.assertEqual(self.site.subscribers, [])
        self.lose(protocol)

    def test_bad_since(self) -> None:
        """A stream that is asked for wrongly is refused, and the connection stays."""
        _, transport = self.follow(b'{"verb": "events", "since": "x"}\n')
        self.assertIn("whole number", self.said(transport)[0]["error"])
        self.assertFalse(transport.disconnecting)

    def test_no_idle_time_out(self) -> None:
        """A stream may be silent for as long as nothing happens."""
        _, transport = self.follow()
        self.clock.advance(IDLE_TIMEOUT * 100)
        self.assertFalse(transport.disconnecting)

    def test_asked_while_streaming(self) -> None:
        """A request on a stream ends it, whether it comes with the first one or later."""
        _, transport = self.follow()
        protocol, other = self.follow(FOLLOW + STATUS)
        self.assertLeft(other, "streams events")
        self.assertEqual(len(self.site.subscribers), 1)
        self.lose(protocol)
        protocol, transport = self.follow()
        protocol.dataReceived(STATUS)
        self.assertLeft(transport, "streams events")
        self.assertEqual(len(self.site.subscribers), 1)

    def test_slow(self) -> None:
        """Events wait while the peer does not read, and come in order when it does."""
        protocol, transport = self.follow()
        protocol.pauseProducing()
        for number in range(1, 4):
            self.site.publish(event(number))
        self.assertEqual(self.numbers(transport), [])
        protocol.resumeProducing()
        self.assertEqual(self.numbers(transport), [1, 2, 3])

    def test_too_slow(self) -> None:
        """Who is too far behind is dropped, with a last line that says so; others are not."""
        self.patch(control_connection, "MOST_PENDING", 3)
        protocol, transport = self.follow()
        _, other = self.follow()
        protocol.pauseProducing()
        for number in range(1, 6):
            self.site.publish(event(number))
        self.assertLeft(transport, "dropped")
        self.assertEqual(self.numbers(other), [1, 2, 3, 4, 5])
        self.assertEqual(len(self.site.subscribers), 1)
        self.clock.advance(FAREWELL_TIMEOUT)
        self.assertTrue(transport.disconnected)

    def test_peer_ends(self) -> None:
        """A stream ends when the peer sends its end or goes; the site tells it nothing more."""
        protocol, transport = self.follow()
        protocol.readConnectionLost()
        self.assertTrue(transport.disconnecting)
        protocol, _ = self.follow()
        self.lose(protocol)
        self.assertEqual(self.site.subscribers, [])

    def test_stop(self) -> None:
        """A stream that is told to leave says why."""
        protocol, transport = self.follow()
        protocol.leave("the balancer stops")
        self.assertLeft(transport, "the balancer stops")
        self.lose(protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])


STEPS = st.sampled_from([
    STATUS, RELOAD, FOLLOW, b'{"verb"', b": 1}\n", b"\n", STATUS * 3, "pause", "resume", "fire",
    "fail", "event", "turn", "wait", "end",
])


class Interleavings(Connections):
    """Anything at any time."""

    def run_steps(self, steps: list[bytes | str]) -> None:
        """Do the steps on one connection whose reloads take their time; then it goes."""
        protocol, transport = self.connect()
        later: list[Deferred[Any]] = []
        self.operator.later = later
        ended = False
        for step in steps:
            open_for_data = not (ended or transport.disconnecting)
            if isinstance(step, bytes):
                if open_for_data and transport.producerState == "producing":
                    protocol.dataReceived(step)
            elif step == "end" and open_for_data:
                ended = True
                protocol.readConnectionLost()
            elif step in ("pause", "resume") and not transport.disconnecting:
                getattr(protocol, step + "Producing")()
            elif step in ("fire", "fail") and later:
                fired = later.pop(0)
                if step == "fire":
                    fired.callback({})
                else:
                    fired.errback(not_done("no"))
            elif step == "event":
                self.site.publish(event(len(self.site.kept) + 1))
            elif step in ("turn", "wait"):
                self.clock.advance(0 if step == "turn" else IDLE_TIMEOUT / 2)
        if not transport.disconnecting:
            protocol.resumeProducing()
        for fired in later:
            fired.callback({})
        for line in self.said(transport):
            self.assertIn("ok", line)
        self.lose(protocol)
        self.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.site.subscribers, self.factory.connections), ([], set()))

    @settings(deadline=None, database=None, max_examples=12)
    @given(st.lists(STEPS, max_size=20))
    def test_any_order(self, steps: list[bytes | str]) -> None:
        """Whatever comes, whole lines go out, nothing raises, and nothing is left behind."""
        self.setUp()
        self.run_steps(steps)
