"""
Servers that die, hang, refuse or talk nonsense: their own requests get an honest end, in time, and
nobody else's request fails.
"""

from __future__ import annotations

import http.client
import signal
import socket
import time
from pathlib import Path

from tests.live.harness import LOOPBACK, ROOT, Process, free_port, wait_until
from tests.live.origins import EchoOrigin, HttpOrigin, RawOrigin, child, head_of, one_by_one
from tests.live.traffic import Traffic
from tests.live.watch import WatchedTestCase

TIMES = 20
"""How often each fault is done: a descriptor lost each time would be seen."""

SITE = """\
[site]
admin = $host:$admin

[pool good]
servers = g $host:$good
check = none

[pool mixed]
servers =
    k $host:$frail
    g $host:$good
check = http GET /
interval = 200ms
timeout = 200ms
fall = 2

[pool flows]
servers =
    k $host:$frail
    e $host:$echo
algorithm = first
interval = 200ms
timeout = 200ms
fall = 2

[http web]
listen = $host:$port
routes =
    path=/mixed -> pool mixed
pool = good
response-timeout = 1s
access-log = web.log
log-format = haproxy

[tcp relay]
listen = $host:$tcp
pool = flows
access-log = tcp.log
"""


class FrailServerTests(WatchedTestCase):
    """A server in a process of its own, in a pool with a good one, under traffic."""

    frail: Process

    def setUp(self) -> None:
        """Start the servers and the balancer."""
        super().setUp()
        self.good = self.enterContext(HttpOrigin("good"))
        self.echo = self.enterContext(EchoOrigin("echo "))
        self.frail_port, self.port, self.tcp = free_port(), free_port(), free_port()
        self.start_frail()
        self.watched(SITE, self.port, self.tcp, port=self.port, tcp=self.tcp, good=self.good.port,
                     frail=self.frail_port, echo=self.echo.port)
        self.watch.becomes("up", "mixed", "k")
        self.watch.becomes("up", "flows", "k")

    def start_frail(self) -> None:
        """Once more, on the same port."""
        self.frail = self.start(child("frail", self.frail_port), "frail", PYTHONPATH=str(ROOT))
        self.frail.answering(self.frail_port)

    def relayed(self) -> socket.socket:
        """A connection through the relay, which no server has answered yet."""
        client = socket.create_connection((LOOPBACK, self.tcp), timeout=10)
        self.addCleanup(client.close)
        return client

    def test_killed(self) -> None:
        """kill -9: requests go on to the next server and none fails; relayed connections end as the
        server's do, new ones go elsewhere; it is down within fall x interval, and comes back."""
        flows = [self.relayed() for _ in range(TIMES)]
        wait_until("the server has them", lambda: self.watch.total(
            "balancer_server_in_flight", pool="flows", server="k") == TIMES)
        with Traffic(self.port, path="/mixed") as traffic, Traffic(self.port) as beside:
            wait_until("both answer", lambda: len(set(traffic.bodies())) == 2)
            self.frail.kill()
            for flow in flows:
                self.assertEqual(flow.recv(1), b"")  # the kernel sent the server's end
                flow.close()
            with self.relayed() as client:
                self.assertEqual(client.recv(5), b"echo ")
            self.watch.becomes("down", "mixed", "k", within=2)
            self.start_frail()
            self.watch.becomes("up", "mixed", "k")
            since = time.monotonic()
            wait_until("it answers", lambda: b"frail GET /mixed\n" in traffic.bodies(since))
        self.assertEqual(traffic.failures() + beside.failures(), [])
        self.watch.logged("mixed/k went down: connection refused")
        self.assertGreater(self.watch.total("balancer_server_failures_total", server="k"), 0)
        self.watch.at_rest(self.files)

    def test_hung(self) -> None:
        """SIGSTOP: what it has ends with 504 at response-timeout, and nothing else fails; new
        ones go elsewhere as soon as its checks say so. SIGCONT brings it back."""
        with Traffic(self.port, path="/mixed") as traffic, Traffic(self.port) as beside:
            wait_until("both answer", lambda: len(set(traffic.bodies())) == 2)
            self.frail.signal(signal.SIGSTOP)
            self.watch.becomes("down", "mixed", "k", within=2)
            down = time.monotonic()
            # All that it had been given must be over one response-timeout later.
            wait_until("its requests are over", lambda: self.watch.total(
                "balancer_server_in_flight", pool="mixed", server="k") == 0, within=3)
            over = time.monotonic()
            self.assertLess(over - down, 2)
            wait_until("others are answered", lambda: len(traffic.bodies(over)) > 20)
            self.frail.signal(signal.SIGCONT)
            self.watch.becomes("up", "mixed", "k")
        self.assertEqual(beside.failures(), [])
        failures = traffic.failures()
        # 0: it was stopped between an answer's head and its body, so the answer was cut.
        self.assertLessEqual({answer.status for answer in failures}, {504, 0})
        self.assertLessEqual(len(failures), 2 * 4)  # each of 4 clients, twice at the most
        self.assertLess(max(answer.at for answer in failures), over + 0.5)
        self.watch.logged("mixed/k went down: no answer within 0.2 s")
        self.assertRegex(Path(self.directory, "web.log").read_text(), r" s[HD]-- ")
        self.watch.at_rest(self.files)


