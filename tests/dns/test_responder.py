"""A packet comes in: which answer goes out, by UDP and TCP, for every way of asking."""

from __future__ import annotations

import struct
from ipaddress import ip_network
from random import Random
from time import time

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.tsigkeyring
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import codes
from balancer.dns.cookies import Cookies
from balancer.dns.keys import parse_keys
from balancer.dns.ratelimit import RateLimit
from balancer.dns.responder import Responder
from balancer.dns.served import Served
from balancer.dns.transfer import Access
from tests.dns.packets import packets, sound
from tests.dns.serving import (
    CLIENT,
    NOW,
    SECRET,
    bare_responder,
    opt,
    option,
    query,
    read,
    records,
    served,
    serving,
    territory,
)
from tests.dns.world import all_up, judge, pool_of
from tests.dns.zones import n

ZONE = """\
www A 192.0.2.1
a\\000b A 192.0.2.9
alias CNAME www
out CNAME www.elsewhere.
sub NS ns.sub
ns.sub A 192.0.2.2
d DNAME long.name.of.another.zone.
mail MX 10 web
""" + "".join(f"big A 198.51.100.{number}\n" for number in range(100))

WWW = n("www")
KEY = "hmac.test."
ADDRESS = bytes((192, 0, 2, 77))
BADVERS = opt(ttl=1 << 16)
NOTIFY = 4 << 11
CH = 3

# Name, type, flags, class, what stands behind -> rcode over UDP and over TCP.
ASKED: list[tuple[bytes, int, int, int, bytes, str, str]] = [
    (WWW, codes.A, 0, 1, b"", "NOERROR", "NOERROR"),
    (WWW, codes.A, 0, codes.CLASS_ANY, b"", "REFUSED", "REFUSED"),
    (WWW, codes.TXT, 0, 1, b"", "NOERROR", "NOERROR"),
    (WWW, codes.ANY, 0, 1, b"", "NOERROR", "NOERROR"),
    (n("none"), codes.A, 0, 1, b"", "NXDOMAIN", "NXDOMAIN"),
    (n("x" * 63 + "." + "y" * 63 + "." + "z" * 63 + ".d"), codes.A, 0, 1, b"",
     "NOERROR", "NOERROR"),
    (n("x" * 63 + "." + "y" * 63 + "." + "z" * 63 + "." + "z" * 40 + ".d"), codes.A, 0, 1, b"",
     "YXDOMAIN", "YXDOMAIN"),
    (n("www.other."), codes.A, 0, 1, b"", "REFUSED", "REFUSED"),
    (b"\0", codes.NS, 0, 1, b"", "REFUSED", "REFUSED"),
    (WWW, codes.A, 0, CH, b"", "REFUSED", "REFUSED"),
    (WWW, codes.A, 0, codes.CLASS_NONE, b"", "REFUSED", "REFUSED"),
    (WWW, 0, 0, 1, b"", "FORMERR", "FORMERR"),
    (WWW, codes.OPT, 0, 1, b"", "FORMERR", "FORMERR"),
    (WWW, codes.TSIG, 0, 1, b"", "FORMERR", "FORMERR"),
    (WWW, 128, 0, 1, b"", "NOTIMP", "NOTIMP"),
    (WWW, 254, 0, 1, b"", "NOTIMP", "NOTIMP"),
    (n("@"), codes.AXFR, 0, 1, b"", "REFUSED", "REFUSED"),
    (n("@"), codes.IXFR, 0, 1, b"", "REFUSED", "REFUSED"),
    (n("www"), codes.AXFR, 0, 1, b"", "REFUSED", "NOTAUTH"),
    (n("@"), codes.SOA, NOTIFY, 1, b"", "REFUSED", "REFUSED"),
    (n("@"), codes.AXFR, NOTIFY, 1, b"", "REFUSED", "REFUSED"),
    (n("@"), codes.SOA, 5 << 11, 1, b"", "NOTIMP", "NOTIMP"),
    (n("@"), codes.SOA, 1 << 11, 1, b"", "NOTIMP", "NOTIMP"),
    (WWW, codes.A, 0, 1, BADVERS, "BADVERS", "BADVERS"),
    (n("@"), codes.AXFR, 0, 1, BADVERS, "BADVERS", "BADVERS"),
    (WWW, codes.A, 0, 1, opt(option(8, b"\0\1\x18\1\1\1\1")), "FORMERR", "FORMERR"),
    (WWW, codes.A, 0, 1, opt(option(8, b"\0\3\x08\0\1")), "FORMERR", "FORMERR"),
    (WWW, codes.A, 0, 1, opt(option(10, b"short")), "FORMERR", "FORMERR"),
    (WWW, codes.A, 0, 1, opt(option(11, b"\0\1")), "NOERROR", "FORMERR"),
    (WWW, codes.A, 0, 1, opt() + b"more", "FORMERR", "FORMERR"),
]


