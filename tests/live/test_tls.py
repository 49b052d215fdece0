"""
TLS at the listeners of a running balancer and to its servers, by curl, OpenSSL and Python's `ssl`.
"""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.live.harness import (
    LOOPBACK,
    LiveTestCase,
    Process,
    answers,
    ask,
    free_port,
    need,
    wait_until,
)
from tests.live.origins import EchoOrigin, HttpOrigin, RawOrigin, head_of
from tests.live.test_bodies import CONTENT, DIGEST, SIZE, Origin
from tests.wire.certificates import Authority, Made

SITE = """
[site]
admin = $host:$admin
control = off

[pool web]
servers = a $host:$origin
check = none

[http front]
listen =
    $host:$http
    $host:$https tls=tls
routes = -> redirect https
pool = web
head-timeout = 1s
trusted-proxies = none
"""

SECONDS = 10.0
"""No socket of a test waits longer."""


def context_of(made: Made, directory: Path, name: str) -> ssl.SSLContext:
    """What a server of the test shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.save(directory / name))
    return context


class TlsTestCase(LiveTestCase):
    """An authority, and what a client of it does."""

    def setUp(self) -> None:
        super().setUp()
        need("curl")
        self.authority = Authority()
        self.ca = self.directory / "ca.pem"
        self.ca.write_bytes(self.authority.pem)
        self.tls = self.directory / "tls"
        self.tls.mkdir()
        self.authority.issue("a.test").save(self.tls / "a.pem")
        self.authority.issue("*.b.test").save(self.tls / "b.pem")
        self.http, self.https, self.admin = free_port(), free_port(), free_port()
        self.trusting = ssl.create_default_context(cafile=str(self.ca))

    def begin(self, text: str, **values: int) -> Process:
        """The balancer at work."""
        site = self.site_file(text, host=LOOPBACK, http=self.http, https=self.https,
                              admin=self.admin, **values)
        process = self.twistd(site)
        process.running(self.http, self.admin)
        return process

    def connect(self, name: str = "a.test", port: int = 0) -> ssl.SSLSocket:
        """A verified connection to the listener with TLS."""
        sock = socket.create_connection((LOOPBACK, port or self.https), timeout=SECONDS)
        self.addCleanup(sock.close)
        tls = self.trusting.wrap_socket(sock, server_hostname=name)
        self.addCleanup(tls.close)
        return tls

    def curl(self, name: str, *options: str, path: str = "/") -> str:
        """What curl gets, verifying `name`."""
        return ask("curl", "-sS", "--max-time", "30", "--cacert", str(self.ca), "--resolve",
                   f"{name}:{self.https}:{LOOPBACK}", *options,
                   f"https://{name}:{self.https}{path}")

    def admin_page(self, path: str) -> str:
        """What the admin listener says."""
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.admin}{path}", timeout=5) as got:
            page: str = got.read().decode()
        return page

    def status(self) -> dict[str, Any]:
        """/api/status."""
        found: dict[str, Any] = json.loads(self.admin_page("/api/status"))
        return found

    def server(self, pool: str, name: str) -> dict[str, Any]:
        """What the status says of a server."""
        found: dict[str, Any] = self.status()["pools"][pool]["servers"][name]
        return found


class ListenerTest(TlsTestCase):
    """A plain listener and one with TLS."""

    def setUp(self) -> None:
        super().setUp()
        self.origin = HttpOrigin("a")
        self.enterContext(self.origin)
        self.process = self.begin(SITE, origin=self.origin.port)

    def test_keep_alive(self) -> None:
        """curl verifies the names, in both versions, and asks again on the same connection."""
        for name in ("a.test", "www.b.test"):
            for version in ("1.2", "1.3"):
                url = f"https://{name}:{self.https}/2"
                told = self.curl(name, "--tlsv" + version, "--tls-max", version, "-w",
                                 "%{num_connects} ", url)
                self.assertEqual(told, "a GET /2\n1 a GET /\n0 ")
        for _, _, fields in self.origin.seen:
            self.assertEqual(fields["x-forwarded-proto"], "https")
        self.assertIn('tls_handshakes_total{balancer="front"} 4', self.admin_page("/metrics"))

    def test_default_certificate(self) -> None:
        """A client that asks for an unknown name, or for none, gets the first certificate."""
        self.trusting.check_hostname = False
        for name in ("unknown.test", None):
            sock = socket.create_connection((LOOPBACK, self.https), timeout=SECONDS)
            with self.trusting.wrap_socket(sock, server_hostname=name) as tls:
                names = tls.getpeercert()["subjectAltName"]  # type: ignore[index]  # it was asked for
                self.assertEqual(names, (("DNS", "a.test"),))

    def test_redirect(self) -> None:
        """`redirect https` sends plain requests away, and leaves those under TLS alone."""
        told = ask("curl", "-sSi", f"http://{LOOPBACK}:{self.http}/x?y")
        self.assertIn("308 Permanent Redirect", told)
        self.assertIn(f"Location: https://{LOOPBACK}/x?y", told)
        self.assertEqual(self.curl("a.test", path="/x"), "a GET /x\n")

    def test_resumption(self) -> None:
        """A session is resumed, whichever name it began with."""
        with self.connect() as tls:
            tls.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            self.assertIn(b"200 OK", tls.recv(65536))
            session = tls.session
        sock = socket.create_connection((LOOPBACK, self.https), timeout=SECONDS)
        with self.trusting.wrap_socket(sock, server_hostname="a.test", session=session) as tls:
            self.assertTrue(tls.session_reused)
        wait_until("it is counted", lambda: 'tls_resumed_total{balancer="front"} 1'
                   in self.admin_page("/metrics"))

    def test_refused(self) -> None:
        """An old version and garbage are refused, a plain request is told why; each is counted."""
        need("openssl")
        old = subprocess.run(
            ["openssl", "s_client", "-connect", f"{LOOPBACK}:{self.https}", "-tls1_1", "-cipher",
             "DEFAULT@SECLEVEL=0"], input=b"", capture_output=True, timeout=SECONDS, check=False)
        self.assertNotEqual(old.returncode, 0)
        self.assertIn(b"alert protocol version", old.stderr)
        told = ask("curl", "-sSi", f"http://{LOOPBACK}:{self.https}/")
        self.assertTrue(told.startswith("HTTP/1.1 400 Bad Request\r\n"), told)
        self.assertIn("this port speaks HTTPS", told)
        with socket.create_connection((LOOPBACK, self.https), timeout=SECONDS) as sock:
            sock.sendall(b"\0\1\2 garbage" * 10)
            said = b""
            while more := sock.recv(100):
                said += more
            self.assertLess(len(said), 16, "at most an alert")
        found = self.status()["balancers"]["http:front"]["tls"]["failures_total"]
        self.assertEqual(found, {"only TLS versions older than 1.2": 1, "not TLS": 1,
                                 "plain HTTP on a TLS port": 1})

    def test_time_out(self) -> None:
        """A handshake that does not go on is ended, and others are served meanwhile."""
        with socket.create_connection((LOOPBACK, self.https), timeout=SECONDS) as silent:
            began = time.monotonic()
            self.assertEqual(self.curl("a.test"), "a GET /\n")
            self.assertEqual(silent.recv(100), b"")
            self.assertGreater(time.monotonic() - began, 0.9)
        wait_until("it is told", lambda: "handshake timed out" in self.process.output)

    def test_reload(self) -> None:
        """A reload takes up a renewed certificate for new connections, and closes none; a broken
        one fails it, with the file's name, and changes nothing."""
        def serial(tls: ssl.SSLSocket) -> str:
            found = tls.getpeercert()
            assert found is not None
            return str(found["serialNumber"])

        def asked(tls: ssl.SSLSocket) -> None:
            tls.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            said = b""
            while not said.endswith(b"a GET /\n"):
                more = tls.recv(65536)
                self.assertTrue(more, "closed")
                said += more

        old = self.connect()
        asked(old)
        self.authority.issue("a.test").save(self.tls / "a.pem")
        self.process.signal(signal.SIGHUP)
        wait_until("it is reloaded", lambda: "reloaded " in self.process.output)
        self.assertIn("~ http front: tls was read again", self.process.output)
        new = self.connect()
        self.assertNotEqual(serial(new), serial(old))
        asked(old)
        (self.tls / "a.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
        self.process.signal(signal.SIGHUP)
        wait_until("it is refused", lambda: "not reloaded: " in self.process.output)
        self.assertIn("[http front] listen: tls: tls/a.pem: expected a certificate",
                      self.process.output)
        self.assertEqual(serial(self.connect()), serial(new))
        for tls in (old, new):
            asked(tls)

    def test_stop(self) -> None:
        """A stop ends handshakes and idle connections at once."""
        with socket.create_connection((LOOPBACK, self.https), timeout=SECONDS):
            tls = self.connect()
            began = time.monotonic()
            self.assertEqual(self.process.stop(), 0)
            self.assertLess(time.monotonic() - began, 5)
            self.assertEqual(tls.recv(100), b"", "close_notify, and not a mere end")


class BodyTest(TlsTestCase):
    """Much that passes through TLS on both sides."""

    site = SITE.replace("servers = a $host:$origin", "servers = a $host:$origin tls sni=o.test\n"
                        "tls-ca = ca.pem").replace("head-timeout = 1s", "")

    def test_bodies(self) -> None:
        """Large bodies arrive as they were sent, both ways and in each framing."""
        server = ThreadingHTTPServer((LOOPBACK, 0), Origin)
        shown = context_of(self.authority.issue("o.test"), self.directory, "o.pem")
        server.socket = shown.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False)
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        process = self.begin(self.site, origin=server.server_address[1])
        got = self.directory / "got"
        for path in ("/length", "/chunked"):
            self.curl("a.test", "-o", str(got), path=path)
            self.assertEqual(hashlib.sha256(got.read_bytes()).hexdigest(), DIGEST)
        upload = self.directory / "upload"
        upload.write_bytes(CONTENT)
        for how in ("Expect:", "Transfer-Encoding: chunked"):
            self.assertEqual(self.curl("a.test", "-H", how, "--data-binary", f"@{upload}"), DIGEST)
        self.assertEqual(got.stat().st_size, SIZE)
        self.assertIsNone(process.status)

    def test_upgrade(self) -> None:
        """A tunnel passes bytes both ways under TLS, also those that come with the answer."""
        def behave(connection: socket.socket) -> None:
            with shown.wrap_socket(connection, server_side=True) as tls:
                head_of(tls)
                tls.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
                            b"Upgrade: echo\r\n\r\nhello ")
                while data := tls.recv(65536):
                    tls.sendall(data)

        shown = context_of(self.authority.issue("o.test"), self.directory, "o.pem")
        with RawOrigin(behave) as origin:
            self.begin(self.site, origin=origin.port)
            tls = self.connect()
            tls.sendall(b"GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\n"
                        b"Upgrade: echo\r\n\r\n")
            said = b""
            while not said.endswith(b"hello "):
                said += tls.recv(65536)
            self.assertTrue(said.startswith(b"HTTP/1.1 101 "), said)
            for number in range(20):
                tls.sendall(b"%d" % number * 1000)
                back = b""
                while len(back) < len(b"%d" % number) * 1000:
                    back += tls.recv(65536)
                self.assertEqual(back, b"%d" % number * 1000)


