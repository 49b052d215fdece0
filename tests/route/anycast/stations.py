"""A station with one section, and helpers that come to it: no socket, no process."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.schema import read
from balancer.route.anycast import protocol, reach
from balancer.route.anycast.announcer import UP
from balancer.route.anycast.frames import Frame, Hello, Key, Report, decode, encode
from balancer.route.anycast.lines import Route
from balancer.route.anycast.protocol import Link
from balancer.route.anycast.settings import SECTION, AnycastSettings
from balancer.route.anycast.station import Station
from tests.lent import Lent

SITE = """\
[anycast web]
prefixes = 192.0.2.53/32
when = pool:web
neighbors = 10.9.0.2 as=65001 password-file=/etc/secret
local-as = 65010
lease = 2s
"""
KEY = ("10.9.0.2", "192.0.2.53/32")


def settings_of(text: str = SITE) -> AnycastSettings:
    """The settings of a section."""
    settings: AnycastSettings = read(text, "x.ini", [SECTION]).sections[0].settings
    return settings


class Member:
    """A section that is announced while `on`."""

    def __init__(self, text: str = SITE) -> None:
        self.settings = settings_of(text)
        self.passwords: Mapping[str, bytes] = {"10.9.0.2": b"secret"}
        self.on = True
        self.lapses: list[float] = []
        self.reports = 0

    def routes(self) -> Mapping[Key, Route]:
        """What it wants."""
        return self.settings.routes(UP) if self.on else {}

    def reported(self) -> None:
        """It is told."""
        self.reports += 1

    def lapsed(self, now: float) -> None:
        """It is told, and wants nothing then."""
        self.lapses.append(now)
        self.on = False


class Transport(StringTransport):
    """A unix socket's."""

    aborted = False

    def abortConnection(self) -> None:
        """Remember it, and be gone."""
        self.aborted = True
        self.link.connectionLost()

    link: Any


class FakeSocket:
    """A socket that is bound."""

    closed = False

    def fileno(self) -> int:
        """Any number."""
        return 99

    def close(self) -> None:
        """Remember it."""
        self.closed = True


class FakePort:
    """A port that was adopted."""

    def stopListening(self) -> None:
        """Nothing to do."""


class Reactor(MemoryReactorClock):
    """A reactor that adopts unix sockets, and has processes."""

    factory: Any = None
    spawned = 0

    def adoptStreamPort(self, fileno: int, family: int, factory: Any) -> Any:
        """Remember who wants the connections."""
        assert family == socket.AF_UNIX
        self.factory = factory
        return FakePort()

    def spawnProcess(self, protocol: Any, *args: Any, **more: Any) -> None:
        """Start nothing."""
        self.spawned += 1
        self.protocol = protocol
        self.signals: list[str] = []
        protocol.transport = self
        self.pid = 1000 + self.spawned

    def signalProcess(self, name: str) -> None:
        """Remember it."""
        self.signals.append(name)


class Context(Lent):
    """What the station takes from a site."""

    def __init__(self) -> None:
        self.reactor = Reactor()


class StationTestCase(SynchronousTestCase):
    """A station, its member, and helpers."""

    name = ""

    def setUp(self) -> None:
        """Make it, and start it."""
        self.uid: int = 0
        self.pid: int = 4711
        self.ours: str = "10.9.0.1"
        self.patch(protocol, "uid_of", lambda transport: self.uid)
        self.patch(protocol, "pid_of", lambda transport: self.pid)
        self.patch(reach, "local_address", lambda neighbor: self.ours)
        self.context = Context()
        self.reactor = self.context.reactor
        self.sockets: list[FakeSocket] = []
        self.files: dict[str, bytes] = {}
        self.station = Station(self.context, self.name, self.bind, self.write)  # type: ignore[arg-type]
        if self.station.exabgp.program is not None:
            self.station.exabgp.program.find = lambda: "/usr/sbin/exabgp"
        self.member = Member()
        self.station.open()
        self.station.join(self.member)

    def bind(self, name: str) -> Any:
        """Bind nothing."""
        self.sockets.append(FakeSocket())
        return self.sockets[-1]

    def write(self, path: str, data: bytes) -> Deferred[None]:
        """Write nothing."""
        self.files[path] = data
        return succeed(None)

    def helper(self, token: str | None = None) -> Link:
        """A helper that connects and says who it is."""
        link: Link = self.reactor.factory.buildProtocol(None)
        transport = Transport()
        transport.link = link
        link.makeConnection(transport)
        if not transport.aborted:
            own = self.station.exabgp.token if token is None else token
            link.dataReceived(encode(Hello(50, 40, own)))
        return link

    def told(self, link: Link) -> list[Frame]:
        """What the helper was told since it was asked last."""
        lines = link.transport.value().decode().splitlines()
        link.transport.clear()
        return [decode(line) for line in lines]

    def report(self, link: Link, *announced: Key, **changes: Any) -> None:
        """The helper says that all is as it shall be."""
        report = Report(self.station.wishes.serial, True, False, announced)._replace(**changes)
        link.dataReceived(encode(report))
