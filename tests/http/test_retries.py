"""Servers that fail, and what the client notices of it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.http.links import MAX_IDLE
from balancer.pool.events import Moved
from balancer.wire.address import literal
from tests.http.world import World, pool_of, request, response, status_of

POST = request("POST", "/", "Content-Length: 2", body=b"ab")


class RetryTests(SynchronousTestCase):
    """The next server gets what the first one did not take."""

    def world(self, *names: str, **options: Any) -> World:
        """A world whose pool has these servers, and that must leave nothing behind."""
        pool = pool_of(*(names or ("a", "b")), **options)
        world = World("pool = app\naccess-log = log\nlog-format = haproxy\n", pool)
        self.addCleanup(world.check)
        return world

    def kept(self, world: World) -> None:
        """Have each server keep a connection."""
        for _ in world.pool.servers:
            client, server = world.asked(request())
            server.receive(response())
            client.lose()
        world.attempts.clear()

    def test_connect_refused(self) -> None:
        """Any method goes to the next server when a connection fails, body and all."""
        for data in (request(), POST):
            world = self.world()
            client = world.client(data)
            world.attempts[0].refuse()
            self.assertEqual(client.take(), b"")
            server = world.server()
            self.assertNotEqual(world.attempts[0].address, world.attempts[1].address)
            self.assertTrue(server.take().endswith(b"ab" if data == POST else b"\r\n\r\n"))
            server.receive(response())
            self.assertEqual(status_of(client.take()), 200)
            self.assertEqual(world.pool.servers[0].failures_total, 1)
            self.assertEqual(world.front.figures.retries, 1)
            self.assertIn(b" app/b ", world.context.logs["log"].lines[0])

    def test_all_refuse(self) -> None:
        """When every server refuses, the answer is 502, and the client's connection stays."""
        world = self.world()
        client = world.client(request())
        world.attempts[0].refuse()
        world.attempts[1].refuse()
        self.assertEqual((status_of(client.take()), client.closing), (502, ""))
        self.assertIn(b" SC-- ", world.context.logs["log"].lines[0])
        self.assertEqual(len(world.attempts), 2)

    def test_connect_times_out(self) -> None:
        """A connect that takes too long counts as a failure; the pool says how long."""
        world = self.world()
        world.client(request())
        self.assertEqual(world.attempts[0].timeout, 5.0)
        world.attempts[0].refuse(110)
        world.attempts[1].refuse(110)
        self.assertIn(b" sC-- ", world.context.logs["log"].lines[0])

    def test_retries_are_bounded(self) -> None:
        """No more than `retries` other servers are tried."""
        world = self.world("a", "b", "c", "d", retries=1)
        client = world.client(request())
        world.attempts[0].refuse()
        world.attempts[1].refuse()
        self.assertEqual((status_of(client.take()), len(world.attempts)), (502, 2))

    def test_out_of_descriptors(self) -> None:
        """A shortage of our own is 503, blames no server and asks no other."""
        world = self.world()
        client = world.client(request())
        world.attempts[0].run_short()
        self.assertEqual((status_of(client.take()), len(world.attempts)), (503, 1))
        self.assertEqual(world.pool.servers[0].failures_total, 0)
        self.assertIn(b" RC-- ", world.context.logs["log"].lines[0])

    def test_closed_without_an_answer(self) -> None:
        """A server that closes without a byte is replaced for methods that may be repeated."""
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE"):
            world = self.world()
            client, server = world.asked(request(method))
            server.end()
            world.server().receive(response(204, b""))
            self.assertEqual(status_of(client.take()), 204, method)
            self.assertEqual(world.pool.servers[0].failures_total, 1)

    def test_closed_on_post(self) -> None:
        """A request that may have been processed is not repeated: 502."""
        for method in ("POST", "PATCH", "FOO"):
            world = self.world()
            client, server = world.asked(request(method))
            server.lose(clean=False)
            self.assertEqual((status_of(client.take()), len(world.attempts)), (502, 1), method)
            self.assertIn(b" SH-- ", world.context.logs["log"].lines[0])

    def test_kept_alive_but_dead(self) -> None:
        """A kept-alive connection that turns out dead blames nobody, and the next server is
        asked."""
        world = self.world()
        self.kept(world)
        client = world.client(request())
        used = next(s for s in world.streams if s.written.count(b"GET") == 2)
        used.lose(clean=False)
        self.assertEqual(sum(s.failures_total for s in world.pool.servers), 0)
        other = next(s for s in world.streams if s is not used and s.written.count(b"GET") == 2)
        other.receive(response())
        self.assertEqual((status_of(client.take()), world.attempts), (200, []))

    def test_kept_alive_but_dead_on_the_only_server(self) -> None:
        """With one server alone, it is asked again on a connection that cannot be stale."""
        world = self.world("a")
        self.kept(world)
        client = world.client(request())
        client2 = world.client(request())
        world.server().receive(response())
        self.assertEqual(status_of(client2.take()), 200)  # leaves a second idle connection
        world.streams[1].end()
        self.assertEqual(len(world.attempts), 2)
        world.server().receive(response())
        self.assertEqual(status_of(client.take()), 200)

    def test_fresh_and_closed_on_the_only_server(self) -> None:
        """A fresh connection that is closed without a byte says enough of the only server."""
        world = self.world("a")
        client, server = world.asked(request())
        server.end()
        self.assertEqual((status_of(client.take()), len(world.attempts)), (502, 1))

    def test_body_not_held(self) -> None:
        """A body of which more than the first piece went out is not sent again."""
        world = self.world()
        client, server = world.asked(request("PUT", "/", "Content-Length: 3", body=b"a"))
        client.receive(b"b")
        server.end()
        self.assertEqual((status_of(client.take()), client.closing), (502, "linger"))
        self.assertEqual(len(world.attempts), 1)

    def test_body_still_held(self) -> None:
        """A body whose first piece alone went out is sent again, and goes on to the next server."""
        world = self.world()
        client, server = world.asked(request("PUT", "/", "Content-Length: 3", body=b"a"))
        assert server.producer is not None
        server.producer.pauseProducing()
        server.lose()
        self.assertFalse(client.paused)
        server = world.server()
        client.receive(b"bc")
        self.assertTrue(server.take().endswith(b"\r\n\r\nabc"))
        server.receive(response())
        self.assertEqual(status_of(client.take()), 200)

    def test_gateway_errors(self) -> None:
        """502, 503 and 504 of a server count as its failures, a 500 does not."""
        for code, failures in ((500, 0), (502, 1), (503, 1), (504, 1)):
            world = self.world()
            client, server = world.asked(request())
            server.receive(response(code))
            self.assertEqual(status_of(client.take()), code)
            self.assertEqual(world.pool.servers[0].failures_total, failures)

    def test_no_server(self) -> None:
        """A pool without a server that works is 503 at once."""
        world = self.world(queue=9)
        for server in world.pool.servers:
            for _ in range(3):
                world.context.publish(world.pool, world.pool.record(server, False, "no", 0.0))
        client = world.client(request())
        self.assertEqual((status_of(client.take()), client.closing), (503, ""))
        self.assertIn(b"<NOSRV>", world.context.logs["log"].lines[0])
        self.assertIn(b" SC-- ", world.context.logs["log"].lines[0])
        self.assertEqual(world.front.figures.refused["no-server"], 1)


