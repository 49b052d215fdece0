"""
What the site lends to balancers and checks: the reactor, the wheel, pools, sockets, logs, events.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import Factory, define, field, frozen
from zope.interface import implementer

from balancer.interfaces import Followed, IBalancer, IContext, Published
from balancer.pool.events import Event
from balancer.pool.pool import Pool
from balancer.site.listeners import Listeners
from balancer.site.memory import Memory
from balancer.site.plan import Plan
from balancer.site.registry import Registry
from balancer.wire.datagrams import DatagramPort
from balancer.wire.deadlines import Wheel
from balancer.wire.listener import Listener
from balancer.wire.logfile import LogFile
from balancer.wire.reactor import IWireReactor


def name_of(plan: Plan) -> str:
    """The site's name: the host's unless the site file gives one."""
    return plan.site.name or socket.gethostname()


@frozen
class Parts:
    """What is made of a plan, as far as it is made."""

    plan: Plan
    site_name: str = field(init=False, default=Factory(lambda self: name_of(self.plan), True))
    """Asked for once: hundreds of sections want it in one turn, and the kernel takes 0.1 ms."""
    pools: dict[str, Pool] = field(factory=dict)
    balancers: dict[str, IBalancer] = field(factory=dict)
    _kinds: dict[str, dict[str, IBalancer]] = field(factory=dict, init=False)
    _known: list[int] = field(factory=lambda: [0], init=False)

    def of_kind(self, kind: str) -> Mapping[str, IBalancer]:
        """The balancers of a kind by their names. Hundreds of sections may ask, so that the answer
        is kept while none is added."""
        if self._known[0] != len(self.balancers):
            self._known[0] = len(self.balancers)
            self._kinds.clear()
            for key, each in self.balancers.items():
                its_kind, _, name = key.partition(":")
                self._kinds.setdefault(its_kind, {})[name] = each
        return self._kinds.get(kind, {})


@implementer(IContext)
@define(eq=False)
class Context:
    """See `IContext`. `present` is in force (None before the first plan is), `coming` is being
    prepared."""

    reactor: IWireReactor
    wheel: Wheel
    listeners: Listeners
    registry: Registry
    state: str
    memory: Memory
    logs: dict[str, LogFile] = field(factory=dict)
    present: Parts | None = None
    coming: Parts | None = None

    @property
    def _parts(self) -> Parts:
        parts = self.coming or self.present
        assert parts is not None
        return parts

    @property
    def site_name(self) -> str:
        return self._parts.site_name

    @property
    def geo(self) -> str | None:
        return self._parts.plan.site.geo

    def sections(self, kind: str) -> Mapping[str, Any]:
        return {each.name: each.settings for each in self._parts.plan.inert if each.kind == kind}

    def balancer(self, key: str) -> IBalancer:
        return self._parts.balancers[key]

    def balancers(self, kind: str) -> Mapping[str, IBalancer]:
        return self._parts.of_kind(kind)

    def pool(self, name: str) -> Pool:
        coming = None if self.coming is None else self.coming.pools.get(name)
        return self.registry.pools[name] if coming is None else coming

    def healthy(self, key: str) -> bool:
        return self.registry.proven(key)

    def remembered(self, pool_name: str) -> frozenset[str]:
        return self.memory.remembered(self.pool(pool_name))

    def listener(self, host: str, port: int) -> Listener:
        return self.listeners.tcp(host, port)

    def datagrams(self, host: str, port: int) -> DatagramPort:
        return self.listeners.udp(host, port)

    def log_file(self, path: str) -> LogFile:
        key = path if path == "-" else os.path.abspath(path)
        if key not in self.logs:
            self.logs[key] = LogFile(key)
        return self.logs[key]

    def publish(self, pool: Pool, events: Sequence[Event]) -> None:
        self.registry.publish(pool.name, events, time.time())
        self.admit(pool)

    def admit(self, pool: Pool) -> None:
        """Let those go who wait in the pool's queue and whom a server has room for now."""
        now = self.reactor.seconds()
        for waiter, server in pool.admit(now):
            waiter.admitted(server, now)

    def tell(self, balancer: str, did: str, cause: int) -> None:
        self.registry.tell(Followed(balancer, did, cause), time.time())

    def subscribe(self, subscriber: Callable[[Published], None]) -> None:
        self.registry.subscribe(subscriber)

    def unsubscribe(self, subscriber: Callable[[Published], None]) -> None:
        self.registry.unsubscribe(subscriber)

    # -- the access logs

    def flush_logs(self, now: float) -> None:
        """Write what gathered since the last tick."""
        for each in self.logs.values():
            each.flush(now)

    def reopen_logs(self) -> None:
        """Open every access log anew, after something moved it away."""
        for each in self.logs.values():
            each.reopen(self.reactor.seconds())

    def close_logs(self) -> None:
        """Write and close them all."""
        for each in self.logs.values():
            each.close(self.reactor.seconds())
