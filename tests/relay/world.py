"""
A world without a kernel for the relays: sockets that are lists, a clock that stands still, and a
site of one pool. The streams, the wheel and the pool in it are the real ones.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.interfaces import IContext, Published
from balancer.pool.events import Event
from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.pool.settings import Algorithm, PoolSettings, ServerSettings
from balancer.wire.address import Address, literal
from balancer.wire.connect import ConnectFailed, ConnectImpossible
from balancer.wire.deadlines import Wheel
from balancer.wire.reactor import IWireReactor
from balancer.wire.stream import Stream
from tests.lent import Lent

CLIENT = ("192.0.2.7", 50312)

_numbers = count(1000)


class FakeSocket:
    """What a socket looks like from above: `inbox` is what comes, `outbox` what went out."""

    def __init__(self) -> None:
        self.number = next(_numbers)
        self.inbox: list[bytes | OSError] = []
        self.outbox = bytearray()
        self.room = 1 << 30
        self.write_closed = False
        self.reset = False
        self.closed = False

    def fileno(self) -> int:
        return -1 if self.closed else self.number

    def recv(self, size: int) -> bytes:
        if not self.inbox:
            raise BlockingIOError(errno.EAGAIN, "nothing")
        first = self.inbox[0]
        if isinstance(first, OSError):
            raise first
        if not first:
            return b""
        data, rest = first[:size], first[size:]
        self.inbox[:1] = [rest] if rest else []
        return data

    def send(self, data: bytes | memoryview) -> int:
        if not self.room:
            raise BlockingIOError(errno.EAGAIN, "full")
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self.outbox += taken
        return len(taken)

    def shutdown(self, how: int) -> None:
        self.write_closed = True

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if isinstance(value, bytes):
            self.reset = True

    def close(self) -> None:
        self.closed = True

    # The peer's part

    def comes(self, *data: bytes) -> None:
        """The peer sends `data`; b'' is its end."""
        self.inbox += data

    def breaks(self) -> None:
        """The peer resets the connection."""
        self.inbox.append(ConnectionResetError(errno.ECONNRESET, "reset"))


@implementer(IWireReactor)
class World(MemoryReactorClock):
    """The reactor."""

    def turn(self, times: int = 1) -> None:
        """Look at every socket once; what was put off for a turn happens first."""
        for _ in range(times):
            self.advance(0)
            for descriptor in {*self.readers, *self.writers}:
                self._pass_on(descriptor)

    def settle(self) -> None:
        """Turn until nothing moves any more."""
        self.turn(12)

    def _pass_on(self, descriptor: Any) -> None:
        sock = descriptor.socket
        why: Any = None
        reading = False
        if descriptor in self.readers and sock.inbox:
            reading = True
            why = descriptor.doRead()
        if not why and descriptor in self.writers and sock.room:
            reading = False
            why = descriptor.doWrite()
        if why:
            assert why in (CONNECTION_DONE, CONNECTION_LOST), why
            self.removeReader(descriptor)
            half = reading and why is CONNECTION_DONE
            if half and IHalfCloseableDescriptor.providedBy(descriptor):
                descriptor.readConnectionLost(Failure(why))
                return
            self.removeWriter(descriptor)
            descriptor.connectionLost(Failure(why))


class Attempt:
    """A connection to a server that a test decides on. Like the real one it calls back once."""

    def __init__(
        self,
        reactor: World,
        address: Address,
        protocol: Any,
        failed: Callable[[ConnectFailed], None],
        timeout: float,
        wheel: Wheel,
    ) -> None:
        self.address = address
        self.timeout = timeout
        self.over = False
        self._reactor = reactor
        self._protocol = protocol
        self._failed = failed

    def succeed(self, room: int = 1 << 30) -> FakeSocket:
        """The server accepts, and takes `room` bytes."""
        assert not self.over
        self.over = True
        sock: Any = FakeSocket()
        sock.room = room
        Stream(self._reactor, sock, self._protocol, ("192.0.2.1", 1), self.address.sockaddr).start()
        made: FakeSocket = sock
        return made

    def fail(self, code: int = errno.ECONNREFUSED) -> None:
        """It does not."""
        assert not self.over
        self.over = True
        kind = ConnectImpossible if code == errno.EMFILE else ConnectFailed
        self._failed(kind(self.address, code))

    def cancel(self) -> None:
        self.over = True


class FakeListener:
    """A listener that a test gives connections to."""

    def __init__(self, port: int) -> None:
        self.address = literal("127.0.0.1", port)
        self.accepted: Any = None
        self.started = False
        self.prompt = False
        self.paused = False

    def start(self) -> None:
        self.started = True

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class FakePort:
    """A UDP port: `sent` has (data, peer, local)."""

    def __init__(self, port: int) -> None:
        self.address = literal("0.0.0.0", port)
        self.received: Any = None
        self.answer: Any = None
        self.started = False
        self.full = False
        self.received_total = self.sent_total = self.dropped_total = 0
        self.sent: list[tuple[bytes, Any, object]] = []

    def start(self) -> None:
        self.started = True

    def send(self, data: bytes, peer: Any, local: object = None) -> bool:
        if not self.full:
            self.sent.append((data, peer, local))
        return not self.full


class FakeLink:
    """A connected UDP socket."""

    def __init__(self, address: Address, received: Any, failed: Any) -> None:
        self.address = address
        self.received = received
        self.failed = failed
        self.sent: list[bytes] = []
        self.full = False
        self.closed = False

    def send(self, data: bytes) -> bool:
        if not self.full:
            self.sent.append(data)
        return not self.full

    def close(self) -> None:
        self.closed = True


class FakeLog:
    """A log whose lines can be looked at."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: bytes) -> None:
        self.lines.append(line.decode())