def edns_options(answer: object) -> dict[int, bytes]:
    """The options in an answer, as bytes."""
    return {int(each.otype): each.to_wire() or b"" for each in read(answer).options}


class AnswerTestCase(SynchronousTestCase):
    """A responder for the zone."""

    def setUp(self) -> None:
        self.responder = serving(served(ZONE))

    def ask(self, packet: bytes, peer: str = CLIENT) -> bytes:
        """The answer by UDP."""
        answer = self.responder.datagram(packet, peer)
        assert answer is not None
        return answer


class TableTests(AnswerTestCase):
    """Each kind of packet."""

    def test_rcodes(self) -> None:
        """By UDP and TCP, asked once or twice, each gets its rcode, id, question and OPT record."""
        for name, qtype, flags, qclass, tail, udp, tcp in ASKED:
            packet = query(name, qtype, tail, flags, qclass)
            for answer, expected in ((self.ask(packet), udp), (self.ask(packet), udp),
                                     (self.responder.stream(packet, CLIENT), tcp)):
                found = read(answer)
                self.assertEqual(dns.rcode.to_text(found.rcode()), expected, packet)
                self.assertEqual((found.id, found.opcode()), (0x1234, flags >> 11), packet)
                self.assertEqual(found.edns >= 0, bool(tail), packet)
                assert isinstance(answer, bytes)
                if expected == "NOTIMP" and flags:
                    continue  # what follows the header may be anything
                self.assertEqual(answer[12:12 + len(name) + 4], packet[12:12 + len(name) + 4])

    def test_silence(self) -> None:
        """Answers, and what has no header, get nothing; they are counted."""
        silent = [b"", b"\0" * 11, query(WWW, flags=codes.QR), query(WWW, flags=0xFFFF)]
        for packet in silent:
            self.assertIsNone(self.responder.datagram(packet, CLIENT))
            self.assertIsNone(self.responder.stream(packet, CLIENT))
        self.assertEqual(self.responder.counts.ignored, 2 * len(silent))

    def test_questions(self) -> None:
        """None, without a cookie, or two are FORMERR without a question; a cookie alone is not."""
        for count, tail, rcode in ((0, b"", 1), (2, b"\0\0\1\0\1", 1), (0, opt(), 1),
                                   (0, opt(option(10, b"12345678")), 0)):
            header = struct.pack("!6H", 7, 0, count, 0, 0, tail[1:3] == b"\0\x29")
            question = query(WWW)[12:] if count else b""
            answer = self.ask(header + question + tail)
            self.assertEqual((answer[:2], answer[3] & 15, answer[4:6]), (b"\0\7", rcode, b"\0\0"))
        self.assertEqual(len(edns_options(answer)[10]), 24)

    def test_flags(self) -> None:
        """RD and CD come back, AD, Z, TC and AA of the query do not; AA is ours."""
        for flags in (0, 0x0100, 0x0010, 0x0130, 0x0020, 0x0040, 0x0600, 0x07BF):
            for name, aa in ((WWW, codes.AA), (n("x.sub"), 0), (n("x.other."), 0)):
                answer = self.ask(query(name, flags=flags))
                sent = int.from_bytes(answer[2:4], "big")
                self.assertEqual(sent & ~0xF, codes.QR | aa | flags & 0x0110, (name, hex(flags)))

    def test_server_beside(self) -> None:
        """A pool that is down takes away the address beside an answer, not the answer."""
        pool = pool_of({"a": "192.0.2.1"})
        judge(pool, a=False)
        zone = served(ZONE, {"web": ("when-down=servfail", pool)})
        self.responder = serving(zone)
        self.assertEqual(records(self.ask(query(n("mail"), codes.MX)))[0],
                         ["mail.example.test. 300 IN MX 10 web.example.test."])
        for qtype in (codes.A, codes.AAAA):
            self.assertEqual(read(self.ask(query(n("web"), qtype))).rcode(), dns.rcode.SERVFAIL)
        self.assertEqual(read(self.ask(query(n("web"), codes.TXT))).rcode(), dns.rcode.NOERROR)

    def test_longest_match(self) -> None:
        """Of several zones the longest answers; the DS of a zone is its parent's."""
        parent = served("deep A 192.0.2.1")
        child = Served(n("sub"), parent.zone)
        self.responder.serve([parent, child])
        for name, qtype, zone in ((n("sub"), 1, child), (n("x.sub"), 1, child), (WWW, 1, parent),
                                  (n("sub"), codes.DS, parent), (n("@"), codes.DS, parent),
                                  (n("xsub"), 1, parent), (n("test."), 1, None)):
            self.assertIs(self.responder.zone_of(name, qtype), zone)

    def test_zones_come_and_go(self) -> None:
        """Of two zones with one name the last to join answers, and the other when it has left."""
        parent = served("deep A 192.0.2.1")
        first, second = Served(n("sub"), parent.zone), Served(n("sub"), parent.zone)
        self.responder.serve([parent])
        for change, zone, expected in ((self.responder.join, first, first),
                                       (self.responder.join, second, second),
                                       (self.responder.leave, second, first),
                                       (self.responder.join, second, second),
                                       (self.responder.leave, first, second),
                                       (self.responder.leave, second, parent)):
            change(zone)
            self.assertIs(self.responder.zone_of(n("x.sub")), expected)
        self.assertEqual((first.watchers, second.watchers), ([], []))


