"""
Whatever happens in whatever order: nothing leaks, and no byte is lost that should arrive.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.relay.tcp.service import TcpBalancer
from balancer.relay.udp.service import UdpBalancer
from tests.relay.test_tcp import settings as tcp_settings
from tests.relay.test_udp import settings as udp_settings
from tests.relay.world import Attempt, FakeSocket, Site

STEPS = ("come", "say", "end", "leave", "accept", "refuse", "starve", "answer", "finish",
         "crash", "stuff", "unstuff", "wait", "down", "up", "turn")


@define
class Play:
    """A site under a random sequence of events."""

    site: Site
    balancer: TcpBalancer
    clients: list[FakeSocket] = field(factory=list)
    servers: list[FakeSocket] = field(factory=list)

    def step(self, what: str, which: int) -> None:
        """Let one thing happen to one of those that it can happen to."""
        happen: Callable[[int], None] = getattr(self, what)
        happen(which)

    def come(self, which: int) -> None:
        listener = self.site.listeners[8081]
        if listener.accepted is not None and not listener.paused:
            self.clients.append(FakeSocket())
            listener.accepted(self.clients[-1], ("192.0.2.7", which))

    def _one(self, socks: list[FakeSocket], which: int) -> FakeSocket | None:
        usable = [s for s in socks if not s.closed and b"" not in s.inbox]
        return usable[which % len(usable)] if usable else None

    def _comes(self, socks: list[FakeSocket], which: int, *data: bytes) -> None:
        sock = self._one(socks, which)
        if sock is not None:
            sock.comes(*data)

    def say(self, which: int) -> None:
        self._comes(self.clients, which, b"x" * 30000)

    def end(self, which: int) -> None:
        self._comes(self.clients, which, b"")

    def answer(self, which: int) -> None:
        self._comes(self.servers, which, b"y" * 90000)

    def finish(self, which: int) -> None:
        self._comes(self.servers, which, b"")

    def _breaks(self, socks: list[FakeSocket], which: int) -> None:
        sock = self._one(socks, which)
        if sock is not None:
            sock.inbox.clear()
            sock.breaks()

    def leave(self, which: int) -> None:
        self._breaks(self.clients, which)

    def crash(self, which: int) -> None:
        self._breaks(self.servers, which)

    def stuff(self, which: int) -> None:
        for sock in (*self.clients, *self.servers)[which % 3::3]:
            sock.room = which * 1000

    def unstuff(self, which: int) -> None:
        for sock in (*self.clients, *self.servers):
            sock.room = 1 << 30

    def _pending(self) -> list[Attempt]:
        return [attempt for attempt in self.site.attempts if not attempt.over]

    def accept(self, which: int) -> None:
        pending = self._pending()
        if pending:
            self.servers.append(pending[which % len(pending)].succeed())

    def _fail(self, which: int, code: int) -> None:
        pending = self._pending()
        if pending:
            pending[which % len(pending)].fail(code)

    def refuse(self, which: int) -> None:
        self._fail(which, errno.ECONNREFUSED)

    def starve(self, which: int) -> None:
        self._fail(which, errno.EMFILE)

    def wait(self, which: int) -> None:
        self.site.wait(which / 3)

    def down(self, which: int) -> None:
        self.site.turn_down("ab"[which % 2])

    def up(self, which: int) -> None:
        self.site.turn_up("ab"[which % 2])

    def turn(self, which: int) -> None:
        self.site.reactor.turn(which % 3 + 1)


class InterleavingTests(SynchronousTestCase):
    """Random plays."""

    @settings(max_examples=12, deadline=None, database=None)
    @given(
        st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 8)), max_size=40),
        st.integers(0, 2),
    )
    def test_tcp_never_leaks(self, steps: list[tuple[str, int]], most: int) -> None:
        """At every moment servers are busy with exactly the links that sit on them, and after the
        end with nothing."""
        site = Site(most=most, queue=2, queue_timeout=1.0)
        balancer = TcpBalancer("t", site, connect=site.connect)
        balancer.prepare(tcp_settings(idle_timeout="3s", max_connections="5")).commit()
        balancer.startService()
        play = Play(site, balancer)
        for what, which in [("come", 1), ("come", 2), *steps]:
            play.step(what, which)
            seated = [link.seat.server.name for link in balancer.links if link.seat.server]
            busy = {name: seated.count(name) for name in "ab"}
            self.assertEqual(site.in_flight, busy)
            self.assertLessEqual(len(balancer.links), 5)
        done = balancer.stopService()
        site.reactor.settle()
        self.successResultOf(done)
        self.assertEqual(site.in_flight, {"a": 0, "b": 0})
        self.assertEqual(site.the_pool.queue_length, 0)
        self.assertEqual(len(site.wheel), 0)
        self.assertTrue(all(sock.closed for sock in (*play.clients, *play.servers)))
        self.assertTrue(all(attempt.over for attempt in site.attempts))
        self.assertEqual(sum(balancer.totals.ended.values()), balancer.connections_total)

    @settings(max_examples=15, deadline=None, database=None)
    @given(
        st.lists(st.binary(min_size=1, max_size=9), max_size=6),
        st.lists(st.binary(min_size=1, max_size=9), max_size=6),
        st.integers(0, 7),
        st.integers(1, 9),
        st.integers(0, 2),
    )
    def test_tcp_loses_nothing(
        self, asked: list[bytes], answered: list[bytes], early: int, room: int, refusals: int
    ) -> None:
        """All that each side sent before its end arrives, whenever the server connects and however
        little either side takes at a time."""
        site = Site("abcd")
        balancer = TcpBalancer("t", site, connect=site.connect)
        balancer.prepare(tcp_settings()).commit()
        balancer.startService()
        client = FakeSocket()
        site.listeners[8081].accepted(client, ("192.0.2.7", 1))
        client.room = room
        client.comes(*asked[:early])
        site.reactor.turn()
        for _ in range(refusals):
            site.attempts[-1].fail()
        server = site.attempts[-1].succeed(room)
        client.comes(*asked[early:], b"")
        server.comes(*answered, b"")
        for _ in range(60):
            site.reactor.turn()
            client.room = server.room = room
        self.assertEqual(bytes(server.outbox), b"".join(asked))
        self.assertEqual(bytes(client.outbox), b"".join(answered))
        self.assertFalse(client.reset or server.reset)
        self.assertEqual(balancer.totals.ended, {"--": 1})

    @settings(max_examples=12, deadline=None, database=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["ask", "answer", "refuse", "odd", "down", "up", "wait", "starve"]),
                st.integers(0, 5),
            ),
            max_size=40,
        )
    )
    def test_udp_never_leaks(self, steps: list[tuple[str, int]]) -> None:
        """At every moment servers are busy with exactly the flows that sit on them, sockets are
        open for exactly those, and after the end there is nothing."""
        site = Site(most=3)
        balancer = UdpBalancer("u", site, link=site.link)
        balancer.prepare(
            udp_settings(max_connections="4", max_connections_per_source="2", idle_timeout="2s")
        ).commit()
        balancer.startService()
        for what, which in steps:
            links = [link for link in site.links if not link.closed]
            link = links[which % len(links)] if links else None
            site.no_sockets = what == "starve"
            if what in ("ask", "starve"):
                site.ports[8082].received(b"ask", (f"192.0.2.{which % 3}", which), None)
            elif what == "answer" and link:
                link.received(b"answer")
            elif what == "refuse" and link:
                link.failed(OSError(errno.ECONNREFUSED, "refused"))
            elif what == "odd" and link:
                link.failed(OSError(errno.ECONNABORTED, "odd"))
            elif what in ("down", "up"):
                (site.turn_down if what == "down" else site.turn_up)("ab"[which % 2])
            elif what == "wait":
                site.wait(which / 3)
            flows = list(balancer.crowd.flows)
            seated = [flow.seat.server.name for flow in flows if flow.seat.server]
            self.assertEqual(site.in_flight, {name: seated.count(name) for name in "ab"})
            opened = sum(not link.closed for link in site.links)
            self.assertEqual(opened, len(seated))
            self.assertLessEqual(len(flows), 4)
        self.successResultOf(balancer.stopService())
        self.assertEqual(site.in_flight, {"a": 0, "b": 0})
        self.assertEqual(len(site.wheel), 0)
        self.assertTrue(all(link.closed for link in site.links))
