"""
One relayed TCP connection, event by event, in a world without a kernel.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.config.schema import read
from balancer.config.slices import Slices
from balancer.interfaces import IExplains, IPreparedFromFiles, NotDone, PrepareError
from balancer.limit.rates import Rates
from balancer.relay.maker import tcp
from balancer.relay.seat import finish
from balancer.relay.settings import TcpSettings
from balancer.relay.tcp.protocol import EARLY_BYTES, RELAY_READ, WAITING, Link
from balancer.relay.tcp.service import PreparedWithTls, TcpBalancer
from balancer.wire import room
from balancer.wire.certificates import CannotLoad
from balancer.wire.stream import HIGH_WATER, Stream
from tests.pool.world import few_slots
from tests.relay.world import CLIENT, Attempt, FakeSocket, Site


def settings(**options: str) -> TcpSettings:
    """Of a section with these options."""
    given = {"listen": "127.0.0.1:8081", "pool": "p", **options}
    text = "[tcp t]\n" + "".join(f"{k.replace('_', '-')} = {v}\n" for k, v in given.items())
    file = read(text, "site.ini", [tcp.section])
    assert not file.problems, file.problems
    found: TcpSettings = file.sections[0].settings
    return found


def started(site: Site, **options: str) -> TcpBalancer:
    """A balancer at work."""
    balancer = TcpBalancer("t", site, connect=site.connect)
    balancer.prepare(settings(**options)).commit()
    balancer.startService()
    return balancer


class Relayed(SynchronousTestCase):
    """What the tests share: a site, a balancer, clients."""

    def begin(self, site: Site | None = None, **options: str) -> None:
        """A balancer on `site`."""
        self.site = site or Site()
        self.balancer = started(self.site, **options)

    def client(self, peer: tuple[str, int] = CLIENT) -> FakeSocket:
        """A client comes."""
        sock = FakeSocket()
        listener = self.site.listeners[8081]
        if listener.accepted is None or listener.paused:
            raise AssertionError("nobody accepts")
        listener.accepted(sock, peer)
        return sock

    def relayed(self) -> tuple[FakeSocket, FakeSocket]:
        """A client, and its connection to a server."""
        client = self.client()
        return client, self.attempt.succeed()

    @property
    def attempt(self) -> Attempt:
        """The latest connection to a server."""
        return self.site.attempts[-1]

    @property
    def link(self) -> Link:
        """The only link."""
        (link,) = self.balancer.links
        return link

    def settle(self) -> None:
        """Let all happen that may."""
        self.site.reactor.settle()

    def assert_over(self, how: str) -> None:
        """Nothing is left, and the one connection that was there ended so."""
        self.assertEqual(self.balancer.links, set())
        self.assertEqual(sum(self.site.in_flight.values()), 0)
        self.assertEqual(self.balancer.totals.ended, {how: 1})
        self.assertEqual(len(self.site.wheel), 0)


class RelayingTests(Relayed):
    """Bytes, and their end."""

    def test_both_ways(self) -> None:
        """Bytes go both ways as they are, and are counted."""
        self.begin()
        client, server = self.relayed()
        client.comes(b"hello")
        server.comes(b"world!")
        self.settle()
        self.assertEqual((bytes(server.outbox), bytes(client.outbox)), (b"hello", b"world!"))
        status = self.balancer.status()
        self.assertEqual((status["bytes_to_server"], status["bytes_to_client"]), (5, 6))
        self.assertEqual(self.site.in_flight, {"a": 1, "b": 0})

    def test_data_before_the_server(self) -> None:
        """What a client sends before there is a server reaches it, in order."""
        self.begin()
        client = self.client()
        client.comes(b"one ", b"two ")
        self.settle()
        server = self.attempt.succeed()
        client.comes(b"three")
        self.settle()
        self.assertEqual(bytes(server.outbox), b"one two three")

    def test_early_data_is_bounded(self) -> None:
        """A client that sends much before there is a server is read up to the bound only."""
        self.begin()
        client = self.client()
        client.comes(b"x" * (EARLY_BYTES * 3))
        self.settle()
        unread = sum(len(part) for part in client.inbox if isinstance(part, bytes))
        self.assertGreaterEqual(unread, EARLY_BYTES * 2)
        server = self.attempt.succeed()
        self.settle()
        self.assertEqual(len(server.outbox), EARLY_BYTES * 3)
        self.assertEqual(self.link.client.stream.recv_size, RELAY_READ)  # type: ignore[union-attr]

    def test_early_end(self) -> None:
        """A client that sends and half-closes before there is a server still gets its answer."""
        self.begin()
        client = self.client()
        client.comes(b"hi", b"")
        self.settle()
        server = self.attempt.succeed()
        self.settle()
        self.assertEqual((bytes(server.outbox), server.write_closed), (b"hi", True))
        server.comes(b"answer", b"")
        self.settle()
        self.assertEqual(bytes(client.outbox), b"answer")
        self.assertTrue(client.closed and server.closed)
        self.assertFalse(client.reset or server.reset)
        self.assert_over("--")

    def test_client_half_closes(self) -> None:
        """The client's end reaches the server, whose bytes still reach the client."""
        self.begin()
        client, server = self.relayed()
        client.comes(b"bye", b"")
        self.settle()
        self.assertTrue(server.write_closed)
        self.assertFalse(client.closed or server.closed or client.write_closed)
        server.comes(b"late answer")
        self.settle()
        self.assertEqual(bytes(client.outbox), b"late answer")
        server.comes(b"")
        self.settle()
        self.assertTrue(client.closed and server.closed)
        self.assert_over("--")

    def test_server_half_closes(self) -> None:
        """The server's end reaches the client, whose bytes still reach the server."""
        self.begin()
        client, server = self.relayed()
        server.comes(b"all I say", b"")
        self.settle()
        self.assertTrue(client.write_closed)
        self.assertFalse(client.closed or server.closed)
        client.comes(b"more", b"")
        self.settle()
        self.assertEqual(bytes(server.outbox), b"more")
        self.assertTrue(client.closed and server.closed)
        self.assert_over("--")

    def test_end_behind_queued_bytes(self) -> None:
        """An end waits for the bytes in front of it."""
        self.begin()
        client, server = self.relayed()
        server.room = 3
        client.comes(b"abcdef", b"")
        self.settle()
        self.assertFalse(server.write_closed)
        server.room = 100
        self.settle()
        self.assertEqual((bytes(server.outbox), server.write_closed), (b"abcdef", True))

    def test_backpressure_to_server(self) -> None:
        """A server that does not read stops the reading of its client, until it reads again."""
        self.begin()
        client, server = self.relayed()
        self.check_backpressure(client, server)

    def test_backpressure_to_client(self) -> None:
        """A client that does not read stops the reading of its server, until it reads again."""
        self.begin()
        client, server = self.relayed()
        self.check_backpressure(server, client)

    def check_backpressure(self, source: FakeSocket, sink: FakeSocket) -> None:
        """Bytes flow from `source` to `sink` no faster than `sink` takes them."""
        sink.room = 0
        parts = [bytes([n]) * HIGH_WATER for n in range(20)]
        source.comes(*parts)
        self.settle()
        self.assertEqual(len(source.inbox), 19)
        sink.room = 1 << 30
        self.site.reactor.turn(60)
        self.assertEqual(bytes(sink.outbox), b"".join(parts))

    def test_early_data_and_backpressure(self) -> None:
        """When the server takes nothing of the early bytes, the client stays paused."""
        self.begin()
        client = self.client()
        client.comes(b"x" * EARLY_BYTES, b"y" * 10)
        self.settle()
        self.attempt.succeed(room=0)
        self.settle()
        self.assertEqual(self.link.client.received, EARLY_BYTES)


