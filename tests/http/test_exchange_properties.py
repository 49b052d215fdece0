"""Whatever the pieces and the order in which bytes come, the same answers come out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.http.world import FakeStream, World, pool_of, request, response

CHUNKED_BODY = b"3\r\nabc\r\n1;x\r\nd\r\n0\r\nT: u\r\n\r\n"

REQUESTS = (
    (request("GET", "/a"), response(200, b"hello")),
    (request("HEAD", "/b"), b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\n"),
    (request("POST", "/c", "Content-Length: 4", body=b"body"), response(201, b"")),
    (
        request("PUT", "/d", "Transfer-Encoding: chunked", body=CHUNKED_BODY),
        b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED_BODY,
    ),
    (request("GET", "/e"), b"HTTP/1.1 204 None\r\nX: y\r\n\r\n"),
    (
        request("POST", "/f", "Expect: 100-continue", "Content-Length: 1", body=b"z"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + response(200, b"x" * 300),
    ),
)

exchanges = st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=5)
sizes = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def pieces(data: bytes, wanted: list[int]) -> list[bytes]:
    """`data` in pieces of those sizes, over and over."""
    found, at, turn = [], 0, 0
    while at < len(data):
        size = wanted[turn % len(wanted)]
        found.append(data[at : at + size])
        at, turn = at + size, turn + 1
    return found


class InterleavingTests(SynchronousTestCase):
    """Pipelined requests against a server that answers in pieces."""

    @settings(deadline=None, database=None, max_examples=30)
    @given(exchanges, sizes, sizes, st.randoms(use_true_random=False))
    def test_same_answers(self, wanted, from_client, from_server, random) -> None:  # type: ignore[no-untyped-def]
        """Answers come complete and in order, and requests reach the server complete and in
        order, however the bytes of both sides are cut and interleaved."""
        world = World("pool = app\nforwarded = off\n", pool_of("a"))
        client = world.client()
        coming = pieces(b"".join(sent for sent, _ in wanted), from_client)
        answers = [pieces(answer, from_server) for _, answer in wanted]
        asked = b""
        server: FakeStream | None = None
        ready = 0
        while coming or answers:
            if world.attempts and server is None:
                server = world.server()
            if server is not None:
                asked += server.take()
                ready = self._complete(asked, wanted)
            may_answer = answers and ready > len(wanted) - len(answers)
            if coming and (not may_answer or random.random() < 0.5):
                client.receive(coming.pop(0))
            elif may_answer and server is not None:
                server.receive(answers[0].pop(0))
                if not answers[0]:
                    answers.pop(0)
        self.assertEqual(client.take(), b"".join(answer for _, answer in wanted))
        self.assertEqual(asked, b"".join(sent for sent, _ in wanted))
        self.assertEqual((client.closing, len(world.attempts)), ("", 1))
        world.check()

    def _complete(self, asked: bytes, wanted: list[tuple[bytes, bytes]]) -> int:
        """How many requests have reached the server whole."""
        count = total = 0
        for sent, _ in wanted:
            total += len(sent)
            if len(asked) < total:
                break
            count += 1
        return count


UPGRADE = request("GET", "/u", "Connection: upgrade", "Upgrade: x")
SWITCH = b"HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
STARTED = b"HTTP/1.1 200 Fine\r\nContent-Length: 9\r\n\r\nab"
ENDLESS = b"HTTP/1.1 200 Fine\r\n\r\nab"

ASKS = (*(sent for sent, _ in REQUESTS), UPGRADE, request(), request()[:9], b"nonsense\r\n")
ANSWERS = (*(answer for _, answer in REQUESTS), SWITCH, STARTED, ENDLESS, STARTED[:9], b"0\r\n")

ACTIONS = (
    "ask", "ask", "ask", "accept", "accept", "answer", "answer", "more", "refuse", "time",
    "client ends", "client leaves", "server ends", "server leaves", "slow client",
    "stalled client", "client reads",
)


class ChaosTests(SynchronousTestCase):
    """Anything may happen at any time."""

    @settings(deadline=None, database=None, max_examples=30)
    @given(
        st.lists(
            st.tuples(st.sampled_from(ACTIONS), st.integers(0, 10)), min_size=6, max_size=25
        )
    )
    def test_nothing_is_left_behind(self, events: list[tuple[str, int]]) -> None:
        """Whatever clients and servers do, phases follow the table, nothing stays in flight, and
        no exception escapes."""
        pool = pool_of("a", "b", most=1, queue=2, queue_timeout=1.0)
        world = World("pool = app\nidle-timeout = 3s\nresponse-timeout = 2s\n", pool)
        clients: list[FakeStream] = []
        for action, which in events:
            self._happen(world, clients, action, which)
            for stream in world.streams:
                stream.settle()
        world.balancer.stopService()
        world.check()

    def _happen(
        self, world: World, clients: list[FakeStream], action: str, which: int
    ) -> None:
        pending = [a for a in world.attempts if a.stream is None and not a.cancelled]
        alive = [stream for stream in clients if not stream.lost and not stream.closing]
        servers = [
            stream for stream in world.streams
            if stream not in clients and not stream.lost and not stream.closing
        ]
        if action == "ask":
            clients.append(world.client(ASKS[which % len(ASKS)]))
        elif action == "accept":
            for attempt in pending:
                if not attempt.cancelled:
                    world.streams.append(attempt.accept())
        elif action == "refuse":
            for attempt in pending[:1]:
                attempt.cancelled = True
                attempt.run_short() if which == 0 else attempt.refuse(110 if which == 1 else 111)
        elif action == "time":
            world.pass_time(0.3 * which)
        elif action == "answer" and servers:
            servers[which % len(servers)].receive(ANSWERS[which % len(ANSWERS)])
        elif action.startswith("server") and servers:
            self._end(servers[which % len(servers)], action)
        elif alive:
            client = alive[which % len(alive)]
            if action == "more":
                client.receive(ASKS[which % len(ASKS)])
            elif action == "slow client":
                client.queued = 1000
            elif action == "stalled client":
                client.queued = 100_000
            elif action == "client reads":
                client.catch_up()
            else:
                self._end(client, action)

    def _end(self, stream: FakeStream, action: str) -> None:
        if action.endswith("ends"):
            stream.end()
        else:
            stream.lose(clean=False)
