"""What a secondary is told, when again, and what counts as its answer."""

from __future__ import annotations

import time

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import tsig
from balancer.dns.notify import FIRST_WAIT, TRIES, Answer, Notice, Request, read_answer, request
from balancer.dns.zone import Zone
from tests.dns.test_tsig import NOW, answered, judged, key_for, theirs_for
from tests.dns.zones import sound


def zone_of(serial: int) -> Zone:
    """The zone of `HEAD` with that serial."""
    tree = sound("").tree
    assert tree is not None
    return Zone(tree, serial=serial)


ZONE = zone_of(7)


class NoticeTests(SynchronousTestCase):
    """When a serial is told."""

    def test_in_vain(self) -> None:
        """It is told after 0, 1, 3, 7, 15 and 31 seconds, and given up after 63."""
        notice, now, times = Notice(), 100.0, []
        notice.tell(7, now)
        self.assertEqual(notice.due, now)
        while notice.sends(now):
            times.append(now - 100)
            assert notice.due is not None
            now = notice.due
        self.assertEqual(times, [FIRST_WAIT * (2**each - 1) for each in range(TRIES)])
        self.assertEqual((now, notice.due, notice.fault), (163.0, None, "no answer"))
        self.assertEqual(notice.results["unanswered"], 1)

    def test_acknowledged(self) -> None:
        """An answer without a fault ends it."""
        notice = Notice()
        notice.tell(7, 0.0)
        notice.sends(0.0)
        notice.heard(Answer(""))
        self.assertEqual((notice.serial, notice.acknowledged, notice.due, notice.tries),
                         (7, True, None, 1))
        self.assertEqual(notice.results["acknowledged"], 1)

    def test_refused(self) -> None:
        """An answer with a fault ends it as well, until the next serial."""
        notice = Notice()
        notice.tell(7, 0.0)
        notice.sends(0.0)
        notice.heard(Answer("REFUSED"))
        self.assertEqual((notice.acknowledged, notice.due, notice.fault), (False, None, "REFUSED"))
        notice.tell(8, 5.0)
        self.assertEqual((notice.fault, notice.due, notice.tries), ("", 5.0, 0))
        self.assertEqual(notice.results,
                         {"acknowledged": 0, "refused": 1, "unanswered": 0, "superseded": 0})

    def test_not_sure(self) -> None:
        """What anybody may have said is shown and ends nothing; nor does what ICMP says."""
        notice = Notice()
        notice.tell(7, 0.0)
        notice.sends(0.0)
        notice.heard(Answer("BADKEY, not signed", sure=False))
        self.assertEqual((notice.due, notice.fault), (FIRST_WAIT, "BADKEY, not signed"))
        notice.failed("Connection refused")
        self.assertEqual((notice.due, notice.fault), (FIRST_WAIT, "Connection refused"))

    def test_superseded(self) -> None:
        """A newer serial takes the place of one that was not acknowledged yet, with all tries."""
        notice = Notice()
        notice.tell(7, 0.0)
        for _ in range(3):
            notice.sends(0.0)
        notice.tell(8, 4.0)
        self.assertEqual((notice.serial, notice.tries, notice.due), (8, 0, 4.0))
        self.assertEqual(notice.results["superseded"], 1)


