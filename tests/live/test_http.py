"""
HTTP through the balancer on real sockets: what needs a kernel, two peers and their timing.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from pathlib import Path

from tests.live.harness import LOOPBACK, LiveTestCase, ask, free_port, need, wait_until
from tests.live.origins import HttpOrigin

SITE = """\
[site]
admin = off

[pool web]
servers =
    a $host:$a
    b $host:$b
check = none

[pool dead]
servers =
    gone $host:$dead
    b $host:$b
check = none

[pool raw]
servers = raw $host:$raw
check = none

[http web]
listen = $host:$http
pool = web
routes =
    path=/dead/* -> pool dead
    path=/raw/* -> pool raw
    path=/moved/* -> redirect https://example.org/*
max-body = 100k
head-timeout = 1s
access-log = access.log
log-format = json
"""


class RawOrigin:
    """A server that plays one script per connection: it waits for the head, then calls `play`."""

    def __init__(self) -> None:
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self.seen: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                piece = connection.recv(65536)
                if not piece:
                    return
                data += piece
            self.seen.append(data)
            if b" /raw/upgrade " in data:
                self._echo(connection)
            elif b" /raw/early " in data:
                connection.sendall(
                    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 400000\r\n\r\n" + b"x" * 400000
                )
                time.sleep(0.3)
            elif b" /raw/until-close " in data:
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + b"y" * 100000)

    def _echo(self, connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        )
        while data := connection.recv(65536):
            connection.sendall(data)
        connection.sendall(b"bye")

    def close(self) -> None:
        """Accept no more."""
        self._listener.close()


class HttpTests(LiveTestCase):
    """One balancer for each test, with two sound servers, one that is gone and a raw one."""

    def setUp(self) -> None:
        """Start them."""
        super().setUp()
        self.a, self.b, self.raw = HttpOrigin("a"), HttpOrigin("b"), RawOrigin()
        for origin in (self.a, self.b):
            origin.__enter__()
            self.addCleanup(origin.__exit__, None, None, None)
        self.addCleanup(self.raw.close)
        self.port = free_port()
        self.process = self.balancer(
            SITE, self.port, host=LOOPBACK, http=self.port, a=self.a.port, b=self.b.port,
            dead=free_port(), raw=self.raw.port,
        )

    def talk(self, *pieces: bytes, end: bool = False) -> bytes:
        """Send pieces a moment apart; all that comes until the balancer closes or is silent."""
        with socket.create_connection((LOOPBACK, self.port), timeout=3) as client:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.01)
            if end:
                client.shutdown(socket.SHUT_WR)
            found = b""
            with contextlib.suppress(TimeoutError):
                while data := client.recv(65536):
                    found += data
            return found

    def get(self, path: str, version: str = "1.1", *fields: str) -> bytes:
        """A request."""
        lines = [f"GET {path} HTTP/{version}", "Host: x", *fields, "", ""]
        return "\r\n".join(lines).encode()

    def test_pipelined(self) -> None:
        """Requests in one segment are answered in order, and the last one closes."""
        asked = b"".join(self.get(f"/{n}") for n in range(20))
        found = self.talk(asked + self.get("/last", "1.1", "Connection: close"))
        bodies = [line for line in found.split(b"\n") if b" GET /" in line]
        self.assertEqual([body.split(b"/")[1] for body in bodies],
                         [b"%d" % n for n in range(20)] + [b"last"])

    def test_half_close(self) -> None:
        """`printf ... | nc -N` gets its answer."""
        self.assertIn(b" GET /a\n", self.talk(self.get("/a"), end=True))

    def test_http_1_0(self) -> None:
        """An HTTP/1.0 client sees the connection's end as the end of the body."""
        found = self.talk(b"GET /raw/until-close HTTP/1.0\r\n\r\n")
        self.assertEqual(found.partition(b"\r\n\r\n")[2], b"y" * 100000)

    def test_refused(self) -> None:
        """Smuggling is answered with 400, and the answer is not lost to a reset."""
        for bad in (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"X : y\r\n", b"\0"):
            found = self.talk(b"POST / HTTP/1.1\r\nHost: x\r\n" + bad + b"\r\n" + b"z" * 50000)
            self.assertTrue(found.startswith(b"HTTP/1.1 400 "), found[:99])
        self.assertEqual(self.a.seen + self.b.seen, [])

    def test_slow_head(self) -> None:
        """A head that takes too long is 408."""
        self.assertTrue(self.talk(b"GET / HTTP/1.1\r\n").startswith(b"HTTP/1.1 408 "))

    def test_too_large(self) -> None:
        """A body above `max-body` is 413 while the client still sends."""
        need("curl")
        code = ask("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect:",
                   "-d", "x" * 110000, f"http://{LOOPBACK}:{self.port}/")
        self.assertEqual(code, "413")

    def test_early_answer(self) -> None:
        """A large answer that comes while the body is still being sent arrives whole."""
        body = b"POST /raw/early HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        found = self.talk(body, b"z" * 30000)
        self.assertTrue(found.startswith(b"HTTP/1.1 403 "))
        self.assertEqual(found.count(b"x" * 1000), 400)

    def test_expect(self) -> None:
        """curl's Expect goes through; a server that does not know it does not hang curl."""
        need("curl")
        found = ask("curl", "-s", "-H", "Expect: 100-continue", "-d", "x" * 5000,
                    f"http://{LOOPBACK}:{self.port}/up")
        self.assertIn(" POST /up", found)

    def test_dead_server(self) -> None:
        """Requests whose first server refuses the connection do not notice it, POST included."""
        for _ in range(6):
            self.assertIn(b" GET /dead/1\n", self.talk(self.get("/dead/1"), end=True))
        post = b"POST /dead/2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        self.assertIn(b" POST /dead/2\n", self.talk(post, end=True))

    def test_redirect(self) -> None:
        """curl is led on."""
        need("curl")
        found = ask("curl", "-s", "-o", "/dev/null", "-w", "%{redirect_url}",
                    f"http://{LOOPBACK}:{self.port}/moved/a?b")
        self.assertEqual(found, "https://example.org/moved/a?b")

    def test_tunnel(self) -> None:
        """An upgraded connection carries bytes both ways, and each direction ends by itself."""
        with socket.create_connection((LOOPBACK, self.port), timeout=5) as client:
            client.sendall(self.get("/raw/upgrade", "1.1", "Connection: Upgrade", "Upgrade: echo"))
            found = client.recv(65536)
            self.assertTrue(found.startswith(b"HTTP/1.1 101 "), found)
            sent = bytes(range(256)) * 4000
            threading.Thread(target=self._send, args=(client, sent), daemon=True).start()
            found = b""
            while data := client.recv(65536):
                found += data
        self.assertEqual(found, sent + b"bye")

    def _send(self, client: socket.socket, data: bytes) -> None:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)

    def test_log(self) -> None:
        """Every request is in the log, one JSON object a line, within a moment."""
        self.talk(self.get("/logged"), end=True)
        log = Path(self.directory) / "access.log"
        wait_until("the line is there", lambda: log.exists() and b"/logged" in log.read_bytes(), 3)
        entry = json.loads(log.read_text().splitlines()[-1])
        self.assertEqual((entry["target"], entry["status"], entry["pool"]), ("/logged", 200, "web"))
