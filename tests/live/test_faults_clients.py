"""
Clients that stop reading, hardly send, reset, or come in numbers: what they can make the balancer
hold has a bound, and nobody beside them notices.
"""

from __future__ import annotations

import resource
import socket
import struct
import threading
import time
from pathlib import Path

from tests.live.harness import LOOPBACK, free_port, wait_until
from tests.live.origins import HttpOrigin, RawOrigin, head_of
from tests.live.traffic import Traffic
from tests.live.watch import WatchedTestCase

CLIENTS = 40
"""How many do the same at once: a descriptor lost by each would be seen."""

HUGE = 100 * 1000 * 1000

HTTP_BUFFERS = (64 + 64) * 1024
"""Bytes that an HTTP exchange may hold for one direction: wire.sending.HIGH_WATER, and the one
read (wire.stream.RECV_SIZE) that passed it."""

TCP_BUFFERS = (64 + 256) * 1024
"""The same of a relayed connection: it reads more at once (relay.tcp.protocol.RELAY_READ)."""

RESET = struct.pack("ii", 1, 0)

SITE = """\
[site]
admin = $host:$admin

[pool good]
servers = g $host:$good
check = none

[pool huge]
servers = h $host:$huge
check = none

[http web]
listen = $host:$port
routes = path=/huge -> pool huge
pool = good
head-timeout = 2s
idle-timeout = 3s
response-timeout = 3s
access-log = web.log
log-format = haproxy

[tcp relay]
listen = $host:$tcp
pool = huge
idle-timeout = 2s
"""

ASK = b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n"
SEND = b"POST /huge HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % HUGE


def huge(connection: socket.socket) -> None:
    """A server that answers GET with 100 MB, and reads no more than the head of a POST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    if head_of(connection).startswith(b"POST"):
        threading.Event().wait(60)
        return
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUGE)
    block = memoryview(bytes(65536))
    left = HUGE
    while left:
        left -= connection.send(block[:left])


class ClientFaultTests(WatchedTestCase):
    """A good server and one with 100 MB, under the traffic of a client that does no wrong."""

    def setUp(self) -> None:
        """Start it all."""
        super().setUp()
        good = self.enterContext(HttpOrigin("good"))
        self.origin = self.enterContext(RawOrigin(huge))
        self.port, self.tcp = free_port(), free_port()
        self.watched(SITE, self.port, self.tcp, port=self.port, tcp=self.tcp, good=good.port,
                     huge=self.origin.port)
        self.beside = self.enterContext(Traffic(self.port, connections=2))
        wait_until("the client beside is served", lambda: len(self.beside.answers) > 50)

    def connect(self, port: int, receive: int = 16384) -> socket.socket:
        """A client with a small window."""
        client = socket.socket()
        self.addCleanup(client.close)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        client.settimeout(10)
        client.connect((LOOPBACK, port))
        return client

    def end(self) -> None:
        """The client beside saw nothing of it, and nothing is left of it."""
        self.beside.__exit__(None, None, None)
        self.assertEqual(self.beside.failures(), [])
        self.watch.at_rest(self.files)

    def log(self, state: str, within: float = 5.0) -> int:
        """Wait until CLIENTS lines of the access log have this state."""
        def found() -> int:
            text = Path(self.directory, "web.log").read_text()
            return sum(f" {state}-- " in line for line in text.splitlines())
        wait_until(f"{CLIENTS} lines {state}", lambda: found() >= CLIENTS, within)
        return found()

    def grown(self, before: int, sent: int) -> int:
        """By how much the memory has grown once nothing moves any more."""
        last = [-1, -2]

        def still() -> bool:
            time.sleep(0.2)
            moved = self.watch.total("balancer_server_requests_total", pool="huge")
            self.assertGreaterEqual(moved, sent)
            last[:] = [last[1], self.watch.memory]
            return abs(last[0] - last[1]) < 65536

        wait_until("nothing moves", still, within=10)
        return self.watch.memory - before

    def holds(self, port: int, request: bytes, more: bool, buffers: int) -> None:
        """CLIENTS that stop reading or, with `more`, send to a server that does not read, cost at
        most twice their buffers."""
        before = self.watch.memory
        clients = [self.connect(port) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(request)
            if more:
                client.settimeout(0)
        block = bytes(65536)
        for _ in range(100 if more else 0):
            for client in clients:
                try:
                    client.send(block)
                except BlockingIOError:
                    continue
            time.sleep(0.005)
        if not more:
            self.assertTrue(all(client.recv(1000) for client in clients))
        self.assertLess(self.grown(before, CLIENTS), 2 * CLIENTS * buffers)

    def test_stops_reading(self) -> None:
        """40 clients stop reading in the middle of 100 MB: what is held for each stays within twice
        the buffers, and they are cut after response-timeout, by their own fault."""
        self.holds(self.port, ASK, False, HTTP_BUFFERS)
        self.log("cD")
        self.assertEqual(self.watch.total("balancer_server_failures_total"), 0)
        self.end()

    def test_stops_reading_by_tcp(self) -> None:
        """The same through the relay, which ends them after idle-timeout."""
        self.holds(self.tcp, ASK, False, TCP_BUFFERS)
        self.end()

    def test_server_stops_reading(self) -> None:
        """40 uploads of 100 MB to a server that does not read: the same bound holds, and they end
        after idle-timeout with 504."""
        self.holds(self.port, SEND, True, HTTP_BUFFERS)
        self.log("sH")
        self.assertEqual(self.watch.total("balancer_http_requests_total", code="504"), CLIENTS)
        self.end()

    def test_idle_by_tcp(self) -> None:
        """Relayed connections on which nothing moves end after idle-timeout, both sides."""
        start = time.monotonic()
        clients = [self.connect(self.tcp) for _ in range(CLIENTS)]
        self.assertEqual({client.recv(1) for client in clients}, {b""})
        self.assertLess(time.monotonic() - start, 4)
        self.end()

    def test_head_byte_by_byte(self) -> None:
        """A head of a byte a second is 408 at head-timeout, however steadily it comes."""
        start = time.monotonic()
        clients = [self.connect(self.port) for _ in range(CLIENTS)]
        for byte in ASK[:3]:
            for client in clients:
                client.sendall(bytes((byte,)))
            if byte != ASK[2]:
                time.sleep(0.6)
        for client in clients:
            self.assertTrue(client.recv(1000).startswith(b"HTTP/1.1 408 "))
        took = time.monotonic() - start
        self.assertGreater(took, 1.9)
        self.assertLess(took, 3.5)
        self.assertEqual(self.log("cR"), CLIENTS)
        self.assertEqual(self.watch.total("balancer_http_requests_total", code="408"), CLIENTS)
        self.end()

    def test_says_nothing(self) -> None:
        """Who connects and says nothing is closed at head-timeout."""
        clients = [self.connect(self.port) for _ in range(CLIENTS)]
        self.assertEqual({client.recv(1) for client in clients}, {b""})
        self.end()

    def test_resets(self) -> None:
        """Clients that reset in the middle of a head, a body or an answer leave nothing behind."""
        for begin in (ASK[:10], SEND + bytes(30000), ASK):
            for _ in range(CLIENTS):
                client = self.connect(self.port)
                client.sendall(begin)
                if begin is ASK:
                    client.recv(1000)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()
        for state in ("CR", "CD"):
            self.log(state)
        self.end()
        self.assertEqual(self.watch.total("balancer_server_failures_total"), 0)

    def test_resets_by_tcp(self) -> None:
        """The same through the relay: the server is told, too."""
        for _ in range(CLIENTS):
            client = self.connect(self.tcp)
            client.sendall(ASK)
            client.recv(1000)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
        self.end()


FULL = """\
[site]
admin = $host:$admin

