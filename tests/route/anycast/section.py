"""A section in a site of one pool: its station, its `ip` and the other sites are in memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.schema import read
from balancer.config.values import Endpoint
from balancer.interfaces import IBalancer, Published
from balancer.pool.pool import Pool
from balancer.pool.settings import PoolSettings, ServerSettings
from balancer.route.anycast.frames import Key, Neighbor
from balancer.route.anycast.lines import Route
from balancer.route.anycast.service import Anycast
from balancer.route.anycast.settings import SECTION, AnycastSettings
from balancer.wire.address import literal
from tests.lent import Lent

SITE = """\
[anycast far]
prefixes = 192.0.2.53/32
when = pool:web, http:www
neighbors = 10.9.0.2 as=65001
local-as = 65010
hold-down = 2s
drain-wait = 3s
drain-med = 9
"""
KEY = ("10.9.0.2", "192.0.2.53/32")


def settings_of(text: str = SITE) -> AnycastSettings:
    """The settings of a section."""
    file = read(text, "x.ini", [SECTION])
    assert not file.problems, [str(each) for each in file.problems]
    settings: AnycastSettings = file.sections[0].settings
    return settings


class Station:
    """An ExaBGP that acknowledges at once, unless it is `silent`."""

    program = None
    unreachable = ("10.9.0.9",)

    def __init__(self, journal: list[str]) -> None:
        self.journal = journal
        self.members: list[Any] = []
        self.announced: dict[Key, Route] = {}
        self.silent = False
        self.sessions: dict[str, Neighbor] = {}
        self.closed = False

    def open(self) -> None:
        """Nothing to open."""

    def of(self, address: str) -> str:
        """No BFD."""
        return "off"

    def close_unused(self) -> None:
        """Remember it."""
        self.closed = True

    def start(self) -> None:
        """Nothing to start."""

    def join(self, member: Any) -> None:
        """One more."""
        if member not in self.members:
            self.members.append(member)

    def leave(self, member: Any) -> Deferred[None]:
        """One less."""
        self.members.remove(member)
        self.journal.append("left")
        return succeed(None)

    def renew(self) -> None:
        """Take what is wished for what is."""
        if self.silent:
            return
        wished: dict[Key, Route] = {}
        for member in self.members:
            wished.update(member.routes())
        if wished == self.announced:
            return
        self.announced = wished
        self.journal.append(f"announced {len(wished)}")
        for member in self.members:
            member.reported()

    def may_have(self, prefix: str) -> bool:
        """Whether it is announced."""
        return any(key[1] == prefix for key in self.announced)

    def clear_of(self, keys: Mapping[Key, Any]) -> bool:
        """Whether it is not."""
        return not any(key in self.announced for key in keys)

    @property
    def report(self) -> Any:
        """What it tells."""
        return self

    wishes = exabgp = detection = report

    def status(self) -> Mapping[str, Any]:
        """Nothing of use."""
        return {}

    def configuration(self) -> str:
        """Any text."""
        return "neighbor"


class Asking:
    """Asks nobody; a test says what was heard."""

    def __init__(self, path: str, heard: Callable[[Endpoint, float, bytes, str], None]) -> None:
        self.path, self.heard = path, heard
        self.sites: tuple[Endpoint, ...] = ()
        self.urgent = 0

    def want(self, sites: tuple[Endpoint, ...]) -> None:
        """Ask these."""
        self.sites = sites

    def ask_now(self) -> None:
        """Ask all of them."""
        self.urgent += 1


class Context(Lent):
    """A site with a pool of two servers, of which none was checked yet, and `http:www`."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        lines = [(ServerSettings(each), literal("192.0.2.1", 80 + at))
                 for at, each in enumerate("ab")]
        self.web = Pool(PoolSettings("web", rise=1, fall=1), lines, 0.0, random.Random(1))
        self.www = True
        self.subscribers: list[Callable[[Published], None]] = []
        self.count = 0
        self.told: list[tuple[str, str, int]] = []

    def pool(self, name: str) -> Pool:
        """The only one."""
        return {"web": self.web}[name]

    def balancer(self, key: str) -> IBalancer:
        """The only one."""
        found: Any = {"http:www": self}[key]
        return found  # type: ignore[no-any-return]

    def healthy(self, key: str) -> bool:
        """As it is set."""
        return {"http:www": self.www}[key]

    def tell(self, balancer: str, did: str, cause: int) -> None:
        """Keeps it."""
        self.told.append((balancer, did, cause))

    def subscribe(self, subscriber: Callable[[Published], None]) -> None:
        """One more."""
        self.subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Callable[[Published], None]) -> None:
        """One less."""
        self.subscribers.remove(subscriber)

    def check(self, good: bool, *names: int) -> None:
        """Checks pass or fail for these servers; everybody is told in the same turn."""
        for name in names or (0, 1):
            for event in self.web.record(self.web.servers[name], good, "x", 1.0):
                self.count += 1
                for subscriber in self.subscribers:
                    subscriber(Published(self.count, 0.0, "web", event))


class ServiceTestCase(SynchronousTestCase):
    """A section, its station and its `ip`, which is done at once unless `stuck` is set."""

    def setUp(self) -> None:
        """Make them."""
        self.journal: list[str] = []
        self.context = Context()
        self.reactor = self.context.reactor
        self.station = Station(self.journal)
        self.why = ""
        self.names: list[str] = []
        self.anycast = self.make()

    def make(self) -> Anycast:
        """A section."""
        return Anycast("far", self.context, self.run_ip, self.of, self.ask)  # type: ignore[arg-type]

    def ask(self, reactor: Any, path: str, heard: Any) -> Any:
        """What asks the other sites."""
        self.asking = Asking(path, heard)
        return self.asking

    def of(self, context: Any, name: str) -> Any:
        """The station of that name."""
        self.names.append(name)
        return self.station

    def run_ip(self, batch: str, done: Callable[[str], None]) -> None:
        """Do as the batch says, in the next turn."""
        self.journal.append(" ".join(batch.split()[:3]))
        self.reactor.callLater(0, done, self.why)

    def start(self, text: str = SITE) -> None:
        """Put a section in force."""
        self.anycast.prepare(settings_of(text)).commit()
        self.anycast.startService()

    def state(self) -> str:
        """What the status says."""
        return str(self.anycast.status()["state"])

    def begin(self, text: str = SITE) -> None:
        """Up to the announcement."""
        self.start(text)
        self.context.check(True)
        self.turn(2.1)
        self.assertEqual("up", self.state())

    def turn(self, seconds: float = 0.0) -> None:
        """Time passes, in small steps."""
        end = self.reactor.seconds() + seconds
        while self.reactor.seconds() < end - 1e-9:
            self.reactor.advance(min(0.1, end - self.reactor.seconds()))
        self.reactor.advance(0)
        self.reactor.advance(0)
