"""What is written and counted of answers: log lines, figures, the OPT records around them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import codes
from balancer.dns.envelope import PLAIN_SIZE, TCP_SIZE, UDP_SIZE, Envelope
from balancer.dns.figures import Figures
from balancer.dns.log import line, writer
from balancer.dns.options import Edns, read_options
from balancer.dns.svcb import MAX_HINTS, Service, service_data
from tests.dns.serving import CLIENT, opt, option, query, served, serving
from tests.dns.zones import n

AT = 1_764_000_000.1234
LABEL = st.binary(min_size=1, max_size=20)


def edns(*options: tuple[int, bytes], size: int = 1232) -> Edns:
    """What an OPT record with these says."""
    return read_options(b"".join(option(*each) for each in options), size)


class LogTests(SynchronousTestCase):
    """One line for one answer."""

    def test_line(self) -> None:
        """When, who, the zone, how, what, and what came of it."""
        responder = serving(served("www A 192.0.2.1\nsub NS ns.sub"))
        for name, qtype, told in (
            ("www", 1, "A www.example.test. NOERROR 1 50 aa,rd"),
            ("wWw", 731, "TYPE731 wWw.example.test. NOERROR 0 80 aa,rd"),
            ("x.sub", 1, "A x.sub.example.test. NOERROR 0 53 rd"),
        ):
            answer = responder.datagram(query(n(name), qtype, flags=codes.RD), CLIENT)
            assert answer is not None
            self.assertEqual(
                line("example.test", AT, "2001:db8::1", answer, "tcp").decode(),
                f"2025-11-24T16:00:00.123Z 2001:db8::1 dns/example.test tcp {told}\n")

    @settings(max_examples=10, deadline=None)
    @given(st.lists(LABEL, min_size=1, max_size=5), st.booleans())
    def test_any_name(self, labels: list[bytes], limited: bool) -> None:
        """Whatever bytes are in a name, the line is one, of ten words, and nothing raises."""
        name = b"".join(bytes((len(label),)) + label for label in labels) + n("@")
        zone = served("* TXT x")
        lines: list[bytes] = []
        zone.watch(None, writer("example.test", lines.append, lambda: AT))
        responder = serving(zone)
        answer = responder.datagram(query(name, codes.TXT), CLIENT)
        self.assertIsNotNone(answer)
        (told,) = lines
        self.assertEqual((len(told.split(b" ")), told.count(b"\n"), told.isascii()), (10, 1, True))
        self.assertTrue(told[:-1].decode().isprintable())
        self.assertEqual(told.split(b" ")[4], b"TXT")


class FigureTests(SynchronousTestCase):
    """Answers by type and rcode."""

    def test_answers(self) -> None:
        """All types without a mnemonic are one; so are rcodes told by number that have none."""
        figures = Figures()
        for qtype, rcode in ((1, 0), (1, 0), (1, 3), (731, 0), (732, 0), (0, 0), (1, 17)):
            figures.answer(qtype, rcode)[0] += 1
        self.assertEqual(list(figures.answers()), [
            ("A", "NOERROR", 2), ("A", "NXDOMAIN", 1), ("A", "17", 1), ("other", "NOERROR", 3)])
        self.assertEqual(figures.total, 7)


class EnvelopeTests(SynchronousTestCase):
    """What surrounds an answer."""

    def test_limits(self) -> None:
        """Of UDP without EDNS, with it, and of TCP."""
        for known, keepalive, limit in (
            (None, None, PLAIN_SIZE), (edns(size=0), None, PLAIN_SIZE), (edns(size=900), None, 900),
            (edns(size=65535), None, UDP_SIZE), (None, 10.0, TCP_SIZE), (edns(), 10.0, TCP_SIZE),
        ):
            self.assertEqual(Envelope(known, b"", keepalive).limit, limit)

    def test_plain(self) -> None:
        """Without cookie and subnet the OPT record is always the same, and made but once."""
        self.assertEqual(Envelope(None, b"x").opt, b"")
        self.assertEqual(Envelope(edns((3, b"")), b"x").opt, opt(option(3, b"x")))
        for each in ((10, b"12345678"), (8, b"\0\1\0\0")):
            self.assertFalse(Envelope(edns(each), b"").plain)

    def test_faults(self) -> None:
        """Faults are told to who has EDNS, in their own words; few are remembered."""
        envelope = Envelope(edns(), b"")
        for number in range(50):
            made = envelope.opt_for((22, f"pool {number}"))
            self.assertEqual(made, opt(option(15, b"\0\x16pool %d" % number)))
            self.assertIs(envelope.opt_for((22, f"pool {number}")), made)
        self.assertLess(len(envelope._faulty), 10)
        self.assertEqual(Envelope(None, b"").make((22, "x")), b"")


class ServiceTests(SynchronousTestCase):
    """The data of HTTPS records that we make."""

    def test_data(self) -> None:
        """What is so without saying is left out; hints are some of many."""
        four = [bytes((192, 0, 2, each)) for each in range(40)]
        self.assertEqual(service_data(2, Service(443, ("http/1.1",)), (), ()), b"\0\2\0")
        self.assertEqual(service_data(1, Service(444, ("h2", "http/1.1")), four, ()),
                         b"\0\1\0\0\1\0\3\2h2\0\3\0\2\1\xbc\0\4\0\x40" + b"".join(four[:MAX_HINTS]))
