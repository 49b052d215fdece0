"""
What the site lends to balancers and checks: the reactor, the wheel, pools, sockets, logs, events.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence

from attrs import define, field
from zope.interface import implementer

from balancer.interfaces import IContext, Published
from balancer.pool.events import Event
from balancer.pool.pool import Pool
from balancer.site.listeners import Listeners
from balancer.site.memory import Memory
from balancer.site.registry import Registry
from balancer.wire.datagrams import DatagramPort
from balancer.wire.deadlines import Wheel
from balancer.wire.listener import Listener
from balancer.wire.logfile import LogFile
from balancer.wire.reactor import IWireReactor


@implementer(IContext)
@define(eq=False)
class Context:
    """See `IContext`. `coming` are pools of a plan that is being prepared and not in force yet."""

    reactor: IWireReactor
    wheel: Wheel
    listeners: Listeners
    registry: Registry
    state: str
    memory: Memory
    logs: dict[str, LogFile] = field(factory=dict)
    coming: Mapping[str, Pool] = field(factory=dict)

    def pool(self, name: str) -> Pool:
        coming = self.coming.get(name)
        return self.registry.pools[name] if coming is None else coming

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
