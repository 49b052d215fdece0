"""
A real resolver's walk from the root to us: unbound with everything that makes it suspicious.
"""

from __future__ import annotations

from collections.abc import Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from tests.live.dns.asking import Asker
from tests.live.dns.world import (
    EAST,
    ELSEWHERE,
    EXAMPLE,
    RESOLVER,
    ROOT,
    SUBNETS,
    WEST,
    WEST_TOO,
    WorldTestCase,
)
from tests.live.harness import ask, wait_until
from tests.live.namespaces import mounted

WITHIN = 10.0
"""Seconds for a whole walk."""

WALKS = (
    ("www.example.test.", "A", "NOERROR", ("192.0.2.11", "192.0.2.12", "192.0.2.13")),
    ("www.example.test.", "AAAA", "NOERROR", ("2001:db8::11",)),
    ("www.example.test.", "HTTPS", "NOERROR", ('1 . alpn="h2" port="8443"',)),
    ("example.test.", "MX", "NOERROR", ("10 mail.example.test.", "20 mail.other.test.")),
    ("any.wild.example.test.", "A", "NOERROR", ("192.0.2.70",)),
    ("x.y.wild.example.test.", "TXT", "NOERROR", ('"from a wildcard"',)),
    ("any.wild.example.test.", "AAAA", "NOERROR", ()),
    ("chain1.example.test.", "AAAA", "NOERROR",
     ("chain2.example.test.", "chain3.example.test.", "www.example.test.", "2001:db8::11")),
    ("w.wildalias.example.test.", "AAAA", "NOERROR", ("www.example.test.", "2001:db8::11")),
    ("outside.example.test.", "A", "NOERROR", ("www.other.test.", "192.0.2.200")),
    ("to-cut.example.test.", "A", "NOERROR", ("below.sub.example.test.", "192.0.2.91")),
    ("below.sub.example.test.", "A", "NOERROR", ("192.0.2.91",)),
    ("a.b.ent.example.test.", "TXT", "NOERROR", ('"far below"',)),
    ("b.ent.example.test.", "A", "NOERROR", ()),
    ("no-such-name.example.test.", "A", "NXDOMAIN", ()),
    ("unknown.example.test.", "TYPE731", "NOERROR", (r"\# 6 abcdef012345",)),
    ("_sip._tcp.example.test.", "SRV", "NOERROR",
     ("10 60 5060 sip.example.test.", "20 0 5060 sip.other.test.")),
    ("mixed.example.test.", "A", "NOERROR", ("192.0.2.99",)),
    ("all.example.test.", "A", "NOERROR", ("192.0.2.111", "192.0.2.112")),
)
"""Name, type, what the resolver must find."""


def resolve(name: str, rdtype: str, source: str = "") -> dns.message.Message:
    """What the resolver tells a client at `source`."""
    query = dns.message.make_query(name, rdtype, use_edns=0)
    with Asker(53, RESOLVER, source) as asker:
        wire = asker.udp(query.to_wire(), WITHIN)
        if wire is not None and wire[2] & 2:  # TC
            wire = asker.tcp(query.to_wire(), WITHIN)
    assert wire is not None, f"no answer about {name} {rdtype}"
    return dns.message.from_wire(wire)


def data(message: dns.message.Message) -> list[str]:
    """The data of the answer's records."""
    return sorted(rdata.to_text() for rrset in message.answer for rdata in rrset)


class ResolverTests(WorldTestCase):
    """Root, top-level domain and zones are ours."""

    marks = 0

    def test_walk(self) -> None:
        """unbound, minimising and hardened, finds every kind of record, over TCP what does not
        fit into a datagram; and dig walks the delegations itself."""
        self.resolver()
        wrong = []
        for name, rdtype, rcode, expected in WALKS:
            answer = resolve(name, rdtype)
            got = (dns.rcode.to_text(answer.rcode()), data(answer))
            if got != (rcode, sorted(expected)):
                wrong.append(f"{name} {rdtype}: {got}")
        self.assertEqual([], wrong)
        self.assertEqual(25, len(resolve("big4096.example.test.", "TXT").answer[0]))
        self.trace()

    def trace(self) -> None:
        """`dig +trace`, which unbound tells the addresses of name servers."""
        names = self.directory / "resolv.conf"
        names.write_text(f"nameserver {RESOLVER}\n")
        own = mounted(f"mount --bind {names} /etc/resolv.conf")
        said = ask(*own, "dig", f"@{ROOT}", "+trace", "+nodnssec", "www.example.test", "A")
        self.assertIn("192.0.2.12", said)
        self.assertEqual(4, said.count(";; Received"), said)

    def asked(self, name: str) -> Sequence[str]:
        """The lines of the query log about a name, once all that was asked is in it."""
        self.marks += 1
        mark = f"mark{self.marks}.example.test."
        with Asker(53, EXAMPLE) as asker:
            self.assertIsNotNone(asker.udp(dns.message.make_query(mark, "A").to_wire()))
        log = self.directory / "queries.log"
        wait_until("the log is written", lambda: mark.rstrip(".") in log.read_text())
        return [line for line in log.read_text().lower().splitlines() if name in line]

    def test_subnets(self) -> None:
        """A resolver that tells its clients' networks gets each the near server, and may use the
        answer for that network only; one that is the same for everybody, it asks for once."""
        self.resolver("subnetcache iterator", SUBNETS)
        near = "near.example.test."
        self.assertEqual(["192.0.2.111"], data(resolve(near, "A", WEST)))
        self.assertEqual(["192.0.2.112"], data(resolve(near, "A", EAST)))
        self.assertEqual(["192.0.2.111", "192.0.2.112"], data(resolve(near, "A", ELSEWHERE)))
        asked = len(self.asked("near.example.test"))
        self.assertGreaterEqual(asked, 3)
        self.assertEqual(["192.0.2.111"], data(resolve(near, "A", WEST_TOO)))
        self.assertEqual(["192.0.2.112"], data(resolve(near, "A", EAST)))
        self.assertEqual(asked, len(self.asked("near.example.test")))
        for source in (WEST, EAST, ELSEWHERE, WEST_TOO):
            self.assertEqual(3, len(data(resolve("www.example.test.", "A", source))))
        log = self.asked("www.example.test")
        self.assertEqual(1, len([line for line in log if " a " in line]), log)