class EndingTests(Relayed):
    """Who ends it, and what the other one sees."""

    def test_client_resets(self) -> None:
        """A reset by the client is a reset for the server: half a request is not a whole one."""
        self.begin()
        client, server = self.relayed()
        client.comes(b"half a req")
        self.settle()
        client.breaks()
        self.settle()
        self.assertTrue(server.reset and server.closed)
        self.assert_over("CD")

    def test_server_resets(self) -> None:
        """A reset by the server is a reset for the client."""
        self.begin()
        client, server = self.relayed()
        server.comes(b"half an ans")
        self.settle()
        server.breaks()
        self.settle()
        self.assertTrue(client.reset and client.closed)
        self.assert_over("SD")

    def test_reset_after_the_end(self) -> None:
        """Bytes in front of an end arrive, even if the sender is reset afterwards."""
        self.begin()
        client, server = self.relayed()
        server.room = 2
        client.comes(b"upload", b"")
        self.settle()
        stream = self.link.client.stream
        assert stream is not None
        stream.connectionLost(Failure(ConnectionLost()))
        server.room = 100
        self.settle()
        self.assertEqual(bytes(server.outbox), b"upload")
        self.assertFalse(server.reset)

    def test_idle(self) -> None:
        """A connection on which nothing moves is closed after the idle timeout, not before."""
        self.begin(idle_timeout="10s")
        client, server = self.relayed()
        self.site.wait(9.5)
        self.assertFalse(client.closed)
        server.comes(b"still here")
        self.settle()
        self.site.wait(9.5)
        client.comes(b"me too")
        self.settle()
        self.site.wait(9.5)
        self.assertFalse(client.closed)
        self.site.wait(1)
        self.assertTrue(client.closed and server.closed)
        self.assertFalse(client.reset or server.reset)
        self.assert_over("cD")

    def test_idle_with_a_slow_reader(self) -> None:
        """A reader that takes what is queued is not idle; one that takes nothing is reset."""
        self.begin(idle_timeout="10s")
        client, server = self.relayed()
        client.room = 0
        server.comes(b"x" * 100)
        self.settle()
        for _ in range(3):
            self.site.wait(9)
            client.room = 5
            self.settle()
        self.assertFalse(client.closed)
        self.site.wait(25)
        self.assertTrue(client.reset and server.reset)
        self.assert_over("cD")

    def test_idle_after_one_end(self) -> None:
        """A half-closed connection does not stay for ever."""
        self.begin(idle_timeout="10s")
        client, server = self.relayed()
        client.comes(b"")
        self.settle()
        self.site.wait(11)
        self.assertTrue(client.closed and server.closed)
        self.assert_over("cD")

    def test_client_leaves_early(self) -> None:
        """A client that resets while its server is being connected to costs that connection."""
        self.begin()
        client = self.client()
        client.breaks()
        self.settle()
        self.assertTrue(self.attempt.over and client.closed)
        self.assert_over("CC")

    def test_server_goes_down(self) -> None:
        """A connection stays on its server when checks find that failing: the kernel tells."""
        self.begin()
        client, server = self.relayed()
        self.site.turn_down("a")
        client.comes(b"still?")
        self.settle()
        self.assertEqual(bytes(server.outbox), b"still?")

    def test_server_is_removed(self) -> None:
        """A connection stays on its server when a reload removes that; new ones go elsewhere."""
        self.begin()
        client, server = self.relayed()
        self.site.remove("a")
        client.comes(b"still?")
        self.settle()
        self.assertEqual(bytes(server.outbox), b"still?")
        self.client()
        self.assertEqual(self.site.in_flight, {"b": 1})


