"""Upgraded connections: bytes both ways, whatever they are."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.http.world import FakeStream, World, request, response, status_of

ASK = request("GET", "/chat", "Connection: Upgrade", "Upgrade: websocket", "X-Key: k")
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nX-Accept: a\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)


class TunnelTests(SynchronousTestCase):
    """After 101."""

    def world(self) -> World:
        """A world with a log that must leave nothing behind."""
        world = World("pool = app\naccess-log = log\nlog-format = haproxy\nidle-timeout = 30s\n")
        self.addCleanup(world.check)
        return world

    def tunnel(self, world: World) -> tuple[FakeStream, FakeStream]:
        """A tunnel that stands."""
        client, server = world.asked(ASK)
        server.take()
        server.receive(SWITCH)
        client.take()
        return client, server

    def log(self, world: World) -> bytes:
        """The only line of the log."""
        (line,) = world.context.logs["log"].lines
        return line

    def test_switch(self) -> None:
        """The upgrade is asked for and granted end to end, and bytes that came early go on."""
        world = self.world()
        client, server = world.asked(ASK + b"early")
        asked = server.take()
        self.assertIn(b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", asked)
        self.assertTrue(asked.endswith(b"\r\n\r\n"))
        server.receive(SWITCH + b"hello")
        self.assertEqual((client.take(), server.take()), (SWITCH + b"hello", b"early"))
        client.receive(b"GET / HTTP/1.1\r\n\r\n\0")
        server.receive(b"HTTP/1.1 200 OK\r\n\r\n\0")
        self.assertEqual(server.take(), b"GET / HTTP/1.1\r\n\r\n\0")
        self.assertEqual(client.take(), b"HTTP/1.1 200 OK\r\n\r\n\0")

    def test_not_granted(self) -> None:
        """A server that answers otherwise has answered a request like any other."""
        world = self.world()
        client, server = world.asked(ASK)
        server.receive(response())
        self.assertEqual((status_of(client.take()), client.closing, server.closing), (200, "", ""))

    def test_pace(self) -> None:
        """Each side holds the other up when it is slow."""
        client, server = self.tunnel(self.world())
        assert client.producer is not None
        assert server.producer is not None
        client.producer.pauseProducing()
        self.assertEqual((client.paused, server.paused), (False, True))
        server.producer.pauseProducing()
        self.assertTrue(client.paused)
        client.producer.resumeProducing()
        server.producer.resumeProducing()
        self.assertEqual((client.paused, server.paused), (False, False))

    def test_client_ends_first(self) -> None:
        """The client's end goes on to the server, which may still talk."""
        world = self.world()
        client, server = self.tunnel(world)
        client.end()
        self.assertTrue(server.half_closed)
        server.receive(b"bye")
        self.assertEqual((client.take(), client.half_closed), (b"bye", False))
        server.end()
        self.assertTrue(client.half_closed)
        server.lose()
        self.assertEqual(client.closing, "close")
        self.assertIn(b" 101 ", self.log(world))
        self.assertIn(b" ---- ", self.log(world))

    def test_server_ends_first(self) -> None:
        """And the other way round; what is queued for the server is not thrown away."""
        world = self.world()
        client, server = self.tunnel(world)
        server.end()
        client.receive(b"bye")
        self.assertEqual(server.take(), b"bye")
        client.end()
        client.lose()
        self.assertEqual(server.closing, "close")
        self.assertIn(b" ---- ", self.log(world))

    def test_end_before_the_switch(self) -> None:
        """A client that ended before the switch has ended behind it too."""
        world = self.world()
        client, server = world.asked(ASK)
        client.end()
        server.receive(SWITCH)
        self.assertTrue(server.half_closed)

    def test_resets(self) -> None:
        """A reset on one side resets the other."""
        world = self.world()
        client, server = self.tunnel(world)
        client.lose(clean=False)
        self.assertEqual(server.closing, "abort")
        self.assertIn(b" CD-- ", self.log(world))
        world = self.world()
        client, server = self.tunnel(world)
        server.lose(clean=False)
        self.assertEqual(client.closing, "abort")
        self.assertIn(b" SD-- ", self.log(world))

    def test_idle(self) -> None:
        """A tunnel in which nothing moves for `idle-timeout` ends; bytes of either side count."""
        world = self.world()
        client, server = self.tunnel(world)
        for stream in (client, server, client):
            world.pass_time(25)
            stream.receive(b"ping")
        world.pass_time(29)
        self.assertEqual((client.closing, server.closing), ("", ""))
        world.pass_time(1.3)
        self.assertEqual((client.closing, server.closing), ("abort", "abort"))
        self.assertIn(b" cD-- ", self.log(world))
