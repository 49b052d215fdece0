"""
Servers that the site file gives by DNS name: asked at the start and again from time to time.

The system's resolver is asked (hosts file, resolv.conf, nsswitch) in a thread of its own. A name
that does not resolve keeps its last address; one that never resolved has `UNRESOLVED`, which no
server answers at, so that its check fails and says so.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from threading import Thread

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from balancer.config.values import Endpoint
from balancer.pool.server import Server
from balancer.wire.address import Address, literal
from balancer.wire.reactor import IWireReactor

RESOLVE_INTERVAL = 30.0
"""Seconds between two look-ups of a name: the system's resolver does not tell the TTL."""

THREADS = 4
"""Look-ups at once: a resolver that hangs must not need more."""

START_PATIENCE = 5.0
"""Seconds that the start waits for all look-ups together: a resolver that hangs takes 10 s for each
name, and a start that hangs is worse than a server that is down a moment longer."""

UNRESOLVED = literal("0.0.0.0", 0)
"""The address of a name that was never resolved: nobody listens at port 0."""


@frozen
class Named:
    """A server whose address is that of a DNS name."""

    server: Server
    endpoint: Endpoint


def look_up(endpoint: Endpoint) -> Address:
    """The first address of the name, as the system orders them (RFC 6724). Raises OSError."""
    found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    return literal(str(found[0][4][0]), endpoint.port)


Answers = SimpleQueue[tuple[Endpoint, Address | OSError]]


def look_up_all(endpoints: Iterable[Endpoint], answers: Answers) -> None:
    """Look up one after the other; a thread's work."""
    for endpoint in endpoints:
        try:
            answers.put((endpoint, look_up(endpoint)))
        except OSError as error:
            answers.put((endpoint, error))


@define(eq=False)
class Names:
    """
    Keeps the addresses of named servers fresh while it is started.

    `moved(server)` is called when a server that had an address has another one. `ask` looks a name
    up beside the reactor; threads do by default.
    """

    _reactor: IWireReactor
    moved: Callable[[Server], object] = field(default=lambda server: None, kw_only=True)
    _ask_for: Callable[[Endpoint], Deferred[Address]] | None = field(
        default=None, alias="ask", kw_only=True
    )
    _patience: float = field(default=START_PATIENCE, init=False)
    _failing: set[Endpoint] = field(factory=set, init=False)
    _named: tuple[Named, ...] = field(default=(), init=False)
    _found: dict[Endpoint, Address] = field(factory=dict, init=False)
    _asking: set[Endpoint] = field(factory=set, init=False)
    _threads: ThreadPool | None = field(default=None, init=False)
    _started: bool = field(default=False, init=False)
    _again: IDelayedCall | None = field(default=None, init=False)
    _log = Logger()

    @property
    def known(self) -> dict[Endpoint, Address]:
        """The address last found for each name."""
        return dict(self._found)

    def look_up_now(self, endpoints: Iterable[Endpoint]) -> None:
        """Ask for the DNS names among `endpoints` and wait, for `START_PATIENCE` over all calls:
        only before the reactor runs. What does not come in time is asked for again by `start`."""
        asked = {each for each in endpoints if not each.is_literal and each not in self._found}
        asked -= self._failing
        answers: Answers = SimpleQueue()
        began = time.monotonic()
        for share in [list(asked)[at::THREADS] for at in range(min(THREADS, len(asked)))]:
            # A daemon: the end of the process waits for no resolver.
            Thread(target=look_up_all, args=(share, answers), daemon=True).start()
        while asked:
            left = self._patience - (time.monotonic() - began)
            try:
                endpoint, answer = answers.get(timeout=max(0.0, left))
            except Empty:
                break
            asked.discard(endpoint)
            if isinstance(answer, OSError):
                self._unresolved(Failure(answer), endpoint)
            else:
                self._found[endpoint] = answer
        self._patience -= time.monotonic() - began
        for endpoint in asked:
            self._log.warn("{name} is not resolved yet; it is down", name=endpoint.host)

    def follow(self, named: Iterable[Named]) -> None:
        """Keep the addresses of these fresh from now on, and of no others."""
        self._named = tuple(named)
        wanted = {each.endpoint for each in self._named}
        self._found = {name: address for name, address in self._found.items() if name in wanted}
        self._failing &= wanted
        if self._started:
            self._ask(wanted - self._found.keys())

    def start(self) -> None:
        """Ask for what is not known yet, and for all after each interval."""
        self._started = True
        self._ask({each.endpoint for each in self._named} - self._found.keys())
        self._again = self._reactor.callLater(RESOLVE_INTERVAL, self._refresh)

    def stop(self) -> None:
        """Ask no more. A look-up in progress is not waited for."""
        self._started = False
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._threads is not None:
            self._threads.adjustPoolsize(0, 0)

    def _refresh(self) -> None:
        self._ask({each.endpoint for each in self._named})
        self._again = self._reactor.callLater(RESOLVE_INTERVAL, self._refresh)

    def _ask(self, endpoints: set[Endpoint]) -> None:
        for endpoint in endpoints - self._asking:
            self._asking.add(endpoint)
            asked = (self._ask_for or self._ask_a_thread)(endpoint)
            asked.addBoth(self._answered, endpoint)
            asked.addCallbacks(
                self._resolved,
                self._unresolved,
                callbackArgs=(endpoint,),
                errbackArgs=(endpoint,),
            )

    def _ask_a_thread(self, endpoint: Endpoint) -> Deferred[Address]:
        asked: Deferred[Address] = deferToThreadPool(
            self._reactor,  # type: ignore[arg-type]  # LeanReactor is IReactorFromThreads too
            self._pool_of_threads(),
            look_up,
            endpoint,
        )
        return asked

    def _pool_of_threads(self) -> ThreadPool:
        if self._threads is None:
            self._threads = ThreadPool(0, THREADS, "names")
            self._threads.start()
        return self._threads

    def _answered(self, result: object, endpoint: Endpoint) -> object:
        self._asking.discard(endpoint)
        return result

    def _resolved(self, address: Address, endpoint: Endpoint) -> None:
        self._found[endpoint] = address
        if endpoint in self._failing:
            self._failing.discard(endpoint)
            self._log.info("{name} resolves again", name=endpoint.host)
        for named in self._named:
            if named.endpoint != endpoint:
                continue
            to = named.server.address.at(address)
            if named.server.address != to:
                named.server.address = to
                self.moved(named.server)

    def _unresolved(self, failure: Failure, endpoint: Endpoint) -> None:
        failure.trap(OSError)
        if endpoint in self._failing:
            return  # said already
        self._failing.add(endpoint)
        self._log.warn(
            "{name} does not resolve ({reason}); {so}",
            name=endpoint.host,
            reason=getattr(failure.value, "strerror", None) or failure.getErrorMessage(),
            so=f"it keeps {self._found[endpoint]}" if endpoint in self._found else "it is down",
        )