class ConnectingTests(Relayed):
    """Which server, and what if it fails."""

    def test_retry(self) -> None:
        """When connecting fails the next server is tried, and gets what the client sent."""
        self.begin()
        client = self.client()
        client.comes(b"hi")
        self.settle()
        self.attempt.fail()
        self.assertEqual(self.site.in_flight, {"a": 0, "b": 1})
        server = self.attempt.succeed()
        self.settle()
        self.assertEqual(bytes(server.outbox), b"hi")
        self.assertEqual(self.site.server("a").failures_total, 1)
        self.assertEqual(self.balancer.totals.retries, 1)

    def test_retries_are_bounded(self) -> None:
        """No more servers than `retries` are tried after the first; then the client is closed."""
        self.begin(Site("abcdef", retries=2))
        client = self.client()
        for _ in range(3):
            self.attempt.fail()
        self.settle()
        self.assertEqual(len(self.site.attempts), 3)
        self.assertTrue(client.closed)
        self.assert_over("SC")

    def test_no_server_is_left(self) -> None:
        """When every server has failed the client is closed."""
        self.begin()
        client = self.client()
        self.attempt.fail(errno.ETIMEDOUT)
        self.attempt.fail(errno.ETIMEDOUT)
        self.settle()
        self.assertTrue(client.closed)
        self.assertFalse(client.reset)
        self.assert_over("SC")

    def test_early_bytes_that_nobody_got(self) -> None:
        """A client whose bytes no server got sees a reset: they did not arrive."""
        self.begin(Site("a"))
        client = self.client()
        client.comes(b"hi")
        self.settle()
        self.attempt.fail()
        self.settle()
        self.assertTrue(client.reset)

    def test_our_own_shortage(self) -> None:
        """Lack of descriptors is not held against the server."""
        self.begin(Site("a", retries=0))
        self.client()
        self.attempt.fail(errno.EMFILE)
        self.settle()
        self.assertEqual(self.site.server("a").failures_total, 0)
        self.assert_over("RC")

    def test_connect_timeout(self) -> None:
        """Connecting is given the pool's connect-timeout."""
        self.begin(Site(connect_timeout=1.5))
        self.client()
        self.assertEqual(self.attempt.timeout, 1.5)

    def test_failures_eject(self) -> None:
        """Failures to connect are told to the pool, and its events to the site."""
        from balancer.pool.settings import Ejection

        self.begin(Site(eject=Ejection(1, 10.0, 30.0)))
        self.client()
        self.attempt.fail()
        self.assertEqual([event.server for event in self.site.published], ["p/a"])

    def test_keys(self) -> None:
        """A pool that chooses by source sends one address always to one server."""
        few_slots(self)
        for algorithm in ("source", "maglev"):
            self.begin(Site("abcdefgh", algorithm=algorithm))
            self.site.the_pool.build()
            for _ in range(5):
                self.client(("2001:db8::7", 4711))
            self.assertEqual(len({attempt.address for attempt in self.site.attempts}), 1)

    def test_nobody_is_up(self) -> None:
        """With no server up and no queue a client is closed at once."""
        self.begin()
        self.site.turn_down("a")
        self.site.turn_down("b")
        client = self.client()
        self.settle()
        self.assertTrue(client.closed)
        self.assertEqual(self.site.attempts, [])
        self.assert_over("SC")