@implementer(IContext)
class Site(Lent):
    """A site with one pool `p`, whose servers a, b, ... are at 192.0.2.1, .2, ..."""

    state = "/nonexistent"

    def __init__(
        self, servers: Sequence[str] = ("a", "b"), most: int = 0, **settings: Any
    ) -> None:
        self.reactor = World()
        self.reactor.advance(1000.0)
        self.wheel = Wheel(self.reactor.seconds())
        self.attempts: list[Attempt] = []
        self.links: list[FakeLink] = []
        self.no_sockets = False
        self.listeners: dict[int, FakeListener] = {}
        self.ports: dict[int, FakePort] = {}
        self.log = FakeLog()
        self.published: list[Event] = []
        self._subscribers: list[Callable[[Published], None]] = []
        algorithm = Algorithm(settings.pop("algorithm", "first"))
        self.the_pool = Pool(
            PoolSettings("p", algorithm=algorithm, **settings),
            [
                (ServerSettings(name, max_connections=most), literal(f"192.0.2.{n}", 80))
                for n, name in enumerate(servers, 1)
            ],
            self.reactor.seconds(),
            random.Random(1),
        )
        self.the_pool.trust_all(self.reactor.seconds())
        self.pools = {"p": self.the_pool}

    def pool(self, name: str) -> Pool:
        return self.pools[name]

    def healthy(self, key: str) -> bool:
        return True

    def remembered(self, pool_name: str) -> frozenset[str]:
        return frozenset()

    def listener(self, host: str, port: int) -> Any:
        return self.listeners.setdefault(port, FakeListener(port))

    def datagrams(self, host: str, port: int) -> Any:
        return self.ports.setdefault(port, FakePort(port))

    def log_file(self, path: str) -> Any:
        if path == "/full":
            raise PermissionError(errno.EACCES, "Permission denied")
        return self.log

    def publish(self, pool: Pool, events: Sequence[Event]) -> None:
        for event in events:
            self.published.append(event)
            for subscriber in self._subscribers:
                subscriber(Published(1, 0.0, pool.name, event))
        now = self.reactor.seconds()
        for waiter, server in pool.admit(now):
            waiter.admitted(server, now)

    def subscribe(self, subscriber: Callable[[Published], None]) -> None:
        self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Callable[[Published], None]) -> None:
        self._subscribers.remove(subscriber)

    # The test's part

    def connect(self, *args: Any) -> Any:
        """In place of `wire.connect.connect`."""
        attempt = Attempt(*args)
        self.attempts.append(attempt)
        return attempt

    def link(self, reactor: object, address: Address, received: Any, failed: Any) -> Any:
        """In place of `wire.connected.ConnectedDatagrams`."""
        if self.no_sockets:
            raise OSError(errno.EMFILE, "too many open files")
        made = FakeLink(address, received, failed)
        self.links.append(made)
        return made

    def wait(self, seconds: float) -> None:
        """Let time pass, as the ticker does."""
        left = seconds
        while left > 0:
            step = min(left, 0.1)
            left -= step
            self.reactor.advance(step)
            self.wheel.advance(self.reactor.seconds())
        self.reactor.settle()

    def server(self, name: str) -> Server:
        """The server of that name."""
        return next(server for server in self.the_pool.servers if server.name == name)

    def turn_down(self, name: str) -> None:
        """Checks find the server failing."""
        for _ in range(self.the_pool.settings.fall):
            now = self.reactor.seconds()
            self.publish(
                self.the_pool, self.the_pool.record(self.server(name), False, "test", now)
            )

    def turn_up(self, name: str) -> None:
        """Checks find it working again."""
        for _ in range(self.the_pool.settings.rise):
            now = self.reactor.seconds()
            self.publish(self.the_pool, self.the_pool.record(self.server(name), True, "test", now))

    def add_pool(self, name: str) -> Pool:
        """One more pool, with a server `x` that is up."""
        pool = self.pools[name] = Pool(
            PoolSettings(name),
            [(ServerSettings("x"), literal("192.0.2.99", 80))],
            self.reactor.seconds(),
            random.Random(1),
        )
        pool.trust_all(self.reactor.seconds())
        return pool

    def remove(self, name: str) -> None:
        """A reload takes the server out of `p`."""
        left = [
            (ServerSettings(server.name), server.address)
            for server in self.the_pool.servers
            if server.name != name
        ]
        now = self.reactor.seconds()
        self.publish(self.the_pool, self.the_pool.reconfigure(self.the_pool.settings, left, now))

    @property
    def in_flight(self) -> dict[str, int]:
        """Work on each server."""
        return {server.name: server.in_flight for server in self.the_pool.servers}
