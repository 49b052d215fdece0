"""
The transport under TLS against OpenSSL's own client and curl, on the lean reactor.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

from tests.live.harness import LOOPBACK, ROOT, LiveTestCase, ask, free_port, need
from tests.wire.certificates import Authority

SERVER = """
import sys
from balancer.wire.reactor import install
install()
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site
from balancer.wire.address import literal
from balancer.wire.certificates import load
from balancer.wire.handshakes import Handshakes
from balancer.wire.listener import Listener, bind_tcp
from balancer.wire.stock import serve

class Page(Resource):
    isLeaf = True
    def render_GET(self, request):
        size = int(request.args.get(b"size", [b"0"])[0])
        return (b"secure " if request.isSecure() else b"plain ") + b"x" * size
    def render_POST(self, request):
        return b"%d bytes" % len(request.content.read())

address = literal("127.0.0.1", int(sys.argv[1]))
listener = Listener(reactor, bind_tcp(address), address)
context = load(sys.argv[2]).context(["http/1.1"])
serve(listener, Site(Page(), reactor=reactor), Handshakes(listener, context))
listener.start()
reactor.run()
"""


class TlsWireTest(LiveTestCase):
    """twisted.web under our TLS."""

    def setUp(self) -> None:
        """Start it with two certificates."""
        super().setUp()
        need("openssl", "curl")
        authority = Authority()
        certificates = self.directory / "tls"
        certificates.mkdir()
        authority.issue("a.test").save(certificates / "a.pem")
        authority.issue("*.b.test").save(certificates / "b.pem")
        self.ca = self.directory / "ca.pem"
        self.ca.write_bytes(authority.pem)
        self.port = free_port()
        script = self.directory / "server.py"
        script.write_text(SERVER)
        command = [sys.executable, str(script), str(self.port), str(certificates)]
        self.server = self.start(command, "server", PYTHONPATH=str(ROOT))
        self.server.answering(self.port)
        self.addCleanup(self.nothing_raised)

    def nothing_raised(self) -> None:
        """The server has printed no traceback."""
        self.assertNotIn("Traceback", self.server.output)

    def curl(self, name: str, *options: str, path: str = "/") -> str:
        """What curl gets as `name`, verifying it."""
        return ask(
            "curl", "-sS", "--fail", "--cacert", str(self.ca),
            "--resolve", f"{name}:{self.port}:{LOOPBACK}", *options,
            f"https://{name}:{self.port}{path}",
        )

    def s_client(self, data: bytes, *options: str) -> str:
        """A session of openssl's client that sends `data`."""
        return ask(
            "openssl", "s_client", "-connect", f"{LOOPBACK}:{self.port}", "-CAfile", str(self.ca),
            "-servername", "a.test", *options, data=data,
        )

    def test_curl(self) -> None:
        """curl verifies both names, in both versions, and large bodies pass both ways."""
        for name in ("a.test", "x.b.test"):
            for version in ("1.2", "1.3"):
                options = ("--tlsv" + version, "--tls-max", version)
                self.assertEqual(self.curl(name, *options), "secure ")
        body = self.curl("a.test", path="/?size=30000000")
        self.assertEqual(len(body), 30_000_007)
        upload = self.directory / "upload"
        upload.write_bytes(b"y" * 30_000_000)
        answer = self.curl("a.test", "--data-binary", f"@{upload}")
        self.assertEqual(answer, "30000000 bytes")

    def test_key_update(self) -> None:
        """OpenSSL's client changes keys, ours with its own, and the connection goes on."""
        command = [
            "openssl", "s_client", "-connect", f"{LOOPBACK}:{self.port}", "-servername", "a.test",
        ]
        pipe = subprocess.PIPE
        client = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)
        assert client.stdin is not None and client.stdout is not None
        self.addCleanup(client.stdout.close)
        self.addCleanup(client.stdin.close)
        # A command is a line that comes in a read of its own.
        for line, answer in (
            (b"", b"Verify return code"),
            (b"K\n", b"KEYUPDATE"),
            (b"k\n", b"KEYUPDATE"),
            (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"secure "),
            (b"K\n", b"KEYUPDATE"),
            (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"secure "),
        ):
            client.stdin.write(line)
            client.stdin.flush()
            self.await_text(client.stdout, answer)

    def await_text(self, stream: IO[bytes], text: bytes) -> None:
        """Wait until the client prints `text`."""
        data = b""
        while text not in data:
            part = os.read(stream.fileno(), 4096)
            self.assertTrue(part, f"{text!r} does not come: {data!r}")
            data += part

    def test_resumption(self) -> None:
        """OpenSSL's client resumes its session in both versions."""
        for version in ("-tls1_3", "-tls1_2"):
            session = str(Path(self.directory, "session" + version))
            request = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
            first = self.s_client(request, version, "-sess_out", session, "-ign_eof")
            self.assertIn("New, TLSv1.", first)
            self.assertIn("Verify return code: 0 (ok)", first)
            again = self.s_client(request, version, "-sess_in", session, "-ign_eof")
            self.assertIn("Reused, TLSv1.", again)
            self.assertIn("secure ", again)
            # close_notify came: s_client calls its absence an error.
            self.assertIn("closed", again)
            self.assertNotIn("unexpected eof", again)