class QueueTests(Relayed):
    """Waiting for a server with room."""

    def begin_full(self, queue: int = 1) -> FakeSocket:
        """One server with room for one, which has one; the client of that."""
        self.begin(Site("a", most=1, queue=queue, queue_timeout=5.0))
        return self.relayed()[0]

    def test_waits_for_room(self) -> None:
        """A client waits while every server is full, and goes on when one has room."""
        first = self.begin_full()
        second = self.client()
        second.comes(b"patience")
        self.settle()
        self.assertEqual(len(self.site.attempts), 1)
        first.breaks()
        self.settle()
        self.assertEqual(len(self.site.attempts), 2)
        server = self.attempt.succeed()
        self.settle()
        self.assertEqual(bytes(server.outbox), b"patience")
        self.assertEqual(self.site.in_flight, {"a": 1})

    def test_queue_timeout(self) -> None:
        """A client that waited for queue-timeout is closed; its own bytes do not prolong that."""
        self.begin_full()
        second = self.client()
        for _ in range(6):
            self.site.wait(1)
            second.comes(b".")
            self.settle()
        self.assertTrue(second.closed)
        self.assertEqual(self.balancer.totals.ended, {"sQ": 1})
        self.assertEqual(self.site.the_pool.queue_length, 0)
        self.assertEqual(self.site.the_pool.queue_expired_total, 1)

    def test_queue_is_full(self) -> None:
        """A client for whom there is no place in the queue is closed at once."""
        self.begin_full()
        self.client()
        third = self.client()
        self.settle()
        self.assertTrue(third.closed)
        self.assertEqual(self.balancer.totals.ended, {"PQ": 1})

    def test_leaves_the_queue(self) -> None:
        """A client that goes while it waits gives its place in the queue up."""
        first = self.begin_full()
        second = self.client()
        second.breaks()
        self.settle()
        self.assertEqual(self.site.the_pool.queue_length, 0)
        first.breaks()
        self.settle()
        self.assertEqual(self.site.in_flight, {"a": 0})

    def test_admitted_too_late(self) -> None:
        """A place that comes when nobody waits any more is given back at once."""
        self.begin_full()
        second = self.client()
        server = self.site.server("a")
        turn = next(link for link in self.balancer.links if link.state == WAITING)._turn
        second.breaks()
        self.settle()
        assert turn is not None
        self.site.the_pool.begin(server, self.site.reactor.seconds())
        turn.admitted(server, self.site.reactor.seconds())
        self.assertEqual(self.site.in_flight, {"a": 1})

    def test_server_comes_up(self) -> None:
        """Clients that wait for room go on as soon as another server comes up."""
        self.begin(Site("ab", most=1, queue=5))
        self.site.turn_down("b")
        self.client()
        self.client()
        self.assertEqual(len(self.site.attempts), 1)
        self.site.turn_up("b")
        self.assertEqual(len(self.site.attempts), 2)
        self.assertEqual(self.site.in_flight, {"a": 1, "b": 1})

    def fail_at_a(self, queue: int = 5) -> FakeSocket:
        """Of two servers with room for one each, `b` is full and `a` refuses a client; that."""
        self.begin(Site("ab", most=1, queue=queue, queue_timeout=5.0))
        now = self.site.reactor.seconds()
        self.site.the_pool.begin(self.site.server("b"), now)
        client = self.client()
        client.comes(b"patience")
        self.settle()
        self.attempt.fail()
        self.settle()
        return client

    def test_waits_after_a_failure(self) -> None:
        """A client whose server failed waits for the others when they are merely full, and is not
        given the one that failed it."""
        client = self.fail_at_a()
        self.site.publish(self.site.the_pool, [])
        self.assertEqual((client.closed, len(self.site.attempts)), (False, 1))
        finish(self.site.the_pool, self.site.server("b"), self.site.reactor.seconds())
        self.assertEqual(self.site.in_flight, {"a": 0, "b": 1})
        server = self.attempt.succeed()
        self.settle()
        self.assertEqual(bytes(server.outbox), b"patience")

    def test_waits_in_vain_after_a_failure(self) -> None:
        """It waits no longer than queue-timeout."""
        client = self.fail_at_a()
        self.site.wait(6)
        self.assertTrue(client.closed)
        self.assertEqual(self.site.in_flight, {"a": 0, "b": 1})
        self.assert_ended("sQ")

    def test_no_queue_after_a_failure(self) -> None:
        """Without a place in the queue the failure is what is told."""
        client = self.fail_at_a(queue=0)
        self.assertTrue(client.closed)
        self.assert_ended("SC")

    def assert_ended(self, how: str) -> None:
        """The one client has gone so, and has left nothing."""
        self.assertEqual(self.balancer.totals.ended, {how: 1})
        self.assertEqual((len(self.site.wheel), self.site.the_pool.queue_length), (0, 0))

    def test_nobody_to_wait_for(self) -> None:
        """While no server is up nobody waits."""
        self.begin(Site("a", queue=5))
        self.site.turn_down("a")
        client = self.client()
        self.settle()
        self.assertTrue(client.closed)
        self.assert_over("SC")