class OptionTests(AnswerTestCase):
    """EDNS: what each option brings."""

    def cookie(self, age: int = 0, secret: bytes = SECRET) -> bytes:
        """A whole cookie of that age."""
        return b"clientco" + Cookies(secret).server_cookie(b"clientco", ADDRESS, NOW - age)

    def test_cookies(self) -> None:
        """None is answered by none; a good one by itself; what is old, of another secret or made
        up by a new one that is good."""
        good = self.cookie()
        for sent, kept in ((good, True), (self.cookie(1700), True), (b"clientco", False),
                           (self.cookie(2000), False), (self.cookie(9999), False),
                           (self.cookie(0, bytes(16)), False), (b"clientco" + bytes(32), False)):
            for _ in range(2):
                answer = edns_options(self.ask(query(WWW, tail=opt(option(10, sent)))))[10]
                self.assertEqual(answer, sent if kept else good)
        self.assertEqual(edns_options(self.ask(query(WWW, tail=opt()))), {})

    def test_nsid(self) -> None:
        """Who asks is told which server this is, and nobody else."""
        self.assertEqual(edns_options(self.ask(query(WWW, tail=opt(option(3))))), {3: b"here"})

    def test_keepalive(self) -> None:
        """By TCP a client that asks is told how long it may be idle; by UDP never."""
        packet = query(WWW, tail=opt(option(11)))
        self.assertEqual(edns_options(self.ask(packet)), {})
        self.assertEqual(edns_options(self.responder.stream(packet, CLIENT)), {11: b"\0\x64"})

    def test_do(self) -> None:
        """DO comes back (RFC 3225 3), and our size is ours."""
        found = read(self.ask(query(WWW, tail=opt(size=4096, ttl=0x8000))))
        self.assertEqual((found.ednsflags & 0x8000, found.payload), (0x8000, 1232))

    def test_not_ours(self) -> None:
        """REFUSED says why to who understands it."""
        told = edns_options(self.ask(query(n("x.other."), tail=opt())))
        self.assertEqual(told[15][:2], b"\0\x14")

    def test_truncation(self) -> None:
        """Whatever size an asker takes, the answer is no longer, is whole by TCP, and says TC if
        it is not whole."""
        whole = len(query(n("big"))) + 100 * 16
        for size in (0, 511, 512, 513, 600, 1231, 1232, 1233, 4096, 65535):
            for name in ("www", "big", "x.sub", "alias"):
                packet = query(n(name), tail=opt(option(3) + option(10, b"12345678"), size))
                for answer in (self.ask(packet), self.ask(packet)):
                    self.assertLessEqual(len(answer), max(512, min(size, 1232)))
                    self.assertEqual(bool(read(answer).flags & dns.flags.TC), name == "big")
        self.assertTrue(read(self.ask(query(n("big")))).flags & dns.flags.TC)
        by_tcp = self.responder.stream(query(n("big")), CLIENT)
        assert isinstance(by_tcp, bytes)
        self.assertEqual((len(by_tcp), by_tcp[2] & 2), (whole, 0))

    def test_every_size(self) -> None:
        """An answer is cut at the byte where it does not fit any more."""
        for count in (20, 30, 31, 32):
            text = "".join(f"big A 198.51.100.{each}\n" for each in range(count))
            self.responder = serving(served(text))
            whole = len(query(n("big"))) + 16 * count + 11
            for size in range(max(512, whole - 3), whole + 3):
                answer = self.ask(query(n("big"), tail=opt(size=size)))
                self.assertEqual(bool(answer[2] & 2), size < whole)

    def test_longest_name(self) -> None:
        """The longest name with all options at once still fits: what is of interest only goes."""
        self.responder.nsid = b"n" * 250
        name = b"\x3f" + b"x" * 63 + b"\x3f" + b"y" * 63 + b"\x3f" + b"z" * 63 + b"\x2c"
        tail = opt(option(3) + option(10, b"12345678") + option(8, b"\0\2\x80\0" + bytes(16)), 512)
        for rest in (b"w" * 44 + b"\x0bexample\0tes\x04test\0", b"w" * 44 + n("@")):
            answer = self.ask(query((name + rest)[: 255 - len(n("@"))] + n("@")
                                    if len(name + rest) > 255 else name + rest, tail=tail))
            self.assertLessEqual(len(answer), 512)
            read(answer)

    def test_turns_of_what_does_not_fit(self) -> None:
        """An answer that is cut takes one turn, as any other."""
        pool = all_up(pool_of({f"s{each}": f"192.0.2.{each}" for each in range(1, 41)}))
        self.responder = serving(served("", {"@": ("policy=round-robin", pool)}))
        taken = []
        for _ in range(3):
            self.assertTrue(self.ask(query(n("@")))[2] & 2)
            taken.append(self.responder._table[query(n("@"))[12:]].next.peek())
        self.assertEqual(taken, [1, 2, 3])


