"""Servers by DNS name: asked again and again, and never lost by a name server's fault."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.values import Endpoint
from balancer.pool.server import Server
from balancer.pool.settings import ServerSettings
from balancer.resolve.looking import Found, Nothing
from balancer.site import names as module
from balancer.site.names import (
    AT_ONCE,
    BEGUN_A_TURN,
    FIRST_RETRY,
    LAST_RETRY,
    MAX_TTL,
    SPREAD,
    UNRESOLVED,
    Named,
    Names,
    gather,
)
from balancer.wire.address import Address, literal
from balancer.wire.connect_tls import Trust, client_context, secured

APP = Endpoint("app.test", 80)
WEB = Endpoint("web.test", 80)
FIRST, SECOND = literal("192.0.2.1", 80), literal("192.0.2.2", 80)
TTL = 20.0
AT_FIRST, AT_SECOND = Found(("192.0.2.1",), TTL), Found(("192.0.2.2",), TTL)
UNKNOWN = Nothing("no such name")


class Resolver:
    """Answers when it is told to; a part of the test."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[Found | Nothing]]] = []
        self.servers: Sequence[tuple[str, int]] = ()
        self.new = False

    def use(self, servers: Sequence[tuple[str, int]]) -> None:
        """Remember them."""
        self.new = self.new or servers != self.servers
        self.servers = servers

    def changed(self) -> bool:
        """Once after each change."""
        new, self.new = self.new, False
        return new

    def look_up(self, name: str) -> Deferred[Found | Nothing]:
        """Remember the question."""
        self.asked.append((name, Deferred()))
        return self.asked[-1][1]

    def source_of(self, address: str) -> str | None:
        """Everything is reached by IPv6."""
        return "2001:db8::9" if ":" in address else None

    @property
    def open(self) -> list[str]:
        """The names whose questions are not answered."""
        return [name for name, _ in self.asked]