class FakeTls:
    """Stands for `Terminations`, with one handshake that lasts until the test ends it."""

    def __init__(self, balancer: TcpBalancer) -> None:
        self.balancer = balancer
        self.begun: list[Any] = []
        self.bounds = (0.0, 0)

    def __contains__(self, listener: object) -> bool:
        return True

    def read_again(self, keyrings: object) -> tuple[str, ...]:
        """Its one file has changed."""
        return ("site.pem",)

    def handshakes(self, listener: object) -> FakeTls:
        return self

    def preparing(self, paths: Mapping[Any, str], now: float) -> Slices[Mapping[Any, str]]:
        if "/no" in paths.values():
            raise CannotLoad(["/no: cannot be read"])
        yield
        return paths

    def take(self, keyrings: object, timeout: float, most: int) -> None:
        self.bounds = timeout, most

    def serve(self, sock: object, peer: object, protocol: Any) -> None:
        self.begun.append(protocol)

    def stop(self) -> None:
        while self.begun:
            self.balancer._not_shaken(self.begun.pop(), "the listener stops")

    def status(self) -> dict[str, Any]:
        return {}


class TlsTests(Relayed):
    """Connections whose handshakes are not over."""

    def begin(self, site: Site | None = None, **options: str) -> None:
        """A balancer with TLS at its listener."""
        self.site = site or Site()
        self.balancer = TcpBalancer("t", self.site, connect=self.site.connect)
        self.tls = FakeTls(self.balancer)
        self.balancer._tls = self.tls  # type: ignore[assignment]  # a stand-in
        self.balancer.prepare(settings(tls="site.pem", **options)).commit()
        self.balancer.startService()

    def test_read_again(self) -> None:
        """Who reloads is told of certificates that have changed."""
        self.begin()
        prepared = self.balancer.prepare(settings(tls="site.pem"))
        verifyObject(IPreparedFromFiles, prepared)
        assert isinstance(prepared, PreparedWithTls)
        self.assertEqual(list(prepared.changes()), ["~ tcp t: site.pem was read again"])

    def test_done(self) -> None:
        """The server is asked for when the handshake is done, and not before."""
        self.begin()
        self.client()
        self.assertEqual(self.site.attempts, [])
        stream: Any = FakeSocket()
        (side,) = self.tls.begun
        Stream(self.site.reactor, stream, side, ("127.0.0.1", 1), CLIENT).start()
        stream.comes(b"hello")
        self.settle()
        self.assertEqual(bytes(self.attempt.succeed().outbox), b"hello")

    def test_failed(self) -> None:
        """A failed handshake ends the connection, which counts no more."""
        self.begin(max_connections_per_source="1", access_log="-")
        self.client()
        self.tls.stop()
        self.assert_over("CC")
        self.assertIn("t/<NOSRV>", self.site.log.lines[0].replace(" ", "/"))
        self.assertFalse(self.client().closed)
        self.tls.stop()

    def test_ends(self) -> None:
        """A drain ends handshakes, and so does a stop."""
        for end in (lambda: self.balancer.drain(), lambda: self.balancer.stopService()):
            self.begin()
            self.client()
            self.assertIsNone(self.successResultOf(end()))
            self.assert_over("CC")

    def test_bounds(self) -> None:
        """No more handshakes than connections, and none that is idle for longer than they may."""
        self.begin(max_connections="5", idle_timeout="3s")
        self.assertEqual(self.tls.bounds, (3.0, 5))

    def test_broken(self) -> None:
        """Certificates that cannot be loaded refuse the settings."""
        self.begin()
        error = self.assertRaises(PrepareError, self.balancer.prepare, settings(tls="/no"))
        self.assertEqual(str(error), "[tcp t] tls: /no: cannot be read")


