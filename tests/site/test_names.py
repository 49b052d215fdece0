"""Servers by DNS name: asked again and again, and never lost by a name server's fault."""

from __future__ import annotations

import socket
import threading
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.values import Endpoint
from balancer.pool.server import Server
from balancer.pool.settings import ServerSettings
from balancer.site import names as module
from balancer.site.names import RESOLVE_INTERVAL, UNRESOLVED, Named, Names
from balancer.wire.address import Address, literal
from balancer.wire.connect_tls import Trust, client_context, secured

APP = Endpoint("app.test", 80)
WEB = Endpoint("web.test", 80)
FIRST, SECOND = literal("192.0.2.1", 80), literal("192.0.2.2", 80)
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class NamesTests(SynchronousTestCase):
    """Names on a clock, and a resolver that answers when it is told to."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[Endpoint, Deferred[Address]]] = []
        self.moves: list[str] = []
        reactor: Any = self.clock  # it has no descriptors
        self.names = Names(reactor, ask=self.ask, moved=self.moved)

    def ask(self, endpoint: Endpoint) -> Deferred[Address]:
        """Remember the question."""
        self.asked.append((endpoint, Deferred()))
        return self.asked[-1][1]

    def moved(self, server: Server) -> None:
        """Remember who moved."""
        self.moves.append(f"{server.key} {server.address}")

    def server(self, endpoint: Endpoint, address: Address = UNRESOLVED) -> Server:
        """A server with that name."""
        return Server.of("pool", ServerSettings(name=endpoint.host), address, 0.0)

    def begin(self, *endpoints: Endpoint) -> list[Server]:
        """Start with a server for each of the names; none of them is known."""
        servers = [self.server(each) for each in endpoints]
        self.names.follow(Named(*each) for each in zip(servers, endpoints, strict=True))
        self.names.start()
        self.addCleanup(self.names.stop)
        return servers

    def answer(self, result: Address | OSError) -> None:
        """Answer the oldest question."""
        _, deferred = self.asked.pop(0)
        if isinstance(result, OSError):
            deferred.errback(result)
        else:
            deferred.callback(result)

    def test_tls(self) -> None:
        """A server with TLS has it at its new address, too, and is trusted as before."""
        trust = Trust(client_context(verify=False), "app.test")
        server = self.server(APP, secured(UNRESOLVED, trust))
        self.names.follow([Named(server, APP)])
        self.names.start()
        self.addCleanup(self.names.stop)
        self.answer(FIRST)
        self.assertEqual(server.address, secured(FIRST, trust))
        self.clock.advance(RESOLVE_INTERVAL)
        self.answer(FIRST)
        self.assertEqual(len(self.moves), 1)

    def test_changes(self) -> None:
        """A name whose address changes moves its server, within the interval."""
        (server,) = self.begin(APP)
        self.answer(FIRST)
        self.assertEqual((server.address, self.moves), (FIRST, ["pool/app.test 192.0.2.1:80"]))
        self.clock.advance(RESOLVE_INTERVAL)
        self.answer(SECOND)
        self.assertEqual((server.address, self.moves[1:]), (SECOND, ["pool/app.test 192.0.2.2:80"]))

    def test_stays(self) -> None:
        """The same address again is no news."""
        self.begin(APP)
        self.answer(FIRST)
        self.clock.advance(RESOLVE_INTERVAL)
        self.answer(FIRST)
        self.assertEqual(len(self.moves), 1)

    def test_stops_resolving(self) -> None:
        """A name that does not resolve any more keeps its last address, and is asked for again."""
        (server,) = self.begin(APP)
        self.answer(FIRST)
        for _ in range(3):
            self.clock.advance(RESOLVE_INTERVAL)
            self.answer(UNKNOWN)
        self.assertEqual(server.address, FIRST)
        self.clock.advance(RESOLVE_INTERVAL)
        self.answer(SECOND)
        self.assertEqual(server.address, SECOND)

    def test_never_resolved(self) -> None:
        """A name that was never resolved has an address at which nobody answers."""
        (server,) = self.begin(APP)
        self.answer(UNKNOWN)
        self.assertEqual((server.address, self.moves), (UNRESOLVED, []))

    def test_hangs(self) -> None:
        """A look-up that hangs is not repeated, and holds up no other name's."""
        _, web = self.begin(APP, WEB)
        hanging = [each for each in self.asked if each[0] == APP]
        self.asked = [each for each in self.asked if each[0] == WEB]
        self.answer(FIRST)
        self.assertEqual(web.address, FIRST)
        self.clock.advance(RESOLVE_INTERVAL)
        self.assertEqual([endpoint for endpoint, _ in self.asked], [WEB])
        hanging[0][1].errback(UNKNOWN)
        self.clock.advance(RESOLVE_INTERVAL)
        self.assertEqual({endpoint for endpoint, _ in self.asked}, {APP, WEB})

    def test_forgotten(self) -> None:
        """A name that the site file has no more is not asked for any more."""
        self.begin(APP)
        self.answer(FIRST)
        self.names.follow(())
        self.clock.advance(RESOLVE_INTERVAL)
        self.assertEqual((self.asked, self.names.known), ([], {}))


class StartTests(SynchronousTestCase):
    """Before the reactor runs."""

    def test_waits(self) -> None:
        """The start knows the addresses; a literal is never asked for, nor a name twice."""
        asked: list[str] = []

        def look_up(endpoint: Endpoint) -> Address:
            asked.append(endpoint.host)
            if endpoint == WEB:
                raise UNKNOWN
            return FIRST

        self.patch(module, "look_up", look_up)
        reactor: Any = Clock()
        names = Names(reactor)
        for _ in range(2):
            names.look_up_now((APP, WEB, Endpoint("192.0.2.9", 80)))
        self.assertEqual((names.known, sorted(asked)), ({APP: FIRST}, [APP.host, WEB.host]))

    def test_patience(self) -> None:
        """A resolver that hangs holds the start up for a bounded time, over all pools."""
        over = threading.Event()
        self.addCleanup(over.set)

        def look_up(endpoint: Endpoint) -> Address:
            over.wait(10)
            return FIRST

        self.patch(module, "look_up", look_up)
        self.patch(module, "START_PATIENCE", 0.0)
        reactor: Any = Clock()
        names = Names(reactor)
        names._patience = 0.02
        for port in range(50):
            names.look_up_now((Endpoint("app.test", 80 + port),))
        self.assertEqual(names.known, {})
