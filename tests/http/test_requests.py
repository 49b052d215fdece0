"""What a client may do, and what the server gets to see."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.http.world import World, request, response, status_of


class RequestTests(SynchronousTestCase):
    """From the client to the server."""

    def world(self, options: str = "pool = app\n") -> World:
        """A world that must leave nothing behind."""
        world = World(options)
        self.addCleanup(world.check)
        return world

    def test_forwarded(self) -> None:
        """A request goes to a server with X-Forwarded-*, and its answer comes back, each in one
        write."""
        world = self.world()
        client, server = world.asked(request("GET", "/a?b", "Accept: */*", host="x.example:81"))
        self.assertEqual(
            server.take(),
            b"GET /a?b HTTP/1.1\r\nHost: x.example:81\r\nAccept: */*\r\n"
            b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n"
            b"X-Forwarded-Host: x.example:81\r\n\r\n",
        )
        self.assertEqual(server.writes, 1)
        server.receive(response(200, b"hello", "X-A: b"))
        self.assertEqual(
            client.take(), b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"
        )
        self.assertEqual((client.writes, client.closing, server.closing), (1, "", ""))

    def test_keep_alive(self) -> None:
        """Both connections serve the next request; the client's tail follows its Host."""
        world = self.world()
        client, server = world.asked(request())
        server.receive(response())
        client.take()
        server.take()
        client2 = world.client(request(host="y"))
        self.assertEqual(len(world.attempts), 2)  # round-robin: the other server
        world.server().receive(response())
        client.receive(request(host="z"))
        self.assertEqual(len(world.attempts), 2)
        self.assertIn(b"X-Forwarded-Host: z\r\n", server.take())
        server.receive(response())
        self.assertEqual((status_of(client.take()), status_of(client2.take())), (200, 200))

    def test_byte_by_byte(self) -> None:
        """A request that comes byte by byte is the same request."""
        world = self.world()
        client = world.client()
        for index in range(len(data := request("POST", "/", "Content-Length: 3", body=b"abc"))):
            client.receive(data[index : index + 1])
        server = world.server()
        self.assertTrue(server.take().endswith(b"X-Forwarded-Host: x\r\n\r\nabc"))
        server.receive(response())
        self.assertEqual(status_of(client.take()), 200)

    def test_pipelined(self) -> None:
        """Requests that come together are answered in order, one at a time."""
        world = self.world()
        client = world.client(request("GET", "/1") + request("GET", "/2") + request("GET", "/3"))
        for number in (1, 2, 3):
            server = world.server() if number < 3 else world.attempts[0].stream
            assert server is not None
            self.assertTrue(server.take().startswith(b"GET /%d " % number))
            server.receive(response(200, b"%d" % number))
            self.assertTrue(client.take().endswith(b"\r\n\r\n%d" % number))

    def test_pipelined_answers_of_our_own(self) -> None:
        """Thousands of requests in one read that routes answer do not deepen the stack."""
        world = self.world("routes = -> respond 204\n")
        client = world.client(request() * 1500)
        self.assertEqual(client.take().count(b"HTTP/1.1 204"), 1500)

    def test_pipelining_is_bounded(self) -> None:
        """A client that sends ahead is not read beyond a bound, and read again afterwards."""
        world = self.world()
        client, server = world.asked(request())
        for _ in range(8):
            client.receive(b"GET /" + b"a" * 6000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertFalse(client.paused)
        while not client.paused:
            client.receive(b"GET /" + b"a" * 6000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        server.receive(response())
        self.assertFalse(client.paused)

    def test_half_close(self) -> None:
        """A client that has sent its end still gets its answers, and then ours."""
        world = self.world()
        client, server = world.asked(request() + request())
        client.end()
        server.receive(response())
        self.assertEqual(client.closing, "")
        world.server().receive(response())
        self.assertEqual(client.take().count(b"200 Fine"), 2)
        self.assertEqual(client.closing, "close")

    def test_half_close_within_a_request(self) -> None:
        """An end in the middle of a head or a body ends the exchange."""
        for data in (b"GET / HT", request("POST", "/", "Content-Length: 9", body=b"abc")):
            world = self.world()
            client = world.client(data)
            client.end()
            self.assertEqual(client.closing, "close")
            self.assertEqual(client.take(), b"")

    def test_client_leaves(self) -> None:
        """When the client goes, so does its server's connection; the log says CH."""
        world = self.world("pool = app\naccess-log = log\nlog-format = haproxy\n")
        client, server = world.asked(request())
        client.lose()
        self.assertEqual(server.closing, "abort")
        self.assertIn(b" 499 ", world.context.logs["log"].lines[0])
        self.assertIn(b" CH-- ", world.context.logs["log"].lines[0])

    def test_client_leaves_while_connecting(self) -> None:
        """When the client goes before its server is connected, the attempt is given up."""
        world = self.world()
        world.client(request()).lose()
        self.assertTrue(world.attempts[0].cancelled)

    def test_http_1_0(self) -> None:
        """An HTTP/1.0 client is answered and closed, and the server sees HTTP/1.1."""
        world = self.world()
        client, server = world.asked(b"GET / HTTP/1.0\r\n\r\n")
        self.assertTrue(server.take().startswith(b"GET / HTTP/1.1\r\n"))
        server.receive(response())
        self.assertIn(b"\r\nConnection: close\r\n", client.take())
        self.assertEqual((client.closing, server.closing), ("close", ""))

    def test_http_1_0_keep_alive(self) -> None:
        """An HTTP/1.0 client that asks for keep-alive is told that it has it."""
        world = self.world()
        client, server = world.asked(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        server.receive(response())
        self.assertIn(b"\r\nConnection: keep-alive\r\n", client.take())
        self.assertEqual(client.closing, "")

    def test_connection_close(self) -> None:
        """A client that asks to close is closed, and the server's connection stays."""
        world = self.world()
        client, server = world.asked(request("GET", "/", "Connection: close"))
        self.assertNotIn(b"onnection", server.take())
        server.receive(response())
        self.assertEqual((client.closing, server.closing), ("close", ""))

    def test_bad_requests(self) -> None:
        """What breaks the rules is answered, counted and ends the connection."""
        for data, code in (
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET /\r\n\r\n", 400),
            (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n", 414),
            (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200, 431),
            (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20000, 431),
        ):
            world = self.world()
            client = world.client(data + request())
            answer = client.take()
            self.assertEqual((status_of(answer), client.closing), (code, "linger"))
            self.assertIn(b"\r\nConnection: close\r\n", answer)
            self.assertEqual(world.front.figures.refused["bad-request"], 1)
            self.assertEqual(world.attempts, [])


class BodyTests(SynchronousTestCase):
    """Bodies of requests."""

    def world(self, options: str = "pool = app\n") -> World:
        """A world that must leave nothing behind."""
        world = World(options)
        self.addCleanup(world.check)
        return world

    def test_whole(self) -> None:
        """A body that comes with its head leaves with it, and nobody produces."""
        world = self.world()
        client, server = world.asked(request("POST", "/", "Content-Length: 2", body=b"ab"))
        self.assertEqual((server.writes, server.producer), (1, None))
        self.assertTrue(server.take().endswith(b"\r\n\r\nab"))
        server.receive(response())
        self.assertEqual(status_of(client.take()), 200)

    def test_streamed(self) -> None:
        """The rest of a body goes on as it comes; the server's pace holds the client up."""
        world = self.world()
        client, server = world.asked(request("POST", "/", "Content-Length: 6", body=b"ab"))
        assert server.producer is not None
        server.producer.pauseProducing()
        self.assertTrue(client.paused)
        server.producer.resumeProducing()
        self.assertFalse(client.paused)
        client.receive(b"cd")
        client.receive(b"ef" + request("GET", "/next"))
        self.assertTrue(server.take().endswith(b"\r\n\r\nabcdef"))
        self.assertIsNone(server.producer)
        server.receive(response())
        self.assertEqual(status_of(client.take()), 200)
        self.assertEqual(len(world.attempts), 2)

    def test_chunked(self) -> None:
        """Chunks and trailers pass as they come."""
        world = self.world()
        client, server = world.asked(request("POST", "/", "Transfer-Encoding: chunked"))
        chunks = b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nT: u\r\n\r\n"
        for index in range(len(chunks)):
            client.receive(chunks[index : index + 1])
        self.assertTrue(server.take().endswith(b"\r\n\r\n" + chunks))
        self.assertIsNone(server.producer)
        server.receive(response())
        self.assertEqual((status_of(client.take()), client.closing), (200, ""))

    def test_chunked_at_once(self) -> None:
        """A chunked body that comes whole leaves whole, and what follows is the next request."""
        world = self.world()
        body = b"1\r\na\r\n0\r\n\r\n"
        client = world.client(
            request("POST", "/", "Transfer-Encoding: chunked", body=body) + request()
        )
        server = world.server()
        self.assertTrue(server.take().endswith(b"\r\n\r\n" + body))
        server.receive(response())
        self.assertEqual(len(world.attempts), 2)
        self.assertEqual(client.closing, "")

    def test_bad_chunk(self) -> None:
        """A broken chunk is answered with 400, and the server's connection is reset."""
        world = self.world()
        client, server = world.asked(request("POST", "/", "Transfer-Encoding: chunked"))
        client.receive(b"0x1\r\n")
        self.assertEqual((status_of(client.take()), client.closing), (400, "linger"))
        self.assertEqual(server.closing, "abort")

    def test_bad_chunk_with_the_head(self) -> None:
        """A broken chunk that comes with the head reaches no server."""
        world = self.world()
        head = request("POST", "/", "Transfer-Encoding: chunked")
        client = world.client(head + b"-1\r\n")
        self.assertEqual((status_of(client.take()), client.closing), (400, "linger"))
        self.assertEqual(world.attempts, [])

    def test_before_the_server_is_there(self) -> None:
        """A body that comes while the server is being connected is held, within a bound."""
        world = self.world()
        client = world.client(request("POST", "/", "Content-Length: 200000"))
        client.receive(b"z" * 60000)
        self.assertFalse(client.paused)
        client.receive(b"z" * 60000)
        self.assertTrue(client.paused)
        server = world.server()
        self.assertFalse(client.paused)
        client.receive(b"z" * 80000)
        self.assertEqual(server.take().count(b"z"), 200000)
        server.receive(response())
        self.assertEqual(status_of(client.take()), 200)

    def test_too_large(self) -> None:
        """A Content-Length above `max-body` is refused before a server hears of it."""
        world = self.world("pool = app\nmax-body = 10\n")
        client = world.client(request("POST", "/", "Content-Length: 11", body=b"a"))
        self.assertEqual((status_of(client.take()), client.closing), (413, "linger"))
        self.assertEqual(world.attempts, [])
        self.assertEqual(world.front.figures.refused["max-body"], 1)
        client, server = world.asked(request("POST", "/", "Content-Length: 10", body=b"a" * 10))
        server.receive(response())
        self.assertEqual(status_of(client.take()), 200)

    def test_too_large_in_chunks(self) -> None:
        """A chunked body is refused once it exceeds `max-body`."""
        world = self.world("pool = app\nmax-body = 100\n")
        client, server = world.asked(request("POST", "/", "Transfer-Encoding: chunked"))
        client.receive(b"50\r\n" + b"a" * 80 + b"\r\n")
        self.assertEqual(client.take(), b"")
        client.receive(b"50\r\n" + b"a" * 80 + b"\r\n")
        self.assertEqual((status_of(client.take()), client.closing), (413, "linger"))
        self.assertEqual(server.closing, "abort")

    def test_expect(self) -> None:
        """Expect goes to the server, its 100 to the client, and then the body to the server."""
        world = self.world()
        client, server = world.asked(
            request("POST", "/", "Expect: 100-continue", "Content-Length: 2")
        )
        self.assertIn(b"\r\nExpect: 100-continue\r\n", server.take())
        server.receive(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertEqual(client.take(), b"HTTP/1.1 100 Continue\r\n\r\n")
        client.receive(b"ab")
        self.assertEqual(server.take(), b"ab")
        server.receive(response())
        self.assertEqual((status_of(client.take()), client.closing), (200, ""))

    def test_expect_without_waiting(self) -> None:
        """A client need not wait for 100, and one that waits in vain is not kept for ever."""
        world = self.world("pool = app\nidle-timeout = 5s\n")
        client, server = world.asked(
            request("POST", "/", "Expect: 100-continue", "Content-Length: 2")
        )
        client.receive(b"ab")
        server.receive(b"HTTP/1.1 100 Continue\r\n\r\n" + response())
        self.assertIn(b"200 Fine", client.take())
        client, server = world.asked(
            request("POST", "/", "Expect: 100-continue", "Content-Length: 2")
        )
        world.pass_time(6)
        self.assertEqual((status_of(client.take()), client.closing), (408, "linger"))

    def test_expect_refused(self) -> None:
        """A final answer instead of 100 is passed on, and ends both connections: nobody knows
        whether the body will come."""
        world = self.world()
        client, server = world.asked(
            request("POST", "/", "Expect: 100-continue", "Content-Length: 2")
        )
        server.receive(response(417))
        answer = client.take()
        self.assertEqual((status_of(answer), client.closing), (417, "linger"))
        self.assertIn(b"\r\nConnection: close\r\n", answer)
        self.assertEqual(server.closing, "abort")

    def test_early_answer(self) -> None:
        """An answer that comes before the body is complete is passed on; the rest of the body is
        read and dropped within the bounds of a lingering close."""
        world = self.world()
        client, server = world.asked(request("POST", "/", "Content-Length: 100", body=b"a"))
        server.receive(response(403))
        self.assertEqual((status_of(client.take()), client.closing), (403, "linger"))
        self.assertEqual(server.closing, "abort")

    def test_early_answer_that_streams(self) -> None:
        """A server may answer while it reads: both bodies go on to their ends."""
        world = self.world()
        client, server = world.asked(request("POST", "/", "Content-Length: 4", body=b"a"))
        server.receive(b"HTTP/1.1 200 Fine\r\nContent-Length: 4\r\n\r\na")
        self.assertIn(b"\r\nConnection: close\r\n", client.take())
        client.receive(b"bcd")
        self.assertTrue(server.take().endswith(b"abcd"))
        server.receive(b"bcd")
        self.assertEqual((client.take(), client.closing), (b"bcd", "close"))
        self.assertEqual(server.closing, "")
