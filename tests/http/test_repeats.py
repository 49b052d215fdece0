"""What is remembered of the last head changes nothing but the time that the next one takes."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.http import client, server
from balancer.http.grammar import MAX_METHOD, MAX_TARGET, Refused
from balancer.http.head import RequestReader
from balancer.http.message import RequestHead
from tests.http.feeding import lines, outcome
from tests.http.test_head_properties import ODDMENTS, heads, plain
from tests.http.world import World, request, response

FIRSTS = (
    b"GET / HTTP/1.1", b"HEAD /a?b HTTP/1.1", b"G'T /%\"\\ HTTP/1.1", b"OPTIONS * HTTP/1.1",
    b"GET http://a.example/ HTTP/1.1", b"GET / HTTP/1.0", b"GET  / HTTP/1.1", b"GET /# HTTP/1.1",
    b"CONNECT / HTTP/1.1", b"TRACE / HTTP/1.1", b"CONNECTED / HTTP/1.1", b"GET /\x80 HTTP/1.1",
    b"GET / HTTP/1.1\r\nHost: b", b"GET /\r\n\r\nGET / HTTP/1.1", b"/ HTTP/1.1", b" / HTTP/1.1",
    b"\r\nGET / HTTP/1.1", b"M" * MAX_METHOD + b" / HTTP/1.1", b"M" * 65 + b" / HTTP/1.1",
    b"GET /" + b"a" * (MAX_TARGET - 1) + b" HTTP/1.1", b"GET /" + b"a" * MAX_TARGET + b" HTTP/1.1",
)  # fmt: skip
BLOCKS = (
    (b"Host: x",),
    (b"Host: x", b"Connection: keep-alive", b"X-Forwarded-For: 192.0.2.7", b"TE: trailers"),
    (b"Content-Length: 0", b"Host: y:8", b"Cookie: c=1", b"User-Agent: \"u\\", b"Referer: r"),
    (b"Host: x", b"Connection: close"),
    (b"Host: x", b"Content-Length: 2"),
    (b"Host: x", b"Upgrade: websocket", b"Connection: upgrade"),
    (b"Host: x", b"X-Long: " + b"l" * client.MOST_REMEMBERED),
    (),
)
ANSWERS = (
    response(200, b"hello"),
    response(200, b"other", "X-A: b"),
    response(404, b""),
    response(502, b"gone"),
    response(200, b"hello") + b"too much",
    response(200, b"hello")[:-9],
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nto the end",
    b"HTTP/1.1 103 Hints\r\n\r\n" + response(200, b"hello"),
    response(200, b"hello", "Connection: close"),
    response(200, b"hello", "X-Long: " + "l" * server.MOST_REMEMBERED),
)
OPTIONS = (
    "pool = app\naccess-log = /log\n",
    "pool = app\naccess-log = /log\nrequest-id = X-Id\nset-request-header = X-A: b\n",
    "pool = app\naccess-log = /log\nlog-format = json\ntrusted-proxies = 192.0.2.0/24\n",
)


def facts(head: Any) -> Any:
    """All that a head says."""
    if not isinstance(head, RequestHead):
        return str(head)
    names = {*RequestHead.__slots__} - {"_asked", "_block", "_rest", "quotes", "said", "mark"}
    said = {name: getattr(head, name) for name in names}
    return said, head.field(b"cookie"), head.cookie(b"c"), head.query(b"a"), head.path, head.line


class RenewTests(SynchronousTestCase):
    """`RequestHead.renew` beside a reader that remembers nothing."""

    def compare(self, first: bytes, data: bytes, trusted: bool, max_head: int = 9000) -> bool:
        """Whether the head `first` could be renewed; then it is what a reader makes of `data`, also
        the second time."""
        head = outcome(Refused, RequestReader(remove=(b"x-b",)).read, first, trusted)
        if not isinstance(head, RequestHead) or not head.mark or head.length:
            return False
        head.remember()
        head.forget()
        if not head.renew(data, max_head):
            return False
        reader = RequestReader(max_head, remove=(b"x-b",))
        read = facts(outcome(Refused, reader.read, data, trusted))
        self.assertEqual(facts(head), read)
        head.forget()
        self.assertFalse(head.renew(data[-2:], max_head))
        self.assertTrue(head.renew(data, max_head))
        self.assertTrue(head.renew(data, max_head))
        self.assertEqual(facts(head), read)
        self.assertEqual(head.end, len(data))
        return True

    @settings(max_examples=12, deadline=None, database=None)
    @given(heads, st.sampled_from(FIRSTS), st.sampled_from(ODDMENTS), st.floats(0, 1))
    def test_same(self, head: bytes, first: bytes, put: bytes, where: float) -> None:
        """A head is renewed by no bytes that a reader would not read the same."""
        block = head[head.index(b"\r\n") :]
        at = int(where * len(first))
        for line in (first, first[:at] + put + first[at:]):
            for trusted in (False, True):
                self.compare(head, line + block, trusted)
                self.compare(head, line + block + block, trusted)
                self.compare(head, line + block[2:], trusted)
                self.compare(head, block, trusted)

    def test_taken(self) -> None:
        """Plain heads are renewed by every line of a request that is sound, and by no other."""
        taken = {0, 1, 2, 10, 17, 19}
        for index, first in enumerate(FIRSTS):
            for fields in BLOCKS[:2]:
                head = lines(*fields, first=b"PUT /x HTTP/1.1")
                renewed = self.compare(head, lines(*fields, first=first), False)
                self.assertEqual(renewed, index in taken, first)

    def test_max_head(self) -> None:
        """A head that has become too large is left to the reader."""
        head = lines(b"Host: x", first=b"GET / HTTP/1.1")
        self.assertTrue(self.compare(head, head, False, len(head)))
        self.assertFalse(self.compare(head, head, False, len(head) - 1))


exchanges = st.lists(
    st.tuples(
        st.sampled_from(FIRSTS),
        st.sampled_from(BLOCKS) | st.lists(plain, max_size=3).map(lambda f: (b"Host: x", *f)),
        st.sampled_from(ANSWERS),
        st.integers(0, 12),
    ),
    max_size=12,
)


class ConnectionTests(SynchronousTestCase):
    """A connection that remembers beside one that does not."""

    def play(self, options: str, steps: Any, change: int, remembers: bool) -> list[bytes]:
        """What servers, client and log get to see."""
        most = client.MOST_REMEMBERED if remembers else 0
        self.patch(client, "MOST_REMEMBERED", most)
        self.patch(server, "MOST_REMEMBERED", most)
        world = World(options)
        stream = world.client()
        seen = []
        for index, (first, fields, answer, cut) in enumerate(steps):
            if stream.closing:
                break
            if index == change:
                world.configure(options + "remove-request-header = Cookie\nmax-head = 1k\n")
            data = lines(*fields, first=first)
            for piece in (data[:cut], data[cut:]):
                if piece:
                    stream.receive(piece)
            if world.attempts and world.attempts[-1].stream is None:
                world.server()
            for link in (attempt.stream for attempt in world.attempts):
                if link is not None and not link.closing and link.written:
                    seen.append(link.take())
                    link.receive(answer)
            seen.append(stream.take())
            seen.append(stream.closing.encode())
        world.check()
        figures = world.front.figures
        totals = (figures.bytes_in, figures.bytes_out, *figures.by_code())
        return [*seen, *world.context.logs["/log"].lines, repr(totals).encode()]

    @settings(max_examples=12, deadline=None, database=None)
    @given(st.sampled_from(OPTIONS), exchanges, st.integers(0, 12))
    @example(OPTIONS[0], [(FIRSTS[0], BLOCKS[0], ANSWERS[0], 0)] * 4, 2)
    @example(OPTIONS[0], [(FIRSTS[1], BLOCKS[2], response(200, b""), 0)] * 4, 2)
    def test_same(self, options: str, steps: Any, change: int) -> None:
        """Whatever requests and answers follow each other, all that goes out is the same."""
        self.assertEqual(
            self.play(options, steps, change, True), self.play(options, steps, change, False)
        )

    def reads(self, world: World) -> list[bytes]:
        """The heads that will be read in full."""
        read: list[bytes] = []
        for reader in (world.front.reader, world.front.answer_reader):
            whole = reader._match

            def match(data: bytes, whole: Any = whole) -> Any:
                read.append(data)
                return whole(data)

            reader._match = match  # type: ignore[assignment]  # it need not be a built-in
        return read

    def test_remembered(self) -> None:
        """Of equal requests and answers the first ones are read in full, and no other."""
        world = World("pool = app\n")
        world.pool.drain(world.pool.servers[1])
        read = self.reads(world)
        stream, link = world.asked(request())
        link.receive(response())
        for index in range(3):
            stream.receive(request("GET", f"/{index}"))
            link.receive(response())
        self.assertEqual(read, [request(), response()])

    def test_halves(self) -> None:
        """A repeated head that comes in two parts is timed from the first one, and leaves nothing
        behind for the next."""
        world = World("pool = app\nlog-format = json\naccess-log = /log\n")
        world.pool.drain(world.pool.servers[1])
        stream, link = world.asked(request("GET", "/", "X-A: b"))
        link.receive(response())
        for part in (request("GET", "/", "X-A: b")[:30], request("GET", "/", "X-A: b")[30:]):
            stream.receive(part)
            world.pass_time(1.0)
        link.receive(response())
        self.assertIn(b'"request_ms":1000', world.context.logs["/log"].lines[-1])
        link.take()
        for byte in request("PUT"):
            stream.receive(bytes((byte,)))
        self.assertTrue(link.take().startswith(b"PUT / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For"))

    def test_method(self) -> None:
        """An answer to HEAD says nothing of the next one to GET."""
        world = World("pool = app\n")
        world.pool.drain(world.pool.servers[1])
        stream, link = world.asked(request("HEAD"))
        link.receive(response(200, b"")[:-5] + b"2\r\n\r\n")
        stream.take()
        stream.receive(request("GET"))
        link.receive(response(200, b"ok"))
        self.assertTrue(stream.take().endswith(b"\r\n\r\nok"))

    def test_settings(self) -> None:
        """New settings count for the next request and its answer, equal or not."""
        world = World("pool = app\n")
        world.pool.drain(world.pool.servers[1])
        stream, link = world.asked(request("GET", "/", "X-A: b"))
        link.receive(response(200, b"ok", "X-B: c"))
        world.configure("pool = app\nremove-request-header = X-A\nremove-response-header = X-B\n")
        link.take(), stream.take()
        stream.receive(request("GET", "/", "X-A: b"))
        self.assertNotIn(b"X-A", link.take())
        link.receive(response(200, b"ok", "X-B: c"))
        self.assertNotIn(b"X-B", stream.take())

    def test_vain(self) -> None:
        """Where no head equals the one before, few are remembered."""
        world = World("pool = app\n")
        world.pool.drain(world.pool.servers[1])
        stream = world.client()
        connection: Any = stream.protocol
        kept = 0
        for index in range(100):
            stream.receive(request("GET", "/", f"X-A: {index}"))
            (world.attempts[-1].stream or world.server()).receive(response())
            kept += connection._last is not None
        self.assertEqual(kept, client.TRIES + 6)