[pool good]
servers = g $host:$good
check = http GET /
interval = 200ms

[http web]
listen = $host:$port
pool = good
head-timeout = 5s
"""


class FileLimitTests(WatchedTestCase):
    """`ulimit -n 1024`, as many a shell has it."""

    def test_2000_connections(self) -> None:
        """2,000 clients who connect at once: as many are accepted as leave descriptors for servers,
        checks and the operator, the others wait for their turn; none fails, and those least of all
        who were there before."""
        good = self.enterContext(HttpOrigin("good"))
        port = free_port()
        self.watched(FULL, port, port=port, good=good.port,
                     wrap=("sh", "-c", 'ulimit -n 1024; exec "$@"', "sh"))
        self.watch.logged("only 1024 files may be open (ulimit -n)")
        before = self.files
        with Traffic(port) as beside:
            wait_until("they are served", lambda: len(beside.answers) > 50)
            crowd = [self.connected(port) for _ in range(2000)]
            wait_until("it is full", lambda: self.watch.status()["balancers"]["http:web"][
                "connections"] == self.watch.status()["balancers"]["http:web"]["max_connections"])
            self.assertGreater(self.watch.files - before, 400)
            for client in crowd:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answers = {client.recv(1000)[:12] for client in crowd}
            self.assertEqual(answers, {b"HTTP/1.1 200"})
            since = time.monotonic()
            wait_until("they are served", lambda: len(beside.bodies(since)) > 50)
        self.assertEqual(beside.failures(), [])
        self.watch.logged("further clients wait")
        self.assertEqual(self.watch.total("balancer_http_refused_total",
                                          reason="max-connections") > 0, True)
        self.assertEqual(self.watch.server("good", "g")["state"], "up")
        for client in crowd:
            client.close()
        self.watch.at_rest(self.files)

    def connected(self, port: int) -> socket.socket:
        """A client."""
        client = socket.create_connection((LOOPBACK, port), timeout=15)
        self.addCleanup(client.close)
        return client

    def test_all_descriptors_gone(self) -> None:
        """Connections that are there already when the limit falls below them: new ones are closed
        at once, with a line in the log and a count; nothing raises, and all is well afterwards."""
        good = self.enterContext(HttpOrigin("good"))
        port = free_port()
        self.watched(FULL, port, port=port, good=good.port)
        standing = [self.connected(port) for _ in range(60)]
        wait_until("they are accepted",
                   lambda: self.watch.total("balancer_http_connections") == 60)
        pid = self.watch.process.pid
        with Traffic(port, connections=2) as beside:
            wait_until("they are served", lambda: len(beside.answers) > 50)
            before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (60, before[1]))
            for _ in range(20):
                with self.connected(port) as refused:
                    self.assertIn(refused.recv(1), (b"",))
            self.watch.logged("connections refused so far")
            self.watch.logged("checks cannot be made, verdicts stay as they are")
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        self.assertEqual(beside.failures(), [])
        self.assertEqual(self.watch.total("balancer_listener_refused_total"), 20)
        self.assertEqual(self.watch.server("good", "g")["state"], "up")
        for client in standing:
            client.close()
        self.watch.at_rest(self.files)
