"""
Large bodies through the balancer, both ways, in every framing: whole, and never held in memory.
"""

from __future__ import annotations

import hashlib
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

from tests.live.harness import LOOPBACK, LiveTestCase, ask, free_port, need, wait_until

SITE = """\
[site]
admin = off

[pool web]
servers = a $host:$origin
check = none

[http web]
listen = $host:$http
pool = web

[tcp relay]
listen = $host:$tcp
pool = web
"""

SIZE = 32 * 2**20
BLOCK = bytes(range(256)) * 256  # 64 KiB that would show a shift
CONTENT = BLOCK * (SIZE // len(BLOCK))
DIGEST = hashlib.sha256(CONTENT).hexdigest()

MOST_HELD = 8 * 2**20
"""Bytes by which the balancer may grow while a body waits: buffers have bounds, bodies do not."""


class Origin(BaseHTTPRequestHandler):
    """GET /length, /chunked and /close send CONTENT framed so; POST answers its body's digest."""

    protocol_version = "HTTP/1.1"
    sent: ClassVar[list[int]] = [0]

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path == "/length":
            self.send_header("Content-Length", str(SIZE))
        elif self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        for _ in range(SIZE // len(BLOCK)):
            chunked = self.path == "/chunked"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK) if chunked else BLOCK)
            self.sent[0] += len(BLOCK)
        if self.path == "/chunked":
            self.wfile.write(b"0\r\n\r\n")

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(SIZE))
        self.end_headers()

    def do_POST(self) -> None:
        digest = hashlib.sha256()
        if "Content-Length" in self.headers:
            digest.update(self.rfile.read(int(self.headers["Content-Length"])))
        else:
            while size := int(self.rfile.readline(), 16):
                digest.update(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
        self._small(200, digest.hexdigest().encode())

    def do_DELETE(self) -> None:
        self.send_response(204)
        self.end_headers()

    def _small(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    """A client that goes away in the middle is no news."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: what matters is seen from the client."""


def memory(pid: int) -> int:
    """Resident bytes of the process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


class BodyTests(LiveTestCase):
    """curl through the balancer to an origin of ours."""

    def setUp(self) -> None:
        """Start both."""
        super().setUp()
        need("curl")
        origin = Server((LOOPBACK, 0), Origin)
        Thread(target=origin.serve_forever, args=(0.05,), daemon=True).start()
        self.addCleanup(origin.server_close)
        self.addCleanup(origin.shutdown)
        self.http, self.tcp = free_port(), free_port()
        self.process = self.balancer(SITE, self.http, self.tcp, host=LOOPBACK, http=self.http,
                                     tcp=self.tcp, origin=origin.server_address[1])
        self.file = self.directory / "content"

    def curl(self, path: str, *options: str, port: int = 0) -> str:
        """What curl prints; it must end by itself."""
        return ask("curl", "--silent", "--show-error", "--fail", "--max-time", "40", *options,
                   f"http://{LOOPBACK}:{port or self.http}{path}", within=45)

    def download(self, path: str, port: int = 0) -> None:
        """CONTENT comes whole."""
        self.curl(path, "--output", str(self.file), port=port)
        self.assertEqual(hashlib.sha256(self.file.read_bytes()).hexdigest(), DIGEST)

    def test_downloads(self) -> None:
        """Answers come whole in each framing: by length, chunked, until the server closes."""
        for path in ("/length", "/chunked", "/close"):
            self.download(path)

    def test_download_by_tcp(self) -> None:
        """And through the TCP relay."""
        self.download("/length", port=self.tcp)

    def test_uploads(self) -> None:
        """Requests go whole: by length with and without `Expect: 100-continue`, and chunked."""
        self.file.write_bytes(CONTENT)
        for field in ("Expect: 100-continue", "Expect:", "Transfer-Encoding: chunked"):
            digest = self.curl("/", "--data-binary", f"@{self.file}", "--header", field)
            self.assertEqual(digest, DIGEST, field)

    def test_upload_by_tcp(self) -> None:
        """And through the TCP relay."""
        self.file.write_bytes(CONTENT)
        self.assertEqual(self.curl("/", "--data-binary", f"@{self.file}", port=self.tcp), DIGEST)

    def test_no_body(self) -> None:
        """Answers without a body end at once, whatever length they name: HEAD and 204."""
        start = time.monotonic()
        head = self.curl("/length", "--head")
        self.assertIn(str(SIZE), head)
        gone = self.curl("/", "--request", "DELETE", "--write-out", "%{http_code}")
        self.assertEqual(gone, "204")
        self.assertLess(time.monotonic() - start, 5)

    def assert_held_back(self, port: int) -> None:
        """A client that does not read holds the server back; the balancer stays small."""
        before, sent = memory(self.process.pid), Origin.sent[0]
        with socket.create_connection((LOOPBACK, port), timeout=10) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.sendall(b"GET /length HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until("the answer began", lambda: Origin.sent[0] > sent)
            rest = [-1]

            def stalled() -> bool:
                last, rest[0] = rest[0], Origin.sent[0]
                time.sleep(0.3)
                return last == rest[0]

            wait_until("the server is held back", stalled)
            self.assertLess(Origin.sent[0] - sent, SIZE)
            self.assertLess(memory(self.process.pid) - before, MOST_HELD)

    def test_slow_reader(self) -> None:
        """HTTP: backpressure reaches the server."""
        self.assert_held_back(self.http)

    def test_slow_reader_by_tcp(self) -> None:
        """TCP: backpressure reaches the server."""
        self.assert_held_back(self.tcp)
