"""The balancer as a service: settings, limits, its own answers, draining, what it tells."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.http.maker import maker
from balancer.http.settings import HttpSettings, listen
from balancer.interfaces import IBalancer, IPreparedFromFiles, PrepareError
from balancer.wire import room
from tests.http.world import World, pool_of, request, response, settings_of, status_of
from tests.pool.world import few_slots

GONE = Failure(ConnectionDone())


class FakeSocket:
    """As much of a socket as a stream needs to begin."""

    def __init__(self) -> None:
        self.closed = False

    def setsockopt(self, *args: int) -> None:
        """Nothing."""

    def fileno(self) -> int:
        """No descriptor."""
        return 99

    def close(self) -> None:
        """Remember it."""
        self.closed = True


class Case(SynchronousTestCase):
    """Worlds that must leave nothing behind."""

    def world(self, options: str = "pool = app\n", *pools: Any) -> World:
        """Such a world."""
        world = World(options, *pools)
        self.addCleanup(world.check)
        return world


class LimitTests(Case):
    """Who is refused."""

    def test_rate(self) -> None:
        """More requests than `rate` allows get 429 with Retry-After, and the connection stays."""
        world = self.world("routes = -> respond 204\nrate = 1/s per source burst=2\n")
        client = world.client(request() * 3, "192.0.2.1")
        other = world.client(request(), "192.0.2.2")
        answers = client.take()
        self.assertEqual((answers.count(b" 204 "), answers.count(b" 429 ")), (2, 1))
        self.assertIn(b"\r\nRetry-After: 1\r\n", answers)
        self.assertEqual((client.closing, status_of(other.take())), ("", 204))
        world.pass_time(1)
        client.receive(request())
        self.assertEqual(status_of(client.take()), 204)
        self.assertEqual(world.front.figures.refused["rate"], 1)

    def test_rate_with_a_body(self) -> None:
        """A refused request whose body is still on its way ends the connection."""
        world = self.world("routes = -> respond 204\nrate = 1/s per source\n")
        client = world.client(request() + request("POST", "/", "Content-Length: 9"))
        self.assertIn(b" 429 ", client.take())
        self.assertEqual(client.closing, "linger")

    def test_rate_behind_a_proxy(self) -> None:
        """Behind a trusted proxy the rate is the client's, not the proxy's."""
        world = self.world(
            "routes = -> respond 204\nrate = 1/s per source\ntrusted-proxies = 192.0.2.1\n"
        )
        client = world.client(
            request("GET", "/", "X-Forwarded-For: 198.51.100.1")
            + request("GET", "/", "X-Forwarded-For: 198.51.100.2")
            + request("GET", "/", "X-Forwarded-For: 203.0.113.9, 198.51.100.2")
        )
        answers = client.take()
        self.assertEqual((answers.count(b" 204 "), answers.count(b" 429 ")), (2, 1))


class ForwardedTests(Case):
    """What servers learn of the client."""

    def asked(self, options: str, *fields: str, host: str = "192.0.2.1") -> bytes:
        """What the server gets."""
        world = self.world("pool = app\n" + options)
        world.client(request("GET", "/", *fields), host)
        return world.server().take()

    def test_strangers_are_not_believed(self) -> None:
        """Forwarded fields of a client are dropped."""
        fields = ("X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https", "Forwarded: for=1.1.1.1")
        asked = self.asked("", *fields)
        self.assertNotIn(b"1.1.1.1", asked)
        self.assertNotIn(b"https", asked)
        self.assertIn(b"\r\nX-Forwarded-For: 192.0.2.1\r\n", asked)

    def test_trusted(self) -> None:
        """A trusted proxy's fields stay, and its address joins the chain."""
        asked = self.asked(
            "trusted-proxies = 192.0.2.0/24\n",
            "X-Forwarded-For: 198.51.100.7",
            "X-Forwarded-Proto: https",
        )
        self.assertIn(b"\r\nX-Forwarded-For: 198.51.100.7, 192.0.2.1\r\n", asked)
        self.assertIn(b"\r\nX-Forwarded-Proto: https\r\n", asked)
        self.assertEqual(asked.count(b"X-Forwarded-Proto"), 1)
        self.assertIn(b"\r\nX-Forwarded-Host: x\r\n", asked)

    def test_rfc7239(self) -> None:
        """`forwarded = rfc7239` sends Forwarded, with IPv6 quoted."""
        asked = self.asked("forwarded = rfc7239\n", host="2001:db8::1")
        self.assertIn(b'\r\nForwarded: for="[2001:db8::1]";proto=http;host=x\r\n', asked)
        self.assertNotIn(b"X-Forwarded", asked)

    def test_off(self) -> None:
        """`forwarded = off` adds nothing."""
        self.assertEqual(self.asked("forwarded = off\n"), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    def test_headers(self) -> None:
        """Headers of requests are set and removed."""
        asked = self.asked(
            "forwarded = off\nset-request-header = X-A: ours\nremove-request-header = X-B\n",
            "x-a: theirs",
            "X-B: b",
            "X-C: c",
        )
        self.assertEqual(asked, b"GET / HTTP/1.1\r\nHost: x\r\nX-C: c\r\nX-A: ours\r\n\r\n")

    def test_request_id(self) -> None:
        """A request gets an id; a client's own is replaced, a trusted proxy's is kept."""
        options = "request-id = X-Request-ID\nforwarded = off\n"
        ours = b"\r\nX-Request-ID: 0123456789abcdef\r\n"
        self.assertIn(ours, self.asked(options, "X-Request-ID: theirs"))
        asked = self.asked(
            options + "trusted-proxies = 192.0.2.1\n", "X-Request-ID: theirs"
        )
        self.assertIn(b"\r\nX-Request-ID: theirs\r\n", asked)
        self.assertNotIn(ours, asked)


class RouteTests(Case):
    """Where requests go."""

    def test_pools(self) -> None:
        """Routes lead to pools, and what none matches to `pool`."""
        world = self.world(
            "pool = app\nroutes =\n  path=/api/* -> pool api\n",
            pool_of("a"),
            pool_of("z", name="api"),
        )
        api = world.context.pools["api"].servers[0]
        world.client(request("GET", "/api/1"))
        self.assertEqual((api.in_flight, world.pool.servers[0].in_flight), (1, 0))
        world.client(request("GET", "/"))
        self.assertEqual((api.in_flight, world.pool.servers[0].in_flight), (1, 1))

    def test_nowhere(self) -> None:
        """Without a match and without `pool` the answer is 404."""
        world = self.world("routes = path=/a -> pool app\n")
        client = world.client(request("GET", "/b"))
        self.assertEqual((status_of(client.take()), client.closing), (404, ""))

    def test_redirect(self) -> None:
        """Redirects say where to."""
        world = self.world(
            "routes =\n  path=/old/* -> redirect https://new.example/* 301\n  -> redirect https\n"
        )
        client = world.client(request("GET", "/old/a?b=c"))
        answer = client.take()
        self.assertEqual(status_of(answer), 301)
        self.assertIn(b"\r\nLocation: https://new.example/old/a?b=c\r\n", answer)
        client.receive(request("POST", "/a?b", "Content-Length: 0", host="X.example:8080"))
        answer = client.take()
        self.assertEqual(status_of(answer), 308)
        self.assertIn(b"\r\nLocation: https://x.example/a?b\r\n", answer)

    def test_respond(self) -> None:
        """Answers of routes have their text, and none for HEAD."""
        world = self.world("routes = -> respond 403 Go away\n")
        client = world.client(request())
        self.assertTrue(client.take().endswith(b"\r\n\r\nGo away\n"))
        client.receive(request("HEAD"))
        answer = client.take()
        self.assertIn(b"\r\nContent-Length: 8\r\n", answer)
        self.assertTrue(answer.endswith(b"\r\n\r\n"))

    def test_source(self) -> None:
        """A route by source sees the client, also the one behind a trusted proxy."""
        world = self.world(
            "routes =\n  source=198.51.100.0/24 -> respond 204\n  -> respond 403\n"
            "trusted-proxies = 192.0.2.1\n"
        )
        self.assertEqual(status_of(world.client(request(), "198.51.100.9").take()), 204)
        self.assertEqual(status_of(world.client(request(), "192.0.2.1").take()), 403)
        forwarded = request("GET", "/", "X-Forwarded-For: 198.51.100.9")
        self.assertEqual(status_of(world.client(forwarded, "192.0.2.1").take()), 204)
        self.assertEqual(status_of(world.client(forwarded, "192.0.2.2").take()), 403)

    def test_keys(self) -> None:
        """A pool that chooses by a key gets it: the same key, the same server."""
        few_slots(self)
        for algorithm, same in (
            ("source", lambda n: {}),
            ("maglev", lambda n: {"port": 7}),
            ("uri", lambda n: {"data": request("GET", f"/p?{n}"), "host": f"192.0.2.{n}"}),
            ("header:X-K", lambda n: {"data": request("GET", "/", "X-K: k"), "port": n}),
            ("cookie:c", lambda n: {"data": request("GET", "/", "Cookie: a=b; c=d")}),
            ("query:q", lambda n: {"data": request("GET", f"/{n}?q=1")}),
        ):
            world = self.world(
                "pool = app\n", pool_of("a", "b", "c", "d", "e", algorithm=algorithm, seed="s")
            )
            for number in range(1, 9):
                options: dict[str, Any] = {"data": request(), **same(number)}
                world.client(**options)
            chosen = {str(attempt.address) for attempt in world.attempts}
            self.assertEqual(len(chosen), 1, algorithm)


class ErrorPageTests(Case):
    """Answers to errors."""

    def test_page(self) -> None:
        """An error page is the body, with a type by its name."""
        path = self.mktemp() + ".html"
        with open(path, "w") as file:
            file.write("<h1>Sorry</h1>")
        world = self.world(f"pool = app\nerror-page 400 = {path}\n")
        answer = world.client(b"nonsense\r\n\r\n").take()
        self.assertEqual(status_of(answer), 400)
        self.assertIn(b"\r\nContent-Type: text/html; charset=utf-8\r\n", answer)
        self.assertTrue(answer.endswith(b"\r\n\r\n<h1>Sorry</h1>"))

    def test_cannot_be_read(self) -> None:
        """A page that cannot be read, or is too large, refuses the settings."""
        world = self.world()
        large = self.mktemp()
        with open(large, "w") as file:
            file.write("a" * 70000)
        for path in ("/no/such/file", large):
            settings = settings_of(f"pool = app\nerror-page 503 = {path}\n")
            error = self.assertRaises(PrepareError, world.balancer.prepare, settings)
            self.assertIn("error-page 503", str(error))

    def test_built_in(self) -> None:
        """The built-in answer is a line of text that says why."""
        world = self.world()
        answer = world.client(b"GET / HTTP/1.1\r\n\r\n").take()
        self.assertIn(b"\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\n", answer)
        self.assertTrue(answer.endswith(b"\r\n\r\n400 Bad Request: missing Host\n"))


class ServiceTests(Case):
    """A life."""

    def test_interfaces(self) -> None:
        """The balancer and its prepared settings are what the site expects."""
        world = self.world()
        verifyObject(IBalancer, world.balancer)
        verifyObject(IPreparedFromFiles, world.balancer.prepare(settings_of("pool = app\n")))
        verifyObject(IBalancer, maker.make("web", world.context))

    def test_start(self) -> None:
        """Nothing is accepted before the service starts."""
        world = self.world()
        listener = world.context.listeners["127.0.0.1", 80]
        self.assertIsNone(listener.accepted)
        world.balancer.startService()
        self.assertIsNotNone(listener.accepted)
        self.assertTrue(listener.started)

    def test_prepare_changes_nothing(self) -> None:
        """Settings that are prepared and abandoned leave no trace."""
        world = self.world("routes = -> respond 204\n")
        world.balancer.prepare(settings_of("routes = -> respond 205\n")).abandon()
        self.assertEqual(status_of(world.client(request()).take()), 204)

    def test_log_cannot_be_opened(self) -> None:
        """A log that cannot be opened refuses the settings."""
        world = self.world()
        settings = settings_of("pool = app\naccess-log = /no\n")
        error = self.assertRaises(PrepareError, world.balancer.prepare, settings)
        self.assertIn("cannot open /no", str(error))

    def test_commit(self) -> None:
        """The next request on a connection that stands goes by new settings, and connections to
        servers are kept."""
        world = self.world()
        client, server = world.asked(request())
        server.receive(response())
        client.take()
        server.take()
        world.context.pools["app"].maintain(world.pool.servers[1])
        world.configure("pool = app\nforwarded = off\nset-request-header = X-A: b\n")
        client.receive(request())
        self.assertEqual(server.take(), b"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n\r\n")
        world.configure("routes = -> respond 204\n")
        server.receive(response())
        self.assertEqual(status_of(client.take()), 200)
        client.receive(request())
        self.assertEqual(status_of(client.take()), 204)

    def test_pool_no_longer_used(self) -> None:
        """Idle connections to a pool that no route uses any more are closed."""
        world = self.world()
        client, server = world.asked(request())
        server.receive(response())
        world.configure("routes = -> respond 204\n")
        self.assertEqual((client.closing, server.closing), ("", "close"))

    def test_listeners_change(self) -> None:
        """A commit takes up new listeners and lets go of old ones."""
        world = self.world()
        world.balancer.startService()
        old = world.context.listeners["127.0.0.1", 80]
        moved = HttpSettings(listen=(listen("127.0.0.1:81"),), pool="app")
        world.balancer.prepare(moved).commit()
        self.assertIsNone(old.accepted)
        self.assertIsNotNone(world.context.listeners["127.0.0.1", 81].accepted)

    def test_listener_taken_over(self) -> None:
        """A listener that another balancer owns by now is left alone."""
        world = self.world()
        world.balancer.startService()
        listener = world.context.listeners["127.0.0.1", 80]
        listener.accepted = owner = object()
        world.balancer.stopService()
        self.assertIs(listener.accepted, owner)

    def test_drain(self) -> None:
        """Draining ends idle connections, lets exchanges end, and tells their clients so."""
        world = self.world()
        world.balancer.startService()
        client, server = world.asked(request())
        idle = world.client()
        listener = world.context.listeners["127.0.0.1", 80]
        drained = world.balancer.drain()
        self.assertIs(world.balancer.drain(), drained)
        self.assertIsNone(listener.accepted)
        self.assertEqual((idle.closing, client.closing), ("linger", ""))
        idle.settle()
        self.assertNoResult(drained)
        server.receive(response())
        self.assertIn(b"\r\nConnection: close\r\n", client.take())
        client.settle()
        self.successResultOf(drained)

    def test_drain_reads_once(self) -> None:
        """A request that came before the drain, and was not read yet, gets its answer."""
        world = self.world()
        client, half, late = world.client(), world.client(), world.client()
        client.unread = request()
        half.unread = request()[:9]
        drained = world.balancer.drain()
        world.server().receive(response())
        answer = client.take()
        self.assertEqual(status_of(answer), 200)
        self.assertIn(b"\r\nConnection: close\r\n", answer)
        half.receive(request()[9:])
        world.server().receive(response())
        self.assertIn(b"\r\nConnection: close\r\n", half.take())
        # What crosses our end is no reason for a reset; it is not answered.
        self.assertEqual((client.closing, half.closing, late.closing), ("linger",) * 3)
        for stream in (client, half, late):
            stream.settle()
        self.successResultOf(drained)

    def test_drain_in_the_middle_of_an_answer(self) -> None:
        """A client that could not be told in the answer's head may ask again meanwhile, and gets an
        end without a reset."""
        world = self.world()
        client, server = world.asked(request())
        server.receive(b"HTTP/1.1 200 Fine\r\nContent-Length: 4\r\n\r\nab")
        world.balancer.drain()
        server.receive(b"cd")
        self.assertNotIn(b"Connection: close", client.take())
        self.assertEqual(client.closing, "linger")

    def test_drain_without_clients(self) -> None:
        """Draining is over at once when nobody is there."""
        self.successResultOf(self.world().balancer.drain())

    def test_stop(self) -> None:
        """A stop ends what is left: 503 where no answer has begun, a cut where one has."""
        world = self.world("pool = app\naccess-log = log\nlog-format = haproxy\n")
        world.balancer.startService()
        waiting, _ = world.asked(request())
        client, server = world.asked(request())
        server.receive(b"HTTP/1.1 200 Fine\r\nContent-Length: 9\r\n\r\n")
        world.balancer.stopService()
        self.assertEqual((status_of(waiting.take()), waiting.closing), (503, "linger"))
        self.assertEqual((client.closing, server.closing), ("abort", "abort"))
        lines = b"".join(world.context.logs["log"].lines)
        self.assertEqual((lines.count(b" KH-- "), lines.count(b" KD-- ")), (1, 1))
        self.assertEqual(world.context.subscribers, [])

    def test_status(self) -> None:
        """The status says what is going on."""
        world = self.world()
        _client, server = world.asked(request())
        status = world.balancer.status()
        self.assertEqual((status["connections"], status["phases"]["asked"]), (1, 1))
        server.receive(response())
        status = world.balancer.status()
        self.assertEqual((status["codes"], status["requests_total"]), ({"200": 1}, 1))
        self.assertEqual(status["idle_server_connections"], {"app/a": 1})
        self.assertEqual(status["listeners"], ["127.0.0.1:80"])

    def test_metrics(self) -> None:
        """The metrics bear the balancer's name, and the histogram is cumulative."""
        world = self.world()
        _client, server = world.asked(request())
        world.clock.advance(0.1)
        server.receive(response())
        families = {family.name: family for family in world.balancer.metrics()}
        for family in families.values():
            self.assertTrue(family.name.startswith("balancer_http_"))
            for sample in family.samples:
                self.assertEqual(sample.labels["balancer"], "web")
        (requests,) = families["balancer_http_requests_total"].samples
        self.assertEqual((requests.labels["code"], requests.value), ("200", 1))
        samples = families["balancer_http_request_seconds"].samples
        buckets = {s.labels["le"]: s.value for s in samples if s.suffix == "_bucket"}
        self.assertEqual((buckets["0.065536"], buckets["0.131072"], buckets["+Inf"]), (0, 1, 1))
        rest = {s.suffix: s.value for s in samples if s.suffix != "_bucket"}
        self.assertEqual(rest["_count"], 1)
        self.assertAlmostEqual(rest["_sum"], 0.1, 4)


class ConnectionLimitTests(Case):
    """How many clients there may be."""

    def accept(self, world: World, host: str = "192.0.2.1") -> Any:
        """A client that the listener accepted."""
        owner = world.context.listeners["127.0.0.1", 80].accepted
        sock = FakeSocket()
        owner(sock, (host, 4000))
        return sock

    def test_max_connections(self) -> None:
        """At `max-connections` accepting pauses, and goes on when somebody leaves."""
        world = self.world("pool = app\nmax-connections = 2\n")
        world.balancer.startService()
        listener = world.context.listeners["127.0.0.1", 80]
        client = world.client()
        self.assertFalse(listener.paused)
        self.accept(world)
        self.assertTrue(listener.paused)
        self.assertEqual(world.front.figures.refused["max-connections"], 1)
        client.lose()
        self.assertFalse(listener.paused)
        for connection in list(world.front.connections):
            connection.connectionLost(GONE)

    def test_few_files(self) -> None:
        """Fewer files than clients may be open: accepting pauses before those run out."""
        self.patch(room, "clients", lambda: 1)
        world = self.world("pool = app\nmax-connections = 2\n")
        world.balancer.startService()
        self.accept(world)
        self.assertTrue(world.context.listeners["127.0.0.1", 80].paused)
        self.assertEqual(world.balancer.status()["max_connections"], 1)
        for connection in list(world.front.connections):
            connection.connectionLost(GONE)

    def test_per_source(self) -> None:
        """One address has no more than its share; trusted proxies have no share."""
        world = self.world(
            "pool = app\nmax-connections-per-source = 1\ntrusted-proxies = 192.0.2.9\n"
        )
        world.balancer.startService()
        first = self.accept(world)
        second = self.accept(world)
        self.assertEqual((first.closed, second.closed), (False, True))
        self.assertFalse(self.accept(world, "192.0.2.2").closed)
        self.assertFalse(self.accept(world, "192.0.2.9").closed)
        self.assertFalse(self.accept(world, "192.0.2.9").closed)
        for connection in list(world.front.connections):
            connection.connectionLost(GONE)
        self.assertFalse(self.accept(world).closed)
        self.assertEqual(world.front.figures.refused["max-connections-per-source"], 1)
        for connection in list(world.front.connections):
            connection.connectionLost(GONE)
