"""Clients behind TLS, as the balancer sees them: what they are answered, how they are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.schema import read
from balancer.config.slices import Slices
from balancer.http.secure import SecureConnection
from balancer.http.settings import SECTION
from balancer.interfaces import NotDone, PrepareError
from balancer.wire.certificates import CannotLoad, Certificates
from balancer.wire.pem import Pair
from tests.http.world import FakeStream, World, pool_of, request, status_of
from tests.wire.certificates import NOW

PLAIN, SECURE = ("127.0.0.1", 80), ("127.0.0.1", 443)
PEER = ("192.0.2.1", 4000)


class FakeSocket:
    """A socket that is never read."""

    closed = False

    def setsockopt(self, *args: int) -> None:
        """Nothing."""

    def fileno(self) -> int:
        """No descriptor."""
        return 99

    def close(self) -> None:
        """Remember it."""
        self.closed = True


class FakeTls:
    """Stands for `Terminations`: handshakes last until the test ends them."""

    def __init__(self, failed: Callable[[Any, str], None]) -> None:
        self.failed = failed
        self.begun: list[Any] = []
        self.paths: dict[Any, str] = {}
        self.failures: Counter[str] = Counter()
        self.done_total = self.resumed_total = 0
        self.timeout = 0.0
        self.most = 0

    def __contains__(self, listener: Any) -> bool:
        return listener in self.paths

    def handshakes(self, listener: Any) -> FakeTls:
        """Of every listener."""
        return self

    def keyring(self, listener: Any) -> FakeTls:
        """Of every listener."""
        return self

    @property
    def certificates(self) -> Certificates:
        """One for a.test, and one for all under b.test."""
        return Certificates(
            tuple(
                Pair(Path(file), Path(file), (name,), (), NOW, NOW)
                for file, name in {"a.pem": "a.test", "b.pem": "*.b.test"}.items()
            )
        )

    def preparing(self, paths: Mapping[Any, str], now: float) -> Slices[Mapping[Any, str]]:
        """`/no` cannot be loaded."""
        problems = [f"{path}: cannot be read" for path in paths.values() if path == "/no"]
        if problems:
            raise CannotLoad(problems)
        yield
        return paths

    def take(self, keyrings: Mapping[Any, str], timeout: float, most: int) -> None:
        """Remember all."""
        self.paths = dict(keyrings)
        self.timeout, self.most = timeout, most

    def serve(self, sock: Any, peer: Any, protocol: Any) -> None:
        """A handshake begins."""
        self.begun.append(protocol)

    def fail(self, reason: str = "not TLS") -> None:
        """The oldest handshake fails."""
        self.failures[reason] += 1
        self.failed(self.begun.pop(0), reason)

    def stop(self) -> None:
        """All of them do."""
        while self.begun:
            self.fail("the listener stops")

    def status(self) -> dict[str, Any]:
        """As little as there is."""
        return {"handshakes": len(self.begun)}


class SecureWorld(World):
    """A balancer with a plain listener and one with TLS."""

    listen = "\n  127.0.0.1:80\n  127.0.0.1:443 tls=certificates"

    def __init__(self, options: str = "pool = app\n", *pools: Any) -> None:
        super().__init__(options, *pools)
        arrivals = self.balancer.arrivals
        self.tls = FakeTls(arrivals._not_shaken)
        arrivals.tls = self.tls  # type: ignore[assignment]  # a stand-in
        self.secured(options)
        self.balancer.startService()

    def configure(self, options: str) -> None:
        """Not yet: the listeners are these."""

    def secured(self, options: str, listen: str = "") -> None:
        """Take on settings with both listeners."""
        text = f"[http web]\nlisten ={listen or self.listen}\n{options}"
        file = read(text, "site.ini", [SECTION])
        assert not file.problems, file.problems
        self.balancer.prepare(file.sections[0].settings).commit()

    def come(self, host: str = PEER[0]) -> FakeSocket:
        """Somebody connects to the listener with TLS."""
        sock = FakeSocket()
        self.context.listeners[SECURE].accepted(sock, (host, PEER[1]))
        return sock

    def secure(self, data: bytes = b"") -> FakeStream:
        """A client whose handshake is done."""
        self.come()
        connection = self.tls.begun.pop()
        stream = FakeStream(connection, *PEER)
        self.streams.append(stream)
        connection.makeConnection(stream)
        if data:
            stream.receive(data)
        return stream


class Case(SynchronousTestCase):
    """Worlds that must leave nothing behind."""

    def world(self, options: str = "pool = app\n", *pools: Any) -> SecureWorld:
        """Such a world."""
        world = SecureWorld(options, *pools)
        self.addCleanup(world.check)
        return world


class RequestTests(Case):
    """What differs for requests under TLS."""

    def test_scheme(self) -> None:
        """Servers are told of https, in either form; of http for plain clients of the same
        balancer."""
        for option, secure, plain in (
            ("", b"X-Forwarded-Proto: https\r\n", b"X-Forwarded-Proto: http\r\n"),
            ("forwarded = rfc7239\n", b";proto=https;host=x", b";proto=http;host=x"),
        ):
            world = self.world("pool = app\n" + option)
            world.secure(request())
            self.assertIn(secure, world.server().take())
            world.client(request())
            self.assertIn(plain, world.server().take())

    def test_trusted_proxy(self) -> None:
        """What a trusted proxy says of the scheme stays."""
        world = self.world("pool = app\ntrusted-proxies = 192.0.2.0/24\n")
        world.secure(request("GET", "/", "X-Forwarded-Proto: http"))
        asked = world.server().take()
        self.assertIn(b"X-Forwarded-Proto: http\r\n", asked)
        self.assertNotIn(b"https", asked)

    def test_redirect_https(self) -> None:
        """`redirect https` sends plain requests away, and under TLS the next route matches."""
        pools = pool_of("a"), pool_of("x", name="other")
        world = self.world(
            "pool = app\nroutes =\n -> redirect https\n path=/o/* -> pool other\n"
            " path=/r -> respond 404\n source=192.0.2.0/24 path=/s -> respond 403\n",
            *pools,
        )
        client = world.client(request(target="/o/1"))
        self.assertEqual(status_of(client.take()), 308)
        for target, server in (("/o/1", "10.0.0.1"), ("/", "10.0.0.1")):
            world.secure(request(target=target, body=b""))
            self.assertEqual(world.attempts[-1].address.host, server)
            world.attempts[-1].accept()
        self.assertEqual([pool.servers[0].in_flight for pool in pools], [1, 1])
        for target, code in (("/r", 404), ("/s", 403)):
            self.assertEqual(status_of(world.secure(request(target=target)).take()), code)

    def test_redirect_with_body(self) -> None:
        """A request with a body that passes over `redirect https` reaches the server whole."""
        world = self.world("pool = app\nroutes = -> redirect https\n")
        world.secure(request("POST", "/", "Content-Length: 5", body=b"hello"))
        self.assertTrue(world.server().take().endswith(b"\r\n\r\nhello"))


class CountTests(Case):
    """Clients that are still in their handshakes."""

    def test_per_source(self) -> None:
        """A handshake counts for its source, and is given back when it fails."""
        world = self.world("pool = app\nmax-connections-per-source = 1\n")
        world.come()
        self.assertTrue(world.come().closed)
        world.tls.fail()
        self.assertFalse(world.come().closed)
        self.assertEqual(world.front.figures.refused["max-connections-per-source"], 1)
        world.tls.fail()

    def test_limit_changes(self) -> None:
        """A limit that changes during a handshake is given nothing back by it."""
        world = self.world("pool = app\nmax-connections-per-source = 1\n")
        world.come()
        world.secured("pool = app\nmax-connections-per-source = 2\n")
        world.tls.fail()
        assert world.front.per_source is not None
        self.assertEqual(len(world.front.per_source), 0)

    def test_max_connections(self) -> None:
        """Handshakes count for max-connections; listeners go on when one fails or is closed."""
        world = self.world("pool = app\nmax-connections = 2\n")
        listener = world.context.listeners[SECURE]
        self.assertEqual(world.tls.most, 2)
        stream = world.secure()
        world.come()
        self.assertTrue(listener.paused)
        world.tls.fail()
        self.assertFalse(listener.paused)
        world.secure()
        self.assertTrue(listener.paused)
        stream.lose()
        self.assertFalse(listener.paused)

    def test_time(self) -> None:
        """A handshake may last as long as a head."""
        self.assertEqual(self.world("pool = app\nhead-timeout = 3s\n").tls.timeout, 3.0)

    def test_drain(self) -> None:
        """A drain ends handshakes, and is done without them."""
        world = self.world()
        world.come()
        self.assertIsNone(self.successResultOf(world.balancer.drain()))
        self.assertEqual(world.tls.begun, [])

    def test_stop(self) -> None:
        """So does a stop."""
        world = self.world()
        world.come()
        world.balancer.stopService()
        self.assertEqual(world.tls.begun, [])
        self.assertEqual(world.balancer.arrivals._shaking, set())

    def test_told(self) -> None:
        """Handshakes are counted in the metrics and shown in the status."""
        world = self.world()
        world.come()
        world.tls.fail()
        found = {metric.name: metric.samples for metric in world.balancer.metrics()}
        self.assertEqual(found["balancer_http_tls_handshakes_total"][0].labels, {"balancer": "web"})
        (failure,) = found["balancer_http_tls_failures_total"]
        self.assertEqual((failure.labels["reason"], failure.value), ("not TLS", 1))
        self.assertEqual(world.balancer.status()["tls"], {"handshakes": 0})


class SettingsTests(Case):
    """Listeners that get TLS, or lose it."""

    def test_broken(self) -> None:
        """Certificates that cannot be loaded refuse the settings, by section and option."""
        world = self.world()
        listen = "\n 127.0.0.1:443 tls=/no"
        error = self.assertRaises(PrepareError, world.secured, "pool = app\n", listen)
        self.assertEqual(str(error), "[http web] listen: tls: /no: cannot be read")
        self.assertEqual(list(world.tls.paths.values()), ["certificates"])

    def test_without_any_more(self) -> None:
        """A listener that loses TLS speaks plain HTTP with the next client."""
        world = self.world()
        world.secured("pool = app\n", "\n 127.0.0.1:443")
        world.context.listeners[SECURE].accepted(FakeSocket(), PEER)
        (client,) = world.front.connections
        self.assertNotIsInstance(client, SecureConnection)
        client.transport.connectionLost(Failure(ConnectionDone()))


class ExplainTests(Case):
    """`lbctl explain http` where TLS ends."""

    def ask(self, url: str, options: str = "pool = app\nroutes = -> redirect https\n") -> Any:
        """What the balancer explains."""
        return self.world(options).balancer.explain({"url": url})

    def test_certificate(self) -> None:
        """The certificate is the one that the client would be shown."""
        for url, file in {
            "https://a.test/": "a.pem",
            "https://www.b.test:443/": "b.pem",
            "https://unknown.test/": "a.pem",
            "https://127.0.0.1:8443/": "a.pem",
        }.items():
            self.assertEqual(self.ask(url)["certificate"], file)

    def test_redirect(self) -> None:
        """`redirect https` is the rule for http, and the next one for https."""
        told = self.ask("http://a.test/")
        self.assertEqual(told["answer"], {"code": 308, "text": "redirect to https"})
        self.assertNotIn("certificate", told)
        self.assertEqual(self.ask("https://a.test/")["rule"], "pool = app")

    def test_wrong_scheme(self) -> None:
        """A URL that no listener speaks is refused, and says which would do."""
        error = self.assertRaises(NotDone, self.ask, "http://a.test:443/")
        self.assertIn("expected https, for its listener has tls", str(error))
        error = self.assertRaises(NotDone, self.ask, "https://a.test:80/")
        self.assertIn("expected http, for no such listener has tls", str(error))
        for url in ("ftp://a.test/", "https:///x", "https://a.test:99999/"):
            self.assertIn("expected a URL", str(self.assertRaises(NotDone, self.ask, url)))
