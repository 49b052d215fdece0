"""A demo server at work, its TCP and UDP sides, and its options."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass, verifyObject

from balancer.config.schema import Claim, read
from balancer.demo import echo, http
from balancer.demo.maker import maker
from balancer.demo.service import MOST_CONNECTIONS, DemoServer
from balancer.demo.settings import SECTION, DemoSettings
from balancer.interfaces import IBalancer, IBalancerMaker, IPrepared
from tests.demo.fakes import FakeContext, FakeListener, FakeSocket, FakeStream

SITE = """\
[demo a]
http = 127.0.0.1:9001
tcp =
    127.0.0.1:9011
    [::1]:9012
udp = 127.0.0.1:9021
"""


def settings_of(text: str = SITE) -> DemoSettings:
    """The settings of the one section in `text`."""
    file = read(text, "site.ini", [SECTION])
    assert not file.problems, file.problems
    settings: DemoSettings = file.sections[0].settings
    return settings


class SettingsTests(SynchronousTestCase):
    """The section `[demo NAME]`."""

    def test_claims(self) -> None:
        """Every address is claimed with its protocol and its line."""
        self.assertEqual(list(SECTION.claims(settings_of())), [
            Claim("tcp", "127.0.0.1", 9001, "http", 0),
            Claim("tcp", "127.0.0.1", 9011, "tcp", 0),
            Claim("tcp", "::1", 9012, "tcp", 1),
            Claim("udp", "127.0.0.1", 9021, "udp", 0),
        ])

    def test_nothing(self) -> None:
        """A section without an address is an error at its line."""
        problem, = read("[demo a]\n", "site.ini", [SECTION]).problems
        self.assertEqual(problem.line, 1)
        self.assertIn("expected addresses", problem.text)

    def test_maker(self) -> None:
        """The maker keeps to its interface, and makes an inert server."""
        verifyObject(IBalancerMaker, maker)
        context: Any = FakeContext()
        server = maker.make("a", context)
        verifyObject(IBalancer, server)
        self.assertEqual(context.listeners, {})


class ServiceTestCase(SynchronousTestCase):
    """A demo server on fake sockets."""

    def setUp(self) -> None:
        """A server that runs."""
        self.context = FakeContext()
        self.streams: list[FakeStream] = []
        context: Any = self.context
        stream: Any = self.stream
        self.server = DemoServer("a", context, stream)
        self.server.prepare(settings_of()).commit()
        self.server.startService()
        self.http = self.context.listeners["127.0.0.1", 9001]
        self.tcp = self.context.listeners["127.0.0.1", 9011]
        self.udp = self.context.ports["127.0.0.1", 9021]

    def stream(self, reactor: Any, sock: Any, protocol: Any, host: Any, peer: Any) -> FakeStream:
        """In place of Stream."""
        self.streams.append(FakeStream(protocol))
        return self.streams[-1]

    def connect(self, listener: FakeListener) -> FakeStream:
        """A client connects."""
        assert listener.accepted is not None
        listener.accepted(FakeSocket(), ("127.0.0.1", 50000))
        return self.streams[-1]

    def ends(self, stream: FakeStream) -> None:
        """A connection is over."""
        stream.protocol.connectionLost(Failure(ConnectionDone()))


class EchoTests(ServiceTestCase):
    """TCP and UDP."""

    def test_echo(self) -> None:
        """What comes goes back at once, nothing added."""
        stream = self.connect(self.tcp)
        stream.protocol.dataReceived(b"hi")
        self.assertEqual(stream.taken(), b"hi")

    def test_half_close(self) -> None:
        """After the client's end everything is sent back and the connection closed."""
        stream = self.connect(self.tcp)
        stream.protocol.dataReceived(b"hi")
        stream.half_close()
        self.assertEqual(stream.taken(), b"hi")
        self.assertTrue(stream.disconnecting)
        self.assertIsNone(stream.producer)

    def test_backpressure(self) -> None:
        """The connection is its own producer: writes that do not leave stop the reading."""
        stream = self.connect(self.tcp)
        self.assertIs(stream.producer, stream)
        self.assertTrue(stream.streaming)

    def test_idle(self) -> None:
        """A connection on which nothing happens for long is reset."""
        stream = self.connect(self.tcp)
        self.context.pass_time(echo.IDLE - 1)
        stream.protocol.dataReceived(b"x")
        self.context.pass_time(10.0)
        self.assertFalse(stream.aborted)
        self.context.pass_time(echo.IDLE)
        self.assertTrue(stream.aborted)

    def test_udp(self) -> None:
        """A datagram goes back to where it came from, from where it came to."""
        assert self.udp.received is not None
        self.udp.received(b"hi", ("192.0.2.1", 5), b"local")
        self.assertEqual(self.udp.sent, [(b"hi", ("192.0.2.1", 5), b"local")])


