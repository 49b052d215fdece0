"""Answers as bytes: what dnspython reads is what was rendered, whole or cut."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rdata
import dns.rdataclass
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import codes, names, options
from balancer.dns.records import Record
from balancer.dns.reply import Body, TooLong, fit, message, render

LABELS = st.sampled_from([b"a", b"A", b"www", b"example", b"Test", b"x" * 63, b"\xff.", b"ns"])
NAMES = st.lists(LABELS, max_size=3).map(
    lambda labels: b"".join(bytes((len(each),)) + each for each in labels) + b"\0"
)


def soa(server: bytes, contact: bytes, serial: int) -> bytes:
    """An SOA's data."""
    return server + contact + serial.to_bytes(4, "big") + bytes(16)


DATA = st.one_of(
    st.tuples(st.just(codes.A), st.binary(min_size=4, max_size=4)),
    st.tuples(st.just(codes.AAAA), st.binary(min_size=16, max_size=16)),
    st.tuples(st.sampled_from([codes.NS, codes.CNAME, codes.PTR, codes.DNAME]), NAMES),
    st.tuples(st.just(codes.MX), NAMES.map(lambda name: b"\0\x0a" + name)),
    st.tuples(st.just(codes.SRV), NAMES.map(lambda name: bytes(6) + name)),
    st.tuples(st.just(codes.SOA), st.builds(soa, NAMES, NAMES, st.integers(0, 2**32 - 1))),
    st.tuples(st.just(codes.TXT), st.binary(max_size=99).map(lambda t: bytes((len(t),)) + t)),
    st.tuples(st.just(731), st.binary(max_size=20)),
)
RECORDS = st.lists(
    st.builds(lambda name, typed, ttl: Record(name, typed[0], ttl, typed[1]), NAMES, DATA,
              st.integers(0, 2**31 - 1)),
    max_size=4,
).map(lambda records: sorted(records, key=lambda one: one[:2]))

WWW = names.from_text("www.example.test.")
ZONE = names.from_text("example.test.")
SOA = Record(ZONE, codes.SOA, 60, soa(b"\2ns" + ZONE, b"\4root" + ZONE, 7))


def a(name: bytes, last: int = 1) -> Record:
    """An address record."""
    return Record(name, codes.A, 30, bytes((192, 0, 2, last)))


def sent(body: Body, name: bytes = WWW, flags: int = 0, opt: bytes = b"") -> bytes:
    """The whole message for a question of this spelling."""
    return message(0x1234, flags, name + b"\0\1\0\1", body, opt)


def read(wire: bytes) -> list[list[tuple[bytes, int, int, bytes]]]:
    """The sections as dnspython reads them: names and data in lower case, each record by itself."""
    theirs = dns.message.from_wire(wire, one_rr_per_rrset=True)
    return [
        [((one.name.to_wire() or b"").lower(), one.rdtype, one.ttl,
          (one[0].to_wire() or b"").lower())
         for one in section]
        for section in theirs.sections[1:]
    ]


def wanted(records: list[Record]) -> list[tuple[bytes, int, int, bytes]]:
    """Records as `read` would give them."""
    return [(one.name.lower(), one.type, one.ttl, one.data.lower()) for one in records]


class RenderTests(SynchronousTestCase):
    """RFC 1035 4.1.4, RFC 3597 4."""

    @settings(max_examples=8, deadline=None, database=None)
    @given(NAMES, RECORDS, RECORDS, RECORDS)
    def test_like_dnspython(
        self, name: bytes, answers: list[Record], authority: list[Record], extra: list[Record]
    ) -> None:
        """Any records, behind any spelling of the question, are read as they were given."""
        body = render(name, answers, authority, extra)
        for spelling in (name.upper(), name.lower()):
            self.assertEqual(read(sent(body, spelling)),
                             [wanted(answers), wanted(authority), wanted(extra)])
        self.assertEqual(body, render(name.swapcase(), answers, authority, extra))

    def test_answer(self) -> None:
        """A usual answer takes 16 bytes for each address, and bears nothing of its query."""
        body = render(WWW, [a(WWW, 1), a(WWW.upper(), 2)])
        record = b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\xc0\0\2"
        self.assertEqual(body.wire, record + b"\1" + record + b"\2")
        self.assertEqual((body.counts, body.rcode, body.aa, body.tc), ((2, 0, 0), 0, True, False))

    def test_compressed(self) -> None:
        """The names in NS, CNAME, SOA, PTR and MX data are compressed, and no others."""
        target = b"\1x" + ZONE
        for kind, data, size in (
            (codes.NS, target, 4), (codes.CNAME, target, 4), (codes.PTR, target, 4),
            (codes.MX, b"\0\1" + target, 6), (codes.SOA, soa(target, target, 1), 26),
            (codes.SRV, bytes(6) + target, 6 + len(target)), (codes.DNAME, target, len(target)),
            (codes.HTTPS, b"\0\1" + target, 2 + len(target)), (731, target, len(target)),
        ):
            body = render(WWW, [Record(WWW, kind, 0, data)])
            self.assertEqual(len(body.wire), 12 + size, codes.type_text(kind))
            self.assertEqual(body.wire[10:12], size.to_bytes(2, "big"))

    def test_far_targets(self) -> None:
        """No pointer leads beyond offset 16383, where 14 bits cannot name it."""
        texts = [Record(b"\1t" + ZONE, codes.TXT, 0, b"\xff" + bytes((each,)) * 255)
                 for each in range(64)]
        late = [a(b"\4late\5other\0", each) for each in range(3)]
        body = render(WWW, texts + late)
        self.assertGreater(len(body.wire), 0x4000)
        self.assertEqual(read(sent(body))[0], wanted(texts + late))

    def test_too_long(self) -> None:
        """More than 65535 bytes is an error with a name, as a body and with what is put behind."""
        text = Record(WWW, codes.TXT, 0, b"\xff" + bytes(255))
        self.assertRaises(TooLong, render, WWW, [text] * 250)
        fill = MAX_BODY - 16 * 2
        body = Body(bytes(fill), (0, 0, 0), 0, True)
        self.assertEqual(len(sent(body, opt=bytes(32))), 0xFFFF)
        self.assertRaises(TooLong, sent, body, opt=bytes(33))

    def test_header(self) -> None:
        """Opcode, RD and CD are the query's; QR, AA, TC and the rcode ours; no other bit is set."""
        body = Body(b"", (0, 0, 0), codes.NXDOMAIN, True, True)
        self.assertEqual(sent(body, flags=0x2000 | 0x7FF)[:12],
                         b"\x12\x34\xa7\x13\0\1\0\0\0\0\0\0")
        none = message(1, 0, b"", Body(b"", (0, 0, 0), codes.BADVERS, False),
                       options.opt_record(1232, 1))
        theirs = dns.message.from_wire(none)
        self.assertEqual((theirs.rcode(), theirs.flags, theirs.question), (16, dns.flags.QR, []))