class LimitTests(Relayed):
    """Who may come."""

    def test_max_connections(self) -> None:
        """At max-connections nobody is accepted until one has gone."""
        self.begin(max_connections="2")
        first, listener = self.client(), self.site.listeners[8081]
        self.assertFalse(listener.paused)
        self.client()
        self.assertTrue(listener.paused)
        self.assertEqual(self.balancer.pauses_total, 1)
        first.breaks()
        self.settle()
        self.assertFalse(listener.paused)

    def test_few_files(self) -> None:
        """Fewer files than connections may be open: the rest waits in the backlog."""
        self.patch(room, "pairs", lambda: 1)
        self.begin(max_connections="2")
        first = self.client()
        self.assertTrue(self.site.listeners[8081].paused)
        self.assertEqual(self.balancer.status()["max_connections"], 1)
        first.breaks()
        self.settle()
        self.assertFalse(self.site.listeners[8081].paused)

    def test_per_source(self) -> None:
        """One address may have so many connections and no more; others are not affected."""
        self.begin(max_connections_per_source="2")
        first = self.client()
        self.client()
        third = self.client()
        self.assertTrue(third.closed)
        self.assertFalse(self.client(("192.0.2.8", 1)).closed)
        self.assertEqual(self.balancer.refused, {"source": 1})
        first.breaks()
        self.settle()
        self.assertFalse(self.client().closed)

    def test_rate(self) -> None:
        """More new connections than the rate allows are refused and counted."""
        self.begin(rate="1/s per source burst=2")
        closed = [self.client().closed for _ in range(3)]
        self.assertEqual(closed, [False, False, True])
        self.assertEqual(self.balancer.refused, {"rate": 1})
        self.site.wait(1.1)
        self.assertFalse(self.client().closed)

    def test_forgotten_rates(self) -> None:
        """Rates that were forgotten for want of room are shown."""
        self.patch(Rates.__init__, "__defaults__", (2,))
        self.begin(rate="1/h per source")
        for last in range(4):
            self.client((f"192.0.2.{last}", 1))
        self.assertEqual(self.balancer.status()["rate_forgotten"], 2)
        (shown,) = (m for m in self.balancer.metrics() if m.name.endswith("rate_forgotten"))
        self.assertEqual(shown.samples[0].value, 2)


