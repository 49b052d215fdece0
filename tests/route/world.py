"""A machine with a kernel in memory that speaks netlink, and a site with one pool."""

from __future__ import annotations

import errno
import random
import struct
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from attrs import define, evolve, field
from twisted.internet.testing import MemoryReactorClock

from balancer.interfaces import IBalancer, Published
from balancer.kernel import netlink, nexthop, route
from balancer.kernel.netlink import Message
from balancer.kernel.nexthop import Group, Hop
from balancer.kernel.route import Route
from balancer.pool.pool import Pool
from balancer.pool.settings import PoolSettings, ServerSettings
from balancer.route.service import Ecmp
from balancer.route.settings import EcmpSettings
from balancer.wire.address import literal
from tests.kernel.queued import QueuedSocket
from tests.lent import Lent

OWN_PORT = 100
"""Our own netlink port; somebody else's is any other."""


class Error(Exception):
    """The kernel refuses."""


@define(eq=False)
class Machine:
    """The kernel: a link of index 3 with 10.1.0.0/24 and 2001:db8::/64 on it, while it is `up`.
    `refuses_all` is the errno with which it answers whatever would change something."""

    up: bool = True
    refuses_all: int = 0
    objects: dict[int, Hop | Group] = field(factory=dict)
    routes: dict[tuple[str, int], Route] = field(factory=dict)
    refuse: dict[str, int] = field(factory=dict)
    sockets: list[Socket] = field(factory=list)
    asked: list[str] = field(factory=list)

    def opened(self) -> Any:
        """A socket."""
        self.sockets.append(Socket(self))
        return self.sockets[-1]

    def answer(self, message: Message) -> list[bytes]:
        """Carry a request out."""
        try:
            return self._answer(message)
        except Error as error:
            return [_reply(2, message, struct.pack("=i", -error.args[0]) + bytes(16))]

    def _answer(self, message: Message) -> list[bytes]:
        done = [_reply(2, message, bytes(20))]
        if message.kind == nexthop.GET:
            return [*(_as(message, _told(each)) for each in self.objects.values()),
                    _reply(3, message, bytes(4))]
        if message.kind == route.GET and message.flags & netlink.DUMP:
            version = 4 if message.payload[0] == 2 else 6
            return [*(_as(message, route.put(each, 1)) for each in self.routes.values()
                      if ip_network(each.prefix).version == version
                      and each.protocol == message.payload[5]),
                    _reply(3, message, bytes(4))]
        if message.kind == route.GET:
            return [self._way(message)]
        if self.refuses_all:
            raise Error(self.refuses_all)
        self._change(message)
        return done

    def _way(self, message: Message) -> bytes:
        target = ip_address(netlink.attributes(message.payload[12:])[1])
        payload = message.payload[:12] + netlink.attribute(4, struct.pack("=I", 3))
        if not self.up:
            raise Error(errno.ENETUNREACH)
        if str(target) not in self._neighbours():
            payload += netlink.attribute(5, bytes(4))
        return _reply(route.NEW, message, payload)

    def _neighbours(self) -> set[str]:
        return {f"{start}{n}" for start in ("10.1.0.", "2001:db8::") for n in range(1, 10)}

    def _change(self, message: Message) -> None:
        if message.kind in (route.NEW, route.DELETE):
            found = route.read(message)
            where = (found.prefix, found.table)
            self.asked.append(f"{'del ' if message.kind == route.DELETE else ''}route {where[0]}")
            if message.kind == route.DELETE:
                if self.routes.get(where) is None or self.routes[where].through != found.through:
                    raise Error(errno.ESRCH)
                del self.routes[where]
            elif where in self.routes and not message.flags & netlink.REPLACE:
                raise Error(errno.EEXIST)
            elif found.through not in self.objects:
                raise Error(errno.EINVAL)
            else:
                self.routes[where] = found
            return
        each = nexthop.read(message)
        if message.kind == nexthop.DELETE:
            self.remove(each.id)
            return
        assert isinstance(each, (Hop, Group))
        text = each.gateway if isinstance(each, Hop) else "group"
        self.asked.append(text)
        if text in self.refuse:
            raise Error(self.refuse[text])
        if isinstance(each, Hop) and not self.up:
            raise Error(errno.ENETDOWN)
        if isinstance(each, Group) and any(id not in self.objects for id, _ in each.hops):
            raise Error(errno.EINVAL)
        self.objects[each.id] = each

    def remove(self, id: int) -> None:
        """As Linux: what used it alone goes with it."""
        if self.objects.pop(id, None) is None:
            raise Error(errno.ENOENT)
        for group in [each for each in self.objects.values() if isinstance(each, Group)]:
            left = tuple(pair for pair in group.hops if pair[0] != id)
            self.objects[group.id] = evolve(group, hops=left)
            if not left:
                self.remove(group.id)
        self.routes = {where: each for where, each in self.routes.items() if each.through != id}

    def link_goes(self) -> None:
        """The next hops on it go, untold; that the link went is told."""
        self.up = False
        for id in [id for id, each in self.objects.items() if isinstance(each, Hop)]:
            self.remove(id)
        self.tell(Message(16, 0, 0, 0, b""))

    def link_comes(self) -> None:
        """It is back, without next hops."""
        self.up = True
        self.tell(Message(16, 0, 0, 0, b""))

    def foreign_removal(self) -> None:
        """Somebody else removes all routes."""
        for each in self.routes.values():
            (message,) = netlink.messages(route.drop(each, 1))
            self.tell(evolve(message, port=666))
        self.routes.clear()

    def tell(self, message: Message) -> None:
        """Tell whoever listens."""
        data = struct.pack("=IHHII", 16 + len(message.payload), message.kind, 0, 0, message.port)
        for each in self.sockets:
            if each.listens:
                each.waiting.append(data + message.payload)

    def hops(self) -> dict[str, int]:
        """Where our prefixes go: addresses with weights."""
        found: dict[str, int] = {}
        for each in self.routes.values():
            group = self.objects.get(each.through)
            for id, weight in group.hops if isinstance(group, Group) else ():
                hop = self.objects[id]
                assert isinstance(hop, Hop)
                found[hop.gateway] = weight
        return found


