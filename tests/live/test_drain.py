"""
SIGTERM: what is in flight ends well, what is new goes elsewhere, and the bound holds.
"""

from __future__ import annotations

import signal
import socket
import time
import urllib.error
import urllib.request

from tests.live.harness import LOOPBACK, LiveTestCase, Process, answers, free_port, wait_until
from tests.live.origins import EchoOrigin, HttpOrigin

SITE = """\
[site]
admin = $host:$admin
drain-timeout = ${drain}s

[pool web]
servers = a $host:$origin
check = none

[pool echo]
servers = a $host:$echo
check = none

[http web]
listen = $host:$port
pool = web

[tcp echo]
listen = $host:$tcp
pool = echo
"""


class DrainTests(LiveTestCase):
    """A balancer with work in progress gets SIGTERM."""

    def setUp(self) -> None:
        """Make the origins; the HTTP one takes its time."""
        super().setUp()
        self.origin = self.enterContext(HttpOrigin("slow", delay=1.0))
        self.echo = self.enterContext(EchoOrigin())
        self.port, self.admin, self.tcp = free_port(), free_port(), free_port()

    def begin(self, drain: int) -> Process:
        """The balancer before the origins, with a drain-timeout in seconds."""
        return self.balancer(SITE, self.port, self.tcp, self.admin, host=LOOPBACK, drain=drain,
                             port=self.port, tcp=self.tcp, admin=self.admin,
                             origin=self.origin.port, echo=self.echo.port)

    def request(self) -> socket.socket:
        """A client whose request has reached the origin."""
        client = socket.create_connection((LOOPBACK, self.port), timeout=10)
        self.addCleanup(client.close)
        client.sendall(b"GET /in-flight HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until("the origin has the request", lambda: bool(self.origin.seen))
        return client

    def test_request_in_flight(self) -> None:
        """A request in flight gets its whole answer, and then the process ends with 0."""
        process = self.begin(drain=10)
        client = self.request()
        process.signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        self.assertTrue(answer.endswith(b"slow GET /in-flight\n"), answer)
        self.assertEqual(process.wait(5), 0, process.output)

    def test_no_new_connections(self) -> None:
        """While it drains, new connections are refused and /healthz says so."""
        process = self.begin(drain=10)
        self.request()
        process.signal(signal.SIGTERM)
        wait_until("new connections are refused", lambda: not answers(self.port), within=1)
        self.assertEqual(process.status, None, process.output)
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://{LOOPBACK}:{self.admin}/healthz", timeout=5)
        self.assertEqual(caught.exception.code, 503)
        caught.exception.close()
        self.assertEqual(process.wait(5), 0, process.output)

    def test_bound(self) -> None:
        """What does not end by itself is ended after drain-timeout, and the exit status is 0."""
        process = self.begin(drain=1)
        with socket.create_connection((LOOPBACK, self.tcp), timeout=10) as client:
            client.sendall(b"hi")
            self.assertEqual(client.recv(10), b"hi")
            start = time.monotonic()
            process.signal(signal.SIGTERM)
            self.assertEqual(process.wait(5), 0, process.output)
        self.assertGreater(time.monotonic() - start, 0.8)

    def test_relayed_connection_ends_well(self) -> None:
        """A relayed connection works on while the balancer drains, and its end ends the wait."""
        process = self.begin(drain=10)
        with socket.create_connection((LOOPBACK, self.tcp), timeout=10) as client:
            client.sendall(b"hi")
            self.assertEqual(client.recv(10), b"hi")
            process.signal(signal.SIGTERM)
            wait_until("new connections are refused", lambda: not answers(self.tcp), within=1)
            client.sendall(b"still here")
            self.assertEqual(client.recv(10), b"still here")
        self.assertEqual(process.wait(5), 0, process.output)