MAX_BODY = 0xFFFF - 12 - len(WWW) - 4


class FitTests(SynchronousTestCase):
    """RFC 2181 9, RFC 9471."""

    def test_fits(self) -> None:
        """A body that fits is itself."""
        body = render(WWW, [a(WWW)])
        self.assertIs(fit(body, 16), body)

    def test_answer_cut(self) -> None:
        """An answer that does not fit leaves an empty one with TC: header and question alone."""
        body = render(WWW, [a(WWW, each) for each in range(40)], [], [a(ZONE)])
        cut = fit(body, 300)
        self.assertEqual((cut.wire, cut.counts, cut.tc, cut.aa), (b"", (0, 0, 0), True, True))
        theirs = dns.message.from_wire(sent(cut))
        self.assertTrue(theirs.flags & dns.flags.TC)

    def test_negative_cut(self) -> None:
        """An SOA that a negative answer needs is not left out in silence."""
        body = render(WWW, [], [SOA], rcode=codes.NXDOMAIN)
        cut = fit(body, len(body.wire) - 1)
        self.assertEqual((cut.wire, cut.tc, cut.rcode), (b"", True, codes.NXDOMAIN))

    def test_extras_dropped(self) -> None:
        """Additional records, and name servers beside an answer, go in silence, last ones first."""
        servers = [Record(ZONE, codes.NS, 60, b"\2ns" + ZONE)]
        extra = [a(b"\2ns" + ZONE, 5), a(b"\2ns" + ZONE, 6), a(b"\1z" + ZONE)]
        body = render(WWW, [a(WWW)], servers, extra)
        seen = set()
        for limit in range(16, len(body.wire) + 1):
            cut = fit(body, limit)
            self.assertLessEqual(len(cut.wire), limit)
            self.assertFalse(cut.tc)
            seen.add(cut.counts)
            self.assertEqual(read(sent(cut))[0], wanted([a(WWW)]))
        self.assertEqual(seen, {(1, 0, 0), (1, 1, 0), (1, 1, 2), (1, 1, 3)})

    def referral(self) -> Body:
        """A cut with a name server below it, and one elsewhere in the zone."""
        below = names.from_text("sub.example.test.")
        servers = [Record(below, codes.NS, 60, b"\2ns" + ZONE),
                   Record(below, codes.NS, 60, b"\2ns" + below)]
        return render(b"\1x" + below, [], servers, [a(b"\2ns" + ZONE), a(b"\2ns" + below)],
                      aa=False)

    def test_glue_first(self) -> None:
        """A referral's glue from below its cut goes before other addresses, and may cost TC."""
        body = self.referral()
        counts: dict[tuple[tuple[int, int, int], bool], Body] = {}
        for limit in range(len(body.wire) + 1):
            cut = fit(body, limit)
            counts.setdefault((cut.counts, cut.tc), cut)
        self.assertEqual(list(counts), [((0, 0, 0), True), ((0, 2, 0), True), ((0, 2, 1), False),
                                        ((0, 2, 2), False)])
        kept = counts[(0, 2, 1), False]
        below = names.from_text("sub.example.test.")
        self.assertEqual(read(sent(kept, b"\1x" + below))[2], wanted([a(b"\2ns" + below)]))

    @settings(max_examples=8, deadline=None, database=None)
    @given(NAMES, RECORDS, RECORDS, RECORDS, st.integers(0, 400), st.booleans())
    def test_any(  # the sections are what is varied
        self, name: bytes, answers: list[Record], authority: list[Record], extra: list[Record],
        limit: int, aa: bool
    ) -> None:
        """What was cut is within its limit, can be read, and is a beginning of the whole."""
        body = render(name, answers, authority, extra, aa=aa)
        cut = fit(body, limit)
        self.assertLessEqual(len(cut.wire), max(limit, 0))
        self.assertTrue(body.wire.startswith(cut.wire))
        for ours, whole in zip(read(sent(cut, name)), read(sent(body, name)), strict=True):
            self.assertEqual(ours, whole[: len(ours)])
        if cut.counts[0] < body.counts[0]:
            self.assertTrue(cut.tc)
