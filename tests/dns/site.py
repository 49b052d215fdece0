"""A site without a kernel for [dns] sections: sockets that are lists, a clock, and pools."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.interfaces import IDelayedCall
from zope.interface import alsoProvides, implementer

from balancer.config.values import listen_endpoint
from balancer.dns.edge import edge_of
from balancer.dns.front import Front
from balancer.dns.geo.settings import PlaceSettings
from balancer.dns.service import DnsBalancer
from balancer.dns.settings import DnsSettings
from balancer.dns.values import answer_line
from balancer.interfaces import HttpEndpoint, IContext, IEndpoints, INamedServers, Published
from balancer.pool.events import Event
from balancer.pool.pool import Pool
from balancer.pool.settings import PoolSettings, ServerSettings
from balancer.wire.address import literal
from balancer.wire.deadlines import Wheel
from tests.lent import Lent
from tests.relay.world import FakeListener, FakeLog, FakePort, FakeSocket, World

LISTEN = "127.0.0.1:53"


class Tells:
    """Somebody whom others listen to."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[], None]] = []

    def changed(self, callback: Callable[[], None]) -> None:
        self.listeners.append(callback)

    def unchanged(self, callback: Callable[[], None]) -> None:
        if callback in self.listeners:
            self.listeners.remove(callback)

    def tell(self) -> None:
        """Something changed."""
        for each in tuple(self.listeners):
            each()


class FakeNames(Tells):
    """A [subdomains] section of a pool."""

    zone = "Example.test."
    ttl = 5.0

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        alsoProvides(self, INamedServers)  # as far as dns asks
        self.pool = pool
        self.named: dict[str, str] = {}

    def names(self) -> Mapping[str, str]:
        return self.named


class FakeHttp(Tells):
    """An [http] section."""

    def __init__(self) -> None:
        super().__init__()
        alsoProvides(self, IEndpoints)  # as far as dns asks
        self.found: list[HttpEndpoint] = []

    def endpoints(self) -> list[HttpEndpoint]:
        return self.found


@implementer(IContext)
class Site(Lent):
    """What sections are lent. Its pool `web` has a, b and c at 192.0.2.1, .2 and .3."""

    def __init__(self, state: str) -> None:
        self.reactor = World()
        self.reactor.advance(1000.0)
        self.wheel = Wheel(self.reactor.seconds())
        self.state = state
        self.pools = {"web": self.pool_of("web", "abc"), "other": self.pool_of("other", "x")}
        self.listeners: dict[tuple[str, int], FakeListener] = {}
        self.ports: dict[tuple[str, int], FakePort] = {}
        self.log = FakeLog()
        self.places: dict[str, PlaceSettings] = {}
        self.sections_of: dict[str, Any] = {}
        self.subscribers: list[Callable[[Published], None]] = []

    def pool_of(self, name: str, servers: Sequence[str]) -> Pool:
        """A pool of servers that are up."""
        lines = [(ServerSettings(each, place="eu" if each == "a" else ""),
                  literal(f"192.0.2.{at}", 80)) for at, each in enumerate(servers, 1)]
        pool = Pool(PoolSettings(name, interval=2.0), lines, 0.0, random.Random(1))
        pool.trust_all(0.0)
        return pool

    def pool(self, name: str) -> Pool:
        return self.pools[name]

    def sections(self, kind: str) -> Mapping[str, Any]:
        return self.places if kind == "place" else {}

    def balancer(self, key: str) -> Any:
        return self.sections_of[key]

    def balancers(self, kind: str) -> Mapping[str, Any]:
        return {key.partition(":")[2]: each for key, each in self.sections_of.items()
                if key.startswith(kind + ":")}

    def listener(self, host: str, port: int) -> Any:
        return self.listeners.setdefault((host, port), FakeListener(port))

    def datagrams(self, host: str, port: int) -> Any:
        return self.ports.setdefault((host, port), FakePort(port))

    def log_file(self, path: str) -> Any:
        if path == "/full":
            raise PermissionError(13, "Permission denied")
        return self.log

    def publish(self, pool: Pool, events: Sequence[Event]) -> None:
        for event in events:
            for each in tuple(self.subscribers):
                each(Published(1, 0.0, pool.name, event))

    def subscribe(self, subscriber: Callable[[Published], None]) -> None:
        self.subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Callable[[Published], None]) -> None:
        self.subscribers.remove(subscriber)

    # The test's part

    def section(self, name: str = "example.test") -> DnsBalancer:
        """A section of the site file."""
        context: Any = self
        made = self.sections_of[f"dns:{name}"] = DnsBalancer(
            name, context, lambda path, data: succeed(None)
        )
        return made

    def running(self, name: str = "example.test", **options: Any) -> DnsBalancer:
        """A section that is at work."""
        made = self.section(name)
        made.prepare(settings(**options)).commit()
        made.startService()
        return made

    def front(self, at: str = LISTEN) -> Front:
        """What answers there."""
        context: Any = self
        endpoint = listen_endpoint(at)
        return edge_of(context).fronts[endpoint.host, endpoint.port]

    def ask(self, packet: bytes, peer: str = "192.0.2.77", at: str = LISTEN) -> bytes | None:
        """What the socket sends back."""
        endpoint = listen_endpoint(at)
        port = self.ports[endpoint.host, endpoint.port]
        answer: bytes | None = None if port.answer is None else port.answer(packet, peer)
        return answer

    def connect(self, peer: str = "192.0.2.77", at: str = LISTEN) -> FakeSocket:
        """A client comes by TCP."""
        endpoint = listen_endpoint(at)
        sock: Any = FakeSocket()
        listener = self.listeners[endpoint.host, endpoint.port]
        if listener.accepted is None:
            sock.close()
        else:
            listener.accepted(sock, (peer, 5353))
        self.reactor.settle()
        made: FakeSocket = sock
        return made

    def judge(self, ok: bool, *servers: str, pool: str = "web") -> None:
        """Checks find these servers up, or down."""
        here = self.pools[pool]
        for name in servers:
            for _ in range(3):
                self.publish(here, here.record(here.server(name), ok, "as the test says", 1.0))

    def calls(self) -> list[IDelayedCall]:
        """What waits for its time."""
        return list(self.reactor.getDelayedCalls())


def settings(**options: Any) -> DnsSettings:
    """Those of a section; `answers` and `listen` are texts."""
    lines = options.pop("answers", "www pool=web").split("\n")
    listen = options.pop("listen", LISTEN).split()
    defaults: dict[str, Any] = {
        "ns": (), "contact": None, "zone": None, "ttl": 30, "rate_limit": None,
        "rate_limit_slip": 2, "rate_limit_exempt": (), "transfer": (), "notify": (),
        "tsig_file": None, "cookie_secret_file": None, "access_log": None,
    }
    return DnsSettings(
        listen=tuple(map(listen_endpoint, listen)),
        answers=tuple(answer_line(line) for line in lines if line), **{**defaults, **options},
    )
