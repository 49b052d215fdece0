"""The check `dns`: its words, its one question, and the answers to it."""

from __future__ import annotations

import errno
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.config.values import Unreadable
from balancer.dns import codes
from balancer.dns.check import MAX_STRAY, DnsCheck, Expectation, Maker, expectation
from balancer.interfaces import CheckFailed, ICheck, ICheckMaker
from balancer.resolve.message import Question, wire_name
from balancer.wire.address import Address, literal
from tests.resolve.messages import reply

SERVER = literal("192.0.2.53", 5353)
RECORDS: dict[str, tuple[int, Any]] = {
    "192.0.2.1": (codes.A, "192.0.2.1"),
    "2001:db8::1": (codes.AAAA, "2001:db8::1"),
    "up and running": (codes.TXT, dns.Record_TXT(b"up and ", b"running")),
    "ns.example.org": (codes.NS, dns.Record_NS("ns.example.org")),
    "10 mx.example.org": (codes.MX, dns.Record_MX(10, "mx.example.org")),
}


class WordsTests(SynchronousTestCase):
    """What stands behind `dns` in the site file."""

    def test_words(self) -> None:
        """A name and a type are asked for; NOERROR is expected unless the operator says else."""
        question = Question(wire_name("www.example.org"), codes.A)
        self.assertEqual(expectation(["WWW.example.org", "a"]), Expectation(question))
        self.assertEqual(
            expectation(["www.example.org.", "A", "expect=2001:DB8:0::1", "rcode=nxdomain"]),
            Expectation(question, codes.NXDOMAIN, "2001:db8::1"),
        )
        self.assertEqual(expectation([".", "TYPE65"]).question, Question(b"\0", 65))

    def test_wrong_words(self) -> None:
        """Anything else is refused, and says what was expected."""
        for words, expected in {
            "": "dns NAME TYPE",
            "example.org": "dns NAME TYPE",
            "a..b A": "labels",
            "example.org B": "a type of records",
            "example.org AXFR": "a type of records",
            "example.org A rcode=MAYBE": "NXDOMAIN",
            "example.org A expect=": "an address or a text",
            "example.org A B": "expect=",
        }.items():
            error = self.assertRaises(Unreadable, expectation, words.split())
            self.assertIn(expected, error.expected)

    def test_interfaces(self) -> None:
        """The maker is a maker of checks."""
        verifyObject(ICheckMaker, Maker())
        context: Any = type("Context", (), {"reactor": Clock()})
        verifyObject(ICheck, Maker().parse(["example.org", "A"])(context))