class MessageTests(SynchronousTestCase):
    """RFC 1996 3, against dnspython."""

    def setUp(self) -> None:
        """dnspython's clock is ours."""
        self.patch(time, "time", lambda: float(NOW))

    def reply(self, asked: Request) -> dns.message.Message:
        """The answer to it, by a secondary that has the key `theirs`."""
        theirs = theirs_for() if asked.key else None
        return dns.message.make_response(dns.message.from_wire(asked.wire, keyring=theirs))

    def read(self, answer: bytes, asked: Request) -> Answer | None:
        """What is made of it."""
        return read_answer(answer, asked, NOW)

    def test_request(self) -> None:
        """It has the opcode, AA, the zone's SOA as a question, and the SOA itself as a hint."""
        told = dns.message.from_wire(request(5, ZONE, None, NOW).wire)
        self.assertEqual((told.id, told.opcode(), told.flags & dns.flags.AA),
                         (5, dns.opcode.NOTIFY, dns.flags.AA))
        ((question,), ((soa,),)) = (told.question, told.answer)
        self.assertEqual((str(question), soa.serial), ("example.test. IN SOA", 7))

    def test_answers(self) -> None:
        """NOERROR is nothing against it, another rcode is the fault."""
        asked = request(5, ZONE, None, NOW)
        reply = self.reply(asked)
        self.assertEqual(self.read(reply.to_wire(), asked), Answer(""))
        for rcode, fault in ((4, "NOTIMP"), (9, "NOTAUTH"), (10, "rcode 10")):
            reply.set_rcode(dns.rcode.Rcode(rcode))
            self.assertEqual(self.read(reply.to_wire(), asked), Answer(fault))
        self.assertEqual(self.read(reply.to_wire().replace(b"test", b"TEST"), asked),
                         Answer("rcode 10"))

    def test_no_answers(self) -> None:
        """Another id, opcode, name, type or class, a query, and a piece of an answer are none."""
        asked = request(5, ZONE, None, NOW)
        good = self.reply(asked).to_wire()
        for wrong in (b"\0\6" + good[2:], good[:2] + b"\xa8" + good[3:], asked.wire,
                      good.replace(b"test", b"tess"), good[:-3] + b"\1\0\1", good[:-1] + b"\3",
                      good[:4] + b"\0\0" + good[6:], good + b"\0",
                      *(good[:size] for size in range(len(good)))):
            self.assertEqual(self.read(wrong, asked), None, wrong)

    def test_signed(self) -> None:
        """A request by a key is believed by who has it, and so is his answer."""
        for algorithm in ("hmac-sha256", "hmac-sha512", "hmac-sha1"):
            key = key_for(algorithm)
            asked = request(5, ZONE, key, NOW)
            theirs = dns.message.from_wire(asked.wire, keyring=theirs_for(algorithm))
            self.assertTrue(theirs.had_tsig)
            reply = dns.message.make_response(theirs)
            self.assertEqual(self.read(reply.to_wire(), asked), Answer(""))
            reply.set_rcode(dns.rcode.REFUSED)
            self.assertEqual(self.read(reply.to_wire(), asked), Answer("REFUSED"))

    def test_not_signed(self) -> None:
        """An answer that should be signed and is not, or is signed by another secret, for another
        request, or long ago, is not sure."""
        asked = request(5, ZONE, key_for(), NOW)
        plain = self.reply(request(5, ZONE, None, NOW))
        self.assertEqual(self.read(plain.to_wire(), asked), Answer("NOERROR, not signed", False))
        good = self.reply(asked).to_wire()
        other = self.reply(request(5, zone_of(8), key_for(), NOW)).to_wire()
        changed = good[:-7] + bytes((good[-7] ^ 1,)) + good[-6:]
        for wire in (other, changed):
            answer = self.read(wire, asked)
            self.assertEqual(answer, Answer("an answer signed wrongly (BADSIG)", False))
        late = read_answer(good, asked, NOW + 301)
        self.assertEqual(late, Answer("an answer signed wrongly (BADTIME)", False))

    def test_errors(self) -> None:
        """Who does not have the key says so without a signature; a wrong clock is said with one."""
        asked = request(5, ZONE, key_for(), NOW)
        other = key_for()
        for keys, now, answer in (
            ({}, NOW, Answer("BADKEY, not signed", sure=False)),
            ({other.name: evolve(other, secret=b"another")}, NOW,
             Answer("BADSIG, not signed", sure=False)),
            ({other.name: other}, NOW + 1000, Answer("BADTIME")),
        ):
            verdict = judged(asked.wire, keys, now)
            wire = tsig.sign(answered(asked.wire, verdict.rcode), verdict, now)
            self.assertEqual(self.read(wire, asked), answer)

    @settings(max_examples=15, deadline=None, database=None)
    @given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4), st.booleans())
    def test_fuzz(self, changes: list[tuple[int, int]], signed: bool) -> None:
        """Whatever comes is an answer or none; of a signed one, any change takes the sureness."""
        asked = request(5, ZONE, key_for() if signed else None, NOW)
        wire = bytearray(self.reply(asked).to_wire())
        good = bytes(wire)
        for at, byte in changes:
            wire[at % len(wire)] = byte
        answer = read_answer(bytes(wire), asked, NOW)
        if signed and answer is not None and answer.sure:
            self.assertEqual(good.lower(), bytes(wire).lower())
