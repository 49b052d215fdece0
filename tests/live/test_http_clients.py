"""
HTTP clients that strain the balancer's connections: who never reads, and who asks while it stops.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time

from tests.live.harness import LOOPBACK, LiveTestCase, free_port, wait_until
from tests.live.origins import HttpOrigin
from tests.live.watch import Watch

SITE = """\
[site]
admin = $host:$admin
drain-timeout = 10s

[pool web]
servers = a $host:$a
check = none

[http web]
listen = $host:$http
pool = web
routes =
    path=/page -> pool none
    path=/short -> respond 200 hello
error-page 503 = page.html

[pool none]
servers = gone $host:$dead disabled
check = none
"""

CLIENTS = 32
MOST_GROWTH = 20 * 1024 * 1024


def get(path: str) -> bytes:
    """A request."""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


class ClientTests(LiveTestCase):
    """A balancer with one server, and an error page of 60 kB."""

    def setUp(self) -> None:
        """Start them."""
        super().setUp()
        self.origin = self.enterContext(HttpOrigin("a"))
        self.port, admin = free_port(), free_port()
        (self.directory / "page.html").write_bytes(b"x" * 60_000)
        self.process = self.balancer(SITE, self.port, admin, host=LOOPBACK, http=self.port,
                                     admin=admin, a=self.origin.port, dead=free_port())
        self.watch = Watch(self.process, admin)

    def flood(self, path: str, seconds: float) -> None:
        """Ask in a loop, and read nothing."""
        asks = get(path) * 500
        with socket.create_connection((LOOPBACK, self.port), timeout=0.3) as client:
            end = time.monotonic() + seconds
            with contextlib.suppress(OSError):
                while time.monotonic() < end:
                    client.send(asks)
            time.sleep(max(0.0, end - time.monotonic()))
            growth = self.watch.memory - self.before
        self.assertLess(growth, MOST_GROWTH, path)

    def test_memory(self) -> None:
        """A client that pipelines and never reads takes no memory to speak of."""
        with socket.create_connection((LOOPBACK, self.port), timeout=5) as client:
            client.sendall(get("/page") + get("/short") + get("/"))
            client.recv(1000)
        self.before = self.watch.memory
        for path in ("/page", "/short", "/proxied"):
            self.flood(path, 1.5)

    def closed_loop(self, stop: threading.Event) -> None:
        """Ask again and again on one connection, until it ends. Resets are noted."""
        with socket.create_connection((LOOPBACK, self.port), timeout=10) as client:
            while not stop.is_set():
                try:
                    client.sendall(get("/short"))
                    answer = client.recv(65536)
                    if not answer:
                        return
                    self.answered += 1
                    if b"\r\nConnection: close\r\n" in answer:
                        return
                except OSError as error:
                    self.resets.append(error)
                    return

    def closed_loops(self) -> list[threading.Thread]:
        """Clients that are being served."""
        self.resets: list[OSError] = []
        self.answered = 0
        stop = threading.Event()
        self.addCleanup(stop.set)
        clients = [threading.Thread(target=self.closed_loop, args=(stop,), daemon=True)
                   for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        wait_until("they are served", lambda: self.answered > 20 * CLIENTS)
        return clients

    def no_resets(self, clients: list[threading.Thread]) -> None:
        """All of them have ended, and none by a reset."""
        for client in clients:
            client.join(5)
        self.assertFalse(any(client.is_alive() for client in clients))
        self.assertEqual(self.resets, [])

    def test_no_resets_at_the_end(self) -> None:
        """SIGTERM resets no client that asks on a kept-alive connection."""
        clients = self.closed_loops()
        self.assertEqual(self.process.stop(), 0, self.process.output)
        self.no_resets(clients)

    def test_no_resets_by_a_reload(self) -> None:
        """Nor does a reload that removes the section."""
        clients = self.closed_loops()
        path = self.directory / "site.ini"
        text = path.read_text()
        start, stop = text.index("[http web]"), text.index("[pool none]")
        path.write_text(text[:start] + text[stop:])
        self.process.signal(signal.SIGHUP)
        self.no_resets(clients)
