"""Questions to DNS servers, and answers: sound ones, hostile ones, and those to somebody else."""

from __future__ import annotations

import contextlib
import time

from hypothesis import given, strategies
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from balancer.resolve.message import (
    AAAA,
    MAX_MESSAGE,
    MAX_RECORDS,
    NXDOMAIN,
    TXT,
    A,
    Question,
    Unanswered,
    follow,
    read,
    wire_name,
)
from tests.resolve.messages import ID, answer, reply

APP = Question(wire_name("app.test"), A)
ALIAS = dns.Record_CNAME


class QuestionTests(SynchronousTestCase):
    """What is sent."""

    def test_question(self) -> None:
        """A question is one that another reader understands, and asks for recursion."""
        message = dns.Message()
        message.fromStr(APP.ask(ID))
        self.assertEqual((message.id, message.recDes, message.answer), (ID, 1, 0))
        self.assertEqual(message.queries, [dns.Query(b"app.test", dns.A, dns.IN)])

    def test_names(self) -> None:
        """A name is written in lower case, with or without its last dot; a bad one is refused."""
        self.assertEqual(wire_name("App.Test."), b"\x03app\x04test\0")
        self.assertEqual(wire_name("app.test"), b"\x03app\x04test\0")
        for name in ("", "a..b", "a" * 64, ".".join(["a" * 60] * 5)):
            self.assertRaises(ValueError, wire_name, name)


class AnswerTests(SynchronousTestCase):
    """What comes back."""

    def test_addresses(self) -> None:
        """Addresses come in the order of the answer, with the least of their TTLs."""
        found = answer("app.test", A, ("app.test", 30, "192.0.2.1"), ("app.test", 20, "192.0.2.2"))
        self.assertEqual(follow(found, APP), ([b"\xc0\0\2\1", b"\xc0\0\2\2"], 20))

    def test_aliases(self) -> None:
        """Aliases are followed to the addresses behind them; the least TTL on the way counts."""
        found = answer(
            "app.test", A, ("app.test", 50, ALIAS("WEB.test")), ("web.test", 5, ALIAS("x.test")),
            ("x.test", 60, "192.0.2.7"), ("y.test", 1, "192.0.2.8"),
        )
        self.assertEqual(follow(found, APP), ([b"\xc0\0\2\7"], 5))

    def test_aliases_in_a_circle(self) -> None:
        """Aliases that lead round in a circle lead to no address."""
        found = answer(
            "app.test", A, ("app.test", 50, ALIAS("b.test")), ("b.test", 5, ALIAS("app.test"))
        )
        self.assertEqual(follow(found, APP)[0], [])

    def test_nothing(self) -> None:
        """A negative answer tells for how long: the lesser of the SOA's TTL and its minimum."""
        for minimum, ttl in ((5, 5), (500, 60)):
            found = answer("app.test", A, rcode=NXDOMAIN, soa=minimum)
            self.assertEqual((found.rcode, found.negative_ttl), (NXDOMAIN, ttl))
        self.assertIsNone(answer("app.test", A).negative_ttl)

    def test_texts(self) -> None:
        """Data of other types are there as they are."""
        found = answer("app.test", TXT, ("app.test", 1, dns.Record_TXT(b"up", b"and running")))
        self.assertEqual(found.records[0].data, b"\x02up\x0band running")

    def test_truncated(self) -> None:
        """Of a truncated answer nothing but that is used."""
        data = bytearray(reply("app.test", A, ("app.test", 30, "192.0.2.1")))
        data[2] |= 2
        found = read(bytes(data), ID, APP)
        self.assertEqual((found.truncated, found.records), (True, ()))

    def test_other_class(self) -> None:
        """Records of another class are passed over."""
        data = reply("app.test", A, ("app.test", 30, "192.0.2.1"))
        other = data[:-12] + b"\0\3" + data[-10:]
        self.assertEqual(data[-12:-10], b"\0\1")
        self.assertEqual(read(other, ID, APP).records, ())

    def test_great_ttl(self) -> None:
        """A TTL with its top bit set counts as 0 (RFC 2181 8)."""
        data = reply("app.test", A, ("app.test", 30, "192.0.2.1"))
        found = read(data[:-10] + b"\xff\0\0\0" + data[-6:], ID, APP)
        self.assertEqual(follow(found, APP)[1], 0)


