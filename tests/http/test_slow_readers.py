"""Clients that ask and do not read: no request of theirs is begun while answers wait."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.http import exchange
from balancer.wire.sending import HIGH_WATER
from tests.http.world import FakeStream, World, pool_of, request, response, status_of

PAGE = 16_000
OWN = f"routes = path=/own -> respond 200 {'x' * PAGE}\npool = app\n"
ASKED = 100
MOST = HIGH_WATER // PAGE + 1


class SlowReaderTests(SynchronousTestCase):
    """Each world must leave nothing behind."""

    def world(self, options: str = OWN) -> World:
        """A world whose own page is large."""
        world = World(options, pool_of("a"))
        self.addCleanup(world.check)
        return world

    def stalled(self, world: World, data: bytes = b"") -> FakeStream:
        """A client that does not read."""
        client = world.client()
        client.reads = False
        if data:
            client.receive(data)
        return client

    def phase(self, client: FakeStream) -> int:
        """The phase of the client's connection."""
        phase: int = client.protocol.phase
        return phase

    def test_own_answers(self) -> None:
        """No more of our answers are made than high water and one."""
        world = self.world()
        client = self.stalled(world, request("GET", "/own") * ASKED)
        self.assertTrue(client.paused)
        self.assertLess(client.queued, HIGH_WATER + PAGE + 1000)
        self.assertEqual(world.front.figures.requests, MOST)
        self.assertEqual(self.phase(client), exchange.FULL)

    def test_one_request_a_piece(self) -> None:
        """Requests that come one by one, as from a client that repeats itself, are bounded too."""
        world = self.world()
        client = self.stalled(world)
        for _ in range(ASKED):
            if not client.paused:
                client.receive(request("GET", "/own"))
        self.assertEqual(world.front.figures.requests, MOST)

    def test_in_time(self) -> None:
        """A client that reads later gets all its answers, in order, and goes on."""
        world = self.world()
        asked = b"".join(
            request("GET", "/own") if n % 3 else request("GET", f"/{n}") for n in range(30)
        )
        client = self.stalled(world, asked)
        found, server = b"", None
        for _ in range(200):
            if world.attempts and server is None:
                server = world.server()
            if server is not None and server.written:
                path = server.take().split(b" ")[1]
                server.receive(response(200, path))
            self.assertLess(client.queued, HIGH_WATER + PAGE + 1000)
            found += client.take()
            client.catch_up()
        self.assertEqual(found.count(b"HTTP/1.1 200 "), 30)
        places = [found.find(b"\r\n\r\n/%d" % n) for n in range(0, 30, 3)]
        self.assertEqual(places, sorted(places))
        self.assertNotIn(-1, places)
        self.assertEqual((self.phase(client), client.paused), (exchange.IDLE, False))
        client.receive(request("GET", "/own"))
        self.assertEqual(status_of(client.take()), 200)

    def test_proxied_answers(self) -> None:
        """Answers of servers that come whole count as ours do."""
        world = self.world()
        client = self.stalled(world, request() * ASKED)
        server = world.server()
        for _ in range(ASKED):
            if server.take():
                server.receive(response(200, b"y" * 40_000))
        self.assertEqual(world.front.figures.requests, 2)
        self.assertEqual((self.phase(client), client.paused), (exchange.FULL, True))
        client.catch_up()
        self.assertEqual(server.take().count(b"GET "), 1)
        server.receive(response())

    def test_streamed_answer(self) -> None:
        """After an answer that streamed, the next request waits as well."""
        world = self.world()
        client = self.stalled(world, request() * 2)
        server = world.server()
        server.take()
        server.receive(b"HTTP/1.1 200 Fine\r\nContent-Length: 100000\r\n\r\n")
        server.receive(b"y" * 70_000)
        self.assertTrue(server.paused)
        server.receive(b"y" * 30_000)
        self.assertFalse(server.paused)
        self.assertEqual((self.phase(client), server.take()), (exchange.FULL, b""))
        client.catch_up()
        self.assertEqual(server.take().count(b"GET "), 1)
        server.receive(response())

    def test_never_reads(self) -> None:
        """A client that reads nothing for the idle time-out is cut off."""
        world = self.world(OWN + "idle-timeout = 5s\n")
        client = self.stalled(world, request("GET", "/own") * ASKED)
        world.pass_time(4)
        self.assertEqual(client.closing, "")
        world.pass_time(2)
        self.assertEqual(client.closing, "abort")

    def test_reads_slowly(self) -> None:
        """One that reads a little each time stays."""
        world = self.world(OWN + "idle-timeout = 5s\n")
        client = self.stalled(world, request("GET", "/own") * ASKED)
        for _ in range(4):
            client.catch_up(client.queued - 1000)
            world.pass_time(4)
        self.assertEqual(client.closing, "")
        world.pass_time(6)
        self.assertEqual(client.closing, "abort")

    def test_leaves(self) -> None:
        """One that leaves leaves nothing."""
        world = self.world()
        self.stalled(world, request("GET", "/own") * ASKED).lose(clean=False)
        world.balancer.stopService()
        world.check()

    def test_drain(self) -> None:
        """Draining lets what is queued go out, and begins nothing."""
        world = self.world()
        client = self.stalled(world, request("GET", "/own") * ASKED)
        world.balancer.drain()
        self.assertEqual(client.closing, "linger")
        self.assertIsNone(client.producer)
        self.assertEqual(world.front.figures.requests, MOST)

    def test_upload_that_was_held_up(self) -> None:
        """A client that a slow server held up to the last byte of a body is read again."""
        world = self.world()
        client, server = world.asked(request("POST", "/", "Content-Length: 200000"))
        client.receive(b"z" * 100_000)
        server.producer.pauseProducing()
        self.assertTrue(client.paused)
        client.receive(b"z" * 100_000)
        self.assertFalse(client.paused)
        server.receive(response())

    def test_held_body_before_a_slow_server(self) -> None:
        """What was held of a body for a server that does not read keeps the client held up."""
        world = self.world()
        client = world.client(request("POST", "/", "Content-Length: 300000"))
        client.receive(b"z" * 70_000)
        attempt = world.attempts[-1]
        server = FakeStream(attempt.protocol, "10.0.0.1", 80)
        server.reads = False
        world.streams.append(server)
        attempt.protocol.makeConnection(server)
        self.assertTrue(client.paused)
        server.catch_up()
        self.assertFalse(client.paused)
