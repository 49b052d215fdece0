"""
A bound port of ours in a network of its own, asked at several addresses of one device: in batches
and one by one it answers from where it was asked, and counts alike.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable

from balancer.wire.address import literal
from balancer.wire.bind import bind_udp
from balancer.wire.bound import MAX_DATAGRAM
from balancer.wire.datagrams import DatagramPort
from tests.live.harness import LiveTestCase, wait_until
from tests.live.joined import LINK_LOCAL, V4, V6, Joined, source_of
from tests.live.namespaces import network
from tests.wire.reactors import StillReactor

ROUNDS = 40
"""Bursts, of up to 64 questions each."""

EVERYBODY = "ff02::1"
"""Asked there, a port has no address to answer from (RFC 4291 2.7): the kernel refuses."""


class DatagramsTests(LiveTestCase):
    """Ports on wildcard addresses, whose clients are elsewhere."""

    def setUp(self) -> None:
        """Bind the ports in one network and be in another."""
        super().setUp()
        self.reactor = StillReactor()
        with network():
            neighbor = self.start(["sleep", "1000"], "sleep")
            self.ports = {(host, longest): self.port(host, longest)
                          for host in ("0.0.0.0", "::") for longest in (4096, MAX_DATAGRAM)}
        self.enterContext(network())
        self.joined = Joined(neighbor.pid)

    def port(self, host: str, longest: int) -> DatagramPort:
        """A port that answers nearly all, with what was asked and by whom."""
        sock = bind_udp(literal(host, 0))
        port = DatagramPort(self.reactor, sock, literal(host, sock.getsockname()[1]))
        self.addCleanup(port.stop)
        port.longest = longest
        port.answer = lambda data, host: (
            None if data.startswith(b"none") else data + b" of " + host.partition("%")[0].encode())
        port.start()
        return port

    def bursts(self, port: DatagramPort, hosts: tuple[str, ...], longest: int) -> None:
        """Many clients ask at once, again and again."""
        chance = random.Random(longest)
        clients = [(host, self.joined.client(host)) for host in hosts for _ in range(8)]
        for _, client in clients:
            self.addCleanup(client.close)
        for _ in range(ROUNDS):
            asked = [(*chance.choice(clients), chance.choice((b"none", b"x", b"y" * 1000)))
                     for _ in range(chance.randrange(1, 65))]
            self.burst(port, asked)

    def burst(self, port: DatagramPort, asked: list[tuple[str, socket.socket, bytes]]) -> None:
        """These ask at once; each must be answered from there, and all be counted."""
        before = port.received_total, port.sent_total, port.dropped_total
        for host, client, text in asked:
            client.sendto(text, self.joined.where(host, port.address.port))
        self.turn_until(lambda: port.received_total - before[0] >= len(asked))
        silent = sum(text == b"none" for _, _, text in asked)
        nowhere = sum(host == EVERYBODY and text != b"none" for host, _, text in asked)
        self.assertEqual((port.received_total, port.sent_total, port.dropped_total),
                         (before[0] + len(asked), before[1] + len(asked) - silent - nowhere,
                          before[2] + nowhere))
        for host, client, text in asked:
            if text == b"none" or host == EVERYBODY:
                continue
            answer, source = client.recvfrom(2000)
            ours = source_of(client.getsockname())
            self.assertEqual((answer, source_of(source), source[1]),
                             (text + b" of " + ours.encode(), host, port.address.port))

    def turn_until(self, true: Callable[[], bool]) -> None:
        """Turn the reactor; what is sent on a link arrives a little later."""
        def turned() -> bool:
            self.reactor.turn()
            return true()
        wait_until("all are read", turned, 10)

    def test_v4(self) -> None:
        """Over IPv4."""
        for longest in (4096, MAX_DATAGRAM):
            self.bursts(self.ports["0.0.0.0", longest], V4, longest)

    def test_v6(self) -> None:
        """Over IPv6, with link-local addresses among the others, and none to answer from."""
        for longest in (4096, MAX_DATAGRAM):
            self.bursts(self.ports["::", longest], V6, longest)
            self.bursts(self.ports["::", longest], LINK_LOCAL, longest)
            self.bursts(self.ports["::", longest], (*V6, *LINK_LOCAL, EVERYBODY), longest)
