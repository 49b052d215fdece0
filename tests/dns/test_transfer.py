"""Who may have a zone, what is sent, and what stands in for it over UDP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import ip_network

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.xfr
import dns.zone
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import names
from balancer.dns.cookies import Cookies
from balancer.dns.keys import Key
from balancer.dns.query import parse
from balancer.dns.responder import Responder, World
from balancer.dns.served import Served
from balancer.dns.transfer import Access, Reply
from balancer.dns.zone import Zone
from tests.dns.test_tsig import NOW, key_for, theirs_for
from tests.dns.zones import ORIGIN, load, sound

WHO = "127.0.0.1"
MANY = "\n".join(f"name{number} TXT {'t' * 200}" for number in range(90))
"""More than one message holds."""


class TransferTests(SynchronousTestCase):
    """What a responder makes of AXFR and IXFR for the zone of `HEAD`, whose serial is 1."""

    def setUp(self) -> None:
        """A zone that 127.0.0.0/8 may have."""
        tree = sound("www A 192.0.2.2\n" + MANY).tree
        assert tree is not None
        self.served = Served(ORIGIN, Zone(tree))
        self.allow(None)
        world = World(lambda host: b"\x7f\0\0\1", lambda: 0.0, lambda: float(NOW))
        self.responder = Responder(Cookies(bytes(16)), world)
        self.responder.serve([self.served])

    def allow(self, key: Key | None) -> None:
        """127.0.0.0/8 may, by that key."""
        name = None if key is None else key.name
        self.served.transfer = Access((((ip_network("127.0.0.0/8"),), name),))

    def query(self, kind: str, serial: int | None = None, edns: int = -1) -> dns.message.Message:
        """A query for the zone by who has that serial."""
        asked = dns.message.make_query("example.test.", kind, use_edns=edns)
        if serial is not None:
            asked.authority.append(dns.rrset.from_text(
                "example.test.", 0, "IN", "SOA", f". . {serial} 0 0 0 0"))
        return asked

    def udp(self, asked: dns.message.Message) -> dns.message.Message:
        """The answer to a datagram."""
        wire = self.responder.datagram(asked.to_wire(), WHO)
        assert wire is not None
        return dns.message.from_wire(wire, keyring=asked.keyring, request_mac=asked.mac)

    def tcp(self, asked: dns.message.Message) -> list[dns.message.Message]:
        """The messages over TCP."""
        wires = self.responder.stream(asked.to_wire(), WHO)
        assert isinstance(wires, Iterator)
        return [dns.message.from_wire(wire) for wire in wires]

    def test_whole(self) -> None:
        """AXFR gives all of the zone between two SOAs, in messages that a client can join."""
        asked = self.query("AXFR")
        messages = self.tcp(asked)
        self.assertGreater(len(messages), 1)
        zone = dns.zone.Zone("example.test.", relativize=False)
        with dns.xfr.Inbound(zone, dns.rdatatype.AXFR) as inbound:
            done = [inbound.process_message(each) for each in messages]
        self.assertEqual(done, [False] * (len(messages) - 1) + [True])
        self.assertEqual(len(zone.nodes), 93)

    def test_edns(self) -> None:
        """Who asks with an OPT record gets one in each message (RFC 6891 7), others get none."""
        for edns in (-1, 0):
            for message in self.tcp(self.query("AXFR", edns=edns)):
                self.assertEqual(message.edns, edns)

    def test_current(self) -> None:
        """An IXFR by who has the serial gets the SOA alone; by others, the whole zone."""
        (message,) = self.tcp(self.query("IXFR", 1))
        self.assertEqual([rrset.rdtype for rrset in message.answer], [dns.rdatatype.SOA])
        self.assertGreater(len(self.tcp(self.query("IXFR", 0))), 1)

    def test_over_udp(self) -> None:
        """An IXFR over UDP gets the SOA alone, whatever serial the asker has (RFC 1995 2)."""
        for serial in (0, 1):
            for edns in (-1, 0):
                answer = self.udp(self.query("IXFR", serial, edns))
                ((soa,),) = answer.answer
                self.assertEqual((soa.serial, answer.rcode(), answer.edns), (1, 0, edns))
        self.assertEqual(self.served.figures.transfers, 0)

    def test_too_long(self) -> None:
        """An SOA that does not fit into a datagram without EDNS is truncated."""
        long = ".".join(["a" * 60] * 3)
        text = f"$TTL 300\n@ SOA {long}.b {long}.c 1 2h 30m 2w 1m\n NS ns1\nns1 A 192.0.2.1\n"
        tree = load(text).tree
        assert tree is not None
        self.served.renew(Zone(tree), {})
        asked = self.query("IXFR", 0)
        self.assertEqual(len(self.udp(asked).answer), 1)
        reply = Reply(parse(asked.to_wire()), b"", None, lambda: 0.0)
        cut = dns.message.from_wire(reply.soa(self.served.zone, 400))
        self.assertEqual((cut.answer, cut.flags & dns.flags.TC), ([], dns.flags.TC))

    def test_axfr_over_udp(self) -> None:
        """AXFR over UDP is refused (RFC 5936 4.2)."""
        self.assertEqual(self.udp(self.query("AXFR")).rcode(), dns.rcode.REFUSED)

    def test_not_allowed(self) -> None:
        """Who may not have the zone does not get its SOA that way either."""
        self.served.transfer = None
        self.assertEqual(self.udp(self.query("IXFR", 0)).rcode(), dns.rcode.REFUSED)
        self.allow(key_for())
        self.assertEqual(self.udp(self.query("IXFR", 0)).rcode(), dns.rcode.REFUSED)

    def test_signed(self) -> None:
        """An IXFR over UDP that was signed gets a signed answer."""
        self.allow(key_for())
        self.served.keys = {b"\1k\0": key_for()}
        self.patch(time, "time", lambda: float(NOW))
        asked = self.query("IXFR", 0)
        asked.use_tsig(theirs_for())
        answer = self.udp(asked)
        self.assertTrue(answer.had_tsig)
        self.assertEqual((answer.rcode(), len(answer.answer)), (0, 1))

    def test_other_versions(self) -> None:
        """A version of EDNS that nobody speaks is BADVERS for transfers, too (RFC 6891 6.1.3)."""
        wire = self.responder.stream(self.query("AXFR", edns=1).to_wire(), WHO)
        assert isinstance(wire, bytes)
        self.assertEqual(dns.message.from_wire(wire).rcode(), dns.rcode.BADVERS)

    def test_told(self) -> None:
        """A NOTIFY about the type AXFR is no transfer."""
        asked = self.query("AXFR").to_wire()
        wire = self.responder.stream(asked[:2] + b"\x20" + asked[3:], WHO)
        assert isinstance(wire, bytes)
        self.assertEqual(wire[3] & 0xF, 5)


class SerialTests(SynchronousTestCase):
    """A zone whose serial changes and nothing else."""

    def setUp(self) -> None:
        """A zone and who answers for it."""
        tree = sound("www A 192.0.2.2").tree
        assert tree is not None
        self.served = Served(ORIGIN, Zone(tree))
        self.served.grows = True
        world = World(lambda host: b"\x7f\0\0\1", lambda: 0.0, lambda: float(NOW))
        self.responder = Responder(Cookies(bytes(16)), world)
        self.responder.serve([self.served])

    def serial(self, name: str, kind: str) -> int:
        """The serial that an answer shows."""
        wire = self.responder.datagram(dns.message.make_query(name, kind).to_wire(), WHO)
        assert wire is not None
        message = dns.message.from_wire(wire)
        ((soa,),) = [each for each in message.answer + message.authority if each.rdtype == 6]
        return int(soa.serial)

    def test_shown_at_once(self) -> None:
        """Whatever bears the SOA has the new serial at once: itself, no data, no such name."""
        asked = (("example.test.", "SOA"), ("www.example.test.", "AAAA"), ("no.example.test.", "A"))
        for serial in (1, 7, 0xFFFFFFFF):
            if serial > 1:
                self.served.number(serial)
            for _ in range(2):
                self.assertEqual({self.serial(*each) for each in asked}, {serial})
        self.assertEqual(self.served.zone.serial, 0xFFFFFFFF)

    def test_others_stay(self) -> None:
        """Prepared answers that do not bear it stay."""
        www, no = (names.from_text(f"{each}.example.test.") for each in ("www", "no"))
        address, nothing = (self.responder.entry(self.served, each, 1) for each in (www, no))
        self.served.number(2)
        self.assertIs(self.responder.entry(self.served, www, 1), address)
        self.assertIsNot(self.responder.entry(self.served, no, 1), nothing)
        self.assertEqual(self.serial("no.example.test.", "A"), 2)