class LifeTests(Relayed):
    """Start, reload, drain, stop, and what is shown."""

    def test_nothing_before_the_start(self) -> None:
        """Nobody is accepted before the service starts."""
        site = Site()
        balancer = TcpBalancer("t", site, connect=site.connect)
        balancer.prepare(settings()).commit()
        self.assertIsNone(site.listeners[8081].accepted)
        balancer.startService()
        self.assertTrue(site.listeners[8081].started)

    def test_explain(self) -> None:
        """What is explained is what the next connection gets, and a server that is out says why."""
        self.begin()
        verifyObject(IExplains, self.balancer)
        told = self.balancer.explain({"from": "192.0.2.7:50312"})
        self.assertEqual((told["pool"], told["chosen"]), ("p", "a"))
        self.client()
        self.assertEqual(self.site.in_flight["a"], 1)
        pool = self.site.pool("p")
        pool.maintain(pool.server("b"))
        told = self.balancer.explain({"from": "[2001:db8::1]:1"})
        self.assertEqual(
            told["candidates"][1], {"server": "b", "usable": False, "why": "in maintenance"}
        )

    def test_explain_nonsense(self) -> None:
        """A question without an address is refused with what was expected."""
        self.begin()
        for wrong in ({}, {"from": "x"}, {"from": "192.0.2.7"}):
            self.assertRaises(NotDone, self.balancer.explain, wrong)

    def test_drain(self) -> None:
        """A drain accepts nobody more and fires when the last connection has ended."""
        self.begin()
        client, _ = self.relayed()
        done = self.balancer.drain()
        self.assertIsNone(self.site.listeners[8081].accepted)
        self.assertNoResult(done)
        client.breaks()
        self.settle()
        self.successResultOf(done)

    def test_drain_of_nothing(self) -> None:
        """Without connections a drain is over at once."""
        self.begin()
        self.successResultOf(self.balancer.drain())

    def test_stop(self) -> None:
        """A stop resets what is left, in whatever state, and fires when it is gone."""
        self.begin()
        client, server = self.relayed()
        early = self.client()
        done = self.balancer.stopService()
        self.settle()
        self.successResultOf(done)
        self.assertTrue(client.reset and server.reset and early.closed)
        self.assertEqual(self.site.in_flight, {"a": 0, "b": 0})
        self.assertEqual(self.balancer.totals.ended, {"KD": 1, "KC": 1})

    def test_reload(self) -> None:
        """New settings hold for new connections; a listener that is not named is given back."""
        self.begin(max_connections="1")
        client, _ = self.relayed()
        self.assertTrue(self.site.listeners[8081].paused)
        changed = settings(listen="127.0.0.1:8081\n 127.0.0.1:8083", max_connections="5")
        self.balancer.prepare(changed).commit()
        self.assertFalse(self.site.listeners[8081].paused)
        self.assertTrue(self.site.listeners[8083].started)
        self.balancer.prepare(settings(listen="127.0.0.1:8083")).commit()
        self.assertIsNone(self.site.listeners[8081].accepted)
        self.assertFalse(client.closed)

    def test_log_that_cannot_be_opened(self) -> None:
        """A log that cannot be opened fails the preparation and changes nothing."""
        from balancer.interfaces import PrepareError

        self.begin()
        with self.assertRaises(PrepareError) as caught:
            self.balancer.prepare(settings(access_log="/full"))
        self.assertEqual(
            str(caught.exception), "cannot open the access log /full: Permission denied"
        )
        self.client()

    def test_access_log(self) -> None:
        """One line for each connection, when it has ended."""
        self.begin(access_log="log")
        client, server = self.relayed()
        client.comes(b"abc", b"")
        server.comes(b"de")
        self.settle()
        self.assertEqual(self.site.log.lines, [])
        self.site.wait(1)
        server.comes(b"")
        self.settle()
        (line,) = self.site.log.lines
        self.assertRegex(
            line, r"^192\.0\.2\.7:50312 \[[^]]+\] tcp/t p/a 0/0/1\d\d\d 3/2 -- 0\n$"
        )

    def test_metrics(self) -> None:
        """Every sample bears the balancer's name, and a histogram counts each connection."""
        self.begin()
        self.relayed()
        metrics = {metric.name: metric for metric in self.balancer.metrics()}
        for metric in metrics.values():
            self.assertTrue(metric.name.startswith("balancer_tcp_"))
            for sample in metric.samples:
                self.assertEqual(sample.labels["balancer"], "t")
        values: Any = {
            (s.suffix, s.labels.get("le")): s.value
            for s in metrics["balancer_tcp_connect_seconds"].samples
        }
        self.assertEqual((values["_bucket", "+Inf"], values["_count", None]), (1, 1))

    def test_taken_over(self) -> None:
        """A listener that another balancer took over at a reload stays with that one."""
        self.begin()
        other = started(self.site)
        taken = self.site.listeners[8081].accepted
        self.balancer.prepare(settings(listen="127.0.0.1:8083")).commit()
        self.assertIs(self.site.listeners[8081].accepted, taken)
        self.assertTrue(other.running)
