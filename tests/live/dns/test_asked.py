"""
The balancer on 0.0.0.0 and [::], as most operators write it: in a network of its own, asked by many
clients at once at several addresses of one device.
"""

from __future__ import annotations

import json
import signal
import sys

import dns.message
import dns.rcode

from tests.live.dns.starting import HERE
from tests.live.harness import ROOT, LiveTestCase, ask
from tests.live.joined import LINK_LOCAL, V4, V6, Joined, source_of
from tests.live.namespaces import network

SITE = """\
[site]
admin = off
control = $directory/lb.sock

[dns example.test]
listen = 0.0.0.0:53
    [::]:53
zone = $here/example.test.zone
"""

CLIENTS = 30
"""Of each address, all at once."""


class AskedTests(LiveTestCase):
    """An answer comes from where its question went."""

    def setUp(self) -> None:
        """Start the balancer in one network and be in another."""
        super().setUp()
        with network():
            self.process = self.twistd(self.site_file(SITE, directory=self.directory, here=HERE))
            self.process.running(53)
        self.enterContext(network())
        self.joined = Joined(self.process.pid)

    def received(self, listener: str) -> int:
        """Datagrams that the balancer has counted there."""
        told = json.loads(ask("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "balancer.lbctl",
                              "--control", str(self.directory / "lb.sock"), "--json", "status"))
        section = told["balancers"]["dns:example.test"]
        count: int = section["listeners"][listener]["datagrams_total"]
        return count

    def burst(self, *hosts: str, gone: tuple[str, ...] = ()) -> None:
        """Many ask at each of these before the balancer can read, and every third one leaves
        without waiting. All others must be answered, but for who asked at an address that has
        `gone` since."""
        self.process.signal(signal.SIGSTOP)
        asked, leaving = [], []
        for number in range(CLIENTS):
            for host in hosts:
                client = self.joined.client(host)
                self.addCleanup(client.close)
                query = dns.message.make_query("ns1.example.test.", ("A", "AAAA")[number % 2])
                client.sendto(query.to_wire(), self.joined.where(host, 53))
                if number % 3:
                    asked.append((host, client, query))
                else:
                    leaving.append(client)
        for client in leaving:  # now, so that nobody has their ports
            client.close()
        for host in gone:
            self.joined.ip("address", "del", f"{host}/{64 if ':' in host else 24}", "dev", "east")
        self.process.signal(signal.SIGCONT)
        for host, client, query in asked:
            if host not in gone:
                answer, source = client.recvfrom(4096)
                self.assertEqual((source_of(source), source[1]), (host, 53))
                read = dns.message.from_wire(answer)
                self.assertTrue(query.is_response(read))
                self.assertEqual(read.rcode(), dns.rcode.NOERROR)
        for host, client, _ in asked:
            if host in gone:  # all others were answered meanwhile
                client.setblocking(False)
                self.assertRaises(BlockingIOError, client.recv, 4096)

    def test_v4(self) -> None:
        """Over IPv4."""
        for _ in range(5):
            self.burst(*V4)
        self.assertEqual(self.received("0.0.0.0:53"), 5 * CLIENTS * len(V4))

    def test_v6(self) -> None:
        """Over IPv6, at link-local addresses, at others, and at both by turns."""
        for hosts in (V6, LINK_LOCAL, (*V6, *LINK_LOCAL)):
            for _ in range(3):
                self.burst(*hosts)
        self.assertEqual(self.received("[::]:53"), 3 * CLIENTS * 2 * 4)

    def test_address_gone(self) -> None:
        """Who asked at an address that was taken away meanwhile gets nothing, all others do."""
        self.burst(*V4, gone=V4[1:])
        self.burst(V4[0])
        self.burst(*V6, *LINK_LOCAL, gone=(V6[1], LINK_LOCAL[1]))
        self.burst(V6[0], LINK_LOCAL[0])
