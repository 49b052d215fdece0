"""What a server may answer, and what the client gets to see."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.http.world import World, request, response, status_of


class ResponseTests(SynchronousTestCase):
    """From the server to the client."""

    def world(self, options: str = "pool = app\n") -> World:
        """A world that must leave nothing behind."""
        world = World(options)
        self.addCleanup(world.check)
        return world

    def test_byte_by_byte(self) -> None:
        """An answer that comes byte by byte is the same answer."""
        world = self.world()
        client, server = world.asked(request())
        for index in range(len(data := response(200, b"hello"))):
            server.receive(data[index : index + 1])
        self.assertEqual(client.take(), data)
        self.assertEqual((client.closing, client.producer, server.closing), ("", None, ""))

    def test_streamed(self) -> None:
        """A long body goes on as it comes; the client's pace holds the server up."""
        world = self.world()
        client, server = world.asked(request())
        server.receive(b"HTTP/1.1 200 Fine\r\nContent-Length: 6\r\n\r\nab")
        assert client.producer is not None
        client.producer.pauseProducing()
        self.assertTrue(server.paused)
        client.producer.resumeProducing()
        self.assertFalse(server.paused)
        server.receive(b"cdef")
        self.assertTrue(client.take().endswith(b"\r\n\r\nabcdef"))
        self.assertIsNone(client.producer)
        client.receive(request())
        self.assertEqual((client.closing, server.closing), ("", ""))

    def test_paused_at_the_end(self) -> None:
        """A server that was held up when its answer ended is read again: its end must be seen."""
        world = self.world()
        client, server = world.asked(request())
        server.receive(b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\na")
        assert client.producer is not None
        client.producer.pauseProducing()
        server.receive(b"b")
        self.assertFalse(server.paused)

    def test_chunked(self) -> None:
        """Chunks and trailers pass as they come, and both connections go on."""
        world = self.world()
        client, server = world.asked(request())
        head = b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = b"3\r\nabc\r\n0\r\nT: u\r\n\r\n"
        for index in range(len(head + chunks)):
            server.receive((head + chunks)[index : index + 1])
        self.assertEqual(client.take(), head + chunks)
        self.assertEqual((client.closing, server.closing), ("", ""))

    def test_chunked_at_once(self) -> None:
        """A chunked answer in one piece leaves in one write, and nobody produces."""
        world = self.world()
        client, server = world.asked(request())
        data = b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
        server.receive(data)
        self.assertEqual((client.take(), client.writes, client.producer), (data, 1, None))

    def test_chunked_for_http_1_0(self) -> None:
        """An HTTP/1.0 client gets the bare body, which ends with the connection."""
        for pieces in (1, 100):
            world = self.world()
            client, server = world.asked(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            data = (
                b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n"
            )
            size = len(data) // pieces + 1
            for start in range(0, len(data), size):
                server.receive(data[start : start + size])
            self.assertEqual(
                client.take(), b"HTTP/1.1 200 Fine\r\nConnection: close\r\n\r\nabcde"
            )
            self.assertEqual((client.closing, server.closing), ("close", ""))

    def test_until_close(self) -> None:
        """A body without a length ends with the server's connection, and so does the client's."""
        world = self.world()
        client, server = world.asked(request())
        server.receive(b"HTTP/1.0 200 Fine\r\n\r\nab")
        server.receive(b"cd")
        self.assertEqual(client.closing, "")
        server.end()
        self.assertEqual(
            client.take(), b"HTTP/1.1 200 Fine\r\nConnection: close\r\n\r\nabcd"
        )
        self.assertEqual((client.closing, server.closing), ("close", "close"))

    def test_until_close_cut(self) -> None:
        """When such a body ends by a reset, so does the client's connection: it must not look
        complete."""
        world = self.world("pool = app\naccess-log = log\nlog-format = haproxy\n")
        client, server = world.asked(request())
        server.receive(b"HTTP/1.1 200 Fine\r\n\r\nab")
        server.lose(clean=False)
        self.assertEqual(client.closing, "abort")
        self.assertIn(b" SD-- ", world.context.logs["log"].lines[0])

    def test_cut(self) -> None:
        """A body that ends too early ends the client's connection."""
        for head in (b"Content-Length: 9", b"Transfer-Encoding: chunked"):
            world = self.world()
            client, server = world.asked(request())
            server.receive(b"HTTP/1.1 200 Fine\r\n" + head + b"\r\n\r\n")
            server.receive(b"5\r\nab")
            server.end()
            self.assertEqual(client.closing, "abort")
            self.assertEqual(world.pool.servers[0].failures_total, 1)

    def test_bad_chunk(self) -> None:
        """A broken chunk is 502 if nothing was passed on yet, and a cut if something was."""
        world = self.world()
        client, server = world.asked(request())
        head = b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n"
        server.receive(head + b"x\r\n")
        self.assertEqual((status_of(client.take()), client.closing), (502, ""))
        self.assertEqual(server.closing, "abort")
        client, server = world.asked(request())
        server.receive(head)
        server.receive(b"x\r\n")
        self.assertEqual((status_of(client.take()), client.closing), (200, "abort"))

    def test_no_body(self) -> None:
        """Answers to HEAD, 204 and 304 have no body, whatever their fields say."""
        for method, code, fields in (
            ("HEAD", 200, ("Content-Length: 5",)),
            ("HEAD", 200, ("Transfer-Encoding: chunked",)),
            ("HEAD", 200, ()),
            ("GET", 204, ()),
            ("GET", 304, ("Content-Length: 5",)),
        ):
            world = self.world()
            client, server = world.asked(request(method))
            server.receive("\r\n".join([f"HTTP/1.1 {code} Fine", *fields, "", ""]).encode())
            self.assertEqual((status_of(client.take()), client.closing), (code, ""), fields)
            client.receive(request())
            world.server().receive(response())
            self.assertEqual(status_of(client.take()), 200)

    def test_interim(self) -> None:
        """Interim answers are passed on, but not to an HTTP/1.0 client."""
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        world = self.world()
        client, server = world.asked(request())
        server.receive(early + early + response())
        self.assertEqual(client.take(), early + early + response())
        client, server = world.asked(b"GET / HTTP/1.0\r\n\r\n")
        server.receive(early)
        self.assertEqual(client.take(), b"")
        server.receive(response())
        self.assertEqual(status_of(client.take()), 200)

    def test_too_many_interims(self) -> None:
        """A server that never comes to the point is a bad one."""
        world = self.world()
        client, server = world.asked(request())
        server.receive(b"HTTP/1.1 102 Processing\r\n\r\n" * 40)
        self.assertIn(b"HTTP/1.1 502 ", client.take())

    def test_bad_answers(self) -> None:
        """What breaks the rules is 502, the server's fault, and never tried again."""
        for data in (
            b"nonsense",
            b"HTTP/1.1 200 Fine\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            b"HTTP/1.1 200 Fine\r\nX: " + b"y" * 70000,
        ):
            world = self.world()
            client, server = world.asked(request())
            server.receive(data)
            self.assertEqual((status_of(client.take()), server.closing), (502, "abort"), data[:40])
            self.assertEqual(client.closing, "")
            self.assertEqual(len(world.attempts), 1)
            self.assertEqual(world.pool.servers[0].failures_total, 1)

    def test_cut_head(self) -> None:
        """A server that ends in the middle of a head has answered: 502, and no second try."""
        world = self.world()
        client, server = world.asked(request())
        server.receive(b"HTTP/1.1 200 Fi")
        server.end()
        self.assertEqual((status_of(client.take()), len(world.attempts)), (502, 1))

    def test_more_than_the_answer(self) -> None:
        """Bytes behind an answer are dropped, and that connection is not used again."""
        for data in (
            response() + b"HTTP/1.1 200 Evil\r\n\r\n",
            b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 Evil",
        ):
            world = self.world()
            client, server = world.asked(request())
            server.receive(data)
            self.assertNotIn(b"Evil", client.take())
            self.assertEqual((client.closing, server.closing), ("", "close"))

    def test_unasked(self) -> None:
        """A server that talks without being asked is closed, and the client hears nothing."""
        world = self.world()
        client, server = world.asked(request())
        server.receive(response())
        client.take()
        server.receive(response())
        self.assertEqual((client.take(), server.closing), (b"", "close"))
        server.settle()
        client.receive(request() + request())
        world.server().receive(response())
        self.assertEqual(len(world.attempts), 3)

    def test_server_closes(self) -> None:
        """A server that says `Connection: close` is not asked again there."""
        world = self.world()
        client, server = world.asked(request())
        server.receive(response(200, b"ok", "Connection: close"))
        self.assertEqual((client.closing, server.closing), ("", "close"))

    def test_response_headers(self) -> None:
        """Headers of answers are set and removed."""
        world = self.world(
            "pool = app\nset-response-header = Server: ours\nremove-response-header = X-A\n"
        )
        client, server = world.asked(request())
        server.receive(response(200, b"", "X-A: b", "server: theirs", "X-B: c"))
        self.assertEqual(
            client.take(),
            b"HTTP/1.1 200 Fine\r\nContent-Length: 0\r\nX-B: c\r\nServer: ours\r\n\r\n",
        )


class TimeTests(SynchronousTestCase):
    """What happens when somebody takes too long."""

    def world(self, options: str = "") -> World:
        """A world with a log that must leave nothing behind."""
        world = World("pool = app\naccess-log = log\nlog-format = haproxy\n" + options)
        self.addCleanup(world.check)
        return world

    def log(self, world: World) -> bytes:
        """The only line of the log."""
        (line,) = world.context.logs["log"].lines
        return line

    def test_head_timeout(self) -> None:
        """A head that does not come to its end is 408; the bytes that come do not help."""
        world = self.world("head-timeout = 5s\n")
        client = world.client(b"GET / HTTP/1.1\r\n")
        world.pass_time(4)
        client.receive(b"Host: x\r\n")
        self.assertEqual(client.take(), b"")
        world.pass_time(1.2)
        self.assertEqual((status_of(client.take()), client.closing), (408, "linger"))
        self.assertIn(b" cR-- ", self.log(world))

    def test_idle(self) -> None:
        """A connection without a request is closed silently."""
        world = self.world("head-timeout = 5s\nidle-timeout = 7s\n")
        fresh = world.client()
        client, server = world.asked(request())
        server.receive(response())
        client.take()
        world.pass_time(5.2)
        self.assertEqual((fresh.closing, client.closing), ("close", ""))
        world.pass_time(2)
        self.assertEqual((client.closing, client.take()), ("close", b""))

    def test_next_head_has_its_own_time(self) -> None:
        """The time of a head begins with its first byte, not with the connection."""
        world = self.world("head-timeout = 5s\nidle-timeout = 60s\n")
        client, server = world.asked(request())
        server.receive(response())
        client.take()
        world.pass_time(30)
        client.receive(b"GET")
        world.pass_time(4.8)
        self.assertEqual(client.take(), b"")
        world.pass_time(0.4)
        self.assertEqual(status_of(client.take()), 408)

    def test_response_timeout(self) -> None:
        """A server that does not begin its answer in time is 504, and the next one is not asked."""
        world = self.world("response-timeout = 5s\n")
        client, server = world.asked(request())
        world.pass_time(4.9)
        self.assertEqual(client.take(), b"")
        world.pass_time(0.3)
        self.assertEqual((status_of(client.take()), server.closing), (504, "abort"))
        self.assertIn(b" sH-- ", self.log(world))
        self.assertEqual((len(world.attempts), world.pool.servers[0].failures_total), (1, 1))

    def test_server_stalls(self) -> None:
        """A server that stops in the middle of its answer cuts it; progress gives it new time."""
        world = self.world("response-timeout = 5s\n")
        client, server = world.asked(request())
        server.receive(b"HTTP/1.1 200 Fine\r\nContent-Length: 9\r\n\r\n")
        for _ in range(3):
            world.pass_time(4)
            server.receive(b"a")
        world.pass_time(5.2)
        self.assertEqual(client.closing, "abort")
        self.assertIn(b" sD-- ", self.log(world))

    def test_client_stalls(self) -> None:
        """A client that does not read its answer is cut off, and the server is not blamed."""
        world = self.world("response-timeout = 5s\n")
        client, server = world.asked(request())
        server.receive(b"HTTP/1.1 200 Fine\r\nContent-Length: 9\r\n\r\n")
        client.queued = 100000
        world.pass_time(5.2)
        self.assertEqual((client.closing, server.closing), ("abort", "abort"))
        self.assertIn(b" cD-- ", self.log(world))
        self.assertEqual(world.pool.servers[0].failures_total, 0)

    def test_client_stops_sending(self) -> None:
        """A client that stops in the middle of its body is 408."""
        world = self.world("idle-timeout = 5s\n")
        client, _server = world.asked(request("POST", "/", "Content-Length: 9"))
        world.pass_time(4)
        client.receive(b"a")
        world.pass_time(4)
        self.assertEqual(client.take(), b"")
        world.pass_time(1.3)
        self.assertEqual((status_of(client.take()), client.closing), (408, "linger"))
        self.assertIn(b" cD-- ", self.log(world))

    def test_server_stops_reading(self) -> None:
        """A server that does not take the body is 504."""
        world = self.world("idle-timeout = 5s\n")
        client, server = world.asked(request("POST", "/", "Content-Length: 9"))
        server.queued = 100000
        world.pass_time(5.3)
        self.assertEqual(status_of(client.take()), 504)

    def test_closing_is_bounded(self) -> None:
        """A client that does not take its last answer is reset."""
        world = self.world("idle-timeout = 5s\n")
        client = world.client(b"nonsense\r\n\r\n")
        self.assertEqual(client.closing, "linger")
        world.pass_time(5.3)
        self.assertEqual(client.closing, "abort")

    def test_server_connection_rests(self) -> None:
        """An idle connection to a server ends after 30 s."""
        world = self.world()
        _client, server = world.asked(request())
        server.receive(response())
        world.pass_time(29)
        self.assertEqual(server.closing, "")
        world.pass_time(1.3)
        self.assertEqual(server.closing, "close")

    def test_server_connection_in_use(self) -> None:
        """A connection that was used meanwhile rests anew, and one in use is not closed."""
        world = self.world("response-timeout = 5m\n")
        world.context.pools["app"].maintain(world.pool.servers[1])
        client, server = world.asked(request())
        server.receive(response())
        world.pass_time(20)
        client.receive(request())
        world.pass_time(60)
        self.assertEqual(server.closing, "")
        server.receive(response())
        world.pass_time(29)
        self.assertEqual(server.closing, "")
        world.pass_time(12)
        self.assertEqual(server.closing, "close")