class LinkTests(SynchronousTestCase):
    """Connections kept to servers."""

    def world(self) -> World:
        """A world with one server, that must leave nothing behind."""
        world = World("pool = app\n", pool_of("a"))
        self.addCleanup(world.check)
        return world

    def test_last_in_first_out(self) -> None:
        """The connection that was used last is used next."""
        world = self.world()
        pairs = [world.asked(request()) for _ in range(3)]
        for _, server in pairs:
            server.receive(response())
            server.take()
        world.client(request())
        self.assertTrue(pairs[2][1].take().startswith(b"GET"))

    def test_bounded(self) -> None:
        """No more than so many are kept."""
        world = self.world()
        pairs = [world.asked(request()) for _ in range(MAX_IDLE + 2)]
        for _, server in pairs:
            server.receive(response())
        self.assertEqual(sum(1 for _, server in pairs if server.closing), 2)

    def test_closed_by_the_server(self) -> None:
        """One that the server closes is forgotten."""
        world = self.world()
        client, server = world.asked(request())
        server.receive(response())
        server.end()
        self.assertEqual(server.closing, "close")
        client.receive(request())
        self.assertEqual(len(world.attempts), 2)

    def test_server_down(self) -> None:
        """When a server goes down its idle connections are closed; one at work goes on."""
        world = self.world()
        _client, server = world.asked(request())
        client2, server2 = world.asked(request())
        server.receive(response())
        for _ in range(3):
            events = world.pool.record(world.pool.servers[0], False, "no", 0.0)
            world.context.publish(world.pool, events)
        self.assertEqual((server.closing, server2.closing), ("close", ""))
        server2.receive(response())
        self.assertEqual((status_of(client2.take()), server2.closing), (200, "close"))

    def test_moved_server(self) -> None:
        """When a server's name stands for another address its idle connections are closed; one at
        work ends where it is, and is not kept. New requests go to the new address."""
        world = self.world()
        client, server = world.asked(request())
        client2, server2 = world.asked(request())
        server.receive(response())
        moved = world.pool.servers[0]
        moved.address = literal("10.0.0.9", 80)
        world.context.publish(world.pool, [Moved(moved.key, str(moved.address))])
        self.assertEqual((server.closing, server2.closing), ("close", ""))
        server2.receive(response())
        self.assertEqual((status_of(client2.take()), server2.closing), (200, "close"))
        world.attempts.clear()
        client.receive(request())
        self.assertEqual([attempt.address for attempt in world.attempts], [moved.address])
        world.server().receive(response())

    def test_drained_server(self) -> None:
        """A server that drains loses its idle connections."""
        world = self.world()
        _client, server = world.asked(request())
        server.receive(response())
        world.context.publish(world.pool, world.pool.drain(world.pool.servers[0]))
        self.assertEqual(server.closing, "close")