class NamesTests(SynchronousTestCase):
    """Names on a clock, and a resolver that answers when it is told to."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.resolver: Any = Resolver()
        self.moves: list[str] = []
        reactor: Any = self.clock  # it has no descriptors
        self.names = Names(reactor, lambda _: self.resolver, Random(1), moved=self.moved)

    def moved(self, server: Server) -> None:
        """Remember who moved."""
        self.moves.append(f"{server.key} {server.address}")

    def server(self, endpoint: Endpoint, address: Address = UNRESOLVED) -> Server:
        """A server with that name."""
        return Server.of("pool", ServerSettings(name=endpoint.host), address, 0.0)

    def follow(self, *named: Named) -> None:
        """As a reload does."""
        found: dict[str, list[Named]] = {}
        gather(named, found)
        self.names.follow(found)

    def begin(self, *endpoints: Endpoint) -> list[Server]:
        """Start with a server for each of the names; none of them is known."""
        servers = [self.server(each) for each in endpoints]
        self.follow(*(Named(*each) for each in zip(servers, endpoints, strict=True)))
        self.names.start()
        self.addCleanup(self.names.stop)
        self.advance(0)
        return servers

    def advance(self, seconds: float) -> None:
        """Time goes on in small steps."""
        self.clock.pump([seconds / 10] * 10)

    def answer(self, result: Found | Nothing) -> None:
        """Answer the oldest question."""
        self.resolver.asked.pop(0)[1].callback(result)

    def ask_again(self, result: Found | Nothing, after: float = TTL + SPREAD) -> None:
        """The time is over: the one question that comes is answered."""
        self.advance(after)
        self.assertEqual(self.resolver.open, ["app.test"])
        self.answer(result)

    def test_tls(self) -> None:
        """A server with TLS has it at its new address, too, and is trusted as before."""
        trust = Trust(client_context(verify=False), "app.test")
        server = self.server(APP, secured(UNRESOLVED, trust))
        self.follow(Named(server, APP))
        self.names.start()
        self.addCleanup(self.names.stop)
        self.advance(0)
        self.answer(AT_FIRST)
        self.assertEqual(server.address, secured(FIRST, trust))
        self.ask_again(AT_FIRST)
        self.assertEqual(len(self.moves), 1)

    def test_changes(self) -> None:
        """A name whose address changes moves its servers, when the TTL is over and not before."""
        (server,) = self.begin(APP)
        self.answer(AT_FIRST)
        self.assertEqual((server.address, self.moves), (FIRST, ["pool/app.test 192.0.2.1:80"]))
        self.advance(TTL - 0.1)
        self.assertEqual(self.resolver.open, [])
        self.ask_again(AT_SECOND, SPREAD + 0.2)
        self.assertEqual((server.address, self.moves[1:]), (SECOND, ["pool/app.test 192.0.2.2:80"]))

    def test_ttls(self) -> None:
        """A TTL counts from a second to an hour, and short ones are kept to a tenth."""
        self.begin(APP)
        for ttl, soonest, latest in ((0.0, 1.0, 1.1), (2.0, 2.0, 2.2), (1e9, MAX_TTL, MAX_TTL + 1)):
            self.answer(Found(("192.0.2.1",), ttl))
            self.clock.advance(soonest - 0.01)
            self.assertEqual(self.resolver.open, [])
            self.clock.advance(latest - soonest + 0.02)
            self.assertEqual(self.resolver.open, ["app.test"])

    def test_one_name(self) -> None:
        """Servers at several ports of one name cost one question."""
        servers = self.begin(APP, Endpoint("app.test", 81))
        self.answer(AT_FIRST)
        self.assertEqual([each.address for each in servers], [FIRST, literal("192.0.2.1", 81)])
        self.assertEqual(self.resolver.open, [])

    def test_stays(self) -> None:
        """The same address again is no news, wherever in the answer it stands."""
        self.begin(APP)
        self.answer(AT_FIRST)
        self.ask_again(Found(("192.0.2.2", "192.0.2.1"), TTL))
        self.assertEqual(len(self.moves), 1)

    def test_families(self) -> None:
        """Of both families the one that is reached is taken."""
        (server,) = self.begin(APP)
        self.answer(Found(("192.0.2.1", "2001:db8::1"), TTL))
        self.assertEqual(server.address, literal("2001:db8::1", 80))

    def test_stops_resolving(self) -> None:
        """A name that does not resolve any more keeps its last address, and is asked for again."""
        (server,) = self.begin(APP)
        self.answer(AT_FIRST)
        self.ask_again(UNKNOWN)
        for _ in range(3):
            self.ask_again(UNKNOWN, LAST_RETRY)
        self.assertEqual(server.address, FIRST)
        self.ask_again(AT_SECOND, LAST_RETRY)
        self.assertEqual(server.address, SECOND)

    def test_patience(self) -> None:
        """Nobody who does not answer is asked ever more often, nor ever more seldom."""
        self.begin(APP)
        for wait in (FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY, LAST_RETRY, LAST_RETRY):
            self.answer(UNKNOWN)
            self.clock.advance(wait - 0.01)
            self.assertEqual(self.resolver.open, [])
            self.clock.advance(0.02)
            self.assertEqual(self.resolver.open, ["app.test"])

    def test_negative(self) -> None:
        """A negative TTL counts within the bounds of retries."""
        self.begin(APP)
        for ttl, wait in ((0.0, FIRST_RETRY), (17.0, 17.0), (9999.0, LAST_RETRY)):
            self.answer(Nothing("no such name", ttl))
            self.clock.advance(wait - 0.01)
            self.assertEqual(self.resolver.open, [])
            self.clock.advance(0.02)
            self.assertEqual(self.resolver.open, ["app.test"])

    def test_never_resolved(self) -> None:
        """A name that was never resolved has an address at which nobody answers."""
        (server,) = self.begin(APP)
        self.answer(UNKNOWN)
        self.assertEqual((server.address, self.moves), (UNRESOLVED, []))

    def test_fault(self) -> None:
        """A look-up that raises is logged, and the name asked for again."""
        self.begin(APP)
        self.resolver.asked.pop(0)[1].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.advance(FIRST_RETRY)
        self.assertEqual(self.resolver.open, ["app.test"])

    def test_hangs(self) -> None:
        """A look-up that hangs is not repeated, and holds up no other name's."""
        _, web = self.begin(APP, WEB)
        hanging = self.resolver.asked.pop(0)
        self.answer(AT_FIRST)
        self.assertEqual(web.address, FIRST)
        self.advance(TTL + SPREAD)
        self.assertEqual(self.resolver.open, ["web.test"])
        hanging[1].callback(UNKNOWN)
        self.advance(FIRST_RETRY)
        self.assertEqual(self.resolver.open, ["web.test", "app.test"])

    def test_many(self) -> None:
        """Thousands of names are asked for a few at a time, and each once."""
        endpoints = [Endpoint(f"s{number}.test", 80) for number in range(1000)]
        self.follow(*(Named(self.server(each), each) for each in endpoints))
        self.names.start()
        self.addCleanup(self.names.stop)
        call: Any = self.clock.calls.pop(0)
        call.called = True
        call.func()
        self.assertEqual(len(self.resolver.open), BEGUN_A_TURN)
        seen: set[str] = set()
        while len(seen) < 1000:
            self.advance(0)
            self.assertLessEqual(len(self.resolver.open), AT_ONCE)
            self.assertEqual(seen & set(self.resolver.open), set())
            seen.update(self.resolver.open)
            while self.resolver.asked:
                self.answer(AT_FIRST)

    def test_forgotten(self) -> None:
        """A name that the site file has no more is not asked for any more, nor known."""
        self.begin(APP, WEB)
        self.answer(AT_FIRST)
        self.follow()
        self.answer(AT_FIRST)
        self.advance(2 * TTL)
        self.assertEqual((self.resolver.open, self.clock.getDelayedCalls()), ([], []))
        self.assertEqual(self.names.address(APP), UNRESOLVED)

    def test_reload(self) -> None:
        """A name that stays is not asked for by a reload; a new one is, at once."""
        (server,) = self.begin(APP)
        self.answer(AT_FIRST)
        self.follow(Named(server, APP), Named(self.server(WEB), WEB))
        self.advance(0)
        self.assertEqual(self.resolver.open, ["web.test"])
        self.assertEqual(self.names.address(Endpoint("app.test", 81)), literal("192.0.2.1", 81))

    def test_other_resolvers(self) -> None:
        """Once other resolvers are to be asked, or a file changed, every name is, within 1 s."""
        self.begin(APP)
        self.answer(AT_FIRST)
        self.names.use([Endpoint("192.0.2.53", 53)])
        self.assertEqual(self.resolver.servers, (("192.0.2.53", 53),))
        self.ask_again(AT_SECOND, 1.1)
        self.names.use([Endpoint("192.0.2.53", 53)])
        self.advance(2)
        self.assertEqual(self.resolver.open, [])

    def test_stopped(self) -> None:
        """A look-up in progress ends with the site."""
        self.begin(APP)
        self.names.stop()
        self.assertTrue(self.resolver.asked[0][1].called)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StartTests(SynchronousTestCase):
    """Before the reactor runs."""

    def setUp(self) -> None:
        self.asked: list[tuple[list[str], float]] = []
        self.clock = Clock()
        reactor: Any = self.clock
        self.resolver: Any = Resolver()
        self.names = Names(reactor, lambda _: self.resolver, Random(1))
        self.patch(module, "look_up_now", self.look_up_now)

    def look_up_now(self, names: Any, make: Any, patience: float) -> Any:
        """The name is found, others hang."""
        self.asked.append((sorted(names), patience))
        self.assertIs(make(None), self.resolver)
        return {name: AT_FIRST if name == "app.test" else None for name in names}

    def test_waits(self) -> None:
        """The start knows the addresses; a literal is never asked for, nor a name twice."""
        self.names.use([Endpoint("192.0.2.53", 53)])
        for _ in range(2):
            self.names.look_up_now((APP, Endpoint("192.0.2.9", 80)))
        self.assertEqual(self.names.address(APP), FIRST)
        self.assertEqual(self.asked, [(["app.test"], module.START_PATIENCE)])
        self.assertEqual(self.resolver.servers, (("192.0.2.53", 53),))

    def test_hangs(self) -> None:
        """A name that hangs is down, keeps no other from being known, and is asked for again once
        the site runs."""
        self.names.look_up_now((APP, WEB))
        self.assertEqual([self.names.address(each) for each in (APP, WEB)], [FIRST, UNRESOLVED])
        server = Server.of("pool", ServerSettings(name="s"), UNRESOLVED, 0.0)
        self.names.follow({"web.test": [Named(server, WEB)]})
        self.names.start()
        self.addCleanup(self.names.stop)
        self.clock.advance(0)
        self.assertEqual(self.resolver.open, ["web.test"])
