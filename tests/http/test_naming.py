"""`-> subdomains NAME`: requests are sent to the names of servers."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from balancer.http.secure import SecureConnection
from balancer.pool.settings import PoolSettings, ServerSettings
from balancer.subdomains.service import Subdomains
from balancer.subdomains.settings import SubdomainsSettings
from balancer.wire.address import literal
from tests.http.world import FakeContext, FakeStream, World, pool_of, request, status_of

ROUTES = "pool = app\nroutes = host=x -> subdomains www\n"


def subdomains(context: FakeContext, **options: Any) -> dict[str, Any]:
    """The section `www` for the pool `app`, with its settings in force."""
    balancer = Subdomains("www", context, lambda path, data: succeed(None))
    settings = SubdomainsSettings(**{"zone": "example.test", "pool": "app", **options})
    balancer.prepare(settings).commit()
    return {"subdomains:www": balancer}


def world(algorithm: str = "round-robin", routes: str = ROUTES) -> World:
    """A balancer that redirects to the servers of a pool of two."""
    return World(routes, pool_of("a", "b", algorithm=algorithm), others=subdomains)


def location(data: bytes) -> str:
    """The Location of the first answer."""
    found = re.search(rb"\r\nLocation: ([^\r]*)\r\n", data)
    return "" if found is None else found[1].decode()


class NamingTests(SynchronousTestCase):
    """What clients get."""

    def ask(self, of: World, *words: Any, port: int = 80, **options: Any) -> FakeStream:
        """A client whose connection came in by `port`, and that has sent a request."""
        client = of.client()
        client.port = port
        client.receive(request(*words, **options))
        return client

    def test_redirect(self) -> None:
        """Each request gets the name of the server that the algorithm picks, with path and query,
        and the connection goes on."""
        asked = world()
        client = self.ask(asked, "GET", "/p/q?a=1&b=%2f")
        data = client.take()
        self.assertEqual(
            (status_of(data), location(data)), (302, "http://www1.example.test/p/q?a=1&b=%2f")
        )
        client.receive(request("GET", "/"))
        self.assertEqual(location(client.take()), "http://www2.example.test/")
        self.assertEqual(asked.attempts, [])
        asked.check()

    def test_methods(self) -> None:
        """GET and HEAD are found elsewhere; any other method has to stay what it is."""
        asked = world()
        head = self.ask(asked, "HEAD", "/").take()
        self.assertEqual((status_of(head), head[-4:]), (302, b"\r\n\r\n"))
        for method in ("POST", "PUT", "OPTIONS", "get"):
            data = self.ask(asked, method, "/x", "Content-Length: 0").take()
            self.assertEqual((status_of(data), location(data)[-2:]), (307, "/x"))

    def test_body(self) -> None:
        """A request whose body is yet to come is answered at once, and its connection ends."""
        client = self.ask(world(), "POST", "/", "Content-Length: 5")
        data = client.take()
        self.assertEqual(status_of(data), 307)
        self.assertIn(b"Connection: close", data)

    def test_door(self) -> None:
        """Scheme and port are those that the client came in by."""
        asked = world()
        self.assertEqual(
            location(self.ask(asked, "GET", "/", port=8080).take()),
            "http://www1.example.test:8080/",
        )
        stream = FakeStream(SecureConnection(asked.front, set()))
        stream.port = 443
        stream.protocol.makeConnection(stream)
        stream.receive(request("GET", "/"))
        self.assertEqual(location(stream.take()), "https://www2.example.test/")

    def test_nobody(self) -> None:
        """Without a server that may get work the answer is 503, the operator's page if there is
        one, and the connection goes on."""
        page = self.mktemp()
        with open(page, "w") as file:
            file.write("away")
        asked = world(routes=ROUTES + f"error-page 503 = {page}\n")
        for server in asked.pool.servers:
            asked.pool.maintain(server)
        client = self.ask(asked, "GET", "/")
        data = client.take()
        self.assertEqual((status_of(data), data[-4:]), (503, b"away"))
        self.assertEqual(asked.front.figures.refused["no-server"], 1)
        asked.pool.ready(asked.pool.servers[1])
        client.receive(request("GET", "/"))
        self.assertEqual(location(client.take()), "http://www2.example.test/")
        asked.check()

    def test_by_source(self) -> None:
        """A pool that chooses by the client's address does so here."""
        asked = world("source")
        got = {location(self.ask(asked, "GET", "/").take()) for _ in range(4)}
        self.assertEqual(len(got), 1)

    def test_strange_paths(self) -> None:
        """A path can neither name another host nor be anything but a path."""
        asked = world("first")
        for target, told in (
            ("//evil.test/", "http://www1.example.test//evil.test/"),
            ("/\\evil.test", "http://www1.example.test/\\evil.test"),
            ("/@evil.test", "http://www1.example.test/@evil.test"),
        ):
            self.assertEqual(location(self.ask(asked, "GET", target).take()), told)
        self.assertEqual(
            location(self.ask(asked, "OPTIONS", "*").take()), "http://www1.example.test/"
        )

    @settings(max_examples=12, deadline=None, database=None)
    @given(st.binary(max_size=12))
    def test_any_target(self, target: bytes) -> None:
        """Whatever is asked for, the answer has one Location that is ours, or none at all."""
        asked = world("first")
        client = asked.client(b"GET /" + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        head = client.take().partition(b"\r\n\r\n")[0]
        if head.startswith(b"HTTP/1.1 302 "):
            lines = [line for line in head.split(b"\r\n") if line.startswith(b"Location")]
            self.assertEqual(lines, [b"Location: http://www1.example.test/" + target])
            self.assertNotIn(b"\n", head.replace(b"\r\n", b""))
        else:
            self.assertNotIn(b"Location", head)

    def test_servers_change(self) -> None:
        """A new server is sent to as soon as the pool chooses it, and by its own name."""
        asked = world("first")
        lines = [(ServerSettings("c"), literal("10.0.0.9", 80))]
        settings = PoolSettings("app", asked.pool.settings.algorithm)
        asked.context.publish(asked.pool, asked.pool.reconfigure(settings, lines, 1.0))
        asked.pool.trust_all(1.0)
        self.assertEqual(
            location(self.ask(asked, "GET", "/").take()), "http://www3.example.test/"
        )

    def test_prepared(self) -> None:
        """A server's URL is asked for once, until names change."""
        asked = world("first")
        named = asked.context.others["subdomains:www"]
        asks: list[str] = []
        location_of = named.location

        def counted(server: str, scheme: str, port: int) -> str:
            asks.append(server)
            return str(location_of(server, scheme, port))

        self.patch(named, "location", counted)
        for _ in range(3):
            self.ask(asked, "GET", "/")
        self.assertEqual(asks, ["a"])
        settings = SubdomainsSettings(zone="example.test", pool="app", pattern="n{n}")
        named.prepare(settings).commit()
        self.assertEqual(location(self.ask(asked, "GET", "/").take()), "http://n1.example.test/")

    def test_reload(self) -> None:
        """Settings without such a route let go of the names."""
        asked = world()
        named = asked.context.others["subdomains:www"]
        asked.configure(ROUTES)
        self.assertEqual(len(named._callbacks), 1)
        self.assertEqual(location(self.ask(asked, "GET", "/").take())[:11], "http://www1")
        asked.configure("pool = app\n")
        self.assertEqual(named._callbacks, [])
        asked.configure(ROUTES)
        asked.balancer.stopService()
        self.assertEqual(named._callbacks, [])

    def test_log(self) -> None:
        """The access log has the server that the client was sent to."""
        asked = world(routes=ROUTES + "access-log = /log\nlog-format = haproxy\n")
        self.ask(asked, "GET", "/")
        line = asked.context.logs["/log"].lines[-1]
        self.assertIn(b"/a ", line)
        self.assertIn(b" 302 ", line)


class ExplainTests(SynchronousTestCase):
    """`lbctl explain http` of such a route."""

    def test_same_as_the_wire(self) -> None:
        """It tells the rule, the pool, who is chosen and why, and the answer, and changes
        nothing."""
        asked = world()
        question = {"method": "POST", "url": "http://x:8080/p?q", "from": "192.0.2.1"}
        for _ in range(2):
            told = asked.balancer.explain(question)
            self.assertEqual(told["rule"], "routes: host=x -> subdomains www")
            self.assertEqual((told["pool"], told["chosen"]), ("app", "a"))
            text = "redirect to http://www1.example.test:8080/p?q"
            self.assertEqual(told["answer"], {"code": 307, "text": text})
        self.assertEqual(asked.balancer.status()["subdomains"], ["www"])

    def test_nobody(self) -> None:
        """When nobody may get work that is the answer."""
        asked = world()
        asked.pool.maintain(asked.pool.servers[0])
        asked.pool.maintain(asked.pool.servers[1])
        told = asked.balancer.explain({"method": "GET", "url": "http://x/", "from": "192.0.2.1"})
        self.assertEqual((told["chosen"], told["answer"]["code"]), (None, 503))