class CheckTests(SynchronousTestCase):
    """A check whose socket is the test's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[bytes] = []
        self.closed = 0

    def open(self, reactor: Any, address: Address, received: Any, failed: Any) -> Any:
        """The socket is the test itself."""
        self.assertEqual(address, SERVER)
        self.received, self.failed = received, failed
        return self

    def send(self, data: bytes) -> bool:
        """As a socket."""
        self.sent.append(data)
        return True

    def close(self) -> None:
        """As a socket."""
        self.closed += 1

    def probe(self, *words: str, seed: int = 1) -> Deferred[str]:
        """Ask once."""
        reactor: Any = self.clock
        check = DnsCheck(reactor, expectation(words), Random(seed), self.open)
        return check.probe(SERVER, 1.0)

    def answer(self, type: int, *records: Any, rcode: int = 0) -> None:
        """Answer for app.test."""
        self.received(self.sent[-1][:2] + reply("app.test", type, *records, rcode=rcode)[2:])

    def fails(self, probe: Deferred[str], reason: str) -> None:
        """The check failed for this reason, and holds nothing."""
        self.assertIn(reason, str(self.failureResultOf(probe, CheckFailed).value))
        self.over()

    def over(self) -> None:
        """Nothing is held any more."""
        self.assertGreaterEqual(self.closed, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_passes(self) -> None:
        """An answer with the code passes, and says how much there was in it."""
        probe = self.probe("app.test", "A")
        message = dns.Message()
        message.fromStr(self.sent[0])
        self.assertEqual(message.queries, [dns.Query(b"app.test", dns.A, dns.IN)])
        self.answer(codes.A, ("app.test", 1, "192.0.2.1"), ("app.test", 1, "192.0.2.2"))
        self.assertEqual(self.successResultOf(probe), "NOERROR, 2 records")
        self.over()

    def test_other_code(self) -> None:
        """Another code than the expected one fails; the expected one passes, be it an error's."""
        probe = self.probe("app.test", "A")
        self.answer(codes.A, rcode=codes.SERVFAIL)
        self.fails(probe, "expected NOERROR, got SERVFAIL")
        probe = self.probe("app.test", "A", "rcode=NXDOMAIN")
        self.answer(codes.A, rcode=codes.NXDOMAIN)
        self.assertEqual(self.successResultOf(probe), "NXDOMAIN, 0 records")
        probe = self.probe("app.test", "A")
        self.answer(codes.A, rcode=11)
        self.fails(probe, "got rcode 11")

    def test_records(self) -> None:
        """A record of each type is expected by its text, and any other fails."""
        for text, (type, data) in RECORDS.items():
            records = [("app.test", 1, data)]
            probe = self.probe("app.test", codes.type_text(type), f"expect={text}")
            self.answer(type, *records)
            self.assertIn("1 records", self.successResultOf(probe))
            probe = self.probe("app.test", codes.type_text(type), "expect=elsewhere")
            self.answer(type, *records)
            self.fails(probe, f"expected elsewhere, got {text}")
        probe = self.probe("app.test", "A", "expect=192.0.2.1")
        self.answer(codes.A)
        self.fails(probe, "got no such record")

    def test_truncated(self) -> None:
        """A truncated answer with the code passes: the server is there, and knows the name."""
        for rcode, passes in ((0, True), (2, False)):
            probe = self.probe("app.test", "A", "expect=192.0.2.1")
            data = bytearray(self.sent[-1][:2] + reply("app.test", codes.A, rcode=rcode)[2:])
            data[2] |= 2
            self.received(bytes(data))
            if passes:
                self.assertEqual(self.successResultOf(probe), "NOERROR, truncated")
            else:
                self.fails(probe, "SERVFAIL")

    def test_strangers(self) -> None:
        """What is no answer to the question is passed over, and said if nothing else comes."""
        probe = self.probe("app.test", "A")
        self.received(reply("app.test", codes.A))
        self.received(b"")
        self.answer(codes.AAAA)
        self.assertNoResult(probe)
        self.answer(codes.A)
        self.successResultOf(probe)
        probe = self.probe("app.test", "A")
        self.answer(codes.AAAA)
        self.clock.advance(1.0)
        self.fails(probe, "an answer to another question")
        probe = self.probe("app.test", "A")
        for _ in range(MAX_STRAY):
            self.assertNoResult(probe)
            self.received(b"")
        self.fails(probe, "cut short")

    def test_ids(self) -> None:
        """Each question has an id that nobody can tell before."""
        for seed in range(3):
            self.probe("app.test", "A", seed=seed)
        self.assertEqual(len({data[:2] for data in self.sent}), 3)

    def test_silence(self) -> None:
        """No answer in time is a failure."""
        probe = self.probe("app.test", "A")
        self.clock.advance(1.0)
        self.fails(probe, "no answer")

    def test_refused(self) -> None:
        """Where nobody listens ICMP says so."""
        probe = self.probe("app.test", "A")
        self.failed(OSError(errno.ECONNREFUSED, "Connection refused"))
        self.failureResultOf(probe, OSError)
        self.over()

    def test_cancel(self) -> None:
        """A cancelled check holds nothing."""
        probe = self.probe("app.test", "A")
        probe.cancel()
        self.failureResultOf(probe, CancelledError)
        self.over()

    def test_unix(self) -> None:
        """A unix socket cannot be asked."""
        reactor: Any = self.clock
        check = DnsCheck(reactor, expectation(["app.test", "A"]), Random(1), self.open)
        self.assertRaises(CheckFailed, check.probe, literal("unix:/s", 0), 1.0)