def _told(each: Hop | Group) -> bytes:
    return nexthop.put_hop(each, 1) if isinstance(each, Hop) else nexthop.put_group(each, 1)


def _as(request: Message, data: bytes) -> bytes:
    (message,) = netlink.messages(data)
    return _reply(message.kind, request, message.payload)


def _reply(kind: int, request: Message, payload: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), kind, 0, request.sequence, 0) + payload


class Socket(QueuedSocket):
    """A socket to the machine's kernel."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine
        self.listens = False

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Joining a group makes it listen."""
        self.listens = self.listens or (level, option) == (270, 1)

    def getsockname(self) -> tuple[int, int]:
        """Our port."""
        return OWN_PORT, 0

    def send(self, data: bytes) -> None:
        """Ask the kernel."""
        for message in netlink.messages(data):
            self.waiting += self.machine.answer(message)


def servers(words: str) -> list[tuple[ServerSettings, Any]]:
    """`a b` is at 10.1.0.1 and 10.1.0.2; `B` is b as a backup, `a5` of weight 5."""
    return [
        (ServerSettings(word[0].lower(), weight=int(word[1:] or 1), backup=word[0].isupper()),
         literal(f"10.1.0.{ord(word[0].lower()) - ord('a') + 1}", 0))
        for word in words.split()
    ]


class World(Lent):
    """A site with the pool `p`, whose servers nobody has checked, and one section `e`."""

    def __init__(self, machine: Machine, words: str = "a b c") -> None:
        self.machine = machine
        self.reactor = MemoryReactorClock()
        self.subscribers: list[Callable[[Published], None]] = []
        self.the_pool = Pool(PoolSettings("p"), servers(words), 0.0, random.Random(1))
        self.there = True
        self.told: list[tuple[str, str, int]] = []
        self.number = 0
        self.ecmp = Ecmp("e", self, machine.opened)  # type: ignore[arg-type]  # lends what it uses

    def pool(self, name: str) -> Pool:
        """The only one."""
        return self.the_pool

    def balancer(self, key: str) -> IBalancer:
        """The section, while the site file has it."""
        if not self.there or key != "ecmp:e":
            raise KeyError(key)
        balancer: IBalancer = self.ecmp
        return balancer

    def tell(self, balancer: str, did: str, cause: int) -> None:
        """Keeps it."""
        self.told.append((balancer, did, cause))

    def subscribe(self, subscriber: Callable[[Published], None]) -> None:
        """One more."""
        self.subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Callable[[Published], None]) -> None:
        """One less; harmless if it is none."""
        self.subscribers = [each for each in self.subscribers if each != subscriber]

    def publish(self, events: Sequence[Any]) -> None:
        """What happened in the pool, and the turn after."""
        for at, event in enumerate(events, self.number):
            for subscriber in self.subscribers:
                subscriber(Published(at, 0.0, "p", event))
        self.reactor.advance(0)

    def up(self, names: str) -> None:
        """Checks find these up."""
        for name in names:
            self.publish(self.the_pool.record(self.the_pool.server(name), True, "", 0.0))

    def down(self, names: str) -> None:
        """Checks find these down."""
        for name in names:
            for _ in range(3):
                server = self.the_pool.server(name)
                self.publish(self.the_pool.record(server, False, "dead", 0.0))

    def settings(self, **options: Any) -> EcmpSettings:
        """The section's."""
        options.setdefault("prefix", ip_network("192.0.2.0/24"))
        return EcmpSettings(pool="p", **options)

    def begin(self, **options: Any) -> None:
        """Prepare, commit, start."""
        self.ecmp.prepare(self.settings(**options)).commit()
        self.ecmp.startService()

    def read(self) -> None:
        """The reactor reads what the monitor has, and a moment passes."""
        for reader in list(self.reactor.readers):
            reader.doRead()
        self.reactor.advance(0.06)

    def hops(self) -> str:
        """The servers that are next hops, with weights beyond 1: `a b3`."""
        found = {chr(ord("a") + int(address.rpartition(".")[2]) - 1): weight
                 for address, weight in self.machine.hops().items()}
        return " ".join(f"{name}{weight if weight > 1 else ''}"
                        for name, weight in sorted(found.items()))