class WrongAnswerTests(SynchronousTestCase):
    """What is no answer, and must not be believed."""

    def setUp(self) -> None:
        self.sound = reply("app.test", A, ("app.test", 30, "192.0.2.1"))

    def refused(self, data: bytes, why: str) -> None:
        """It is no answer to the question."""
        self.assertIn(why, str(self.assertRaises(Unanswered, read, data, ID, APP)))

    def test_not_ours(self) -> None:
        """Another id, a question, another opcode, name or type: not ours."""
        self.assertEqual(len(read(self.sound, ID, APP).records), 1)
        self.refused(b"\0\0" + self.sound[2:], "no answer")
        self.refused(APP.ask(ID), "no answer")
        self.refused(self.sound[:2] + b"\xa0" + self.sound[3:], "no answer")
        self.refused(reply("abb.test", A), "another question")
        self.refused(reply("app.test", AAAA), "another question")

    def test_without_question(self) -> None:
        """Who could not read the question need not repeat it; who found something must."""
        bare = self.sound[:2] + b"\x80%c" + bytes(8)
        self.assertEqual(read(bare % 1, ID, APP).rcode, 1)
        self.refused(bare % 0, "cut short")

    def test_cut(self) -> None:
        """An answer that ends early is none, wherever it ends."""
        for end in range(len(self.sound)):
            self.refused(self.sound[:end], "")

    def test_pointers(self) -> None:
        """Pointers lead back, a few times at most."""
        at = 12 + len(APP.name) + 4
        for pointer in (at, at + 2, 0x3FFF):
            data = self.sound[:at] + (0xC000 | pointer).to_bytes(2, "big") + self.sound[at:]
            self.refused(data, "")

    def test_bounds(self) -> None:
        """Long messages and those of many records are refused unread."""
        self.refused(self.sound + bytes(MAX_MESSAGE), "bytes")
        many = self.sound[:6] + (MAX_RECORDS + 1).to_bytes(2, "big") + self.sound[8:]
        self.refused(many, "records")

    def test_worst(self) -> None:
        """The costliest message that may be sent is read well within a reactor's turn."""
        # One name of 127 labels, and two pointers to it in each record.
        head = self.sound[:6] + MAX_RECORDS.to_bytes(2, "big") + bytes(4) + APP.name + b"\0\1\0\1"
        pointer = (0xC000 | len(head)).to_bytes(2, "big")
        fields = b"\0\5\0\1\0\0\0\1\0\2"
        first = b"\x01a" * 127 + b"\0" + fields + (0xC000 | 12).to_bytes(2, "big")
        data = head + first + (pointer + fields + pointer) * (MAX_RECORDS - 1)
        start = time.process_time()
        self.assertEqual(len(read(data, ID, APP).records), MAX_RECORDS)
        self.assertLess(time.process_time() - start, 0.05)

    @given(strategies.binary(max_size=80))
    def test_noise(self, tail: bytes) -> None:
        """Whatever follows a sound header and question, it is read or refused."""
        with contextlib.suppress(Unanswered):
            read(self.sound[:26] + tail, ID, APP)

    @given(strategies.integers(0, 41), strategies.integers(0, 255))
    def test_changed(self, at: int, byte: int) -> None:
        """So is a sound answer with a byte changed."""
        data = bytearray(self.sound)
        data[at % len(data)] = byte
        with contextlib.suppress(Unanswered):
            read(bytes(data), ID, APP)
