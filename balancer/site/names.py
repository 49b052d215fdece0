"""
Servers that the site file gives by DNS name: looked up at the start, and again when the TTL of the
answer is over.

A name that does not resolve keeps its last address; one that never resolved has `UNRESOLVED`, which
no server answers at, so that its check fails and says so. How a name is looked up is `resolve`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.config.values import Endpoint
from balancer.pool.server import Server
from balancer.resolve.agenda import Agenda
from balancer.resolve.before import look_up_now
from balancer.resolve.client import Client
from balancer.resolve.interfaces import IResolver
from balancer.resolve.looking import Found, Nothing
from balancer.resolve.preference import best
from balancer.wire.address import Address, literal
from balancer.wire.reactor import IWireReactor

MIN_TTL = 1.0
"""Seconds from an answer to the next question at least, also for a TTL of 0."""

MAX_TTL = 3600.0
"""... and at most: an operator who mistyped a TTL of a week need not wait for that."""

SPREAD = 0.5
"""Seconds over which questions are spread beyond the TTL, at most; a tenth of a short TTL."""

FIRST_RETRY, LAST_RETRY = 5.0, 30.0
"""Seconds until a name that did not resolve is asked for again, doubled each time up to the latter.
The negative TTL of the answer (RFC 2308) counts within the two."""

LOOK = 1.0
"""Seconds between two looks at the hosts file and resolv.conf, which cost two calls of stat."""

AT_ONCE = 64
"""Names that are looked up at once: each takes a descriptor, and a caching resolver has a bound on
what it works on."""

BEGUN_A_TURN = 32
"""Look-ups begun in one turn, some 0.1 ms each."""

DUE_A_TURN = 1000
"""Names that get in line in one turn, some 2 us each."""

START_PATIENCE = 5.0
"""Seconds that the start waits for all look-ups together: a resolver that hangs takes 8 s for each
name, and a start that hangs is worse than a server that is down a moment longer."""

UNRESOLVED = literal("0.0.0.0", 0)
"""The address of a name that was never resolved: nobody listens at port 0."""


@frozen
class Named:
    """A server whose address is that of a DNS name."""

    server: Server
    endpoint: Endpoint


ByName = Mapping[str, list[Named]]
"""Servers by the name that they have; a list becomes that of whom it is given to."""


def gather(named: Iterable[Named], into: dict[str, list[Named]]) -> None:
    """Put the servers to the others that have the same names: a slice of the work for `follow`."""
    for each in named:
        into.setdefault(each.endpoint.host, []).append(each)


@define(eq=False)
class _Name:
    """What is known of a name, and who has it."""

    address: str | None = None
    failures: int = 0
    named: Sequence[Named] = ()


@define(eq=False)
class Names:
    """
    Keeps the addresses of named servers fresh while it is started.

    `moved(server)` is called when a server that had an address has another one.
    """

    _reactor: IWireReactor
    _make: Callable[[IWireReactor], IResolver] = field(default=Client, alias="resolver")
    _random: Random = field(factory=Random)
    moved: Callable[[Server], object] = field(default=lambda server: None, kw_only=True)
    _servers: Sequence[tuple[str, int]] = field(default=(), init=False)
    _resolver: IResolver = field(init=False)
    _names: dict[str, _Name] = field(factory=dict, init=False)
    _agenda: Agenda = field(factory=Agenda, init=False)
    _waiting: dict[str, None] = field(factory=dict, init=False)
    _asking: dict[str, Deferred[Found | Nothing]] = field(factory=dict, init=False)
    _started: bool = field(default=False, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)
    _looked: float = field(default=0.0, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._resolver = self._make(self._reactor)

    def address(self, endpoint: Endpoint) -> Address:
        """The address last found for the name; `UNRESOLVED` if none was."""
        known = self._names.get(endpoint.host)
        if known is None or known.address is None:
            return UNRESOLVED
        return literal(known.address, endpoint.port)

    def use(self, servers: Iterable[Endpoint]) -> None:
        """Ask these DNS servers from now on; none: those of resolv.conf."""
        self._servers = tuple((each.host, each.port) for each in servers)
        self._resolver.use(self._servers)

    def look_up_now(self, endpoints: Iterable[Endpoint]) -> None:
        """Ask for the DNS names among `endpoints` and wait, `START_PATIENCE` at most: before the
        reactor runs. What does not come in time is asked for again by `start`."""
        names = {each.host for each in endpoints if not each.is_literal} - self._names.keys()
        if not names:
            return
        for name in names:
            self._names[name] = _Name()
        for name, answer in look_up_now(names, self._resolver_on, START_PATIENCE).items():
            if answer is None:
                self._log.warn("{name} is not resolved yet; it is down", name=name)
                self._agenda.put(name, self._reactor.seconds())
            else:
                self._answered(answer, name)

    def _resolver_on(self, reactor: IWireReactor) -> IResolver:
        resolver = self._make(reactor)
        resolver.use(self._servers)
        return resolver

    def follow(self, named: ByName) -> None:
        """Keep the addresses of these fresh from now on, and of no others."""
        before, self._names = self._names, {}
        for name, those in named.items():
            known = before.pop(name, None)
            if known is None:
                known = _Name()
                self._waiting[name] = None
            known.named = those
            self._names[name] = known
        for name in before:
            self._agenda.drop(name)
            self._waiting.pop(name, None)
        self._wake_in(0)

    def start(self) -> None:
        """Ask for what is not known yet, and for each when its time has come."""
        self._started = True
        self._resolver.changed()
        self._looked = self._reactor.seconds()
        self._wake_in(0)

    def stop(self) -> None:
        """Ask no more. A look-up in progress is dropped."""
        self._started = False
        if self._call is not None:
            self._call.cancel()
            self._call = None
        asking, self._asking = self._asking, {}
        for asked in asking.values():
            asked.cancel()

    # -- in time

    def _wake_in(self, seconds: float) -> None:
        if not self._started:
            return
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._names:
            self._call = self._reactor.callLater(seconds, self._wake)

    def _wake(self) -> None:
        self._call = None
        now = self._reactor.seconds()
        if now >= self._looked + LOOK:
            self._looked = now
            if self._resolver.changed():
                self._waiting.update(dict.fromkeys(self._names))
        due = self._agenda.due(now, DUE_A_TURN)
        self._waiting.update(dict.fromkeys(due))
        begun = 0
        while self._waiting and len(self._asking) < AT_ONCE and begun < BEGUN_A_TURN:
            self._ask(next(iter(self._waiting)))
            begun += 1
        self._wake_in(self._pause(now, begun))

    def _pause(self, now: float, begun: int) -> float:
        """Seconds until there is more to do."""
        if self._waiting and len(self._asking) < AT_ONCE:
            return 0.0
        when = self._agenda.next()
        # Who waits for others to be answered is asked for when they are.
        return LOOK if when is None else min(LOOK, max(0.0, when - now))

    def _ask(self, name: str) -> None:
        del self._waiting[name]
        if name in self._asking or name not in self._names:
            return
        asked = self._resolver.look_up(name)
        self._asking[name] = asked
        asked.addBoth(self._ended, name, asked)
        asked.addCallback(self._answered, name)
        asked.addErrback(self._raised, name)

    def _ended(self, result: Found | Nothing, name: str, asked: object) -> Found | Nothing:
        if self._asking.pop(name, None) is not None and self._waiting:
            self._wake_in(0)
        return result

    def _raised(self, failure: Failure, name: str) -> None:
        if self._started:
            self._log.failure("the look-up of {name} failed", failure=failure, name=name)
            self._answered(Nothing("a fault of the balancer's"), name)

    # -- answers

    def _answered(self, answer: Found | Nothing, name: str) -> None:
        known = self._names.get(name)
        if known is None:
            return  # a reload forgot it meanwhile
        if isinstance(answer, Found):
            wait = self._found(answer, name, known)
        else:
            wait = self._not_found(answer, name, known)
        self._agenda.put(name, self._reactor.seconds() + wait)
        if wait < LOOK:
            self._wake_in(0)

    def _found(self, answer: Found, name: str, known: _Name) -> float:
        if known.failures:
            known.failures = 0
            self._log.info("{name} resolves again", name=name)
        known.address = best(answer.addresses, known.address, self._resolver.source_of)
        for named in known.named:
            address = literal(known.address, named.endpoint.port)
            to = named.server.address.at(address)
            if named.server.address != to:
                named.server.address = to
                self.moved(named.server)
        ttl = min(max(answer.ttl, MIN_TTL), MAX_TTL)
        return ttl + self._random.random() * min(SPREAD, ttl / 10)

    def _not_found(self, answer: Nothing, name: str, known: _Name) -> float:
        if not known.failures:
            self._log.warn(
                "{name} does not resolve ({reason}); {so}",
                name=name,
                reason=answer.reason,
                so="it is down" if known.address is None else f"it keeps {known.address}",
            )
        wait = FIRST_RETRY * 2 ** min(known.failures, 8) if answer.ttl is None else answer.ttl
        known.failures += 1
        return min(max(wait, FIRST_RETRY), LAST_RETRY)