NONSENSE = b"\x16\x03\x01 what\x00 is this\r\n\r\n"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500
HALF_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"x" * 500
GOOD_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
TWO_LENGTHS = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"
ENDLESS = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40000
SURPLUS = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nsmuggled"


def says(answer: bytes) -> RawOrigin:
    """A server that answers every connection's first request so, and closes."""
    def behave(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(answer)
    return RawOrigin(behave)


def drips(at_once: bytes, slowly: bytes, pause: float = 1.0) -> RawOrigin:
    """A server that sends the second part a byte a second, or after another pause."""
    def behave(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(at_once)
        one_by_one(connection, slowly, pause)
    return RawOrigin(behave)


ORIGINS = {
    "nonsense": lambda: says(NONSENSE),
    "fool": lambda: says(NONSENSE),
    "silent": lambda: says(b""),
    "half": lambda: says(HALF),
    "chunk": lambda: says(HALF_CHUNKED),
    "badchunk": lambda: drips(GOOD_CHUNK, b"ZZ\r\n", 0.02),
    "lengths": lambda: says(TWO_LENGTHS),
    "endless": lambda: says(ENDLESS),
    "surplus": lambda: says(SURPLUS),
    "drip": lambda: drips(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    "trickle": lambda: drips(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"end"),
}

BAD = """\
[site]
admin = $host:$admin

[pool good]
servers = g $host:$good
check = none

[pool refusing]
servers =
    bad $host:$nobody
    g $host:$good
algorithm = first
check = none

[pool checked]
servers =
    bad $host:$fool
    g $host:$good
check = http GET /
interval = 200ms
timeout = 200ms

[pool ejecting]
servers =
    bad $host:$fool
    g $host:$good
check = none
eject = 3 in 10s for 30s

[http web]
listen = $host:$port
routes =
    path=/refusing -> pool refusing
    path=/checked -> pool checked
    path=/ejecting -> pool ejecting
$routes
pool = good
response-timeout = 2s
"""


class BadAnswerTests(WatchedTestCase):
    """Servers that are there, and do not do what they should."""

    def setUp(self) -> None:
        """One server of each kind, each in a pool that a path leads to."""
        super().setUp()
        good = self.enterContext(HttpOrigin("good"))
        self.origins = {name: self.enterContext(make()) for name, make in ORIGINS.items()}
        self.port = free_port()
        pools = "".join(f"\n[pool {name}]\nservers = bad {LOOPBACK}:{origin.port}\ncheck = none\n"
                        for name, origin in self.origins.items())
        routes = "\n".join(f"    path=/{name} -> pool {name}" for name in self.origins)
        self.watched(BAD + pools, self.port, port=self.port, good=good.port, nobody=free_port(),
                     fool=self.origins["fool"].port, routes=routes)
        self.beside = self.enterContext(Traffic(self.port, connections=2))

    def ask(self, name: str, method: str = "GET") -> tuple[int, bytes | None]:
        """A request to the path of that name on a connection of its own: status and body, None
        when the answer ended before its end."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        try:
            connection.request(method, f"/{name}")
            answer = connection.getresponse()
            try:
                return answer.status, answer.read()
            except (http.client.IncompleteRead, ConnectionError):
                return answer.status, None
        finally:
            connection.close()

    def end(self) -> None:
        """The client beside saw nothing of it, and nothing is left of it."""
        wait_until("the client beside is served", lambda: len(self.beside.answers) > 5)
        self.beside.__exit__(None, None, None)
        self.assertEqual(self.beside.failures(), [])
        self.watch.at_rest(self.files)

    def test_refusing(self) -> None:
        """A server that refuses is passed over, with any method: it was never reached."""
        for method in ("GET", "POST", "DELETE"):
            for _ in range(TIMES):
                self.assertEqual(self.ask("refusing", method)[0], 200)
        self.assertEqual(self.watch.total("balancer_server_failures_total", pool="refusing",
                                          server="bad"), 3 * TIMES)
        self.assertEqual(self.watch.total("balancer_http_retries_total"), 3 * TIMES)
        self.end()

    def test_nonsense(self) -> None:
        """What is no answer is 502, and never reaches the client; nor is it asked for twice."""
        for name in ("nonsense", "silent", "lengths", "endless"):
            for _ in range(TIMES):
                status, body = self.ask(name)
                self.assertEqual(status, 502, name)
                self.assertNotIn(b"what", body or b"")
            self.assertEqual(self.watch.total("balancer_server_failures_total", pool=name), TIMES)
            self.assertEqual(self.origins[name].connections, TIMES, name)
        self.assertEqual(self.watch.total("balancer_http_requests_total", code="502"), 4 * TIMES)
        self.end()

    def test_half_an_answer(self) -> None:
        """An answer that breaks off does so for the client, too: it never looks complete."""
        for name in ("half", "chunk", "badchunk"):
            for _ in range(TIMES):
                self.assertEqual(self.ask(name), (200, None), name)
            self.assertEqual(self.watch.total("balancer_server_failures_total", pool=name), TIMES)
        self.end()

    def test_surplus(self) -> None:
        """What a server sends after its answer goes to nobody."""
        for _ in range(TIMES):
            self.assertEqual(self.ask("surplus"), (200, b"ok"))
        self.end()

    def test_byte_by_byte(self) -> None:
        """A head that does not come within response-timeout is 504; a body of a byte a second comes
        whole, since each byte is a sign of life."""
        start = time.monotonic()
        with Traffic(self.port, TIMES, "/drip") as drip, Traffic(self.port, 4, "/trickle") as slow:
            wait_until("all had their answer", lambda: len(drip.answers) >= TIMES
                       and len(slow.answers) >= 4, within=10)
            self.assertLess(time.monotonic() - start, 6)
        self.assertEqual({answer.status for answer in drip.answers}, {504})
        self.assertEqual({(answer.status, answer.body) for answer in slow.answers}, {(200, b"end")})
        self.end()

    def test_taken_out(self) -> None:
        """A server that talks nonsense is found out by an http check, and by `eject` without one:
        then no request fails any more."""
        self.watch.becomes("down", "checked", "bad", within=3)
        self.assertIn("bad", self.watch.server("checked", "bad")["key"])
        self.assertEqual({self.ask("checked")[0] for _ in range(TIMES)}, {200})
        statuses = [self.ask("ejecting")[0] for _ in range(2 * TIMES)]
        self.assertEqual(statuses.count(502), 3)
        self.assertEqual(set(statuses[6:]), {200})
        self.assertEqual(self.watch.server("ejecting", "bad")["state"], "ejected")
        self.watch.logged("ejecting/bad")
        self.end()
