"""Packets in: what is asked, what is refused, and at what cost."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import dns.edns
import dns.message
import dns.tsig
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import codes, names, walk
from balancer.dns.options import read_options
from balancer.dns.query import MAX_RECORDS, Malformed, Query, parse

NAME = names.from_text("Www.Example.test.")
QUESTION = NAME + b"\0\1\0\1"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
COOKIE = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08" + b"12345678"


def packet(rest: bytes = QUESTION, counts: tuple[int, ...] = (1, 0, 0, 0), flags: int = 0) -> bytes:
    """A packet of id 0x1234."""
    return struct.pack("!6H", 0x1234, flags, *counts) + rest


def record(name: bytes, kind: int, data: bytes, class_: int = 1, ttl: int = 0) -> bytes:
    """One record."""
    return name + struct.pack("!HHIH", kind, class_, ttl, len(data)) + data


class Counted(bytes):
    """Counts how often somebody looks into it."""

    looks = 0

    def __getitem__(self, key: Any) -> Any:
        Counted.looks += 1
        return super().__getitem__(key)


class ParseTests(SynchronousTestCase):
    """RFC 1035 4.1, RFC 6891 6.1."""

    def fails(self, wire: bytes, rcode: int | None, tcp: bool = False) -> Malformed:
        """The fault that parsing meets, which must ask for this rcode."""
        with self.assertRaises(Malformed) as caught:
            parse(wire, tcp)
        fault: Malformed = caught.exception
        self.assertEqual(fault.rcode, rcode, str(fault))
        return fault

    def test_plain(self) -> None:
        """Header and question, the name as it was spelt and in lower case."""
        wire = packet(flags=0x0110)
        asked = parse(wire)
        self.assertEqual((asked.id, asked.flags, asked.opcode, asked.rd), (0x1234, 0x110, 0, True))
        self.assertEqual((asked.name, asked.key), (NAME, NAME.lower()))
        self.assertEqual((asked.qtype, asked.qclass, asked.end), (1, 1, len(wire)))
        self.assertEqual((asked.edns, asked.tsig, asked.ixfr_serial), (None, None, None))
        self.assertFalse(asked.bare)

    def test_truncated(self) -> None:
        """Cut anywhere, it is dropped if its header is not whole, else FORMERR."""
        wire = packet(QUESTION + COOKIE, (1, 0, 0, 1))
        self.assertEqual(parse(wire).edns, read_options(COOKIE[11:], 1232))
        for size in range(len(wire)):
            fault = self.fails(wire[:size], None if size < 12 else codes.FORMERR)
            if size >= 12:
                self.assertEqual(fault.id, 0x1234)
                whole = 12 + len(QUESTION)
                self.assertEqual(fault.end, whole if size >= whole else 12)

    def test_answers_dropped(self) -> None:
        """An answer is not answered, whatever else is wrong with it."""
        self.fails(packet(flags=0x8000), None)
        self.fails(packet(b"", (9, 9, 9, 9), flags=0xF800), None)

    def test_opcodes(self) -> None:
        """Opcodes other than QUERY and NOTIFY are NOTIMP, and the rest is not looked at."""
        for opcode in range(16):
            flags = opcode << 11 | 0x0100
            if opcode in (codes.QUERY, codes.NOTIFY):
                self.assertEqual(parse(packet(flags=flags)).opcode, opcode)
                continue
            fault = self.fails(packet(b"\xff", (7, 7, 7, 7), flags), codes.NOTIMP)
            self.assertEqual((fault.opcode, fault.rd, fault.end), (opcode, True, 12))

    def test_flags_ignored(self) -> None:
        """TC, AA, RA, Z, AD, CD and an rcode in a query change nothing."""
        self.assertEqual(parse(packet(flags=0x07FF)).key, NAME.lower())

    def test_questions(self) -> None:
        """One question; none only with a cookie and in a QUERY (RFC 7873 5.4)."""
        self.fails(packet(QUESTION * 2, (2, 0, 0, 0)), codes.FORMERR)
        self.fails(packet(b"", (0, 0, 0, 0)), codes.FORMERR)
        self.assertTrue(self.fails(packet(OPT, (0, 0, 0, 1)), codes.FORMERR).edns)
        self.fails(packet(COOKIE, (0, 0, 0, 1), 0x2000), codes.FORMERR)
        asked = parse(packet(COOKIE, (0, 0, 0, 1)))
        self.assertEqual((asked.bare, asked.name, asked.qtype, asked.end), (True, b"", 0, 12))

    def test_names(self) -> None:
        """A question's name is whole, of at most 255 bytes, its labels of at most 63."""
        longest = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0"
        self.assertEqual(len(longest), 255)
        self.assertEqual(parse(packet(longest + bytes(4))).name, longest)
        for name in (b"\x01b" + longest, longest[:-1] + b"\x01b\0", b"\xc0\x0c", b"\x01a\xc0\x0c",
                     b"\x40" + b"a" * 64 + b"\0", b"\x80a\0"):
            self.fails(packet(name + bytes(4)), codes.FORMERR)
        self.assertEqual(parse(packet(b"\0" + bytes(4))).name, b"\0")

    def test_trailing(self) -> None:
        """Bytes after the last record are FORMERR, as knot has it."""
        self.assertEqual(self.fails(packet() + b"\0", codes.FORMERR).end, 12 + len(QUESTION))

    def test_opt_place(self) -> None:
        """One OPT record at most, in the additional section, of the root (RFC 6891 6.1.1)."""
        asked = parse(packet(QUESTION + OPT, (1, 0, 0, 1)))
        assert asked.edns is not None
        self.assertEqual(asked.edns.size, 1232)
        self.fails(packet(QUESTION + OPT, (1, 1, 0, 0)), codes.FORMERR)
        self.fails(packet(QUESTION + OPT, (1, 0, 1, 0)), codes.FORMERR)
        self.assertTrue(self.fails(packet(QUESTION + OPT * 2, (1, 0, 0, 2)), codes.FORMERR).edns)
        self.fails(packet(QUESTION + b"\1a" + OPT, (1, 0, 0, 1)), codes.FORMERR)

    def test_bad_options(self) -> None:
        """Broken options are FORMERR, and the answer to them needs an OPT record."""
        bad = record(b"\0", codes.OPT, b"\0\x0a\0\1x", 1232)
        self.assertTrue(self.fails(packet(QUESTION + bad, (1, 0, 0, 1)), codes.FORMERR).edns)
        keepalive = record(b"\0", codes.OPT, b"\0\x0b\0\2xx", 1232)
        parse(packet(QUESTION + keepalive, (1, 0, 0, 1)))
        self.fails(packet(QUESTION + keepalive, (1, 0, 0, 1)), codes.FORMERR, tcp=True)

    def test_records_skipped(self) -> None:
        """Records that a query need not have are stepped over, up to MAX_RECORDS."""
        one = record(b"\xc0\x0c", 1, b"\1\2\3\4")
        most = MAX_RECORDS - 1
        parse(packet(QUESTION + one * most + OPT, (1, 3, most - 3, 1)))
        self.fails(packet(QUESTION + one * (most + 1) + OPT, (1, 3, most - 3, 2)), codes.FORMERR)

    def test_record_names(self) -> None:
        """A record's name leads back if it is compressed, and has at most 255 bytes."""
        end = 12 + len(QUESTION)
        for pointer in (end, end + 1, 0x3FFF, 11, 0):
            one = record((0xC000 | pointer).to_bytes(2, "big"), 1, b"")
            self.fails(packet(QUESTION + one, (1, 0, 0, 1)), codes.FORMERR)
        for name in (b"\x01a" * 128 + b"\0", b"\x40\0", b"\x80\x0c"):
            self.fails(packet(QUESTION + record(name, 1, b""), (1, 0, 0, 1)), codes.FORMERR)
        self.fails(packet(QUESTION + b"\0\0\1\0\1\0\0\0\0\0\5abcd", (1, 0, 0, 1)), codes.FORMERR)

    def test_ixfr(self) -> None:
        """An IXFR's serial is that of the SOA in its authority section (RFC 1995 3)."""
        soa = b"\1a\xc0\x0c" + b"\0" + struct.pack("!5I", 77, 1, 2, 3, 4)
        question = NAME + b"\0\xfb\0\1"
        wire = packet(question + record(b"\xc0\x0c", codes.SOA, soa), (1, 0, 1, 0))
        self.assertEqual(parse(wire).ixfr_serial, 77)
        self.assertIsNone(parse(packet(question)).ixfr_serial)
        short = record(b"\xc0\x0c", codes.SOA, soa[:-1])
        self.fails(packet(question + short, (1, 0, 1, 0)), codes.FORMERR)

    def test_notify(self) -> None:
        """A NOTIFY with the SOA in its answer section is sound (RFC 1996 3.7)."""
        soa = record(b"\xc0\x0c", codes.SOA, bytes(22))
        asked = parse(packet(NAME + b"\0\6\0\1" + soa, (1, 1, 0, 0), 0x2400))
        self.assertEqual((asked.opcode, asked.qtype), (codes.NOTIFY, codes.SOA))

    def test_repr(self) -> None:
        """A query is no more than its slots."""
        self.assertFalse(hasattr(Query(1, 2), "__dict__"))


