"""
One event and one drain on their whole way: from a pool's verdict to the helper's word, through the
section, its station and the socket's end. Only the helper itself and `ip` are made up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from balancer.route.anycast import protocol, reach
from balancer.route.anycast.frames import (
    Frame,
    Heard,
    Hello,
    Key,
    Neighbor,
    Report,
    Wish,
    decode,
    encode,
)
from balancer.route.anycast.protocol import Link
from balancer.route.anycast.service import Anycast
from balancer.route.anycast.station import ORPHAN_WITHIN, Station
from balancer.route.anycast.withdrawal import SETTLED_AFTER
from tests.route.anycast.section import KEY, SITE, Asking, Context, settings_of
from tests.route.anycast.stations import FakeSocket, Reactor, Transport

GONE = "address del 192.0.2.53/32"


class WalkTests(SynchronousTestCase):
    """A section that is announced, and its helper."""

    def setUp(self) -> None:
        """Up to the announcement."""
        self.patch(protocol, "uid_of", lambda transport: 0)
        self.patch(reach, "local_address", lambda neighbor: "10.9.0.1")
        self.context = Context()
        self.reactor = self.context.reactor = Reactor()
        self.batches: list[str] = []
        self.station = Station(
            self.context, "", self.bind, self.write)  # type: ignore[arg-type]
        assert self.station.exabgp.program is not None
        self.station.exabgp.program.find = lambda: "/usr/sbin/exabgp"
        self.anycast = Anycast("far", self.context, self.run_ip, self.of, self.ask)  # type: ignore[arg-type]
        self.anycast.prepare(settings_of(SITE)).commit()
        self.anycast.startService()
        self.reactor.advance(ORPHAN_WITHIN)
        self.link = self.come()
        self.context.check(True)
        self.pass_time(2.2)
        self.assertEqual("up", self.anycast.status()["state"])
        self.answer()
        self.batches.clear()

    def bind(self, name: str) -> Any:
        """Bind nothing."""
        return FakeSocket()

    def write(self, path: str, data: bytes) -> Deferred[None]:
        """Write nothing."""
        return succeed(None)

    def of(self, context: Any, name: str) -> Any:
        """The station."""
        return self.station

    def ask(self, reactor: Any, path: str, heard: Any) -> Any:
        """Nobody is asked."""
        return Asking(path, heard)

    def run_ip(self, batch: str, done: Callable[[str], None]) -> None:
        """Do as the batch says, in the next turn."""
        self.batches.append(" ".join(batch.split()[:3]))
        self.reactor.callLater(0, done, "")

    def come(self) -> Link:
        """The helper of our ExaBGP connects."""
        link: Link = self.reactor.factory.buildProtocol(None)
        transport = Transport()
        transport.link = link
        link.makeConnection(transport)
        link.dataReceived(encode(Hello(50, 40, self.station.exabgp.token)))
        return link

    def pass_time(self, seconds: float) -> None:
        """Time passes, and the helper answers each wish of it."""
        for _ in range(round(seconds * 10)):
            self.reactor.advance(0.1)
            self.answer()

    def wait(self, seconds: float) -> None:
        """Time passes, and the helper is still at it."""
        for _ in range(round(seconds * 10)):
            self.reactor.advance(0.1)
            self.link.dataReceived(encode(Heard(0)))

    def told(self) -> list[Frame]:
        """What the helper was told since it was asked last."""
        lines = self.link.transport.value().decode().splitlines()
        self.link.transport.clear()
        return [decode(line) for line in lines]

    def wished(self) -> Wish:
        """The latest wish."""
        wish = self.told()[-1]
        assert isinstance(wish, Wish)
        return wish

    def report(self, serial: int, *announced: Key) -> None:
        """The helper's word that the wish is carried out."""
        self.link.dataReceived(encode(Report(serial, True, False, announced)))

    def answer(self) -> None:
        """The helper carries out what it was wished last, if anything."""
        for frame in self.told()[-1:]:
            assert isinstance(frame, Wish)
            self.report(frame.serial, *frame.routes)

    def routes(self) -> int:
        """As the status has it: acknowledged ones."""
        count: int = self.anycast.status()["neighbors"][KEY[0]]["routes"]
        return count

    def test_server_goes_down(self) -> None:
        """Verdict, wish, the helper's word, and only then the addresses go."""
        self.link.dataReceived(encode(Neighbor(KEY[0], "up")))
        self.assertEqual(1, self.routes())
        self.context.check(False)
        self.assertEqual([], self.told())
        self.reactor.advance(0)
        wish = self.wished()
        self.assertEqual(({}, "down", 1, []), (
            wish.routes, self.anycast.status()["state"], self.routes(), self.batches))
        self.report(wish.serial)
        self.assertEqual((0, [GONE]), (self.routes(), self.batches))
        self.assertEqual(("anycast:far", "is down: pool:web has no server up", 4),
                         self.context.told[-1])

    def test_drain(self) -> None:
        """Worse first, then gone, then the helper's word, then a second for routers; the addresses
        stay until the end, and at the end nothing is left."""
        withdrawn = self.anycast.withdraw()
        self.assertEqual(9, self.wished().routes[KEY].med)
        self.wait(3.1)
        wish = self.wished()
        self.assertEqual(({}, "gone"), (wish.routes, self.anycast.status()["state"]))
        self.wait(2.0)
        self.assertNoResult(withdrawn)
        self.report(wish.serial)
        self.reactor.advance(SETTLED_AFTER - 0.1)
        self.assertNoResult(withdrawn)
        self.reactor.advance(0.2)
        self.successResultOf(withdrawn)
        self.assertNotIn(GONE, self.batches)
        stopped: Deferred[None] = self.anycast.stopService()
        self.assertEqual(GONE, self.batches[-1])
        self.pass_time(0.2)
        self.assertEqual(["TERM"], self.reactor.signals)
        self.assertNoResult(stopped)

    def test_helper_dies_meanwhile(self) -> None:
        """While no helper can say that a route is gone its addresses stay; the next one is told the
        same wish, and its word counts."""
        self.context.check(False)
        self.reactor.advance(0)
        serial = self.wished().serial
        self.link.connectionLost()
        self.reactor.pump([0.1] * 5)
        self.assertEqual([], self.batches)
        self.link = self.come()
        wish = self.wished()
        self.assertEqual((serial, {}), (wish.serial, wish.routes))
        self.report(wish.serial, KEY)
        self.report(wish.serial)
        self.assertEqual([GONE], self.batches)
