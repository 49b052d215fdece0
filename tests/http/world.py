"""
A balancer without sockets: streams that keep what is written, servers that a test plays, a clock.

Every connection of a `World` is held to `exchange.FOLLOWS`, and `World.check` to this: when all is
over, nothing is in flight.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.config.schema import read
from balancer.http.client import ClientConnection
from balancer.http.exchange import FOLLOWS, NAMES
from balancer.http.front import Front
from balancer.http.proxying import Proxying
from balancer.http.service import HttpBalancer
from balancer.http.settings import SECTION, HttpSettings
from balancer.interfaces import IContext, Published
from balancer.pool.events import Event
from balancer.pool.pool import Pool
from balancer.pool.settings import Algorithm, PoolSettings, ServerSettings
from balancer.wire.address import Address, literal
from balancer.wire.connect import ConnectFailed, ConnectImpossible
from balancer.wire.deadlines import Wheel
from balancer.wire.sending import HIGH_WATER, LOW_WATER
from tests.lent import Lent

WALL = 1_000_000_000.0
"""The wall clock at 0: 09/Sep/2001 01:46:40."""


class FakeStream:
    """What `wire.stream.Stream` promises, in memory. `queued` is the test's to set, or grows by
    itself while the peer does not read (`reads`)."""

    def __init__(self, protocol: Any, peer_host: str = "192.0.2.1", peer_port: int = 4000) -> None:
        self.protocol = protocol
        self.peer_host = peer_host
        self.peer_port = peer_port
        self.port = 80
        self.written = bytearray()
        self.writes = 0
        self.queued = 0
        self.reads = True
        self.paused = False
        self.closing = ""
        self.half_closed = False
        self.unread = b""
        self.lost = False
        self.producer: Any = None

    def getHost(self) -> IPv4Address:
        """Our end."""
        return IPv4Address("TCP", "127.0.0.1", self.port)

    def write(self, data: bytes) -> None:
        """Keep it, unless closing."""
        assert isinstance(data, bytes)
        if not self.closing and not self.lost and not self.half_closed:
            self.written += data
            self.writes += 1
            if not self.reads:
                self.queued += len(data)
                if self.queued >= HIGH_WATER and self.producer is not None:
                    self.producer.pauseProducing()

    def take(self) -> bytes:
        """What was written since the last time."""
        data = bytes(self.written)
        self.written.clear()
        return data

    def doRead(self) -> None:
        """Read what the test has put into `unread`, as Stream does when the reactor says so."""
        data, self.unread = self.unread, b""
        if data:
            self.receive(data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """As Stream does."""
        assert streaming
        if self.producer is not None:
            raise RuntimeError("a producer is registered")
        self.producer = producer
        if self.queued >= HIGH_WATER:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """As Stream does."""
        self.producer = None

    def pauseProducing(self) -> None:
        """Read no more."""
        self.paused = True

    def resumeProducing(self) -> None:
        """Read on."""
        self.paused = False

    def _close(self, how: str) -> None:
        if not self.closing and not self.lost:
            self.closing = how

    def loseConnection(self) -> None:
        """Close when all is sent."""
        self._close("close")

    def close_lingering(self) -> None:
        """Close when all is sent and the peer has ended."""
        self._close("linger")

    def abortConnection(self) -> None:
        """Reset."""
        self.closing = "abort"

    def loseWriteConnection(self) -> None:
        """Send our end."""
        self.half_closed = True

    # -- the peer, played by the test

    def receive(self, data: bytes) -> None:
        """Bytes come from the peer."""
        assert not self.lost
        if not self.closing:
            self.protocol.dataReceived(data)

    def catch_up(self, left: int = 0) -> None:
        """The peer has read all but `left` bytes of what was written."""
        self.queued = left
        if left <= LOW_WATER and self.producer is not None and not self.lost:
            self.producer.resumeProducing()

    def end(self) -> None:
        """The peer sends its end."""
        if not self.closing and not self.lost:
            self.protocol.readConnectionLost()

    def lose(self, clean: bool = True) -> None:
        """The connection is gone."""
        if self.lost:
            return
        self.lost = True
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        self.protocol.connectionLost(Failure(ConnectionDone() if clean else ConnectionLost()))

    def settle(self) -> None:
        """If it is closing, it closes."""
        if self.closing:
            self.lose()


@define(eq=False)
class Attempt:
    """A connection to a server that is asked for."""

    address: Address
    protocol: Any
    failed: Callable[[Any], None]
    timeout: float
    cancelled: bool = False
    stream: FakeStream | None = None

    def cancel(self) -> None:
        """The balancer gives up."""
        self.cancelled = True

    def accept(self) -> FakeStream:
        """The server takes it."""
        assert not self.cancelled
        self.stream = FakeStream(self.protocol, self.address.host, self.address.port)
        self.protocol.makeConnection(self.stream)
        return self.stream

    def refuse(self, code: int = 111) -> None:
        """The server does not."""
        self.failed(ConnectFailed(self.address, code))

    def run_short(self) -> None:
        """We have no descriptor left."""
        self.failed(ConnectImpossible(self.address, 24))


class CheckedConnection(ClientConnection):
    """Held to the table of phases."""

    __slots__ = ()

    @property
    def phase(self) -> int:
        """The phase."""
        value: int = Proxying.__dict__["phase"].__get__(self)
        return value

    @phase.setter
    def phase(self, phase: int) -> None:
        slot = Proxying.__dict__["phase"]
        try:
            before = slot.__get__(self)
        except AttributeError:
            before = phase
        else:
            if phase not in FOLLOWS[before]:
                raise AssertionError(f"{NAMES[phase]} after {NAMES[before]}")
        slot.__set__(self, phase)


@define(eq=False)
class FakeListener:
    """A listener that the test plays."""

    address: Address
    accepted: Any = None
    started: bool = False
    prompt: bool = False
    paused: bool = False

    def start(self) -> None:
        """Begin."""
        self.started = True

    def pause(self) -> None:
        """Wait."""
        self.paused = True

    def resume(self) -> None:
        """Go on."""
        self.paused = False


@define(eq=False)
class FakeLog:
    """A log in memory, flushed whenever it is looked at."""

    _lines: list[bytes] = field(factory=list)
    sources: list[Callable[[], None]] = field(factory=list)

    @property
    def lines(self) -> list[bytes]:
        """All lines."""
        for source in self.sources:
            source()
        return self._lines

    def write(self, line: bytes) -> None:
        """Keep the line."""
        self._lines.append(line)

    def write_all(self, lines: Sequence[bytes]) -> None:
        """Keep the lines."""
        self._lines += lines

    def attach(self, source: Callable[[], None]) -> None:
        """Another source."""
        self.sources.append(source)

    def detach(self, source: Callable[[], None]) -> None:
        """One source less."""
        self.sources.remove(source)


@implementer(IContext)
@define(eq=False)
class FakeContext(Lent):
    """What the site lends."""

    reactor: Any
    wheel: Wheel
    pools: dict[str, Pool]
    state: str = "/nonexistent"
    listeners: dict[tuple[str, int], FakeListener] = field(factory=dict)
    logs: dict[str, FakeLog] = field(factory=dict)
    published: list[Published] = field(factory=list)
    subscribers: list[Callable[[Published], None]] = field(factory=list)
    others: dict[str, Any] = field(factory=dict)

    def balancer(self, key: str) -> Any:
        """Another balancer by its key."""
        return self.others[key]

    def pool(self, name: str) -> Pool:
        """A pool by name."""
        return self.pools[name]

    def healthy(self, key: str) -> bool:
        """All are."""
        return True

    def remembered(self, pool_name: str) -> frozenset[str]:
        """Nothing is."""
        return frozenset()

    def listener(self, host: str, port: int) -> Any:
        """A listener by address."""
        return self.listeners.setdefault((host, port), FakeListener(literal(host, port)))

    def datagrams(self, host: str, port: int) -> Any:
        """Not for http."""
        raise KeyError(host, port)

    def log_file(self, path: str) -> Any:
        """A log by path; `/no` cannot be opened."""
        if path == "/no":
            raise OSError(13, "Permission denied")
        return self.logs.setdefault(path, FakeLog())

    def publish(self, pool: Pool, events: Sequence[Event]) -> None:
        """Tell the subscribers."""
        for event in events:
            published = Published(len(self.published), WALL, pool.name, event)
            self.published.append(published)
            for subscriber in self.subscribers:
                subscriber(published)
        now = self.reactor.seconds()
        for waiter, server in pool.admit(now):
            waiter.admitted(server, now)

    def subscribe(self, subscriber: Callable[[Published], None]) -> None:
        """Another subscriber."""
        self.subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Callable[[Published], None]) -> None:
        """One subscriber less."""
        self.subscribers.remove(subscriber)


def pool_of(
    *names: str, name: str = "app", algorithm: str = "round-robin", most: int = 0, **options: Any
) -> Pool:
    """A pool of trusted servers at 10.0.0.1, 10.0.0.2, ..., port 80."""
    kind, _, argument = algorithm.partition(":")
    settings = PoolSettings(name, Algorithm(kind, argument), **options)
    servers = [
        (ServerSettings(each, max_connections=most), literal(f"10.0.0.{index}", 80))
        for index, each in enumerate(names, 1)
    ]
    pool = Pool(settings, servers, 0.0, random.Random(1))
    pool.trust_all(0.0)
    return pool


def settings_of(text: str) -> HttpSettings:
    """The settings of a section that listens on 127.0.0.1:80."""
    file = read(f"[http web]\nlisten = 127.0.0.1:80\n{text}", "site.ini", [SECTION])
    if file.problems:
        raise AssertionError([str(problem) for problem in file.problems])
    settings = file.sections[0].settings
    assert isinstance(settings, HttpSettings)
    return settings


class World:
    """A balancer, and everybody around it."""

    def __init__(
        self,
        options: str = "pool = app\n",
        *pools: Pool,
        others: Callable[[FakeContext], dict[str, Any]] = lambda context: {},
    ) -> None:
        self.clock = MemoryReactorClock()
        pools = pools or (pool_of("a", "b"),)
        self.context = FakeContext(
            self.clock, Wheel(0.0), {pool.name: pool for pool in pools}
        )
        self.context.others = others(self.context)
        self.pool = pools[0]
        self.balancer = HttpBalancer("web", self.context, lambda: WALL + self.clock.seconds())
        self.front: Front = self.balancer.front
        self.front.connect = self._connect
        self.front.new_id = lambda: b"0123456789abcdef"
        self.attempts: list[Attempt] = []
        self.streams: list[FakeStream] = []
        self.configure(options)

    def configure(self, options: str) -> None:
        """Take on settings."""
        self.balancer.prepare(settings_of(options)).commit()

    def _connect(self, address: Any, protocol: Any, failed: Any, timeout: float) -> Attempt:
        self.attempts.append(Attempt(address, protocol, failed, timeout))
        return self.attempts[-1]

    def client(self, data: bytes = b"", host: str = "192.0.2.1", port: int = 4000) -> FakeStream:
        """A client that connects, and sends `data`."""
        connection = CheckedConnection(self.front)
        stream = FakeStream(connection, host, port)
        self.streams.append(stream)
        connection.makeConnection(stream)  # type: ignore[arg-type]  # a stand-in
        if data:
            stream.receive(data)
        return stream

    def server(self) -> FakeStream:
        """The server takes the connection that was asked for last."""
        stream = self.attempts[-1].accept()
        self.streams.append(stream)
        return stream

    def asked(self, data: bytes) -> tuple[FakeStream, FakeStream]:
        """A client whose request has reached a server."""
        client = self.client(data)
        return client, self.server()

    def pass_time(self, seconds: float) -> None:
        """Let time go by, in ticks."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-9:
            self.clock.advance(min(0.1, end - self.clock.seconds()))
            while self.context.wheel.advance(self.clock.seconds()):
                pass

    def check(self) -> None:
        """End all; nothing may be left."""
        for _ in range(3):
            for stream in self.streams:
                stream.settle()
        for stream in self.streams:
            stream.lose()
        left = {
            "in flight": sum(s.in_flight for p in self.context.pools.values() for s in p.servers),
            "queued": sum(pool.queue_length for pool in self.context.pools.values()),
            "connections": len(self.front.connections),
            "wheel": len(self.context.wheel),
            "active": sum(target.active for target in self.balancer.targets.pools.values()),
        }
        if any(left.values()):
            raise AssertionError(f"left behind: {left}")


def request(
    method: str = "GET", target: str = "/", *fields: str, body: bytes = b"", host: str = "x"
) -> bytes:
    """A request of HTTP/1.1."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


def response(code: int = 200, body: bytes = b"ok", *fields: str) -> bytes:
    """An answer with Content-Length."""
    lines = [f"HTTP/1.1 {code} Fine", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


def status_of(data: bytes) -> int:
    """The status of the first answer in `data`; 0 for none."""
    return int(data.split(b" ", 2)[1]) if data else 0