class QueueTests(SynchronousTestCase):
    """Requests that wait for a server with room."""

    def world(self, **options: Any) -> World:
        """One server that takes one request at a time."""
        pool = pool_of("a", most=1, **options)
        world = World("pool = app\naccess-log = log\nlog-format = haproxy\n", pool)
        self.addCleanup(world.check)
        return world

    def test_waits(self) -> None:
        """A request waits until the server has room, and takes over its connection."""
        world = self.world(queue=2)
        client, server = world.asked(request())
        waiting = world.client(request("GET", "/2"))
        server.take()
        server.receive(response())
        self.assertTrue(server.take().startswith(b"GET /2 "))
        server.receive(response())
        self.assertEqual((status_of(client.take()), status_of(waiting.take())), (200, 200))
        self.assertEqual(len(world.attempts), 1)

    def test_no_queue(self) -> None:
        """Without a queue, a full pool is 503."""
        world = self.world()
        _client, _server = world.asked(request())
        self.assertEqual(status_of(world.client(request()).take()), 503)

    def test_queue_full(self) -> None:
        """A full queue is 503."""
        world = self.world(queue=1)
        _client, _server = world.asked(request())
        world.client(request())
        self.assertEqual(status_of(world.client(request()).take()), 503)
        self.assertIn(b" PQ-- ", world.context.logs["log"].lines[0])
        self.assertEqual(world.front.figures.refused["queue"], 1)

    def test_queue_timeout(self) -> None:
        """A request that waits too long is 503, and its connection goes on."""
        world = self.world(queue=1, queue_timeout=2.0)
        _client, _server = world.asked(request())
        waiting = world.client(request())
        world.pass_time(1.9)
        self.assertEqual(waiting.take(), b"")
        world.pass_time(0.3)
        self.assertEqual((status_of(waiting.take()), waiting.closing), (503, ""))
        self.assertEqual(world.pool.queue_length, 0)
        self.assertIn(b" sQ-- ", world.context.logs["log"].lines[0])

    def test_client_leaves_the_queue(self) -> None:
        """A client that goes while it waits waits no more."""
        world = self.world(queue=1)
        _client, _server = world.asked(request())
        world.client(request()).lose()
        self.assertEqual(world.pool.queue_length, 0)
        self.assertIn(b" CQ-- ", world.context.logs["log"].lines[0])

    def test_verdict_makes_room(self) -> None:
        """A server that comes up takes what waits."""
        pool = pool_of("a", "b", most=1, queue=5)
        world = World("pool = app\n", pool)
        self.addCleanup(world.check)
        a, b = pool.servers
        pool.drain(b)
        world.asked(request())
        world.client(request())
        self.assertEqual((pool.queue_length, len(world.attempts)), (1, 1))
        world.context.publish(pool, pool.ready(b))
        self.assertEqual((pool.queue_length, len(world.attempts)), (0, 2))
        self.assertEqual((a.in_flight, b.in_flight), (1, 1))

    def world_of_two(self, **options: Any) -> World:
        """Two servers that take one request each at a time."""
        world = World(
            "pool = app\naccess-log = log\nlog-format = haproxy\n",
            pool_of("a", "b", most=1, **options),
        )
        self.addCleanup(world.check)
        return world

    def test_others_are_full(self) -> None:
        """A request whose server fails waits for those that are merely full, with what it asked,
        and is not given the one that failed."""
        for data in (request(), POST):
            world = self.world_of_two(queue=2)
            first, busy = world.asked(request("GET", "/1"))
            busy.take()
            client = world.client(data)
            failing = world.attempts[-1]
            failing.refuse()
            self.assertEqual((client.take(), world.pool.queue_length), (b"", 1))
            world.pass_time(1)
            busy.receive(response())
            self.assertTrue(busy.take().startswith(data[:6]))
            busy.receive(response())
            self.assertEqual((status_of(first.take()), status_of(client.take())), (200, 200))
            self.assertEqual(len(world.attempts), 2)
            line = world.context.logs["log"].lines[-1]
            self.assertIn(b"/1000/0/0/1000 200 ", line)
            self.assertIn(b"/1 0/0 ", line)

    def test_others_are_full_for_too_long(self) -> None:
        """It waits no longer than others do; the log says for how long."""
        world = self.world_of_two(queue=2, queue_timeout=2.0)
        world.asked(request("GET", "/1"))
        client = world.client(request())
        world.attempts[-1].refuse()
        world.pass_time(3)
        self.assertEqual(status_of(client.take()), 503)
        line = world.context.logs["log"].lines[0]
        self.assertRegex(line, rb" \d+/2[01]\d\d/-1/-1/2[01]\d\d 503 .* sQ-- ")

    def test_others_are_full_without_a_queue(self) -> None:
        """Without a queue the answer is 502, and no server is asked twice."""
        world = self.world_of_two()
        world.asked(request("GET", "/1"))
        client = world.client(request())
        world.attempts[-1].refuse()
        self.assertEqual((status_of(client.take()), len(world.attempts)), (502, 2))

    def test_admitted_too_late(self) -> None:
        """A client that leaves between the pool's word and ours leaves its server free, or to the
        next one that waits."""
        world = self.world(queue=2)
        pool, now = world.pool, world.clock.seconds()
        _client, server = world.asked(request())
        clients = [world.client(request()) for _ in range(2)]
        waiter = pool.finish(pool.servers[0], now)
        assert waiter is not None
        clients[0].lose()
        server.take()
        waiter.admitted(pool.servers[0], now)
        self.assertEqual((pool.servers[0].in_flight, pool.queue_length), (1, 0))
        pool.servers[0].in_flight += 1  # what `finish` above took
        clients[1].lose()
