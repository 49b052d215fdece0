"""
Servers that the site file gives by DNS name: asked at the start and again from time to time.

The system's resolver is asked (hosts file, resolv.conf, nsswitch) in a thread of its own. A name
that does not resolve keeps its last address; one that never resolved has `UNRESOLVED`, which no
server answers at, so that its check fails and says so.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from balancer.pool.server import Server
from balancer.wire.address import Address, literal
from balancer.wire.reactor import IWireReactor

RESOLVE_INTERVAL = 30.0
"""Seconds between two look-ups of a name: the system's resolver does not tell the TTL."""

THREADS = 4
"""Look-ups at once: a resolver that hangs must not need more."""

UNRESOLVED = literal("0.0.0.0", 0)
"""The address of a name that was never resolved: nobody listens at port 0."""


@frozen
class Named:
    """A server whose address is that of a DNS name."""

    server: Server
    name: str
    port: int


def look_up(name: str, port: int) -> Address:
    """The first address of `name`, as the system orders them (RFC 6724). Raises OSError."""
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return literal(str(found[0][4][0]), port)


@define(eq=False)
class Names:
    """Keeps the addresses of named servers fresh while it is started."""

    _reactor: IWireReactor
    _named: Sequence[Named]
    _pool: ThreadPool = field(init=False)
    _again: IDelayedCall | None = field(default=None, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._pool = ThreadPool(0, THREADS, "names")

    def start(self) -> None:
        """Look every name up now, and again after each interval."""
        if self._named:
            self._pool.start()
            self._ask()

    def stop(self) -> None:
        """Ask no more. A look-up in progress is not waited for."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
            self._pool.adjustPoolsize(0, 0)

    def _ask(self) -> None:
        for named in self._named:
            asked: Deferred[Address] = deferToThreadPool(
                self._reactor,  # type: ignore[arg-type]  # LeanReactor is IReactorFromThreads too
                self._pool,
                look_up,
                named.name,
                named.port,
            )
            asked.addCallbacks(
                self._resolved, self._unresolved, callbackArgs=(named,), errbackArgs=(named,)
            )
        self._again = self._reactor.callLater(RESOLVE_INTERVAL, self._ask)

    def _resolved(self, address: Address, named: Named) -> None:
        server = named.server
        if server.address != address:
            self._log.info(
                "{server}: {name} is now {address}",
                server=server.key,
                name=named.name,
                address=address,
            )
            server.address = address

    def _unresolved(self, failure: Failure, named: Named) -> None:
        failure.trap(OSError)
        self._log.warn(
            "{server}: {name} does not resolve ({reason}); it keeps {address}",
            server=named.server.key,
            name=named.name,
            reason=failure.getErrorMessage(),
            address=named.server.address,
        )