class TsigTests(SynchronousTestCase):
    """The TSIG record as facts; what it proves is tsig's."""

    ALGORITHM = names.from_text("hmac-sha256.")
    DATA = ALGORITHM + struct.pack("!HIHH", 1, 2, 300, 4) + b"macs" + struct.pack("!HHH", 9, 0, 2) \
        + b"ot"

    def wire(self, data: bytes = DATA, class_: int = 255, ttl: int = 0, name: bytes = b"\1K\0"
             ) -> bytes:
        return packet(QUESTION + OPT + record(name, codes.TSIG, data, class_, ttl), (1, 0, 0, 2))

    def test_facts(self) -> None:
        """Every field, and where the record begins; its name may be compressed."""
        tsig = parse(self.wire(name=b"\1K\xc0\x0c")).tsig
        assert tsig is not None
        self.assertEqual(tsig.key, b"\1k" + NAME.lower())
        self.assertEqual((tsig.offset, tsig.algorithm), (12 + len(QUESTION + OPT), self.ALGORITHM))
        self.assertEqual((tsig.time, tsig.fudge, tsig.mac, tsig.id, tsig.error, tsig.other),
                         (0x1_0000_0002, 300, b"macs", 9, 0, b"ot"))

    def test_refused(self) -> None:
        """Out of its place, of another class, with a TTL, or broken, it is FORMERR."""
        last = record(b"\1k\0", codes.TSIG, self.DATA, 255)
        itself = (0xC000 | 12 + len(QUESTION)).to_bytes(2, "big")
        loop = record(b"\1k" + itself, codes.TSIG, self.DATA, 255)
        wires = [
            packet(QUESTION + last + OPT, (1, 0, 0, 2)),
            packet(QUESTION + last, (1, 1, 0, 0)),
            packet(QUESTION + last * 2, (1, 0, 0, 2)),
            packet(QUESTION + loop, (1, 0, 0, 1)),
            self.wire(class_=1), self.wire(ttl=1), self.wire(b"\xc0\x0c" + self.DATA[13:]),
            *(self.wire(self.DATA[:size]) for size in range(len(self.DATA))),
            self.wire(self.DATA + b"x"),
        ]
        for wire in wires:
            with self.assertRaises(Malformed) as caught:
                parse(wire)
            self.assertEqual(caught.exception.rcode, codes.FORMERR)

    def test_pointers_end(self) -> None:
        """A chain of pointers is followed MAX_HOPS times, each further back, and no more."""
        def chain(hops: int) -> bytes:
            places = [12, *(12 + len(QUESTION) + 11 + 2 * each for each in range(hops - 1))]
            blob = b"".join((0xC000 | place).to_bytes(2, "big") for place in places[:-1])
            other = record(b"\0", 1, blob)
            name = (0xC000 | places[-1]).to_bytes(2, "big")
            last = record(name, codes.TSIG, self.DATA, 255)
            return packet(QUESTION + other + last, (1, 0, 0, 2))
        tsig = parse(chain(walk.MAX_HOPS)).tsig
        assert tsig is not None
        self.assertEqual(tsig.key, NAME.lower())
        self.assertRaises(Malformed, parse, chain(walk.MAX_HOPS + 1))