SERVERS = """
[site]
admin = $host:$admin
control = off

[pool right]
servers =
    named $host:$origin tls sni=o.test
    wrong $host:$origin tls sni=x.test
    address $host:$origin tls
tls-ca = ca.pem
check = http GET /
interval = 100ms
fall = 1

[pool other]
servers = a $host:$origin tls sni=o.test
tls-ca = other.pem
interval = 100ms
fall = 1

[pool careless]
servers = a $host:$origin tls sni=o.test
tls-verify = no
interval = 100ms

[pool unchecked]
servers = a $host:$origin tls sni=x.test
tls-ca = ca.pem
check = none

[http front]
listen = $host:$http
pool = right
routes =
    path=/careless -> pool careless
    path=/unchecked -> pool unchecked
    path=/other -> pool other

[tcp relay]
listen = $host:$https
tls = tls
pool = echo

[pool echo]
servers = a $host:$echo
"""


class ServerTest(TlsTestCase):
    """Servers that are reached under TLS, and TLS that ends at [tcp]."""

    def setUp(self) -> None:
        super().setUp()
        (self.directory / "other.pem").write_bytes(Authority("another").pem)
        shown = context_of(self.authority.issue("o.test"), self.directory, "o.pem")
        self.origin, self.echo = HttpOrigin("a", tls=shown), EchoOrigin()
        self.enterContext(self.origin)
        self.enterContext(self.echo)
        self.process = self.begin(SERVERS, origin=self.origin.port, echo=self.echo.port)
        wait_until("it listens", lambda: answers(self.https))

    def get(self, path: str) -> tuple[int, str]:
        """The status and body of an answer."""
        told = ask("curl", "-sS", "--max-time", "10", "-w", "\n%{http_code}",
                   f"http://{LOOPBACK}:{self.http}{path}")
        body, _, code = told.rpartition("\n")
        return int(code), body

    def verdict(self, pool: str, server: str, state: str) -> str:
        """Wait for a server's state; why it has it."""
        wait_until(f"{pool}/{server} is {state}",
                   lambda: bool(self.server(pool, server)["state"] == state))
        reason: str = self.server(pool, server)["check"]["reason"]
        return reason

    def test_verified(self) -> None:
        """A server of the right name is up; one of another name, at another address or of another
        issuer is down, and the reason says so. Without verification any will do."""
        self.assertEqual(self.verdict("right", "named", "up"), "status 200")
        self.assertEqual(self.verdict("right", "wrong", "down"),
                         "certificate hostname mismatch: expected x.test")
        self.assertEqual(self.verdict("right", "address", "down"),
                         f"certificate address mismatch: expected {LOOPBACK}")
        self.assertIn("certificate of an unknown issuer", self.verdict("other", "a", "down"))
        self.assertIn("other/a went down: certificate of an unknown", self.process.output)
        self.verdict("careless", "a", "up")
        for path in ("/", "/careless"):
            for _ in range(5):
                self.assertEqual(self.get(path), (200, f"a GET {path}\n"))
        self.assertEqual(self.get("/other")[0], 503)
        self.assertIn("tls-verify: servers with tls need not prove", self.process.output)

    def test_unchecked(self) -> None:
        """A server that is not verified gets no request, checked or not: 502."""
        self.assertEqual(self.get("/unchecked")[0], 502)
        self.assertNotIn("/unchecked", [path for _, path, _ in self.origin.seen])

    def test_tcp(self) -> None:
        """`[tcp]` ends TLS for a protocol that has none, for as long as either side likes."""
        tls = self.connect("www.b.test")
        for size in (1, 1000, 300_000):
            tls.sendall(b"x" * size)
            back = 0
            while back < size:
                more = len(tls.recv(65536))
                self.assertGreater(more, 0)
                back += more
        with socket.create_connection((LOOPBACK, self.https), timeout=SECONDS) as plain:
            plain.sendall(b"hello, is this an echo?")
            self.assertLess(len(plain.recv(100)), 16, "an alert at most")
        text = self.admin_page("/metrics")
        self.assertIn('reason="not TLS"', text)
        self.assertIn("balancer_tcp_tls_handshakes", text)

    def test_trust_renewed(self) -> None:
        """A reload takes up another authority: servers stay who they are, and are verified anew."""
        self.verdict("right", "named", "up")
        self.assertEqual(self.get("/")[0], 200)
        self.ca.write_bytes((self.directory / "other.pem").read_bytes())
        self.process.signal(signal.SIGHUP)
        self.assertIn("unknown issuer", self.verdict("right", "named", "down"))
        self.assertEqual(self.get("/")[0], 503)
        self.ca.write_bytes(self.authority.pem)
        self.process.signal(signal.SIGHUP)
        self.verdict("right", "named", "up")
        self.assertEqual(self.get("/")[0], 200)
        self.assertNotIn("was removed", self.process.output)