class PlaceTests(AnswerTestCase):
    """Client subnets (RFC 7871): who is answered what, and for which prefix."""

    def setUp(self) -> None:
        pool = all_up(pool_of(
            {"a": "198.51.100.1", "b": "198.51.100.2", "six": "2001:db8::1"},
            {"a": {"place": "eu"}, "b": {"place": "us"}, "six": {"place": "eu"}}))
        places = territory(eu="10.0.0.0/8 2001:db8:e::/48", us="10.1.0.0/16 172.16.0.0/12")
        self.served = served("www A 192.0.2.1\nalias CNAME geo",
                             {"geo": ("policy=geo", pool)}, places)
        self.responder = serving(self.served)

    def subnet(self, network: str) -> bytes:
        """The option of that network."""
        found = ip_network(network)
        head = struct.pack("!HBB", 1 if found.version == 4 else 2, found.prefixlen, 0)
        return option(8, head + found.network_address.packed[: (found.prefixlen + 7) // 8])

    def told(self, network: str, name: str = "geo", qtype: int = codes.A) -> tuple[list[str], str]:
        """Addresses, and the subnet of the answer with its scope."""
        tail = opt(self.subnet(network) if network else b"")
        answers = [read(self.ask(query(n(name), qtype, tail))) for _ in range(2)]
        first, again = ((
            sorted(str(each) for rrset in answer.answer for each in rrset if rrset.rdtype == qtype),
            "".join(f"{each.address}/{each.srclen}/{each.scopelen}" for each in answer.options
                    if isinstance(each, dns.edns.ECSOption))) for answer in answers)
        self.assertEqual(first, again)
        return first

    def test_scopes(self) -> None:
        """The scope is the widest prefix with one answer; the source comes back as it was."""
        eu, us, all_ = ["198.51.100.1"], ["198.51.100.2"], ["198.51.100.1", "198.51.100.2"]
        for network, addresses, scope in (
            ("10.2.3.0/24", eu, "10.2.3.0/24/15"), ("10.2.3.4/32", eu, "10.2.3.4/32/15"),
            ("10.1.3.0/24", us, "10.1.3.0/24/16"), ("10.0.0.0/8", eu, "10.0.0.0/8/16"),
            ("172.16.0.0/12", us, "172.16.0.0/12/12"), ("192.0.2.0/24", all_, "192.0.2.0/24/2"),
            ("0.0.0.0/0", all_, "0.0.0.0/0/0"),
        ):
            self.assertEqual(self.told(network), (addresses, scope))
            self.assertEqual(self.told(network, "alias"), (addresses, scope))

    def test_one_answer(self) -> None:
        """What does not depend on the client holds for all: scope 0."""
        self.assertEqual(self.told("10.1.3.0/24", "www"), (["192.0.2.1"], "10.1.3.0/24/0"))
        # The only server with such an address is everybody's.
        self.assertEqual(self.told("10.1.3.0/24", "geo", codes.AAAA),
                         (["2001:db8::1"], "10.1.3.0/24/0"))
        self.assertEqual(self.told("10.1.3.0/24", "none"), ([], "10.1.3.0/24/0"))

    def test_resolver(self) -> None:
        """Without a subnet, or with one of no bits or no family, the asker's own place counts."""
        for tail in (b"", opt(), opt(self.subnet("0.0.0.0/0")), opt(option(8, b"\0\2\0\0")),
                     opt(option(8, bytes(4)))):
            for peer, address in (("10.2.0.1", "198.51.100.1"), ("10.1.0.1", "198.51.100.2"),
                                  ("2001:db8:e::1", "198.51.100.1")):
                answer = records(self.ask(query(n("geo"), tail=tail), peer))
                self.assertEqual(answer[0], [f"geo.example.test. 30 IN A {address}"])

    def test_shared_scopes(self) -> None:
        """All aliases of a name remember its networks together."""
        self.told("10.2.3.0/24")
        self.told("10.2.3.0/24", "alias")
        tables = [self.responder._table[query(n(name))[12:]].clients for name in ("geo", "alias")]
        self.assertIs(*(each._scopes for each in tables))  # type: ignore[union-attr]

    def test_moves(self) -> None:
        """Another territory, and another verdict, change the scope with the answer."""
        self.told("10.1.3.0/24")
        self.served.inhabit(territory(eu="10.0.0.0/9"))
        self.assertEqual(self.told("10.1.3.0/24"), (["198.51.100.1"], "10.1.3.0/24/9"))
        pool = self.served.names[n("geo")].pool
        pool.maintain(pool.server("b"))
        self.served.settle("web")
        self.assertEqual(self.told("10.1.3.0/24"), (["198.51.100.1"], "10.1.3.0/24/0"))


class SignedTests(AnswerTestCase):
    """TSIG (RFC 8945) and transfers (RFC 5936)."""

    def setUp(self) -> None:
        super().setUp()
        self.ring = dns.tsigkeyring.from_text({KEY: "c2VjcmV0IHNlY3JldA=="})
        text = f'key "{KEY}" {{ algorithm hmac-sha256; secret "c2VjcmV0IHNlY3JldA=="; }};'
        self.served = served(ZONE)
        self.served.keys = parse_keys(text)
        self.served.transfer = Access((((ip_network("192.0.2.0/24"),), None),
                                       ((ip_network("10.0.0.0/8"),), n(KEY))))
        self.ahead = 0
        self.responder = bare_responder(lambda: time() + self.ahead)
        self.responder.serve([self.served])

    def signed(self, name: str, word: str, key: str = KEY, **more: object) -> bytes:
        """A signed query."""
        message = dns.message.make_query(name, word, **more)  # type: ignore[arg-type]
        ring = {**self.ring, **dns.tsigkeyring.from_text({"other.test.": "c2VjcmV0IHNlY3JldA=="})}
        message.use_tsig(ring, keyname=key)
        wire = message.to_wire()
        self.mac = message.mac
        return wire

    def test_good(self) -> None:
        """The answer to a signed query is signed, and is as short as it must be."""
        for name in ("www.example.test.", "big.example.test.", "none.example.test."):
            for transport in (self.responder.datagram, self.responder.stream):
                answer = transport(self.signed(name, "A"), CLIENT)
                assert isinstance(answer, bytes)
                found = dns.message.from_wire(answer, keyring=self.ring, request_mac=self.mac)
                self.assertTrue(found.had_tsig)
                if transport == self.responder.datagram:
                    self.assertLessEqual(len(answer), 512)

    def test_bad(self) -> None:
        """An unknown key, a wrong signature and a wrong clock are NOTAUTH, each with its error."""
        wire = self.signed("www.example.test.", "A")
        wrong = wire.replace(b"\x03www", b"\x03wwx", 1)
        for packet, error, ahead in ((self.signed("www.example.test.", "A", "other.test."), 17, 0),
                                     (wrong, 16, 0), (wire, 18, 999)):
            self.ahead = ahead
            for transport in (self.responder.datagram, self.responder.stream):
                answer = transport(packet, CLIENT)
                assert isinstance(answer, bytes)
                self.assertEqual(answer[3] & 15, codes.NOTAUTH)
                told = struct.pack("!HH", error, 6 if error == 18 else 0)
                self.assertEqual(answer[-10:-6] if error == 18 else answer[-4:], told)

    def test_keys_of_others(self) -> None:
        """A key opens the zones of its own file, though another zone's has the same name."""
        self.served.transfer = Access((((ip_network("0.0.0.0/0"),), n(KEY)),))
        other = served("")
        other.key = n("test.")
        other.keys = parse_keys(f'key "{KEY}" {{ algorithm hmac-sha256; secret "b3RoZXI="; }};')
        self.responder.serve([self.served, other])
        packet = self.signed("example.test.", "AXFR")
        self.assertFalse(isinstance(self.responder.stream(packet, CLIENT), (bytes, type(None))))
        self.ring = dns.tsigkeyring.from_text({KEY: "b3RoZXI="})
        packet = self.signed("example.test.", "AXFR")
        answer = self.responder.stream(packet, CLIENT)
        assert isinstance(answer, bytes)
        self.assertEqual(answer[3] & 0xF, codes.NOTAUTH)

    def test_too_long_to_sign(self) -> None:
        """Where name and key leave no room, the answer is FORMERR without a signature."""
        name = ".".join(["x" * 63] * 3 + ["y" * 40]) + ".example.test."
        packet = dns.message.make_query(name, "A")
        key = ".".join(["k" * 63] * 3 + ["z" * 50]) + "."
        packet.use_tsig(dns.tsigkeyring.from_text({key: "c2VjcmV0"}), keyname=key)
        answer = self.ask(packet.to_wire())
        self.assertLessEqual(len(answer), 512)
        self.assertEqual(read(answer).rcode(), dns.rcode.FORMERR)

    def test_another_zones_key(self) -> None:
        """A key counts for the zone whose file it is in, whatever others call theirs."""
        other = Served(n("other.test."), self.served.zone)
        other.keys = parse_keys(f'key "{KEY}" {{ algorithm hmac-sha256; secret "b3RoZXI="; }};')
        self.responder.serve([self.served, other])
        for name, refused in (("example.test.", False), ("other.test.", True)):
            answer = self.responder.datagram(self.signed(name, "SOA"), CLIENT)
            assert answer is not None
            self.assertEqual(answer[3] & 15 == codes.NOTAUTH, refused, name)

    def test_signed_cookie(self) -> None:
        """A signed query without a question is answered as any other."""
        message = dns.message.Message(7)
        message.use_edns(options=[dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"clientco")])
        message.use_tsig(self.ring, keyname=KEY)
        answer = self.responder.datagram(message.to_wire(), CLIENT)
        assert answer is not None
        self.assertEqual(answer[3] & 15, codes.NOERROR)

    def transfer(self, packet: bytes, peer: str = CLIENT) -> list[bytes]:
        """All messages."""
        answer = self.responder.stream(packet, peer)
        return [answer] if isinstance(answer, bytes) else list(answer or ())

    def test_transfers(self) -> None:
        """Who may have the zone gets it between two SOAs; who has it already, the SOA; who may not,
        REFUSED; and what is no zone here is NOTAUTH."""
        plain = query(n("@"), codes.AXFR)
        found = [each for message in self.transfer(plain)
                 for each in dns.message.from_wire(message, one_rr_per_rrset=True).answer]
        self.assertEqual([found[0].rdtype, found[-1].rdtype], [codes.SOA, codes.SOA])
        self.assertEqual(len(found), 112)
        ixfr = dns.message.make_query("example.test.", "IXFR")
        ixfr.authority.append(found[0])
        self.assertEqual(read(self.transfer(ixfr.to_wire())[0]).answer, [found[0]])
        for peer, packet, rcode in (("203.0.113.1", plain, 5), ("10.0.0.1", plain, 5),
                                    (CLIENT, query(n("@"), codes.AXFR, qclass=CH), 5),
                                    (CLIENT, query(n("x"), codes.AXFR), 9)):
            (answer,) = self.transfer(packet, peer)
            self.assertEqual(answer[3] & 15, rcode)
        self.assertEqual(self.served.figures.transfers, 2)

    def test_signed_transfer(self) -> None:
        """With the key it goes to others, and every message is signed."""
        packet = self.signed("example.test.", "AXFR")
        context = None
        for at, message in enumerate(self.transfer(packet, "10.0.0.1")):
            found = dns.message.from_wire(message, keyring=self.ring, request_mac=self.mac,
                                          multi=True, tsig_ctx=context, xfr=True)
            self.assertTrue(found.had_tsig, at)
            context = found.tsig_ctx

    def test_does_not_fit(self) -> None:
        """A record that no message holds, with its signature if it has one, ends a transfer with
        SERVFAIL."""
        strings = " ".join(["x" * 255] * 255)
        for rest, signed, plain in ((150, 2, 0), (60, 0, 0), (254, 2, 2)):
            self.served.renew(served(f"huge TXT {strings} {'y' * rest}").zone, {})
            packets = self.signed("example.test.", "AXFR"), query(n("@"), codes.AXFR)
            for packet, rcode in zip(packets, (signed, plain), strict=True):
                found = self.transfer(packet)
                self.assertEqual([each[3] & 15 for each in found][-1], rcode, rest)
                self.assertLessEqual(max(map(len, found)), 65535)

    def test_forgotten_meanwhile(self) -> None:
        """A transfer is of the zone that it began with, even if nobody else knows that any more."""
        expected = self.transfer(query(n("@"), codes.AXFR))
        messages = self.responder.stream(query(n("@"), codes.AXFR), CLIENT)
        tree = self.served.zone.tree
        self.served.renew(served("").zone, {})
        for _ in tree.forgetting():
            pass
        assert messages is not None and not isinstance(messages, bytes)
        self.assertEqual(list(messages), expected)


class LimitTests(AnswerTestCase):
    """Rate limits and the log, on what goes out."""

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[tuple[str, bytes, str]] = []
        self.served = served(ZONE)
        self.responder.serve([self.served])

    def test_limited(self) -> None:
        """Over the limit every second answer is empty and truncated, with OPT record and cookie;
        the others are not sent. Both are counted."""
        self.served.watch(RateLimit(2), None)
        for name in (WWW, n("a\\000b"), n("none"), n("big")):
            self.served.watch(RateLimit(2), None)
            packet = query(name, tail=opt(option(10, b"clientco")))
            answers = [self.responder.datagram(packet, CLIENT) for _ in range(6)]
            self.assertEqual([each is None for each in answers],
                             [False, False, True, False, True, False])
            slipped = read(answers[3])
            self.assertTrue(slipped.flags & dns.flags.TC)
            self.assertEqual(slipped.question, read(answers[0]).question)
            self.assertEqual(slipped.answer + slipped.authority + slipped.additional, [])
            self.assertEqual(len(edns_options(answers[3])[10]), 24)
        self.assertEqual((self.served.figures.dropped, self.served.figures.slipped), (8, 8))

    def test_not_limited(self) -> None:
        """A good cookie, TCP and another network are not limited; a bad cookie is."""
        self.served.watch(RateLimit(1, slip=0), None)
        good = b"clientco" + Cookies(SECRET).server_cookie(b"clientco", ADDRESS, NOW)
        for _ in range(5):
            self.responder.datagram(query(WWW), CLIENT)
            self.ask(query(WWW, tail=opt(option(10, good))))
            self.assertIsNotNone(self.responder.stream(query(WWW), CLIENT))
        self.assertIsNone(self.responder.datagram(query(WWW), CLIENT))
        bad = query(WWW, tail=opt(option(10, good[:-1] + b"x")))
        self.assertIsNone(self.responder.datagram(bad, CLIENT))
        self.ask(query(WWW), "203.0.113.1")

    def test_subnets(self) -> None:
        """An asker that tells a client's subnet is limited likewise, and gets an OPT record with
        what is truncated."""
        self.served.watch(RateLimit(1, slip=1), None)
        packet = query(WWW, tail=opt(option(8, b"\0\1\x18\0\xcb\0\x71")))
        answers = [read(self.ask(packet)) for _ in range(3)]
        self.assertEqual([bool(each.flags & dns.flags.TC) for each in answers], [False, True, True])
        self.assertEqual([each.edns for each in answers], [0, 0, 0])

    def test_errors(self) -> None:
        """Errors that may be longer than the query are limited by the first zone that limits,
        unless the asker proves its address; for names of no zone, too."""
        self.served.watch(RateLimit(1, slip=2), None)
        self.responder.renewed()
        packet = query(b"\0", tail=opt(option(3)))
        answers = [self.responder.datagram(packet, CLIENT) for _ in range(5)]
        self.assertEqual([each is None for each in answers], [False, True, False, True, False])
        slipped = read(answers[2])
        self.assertEqual((slipped.rcode(), slipped.edns), (codes.REFUSED, 0))
        self.assertLess(len(answers[2] or b""), len(answers[0] or b""))
        self.assertEqual((self.served.figures.dropped, self.served.figures.slipped), (2, 2))
        good = b"clientco" + Cookies(SECRET).server_cookie(b"clientco", ADDRESS, NOW)
        for _ in range(3):
            self.ask(query(b"\0", tail=opt(option(10, good))))
            self.assertIsNotNone(self.responder.stream(packet, CLIENT))
        self.served.watch(None, None)
        self.responder.renewed()
        self.assertIsNotNone(self.responder.datagram(packet, CLIENT))

    def test_logged(self) -> None:
        """Every answer about a name of the zone is logged, and none of another's."""
        self.served.watch(None, lambda *line: self.lines.append(line))
        answer = self.ask(query(WWW))
        self.responder.stream(query(WWW), CLIENT)
        self.ask(query(n("x.other.")))
        self.assertEqual(self.lines, [(CLIENT, answer, "udp"), (CLIENT, answer, "tcp")])


def fresh(zones: list[Served]) -> Responder:
    """A responder that remembers nothing."""
    made = bare_responder()
    made.serve(zones)
    for zone in zones:
        zone.watchers.remove(made)
    return made


class HotPathTests(SynchronousTestCase):
    """The short way against the long one."""

    @settings(max_examples=2, deadline=None)
    @given(st.integers(0, 2**64))
    def test_same(self, seed: int) -> None:
        """Whatever was asked before, a packet gets the answer that a new responder gives; by TCP it
        is the same but for its length and keepalive; and nothing raises."""
        random = Random(seed)
        zones = [served(ZONE + "*.wild TXT x\nany TXT y\n")]
        zones[0].watch(None, lambda peer, answer, how: None)
        responder = serving(*zones)
        asked = [sound(random) for _ in range(12)]
        asked += packets(random, tuple(asked), 60)
        for packet in [*asked, *asked]:
            answer = responder.datagram(packet, CLIENT)
            self.assertEqual(answer, fresh(zones).datagram(packet, CLIENT), packet.hex())
            by_tcp = responder.stream(packet, CLIENT)
            if by_tcp is not None and answer is not None and not answer[2] & 2 \
                    and b"\0\x0b\0" not in packet:
                assert isinstance(by_tcp, bytes)
                if by_tcp[3] & 15 != codes.NOTAUTH:
                    self.assertEqual((by_tcp[:4], by_tcp[6:8]), (answer[:4], answer[6:8]))