class BoundTests(SynchronousTestCase):
    """What a packet may cost, counted in looks at its bytes rather than by a clock."""

    MOST = (MAX_RECORDS + 2) * 140

    def looks(self, wire: bytes) -> int:
        Counted.looks = 0
        with contextlib.suppress(Malformed):
            parse(Counted(wire))
        return Counted.looks

    def test_bound(self) -> None:
        """64 KB of pointers, of labels, of records or of options cost no more than a few do."""
        full = 0xFFFF - 12
        deep = b"\x01a" * 126 + b"\xc0\x0c"
        one = record(b"\x01a" * 127 + b"\0", 1, bytes(3000))
        for rest, counts in (
            (b"\xc0\x0c" * (full // 2), (1, 0, 0, 0)),
            (b"\x01a" * (full // 2), (1, 0, 0, 0)),
            (QUESTION + b"\xc0\x0c" * (full // 2), (1, 0xFFFF, 0xFFFF, 0xFFFF)),
            (QUESTION + record(b"\xc0\x0c", 1, b"") * 5000, (1, 0, 0, 5000)),
            (QUESTION + record(b"\xc0\x0c", 1, b"") * 5000, (1, 0, 0, MAX_RECORDS)),
            (QUESTION + one * MAX_RECORDS, (1, 0, 0, MAX_RECORDS)),
            (QUESTION + record(deep, 1, b"") * 200, (1, 0, MAX_RECORDS, 0)),
            (QUESTION + record(b"\0", codes.SOA, deep * 200) * 9, (1, 0, 9, 0)),
        ):
            self.assertLess(self.looks(packet(rest, counts)), self.MOST)

    def test_counting(self) -> None:
        """The count is of the looks that parsing takes: a longer name takes more."""
        self.assertGreater(self.looks(packet(b"\x01a" * 100 + bytes(5))), self.looks(packet()) + 90)


KEY = dns.tsig.Key("key.", bytes(32), "hmac-sha256")


def samples() -> list[bytes]:
    """Real queries of many kinds, as dnspython writes them."""
    made = []
    for kind in ("A", "HTTPS", "SOA", "ANY", "IXFR"):
        plain = dns.message.make_query("www.example.test", kind)
        made.append(plain)
        edns = dns.message.make_query("Example.test", kind, use_edns=0, payload=1232, options=[
            dns.edns.GenericOption(dns.edns.OptionType.COOKIE, bytes(24)),
            dns.edns.ECSOption("192.0.2.0", 24),
            dns.edns.GenericOption(dns.edns.OptionType.NSID, b""),
        ])
        made.append(edns)
    signed = dns.message.make_query("example.test", "AXFR")
    signed.use_tsig(KEY)
    made.append(signed)
    return [each.to_wire() for each in made]


SAMPLES = samples()


class FuzzTests(SynchronousTestCase):
    """Whatever comes."""

    def sound(self, wire: bytes) -> None:
        """Parsed, or `Malformed`; and what was parsed is within the packet."""
        try:
            asked = parse(wire)
        except Malformed as fault:
            self.assertTrue(12 <= fault.end <= max(len(wire), 12))
        else:
            self.assertTrue(asked.bare or wire[12:].startswith(asked.name))

    def test_real(self) -> None:
        """What dnspython asks is read as it was asked."""
        for wire in SAMPLES:
            theirs = dns.message.from_wire(wire, keyring=KEY)
            ours = parse(wire)
            self.assertEqual(ours.name, theirs.question[0].name.to_wire())
            self.assertEqual((ours.qtype, ours.qclass),
                             (theirs.question[0].rdtype, theirs.question[0].rdclass))
            self.assertEqual(ours.edns is not None, theirs.edns == 0)
            self.assertEqual(ours.tsig is not None, theirs.had_tsig)

    @settings(max_examples=10, deadline=None, database=None)
    @given(st.sampled_from(SAMPLES), st.lists(
        st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4),
        st.integers(0, 200))
    def test_mutated(self, wire: bytes, changes: list[tuple[int, int]], cut: int) -> None:
        """A real query with bytes changed or missing raises nothing but Malformed."""
        changed = bytearray(wire)
        for at, value in changes:
            changed[at % len(changed)] = value
        self.sound(bytes(changed))
        self.sound(bytes(changed[:cut]))

    @settings(max_examples=10, deadline=None, database=None)
    @given(st.binary(max_size=80), st.integers(0, 2), st.integers(0, 3))
    def test_random(self, rest: bytes, questions: int, additional: int) -> None:
        """Random bytes behind a header raise nothing but Malformed."""
        self.sound(packet(rest, (questions, 0, 0, additional)))
        self.sound(rest)