class LifeTests(ServiceTestCase):
    """Start, change, drain, stop."""

    def test_interfaces(self) -> None:
        """It is what the site expects."""
        verifyClass(IBalancer, DemoServer)
        verifyObject(IBalancer, self.server)
        verifyObject(IPrepared, self.server.prepare(settings_of()))

    def test_started(self) -> None:
        """Every listener is at work after the start, and none before."""
        context: Any = FakeContext()
        server = DemoServer("b", context)
        server.prepare(settings_of()).commit()
        self.assertEqual({one.accepted for one in context.listeners.values()}, {None})
        server.startService()
        self.assertTrue(all(one.started and one.accepted for one in context.listeners.values()))
        self.assertTrue(all(one.started and one.received for one in context.ports.values()))

    def test_says_its_address(self) -> None:
        """An answer names the server and the address that was asked."""
        stream = self.connect(self.http)
        stream.protocol.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertIn(b"hello from a (127.0.0.1:9001)\n", stream.taken())

    def test_change(self) -> None:
        """New settings let go of what they do not name; connections in progress go on."""
        stream = self.connect(self.tcp)
        prepared = self.server.prepare(settings_of("[demo a]\nhttp = 127.0.0.1:9009\n"))
        self.assertIsNotNone(self.tcp.accepted)
        prepared.commit()
        self.assertIsNone(self.tcp.accepted)
        self.assertIsNone(self.http.accepted)
        self.assertTrue(self.context.listeners["127.0.0.1", 9009].started)
        stream.protocol.dataReceived(b"hi")
        self.assertEqual(stream.taken(), b"hi")

    def test_abandoned(self) -> None:
        """A change that is dropped changes nothing."""
        self.server.prepare(settings_of("[demo a]\nhttp = 127.0.0.1:9009\n")).abandon()
        self.assertIsNotNone(self.http.accepted)

    def test_drain_at_rest(self) -> None:
        """With nothing in progress a drain is over at once, idle connections or not."""
        self.connect(self.http)
        self.successResultOf(self.server.drain())

    def test_drain(self) -> None:
        """A drain waits for requests and TCP connections, and answers on meanwhile."""
        slow, echoing = self.connect(self.http), self.connect(self.tcp)
        slow.protocol.dataReceived(b"GET /slow?ms=100 HTTP/1.1\r\n\r\n")
        done = self.server.drain()
        self.context.reactor.advance(0.1)
        self.assertNoResult(done)
        stream = self.connect(self.http)
        stream.protocol.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertIn(b"hello", stream.taken())
        self.ends(echoing)
        self.successResultOf(done)

    def test_stop(self) -> None:
        """A stop takes nothing more and ends every connection."""
        streams = [self.connect(self.http), self.connect(self.tcp)]
        self.server.stopService()
        self.assertTrue(all(stream.aborted for stream in streams))
        self.assertIsNone(self.http.accepted)
        self.assertIsNone(self.udp.received)
        for stream in streams:
            self.ends(stream)
        self.assertEqual(self.server.status()["connections"], 0)
        self.assertEqual(len(self.context.wheel), 0)

    def test_idle(self) -> None:
        """An idle HTTP connection is reset in the end."""
        stream = self.connect(self.http)
        self.context.pass_time(http.IDLE + 0.2)
        self.assertTrue(stream.aborted)

    def test_bound(self) -> None:
        """Connections beyond the bound are closed and counted."""
        for _ in range(MOST_CONNECTIONS):
            self.connect(self.tcp)
        extra: Any = FakeSocket()
        assert self.tcp.accepted is not None
        self.tcp.accepted(extra, ("127.0.0.1", 50000))
        self.assertTrue(extra.closed)
        self.assertEqual(self.server.status()["refused_total"], 1)


class ToldTests(ServiceTestCase):
    """Failing, status and metrics."""

    def test_down(self) -> None:
        """/down on one connection closes the idle others of the server; TCP goes on."""
        idle, asking, echoing = (
            self.connect(self.http), self.connect(self.http), self.connect(self.tcp)
        )
        asking.protocol.dataReceived(b"POST /down HTTP/1.1\r\n\r\n")
        self.assertTrue(self.server.failing)
        self.assertTrue(idle.disconnecting)
        self.assertFalse(echoing.disconnecting)
        self.assertEqual(self.server.status()["failing"], True)

    def test_status(self) -> None:
        """Status tells addresses and counts."""
        self.connect(self.http).protocol.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        status = self.server.status()
        self.assertEqual(status["tcp"], ["127.0.0.1:9011", "[::1]:9012"])
        self.assertEqual((status["connections"], status["requests_total"]), (1, 1))

    def test_metrics(self) -> None:
        """Every metric is a counter of balancer_demo_ with the label balancer."""
        self.connect(self.http).protocol.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        for metric in self.server.metrics():
            self.assertTrue(metric.name.startswith("balancer_demo_"))
            self.assertEqual([dict(sample.labels) for sample in metric.samples],
                             [{"balancer": "a"}])
        values = {metric.name: metric.samples[0].value for metric in self.server.metrics()}
        self.assertEqual(values["balancer_demo_requests"], 1.0)
