"""
Who is near, beside gdnsd's `geoip` with the same places and the same database.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import dns.edns
import dns.message
from attrs import frozen

from tests.bench.nameservers import NEAR, PLACES, ZONE, NameServers
from tests.live.dns.asking import Asker
from tests.live.harness import LiveTestCase, need

CLIENTS = 600
KNOWN = range(1, 100)
"""The first bytes of the addresses that the database knows."""

UNKNOWN = range(100, 223)


@frozen
class Told:
    """Of an answer: the addresses, the TTL, and for how many bits of the client's it holds."""

    addresses: frozenset[str]
    ttl: int
    scope: int


class NearTests(LiveTestCase):
    """Both at work."""

    def setUp(self) -> None:
        """Start both."""
        super().setUp()
        need("gdnsd", "taskset")
        servers = NameServers(Path(self.directory))
        self.addCleanup(servers.end)
        servers.origin()
        self.ours, self.theirs = (self.enterContext(Asker(servers.start(name).udp))
                                  for name in ("balancer", "gdnsd"))

    @staticmethod
    def ask(asker: Asker, network: str) -> Told:
        """The answer for a client's /24."""
        query = dns.message.make_query(f"{NEAR}.{ZONE}", "A",
                                       options=[dns.edns.ECSOption(network, 24)])
        wire = asker.udp(query.to_wire())
        assert wire is not None
        answer = dns.message.from_wire(wire)
        scope = next(option.scopelen for option in answer.options
                     if isinstance(option, dns.edns.ECSOption))
        return Told(frozenset(each.address for each in answer.answer[0]), answer.answer[0].ttl,
                    scope)

    def test_known(self) -> None:
        """A client whose country is known gets the same server from both; our answer holds for as
        wide a network, or a wider one, since gdnsd keeps apart who has other second choices."""
        random = Random("near")
        for _ in range(CLIENTS):
            network = f"{random.choice(KNOWN)}.{random.randrange(256)}.{random.randrange(256)}.0"
            ours, theirs = self.ask(self.ours, network), self.ask(self.theirs, network)
            self.assertEqual((theirs.addresses, theirs.ttl), (ours.addresses, ours.ttl), network)
            self.assertLessEqual(ours.scope, theirs.scope, network)

    def test_unknown(self) -> None:
        """A client that no place can claim gets all servers; gdnsd takes the first."""
        for first in UNKNOWN:
            ours = self.ask(self.ours, f"{first}.7.8.0")
            self.assertEqual(frozenset(place[3] for place in PLACES), ours.addresses)
        self.assertEqual({PLACES[0][3]}, self.ask(self.theirs, "200.7.8.0").addresses)
