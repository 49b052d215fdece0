"""Fields behind bodies: which pass, and which end the exchange."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.http.world import World, pool_of, request, status_of

OPTIONS = """\
pool = app
remove-request-header = X-Secret
remove-response-header = X-Internal
set-request-header = X-Tenant: one
request-id = X-Request-Id
"""

EVERYWHERE = (
    "Content-Length: 5", "Content-Type: text/html", "content-encoding: gzip", "Connection: close",
    "Transfer_Encoding: chunked", "TE: gzip", "Keep-Alive: 5", "Host: y", "Cache-Control: no-store",
    "Upgrade: h2c", "Trailer: X",
)  # fmt: skip
IN_REQUESTS = (
    *EVERYWHERE, "X-Forwarded-For: 127.0.0.1", "x_forwarded_proto: https", "Forwarded: for=::1",
    "Authorization: Basic eDp5", "Cookie: a=b", "Proxy-Authorization: x", "Expect: 100-continue",
    "If-Match: *", "Range: bytes=0-1", "X-Secret: 1", "x-tenant: two", "X-Request-ID: 7",
)  # fmt: skip
IN_ANSWERS = (
    *EVERYWHERE, "Set-Cookie: a=b", "WWW-Authenticate: Basic", "Location: /", "Vary: *",
    "Expires: 0", "X-Internal: 1",
)  # fmt: skip
ALLOWED = (
    "ETag: x", "Server-Timing: db;dur=5", "grpc-status: 0", "Authentication-Info: x",
    "Ranges: 1", "Digest: x", "Telephone: 1", "Hosts: x",
)  # fmt: skip

HEAD = "Transfer-Encoding: chunked"


def chunks(*trailers: str) -> bytes:
    """A body with trailers."""
    return "\r\n".join(["3", "abc", "0", *trailers, "", ""]).encode()


class RequestTrailerTests(SynchronousTestCase):
    """A client's trailers."""

    def world(self) -> World:
        """A world that must leave nothing behind."""
        world = World(OPTIONS, pool_of("a"))
        self.addCleanup(world.check)
        return world

    def test_refused_whole(self) -> None:
        """One that comes with its head reaches no server: 400."""
        for field in IN_REQUESTS:
            world = self.world()
            client = world.client(request("POST", "/", HEAD, body=chunks("A: b", field)))
            self.assertEqual((status_of(client.take()), world.attempts), (400, []), field)

    def test_refused_in_pieces(self) -> None:
        """One that comes byte by byte ends the exchange at its line: the server never sees the end
        of the request."""
        for field in IN_REQUESTS:
            world = self.world()
            client, server = world.asked(request("POST", "/", HEAD))
            for byte in chunks(field, "A: b"):
                client.receive(bytes([byte]))
            self.assertEqual(status_of(client.take()), 400, field)
            self.assertEqual(server.closing, "abort")
            self.assertNotIn(b"\r\nA", server.take().rpartition(b"\r\n0\r\n")[2])

    def test_trusted(self) -> None:
        """A trusted proxy may not send them either: they belong in the head."""
        world = World("pool = app\ntrusted-proxies = 192.0.2.1\n")
        self.addCleanup(world.check)
        client = world.client(request("POST", "/", HEAD, body=chunks("X-Forwarded-For: ::1")))
        self.assertEqual(status_of(client.take()), 400)

    def test_passed(self) -> None:
        """Others go on as they come, whole or in pieces, and nothing is over before its end."""
        body = chunks(*ALLOWED)
        world = self.world()
        world.client(request("POST", "/", HEAD, body=body))
        self.assertTrue(world.server().take().endswith(b"\r\n\r\n" + body))
        client, server = world.asked(request("POST", "/", HEAD))
        for index in range(len(body)):
            self.assertIsNotNone(server.producer)
            client.receive(body[index : index + 1])
        self.assertIsNone(server.producer)
        self.assertTrue(server.take().endswith(b"\r\n\r\n" + body))


class AnswerTrailerTests(SynchronousTestCase):
    """A server's trailers."""

    ANSWER = b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n"

    def world(self) -> World:
        """A world that must leave nothing behind."""
        world = World(OPTIONS, pool_of("a"))
        self.addCleanup(world.check)
        return world

    def test_bad_whole(self) -> None:
        """An answer that comes whole with one is 502."""
        for field in IN_ANSWERS:
            client, server = self.world().asked(request())
            server.receive(self.ANSWER + chunks(field))
            self.assertEqual((status_of(client.take()), server.closing), (502, "abort"), field)

    def test_bad_in_pieces(self) -> None:
        """An answer that has begun is cut."""
        for field in IN_ANSWERS:
            client, server = self.world().asked(request())
            for byte in self.ANSWER + chunks(field):
                server.receive(bytes([byte]))
            self.assertEqual((client.closing, server.closing), ("abort", "abort"), field)

    def test_passed(self) -> None:
        """Others go on as they come, also such that requests may not have."""
        client, server = self.world().asked(request())
        body = chunks(*ALLOWED, "Cookie: x")
        for index in range(len(body)):
            server.receive((self.ANSWER if not index else b"") + body[index : index + 1])
        self.assertTrue(client.take().endswith(body))
        self.assertEqual((client.closing, server.closing), ("", ""))
