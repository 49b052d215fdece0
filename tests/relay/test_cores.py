"""The small cores: settings, makers, limits, keys, log lines, histograms."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.config.schema import read
from balancer.interfaces import IBalancer, IBalancerMaker
from balancer.relay.histogram import Histogram
from balancer.relay.limits import key_of
from balancer.relay.lines import Ended, Stamp, line, milliseconds, peer_text
from balancer.relay.maker import tcp, udp
from balancer.relay.settings import Rate
from tests.relay.world import Site


class SettingsTests(SynchronousTestCase):
    """What a site file may say."""

    def problems(self, kind: str, *lines: str) -> list[str]:
        """What is wrong with a section."""
        text = "\n".join((f"[{kind} x]", *lines))
        problems = read(text, "f", [tcp.section, udp.section]).problems
        return [f"{problem.option}: {problem.text}" for problem in problems]

    def problem_with(self, kind: str, line: str) -> str:
        """What is wrong with one more line of a sound section."""
        (text,) = self.problems(kind, "listen = 127.0.0.1:80", "pool = p", line)
        return text

    def found(self, kind: str, *lines: str) -> Any:
        """The settings of a sound section."""
        text = "\n".join((f"[{kind} x]", "listen = 127.0.0.1:80", "pool = p", *lines))
        file = read(text, "f", [tcp.section, udp.section])
        self.assertEqual(file.problems, ())
        return file.sections[0].settings

    def test_defaults(self) -> None:
        """The defaults are the contract's."""
        self.assertEqual(self.found("tcp").idle_timeout, 300)
        self.assertEqual(self.found("udp").idle_timeout, 30)
        self.assertEqual(self.found("udp").max_connections, 10000)
        self.assertEqual(self.found("tcp").access_log, None)

    def test_required(self) -> None:
        """A listener and a pool are needed."""
        problems = self.problems("tcp")
        self.assertEqual(len(problems), 2)

    def test_later(self) -> None:
        """What is in the contract and not built is refused; its default's text is not."""
        for option in (
            "mode = nat", "mode = dsr", "device = eth0", "proxy-protocol = v1",
            "proxy-protocol = v2", "trusted-proxies = 192.0.2.0/24", "source = 192.0.2.1",
            "snat = yes", "engine = kernel", "hash = source",
        ):
            for kind in ("tcp", "udp"):
                self.assertIn("not in this version", self.problem_with(kind, option))
        for option in ("routes = sni=a -> pool b", "synproxy = on", "user-timeout = 5s"):
            self.assertIn("not in this version", self.problem_with("tcp", option))
        self.assertIn("not in this version", self.problem_with("udp", "responses = 1"))
        self.found("tcp", "mode = relay", "proxy-protocol = off", "trusted-proxies = none",
                   "tls = no")
        self.found("udp", "responses = off")

    def test_tls(self) -> None:
        """TLS ends where there are certificates; a mere yes does not say where."""
        self.assertEqual(self.found("tcp", "tls = tls/site.pem").tls, "tls/site.pem")
        self.assertIsNone(self.found("tcp", "tls = no").tls)
        self.assertIn("expected no, or the certificates'", self.problem_with("tcp", "tls = yes"))

    def test_listen(self) -> None:
        """A listener is an address and a port; what [http] may add is not in this version."""
        self.assertEqual(
            self.problems("tcp", "pool = p", "listen = 127.0.0.1:80 tls=x"),
            ["listen: expected ADDRESS:PORT; in [tcp], tls is an option of its own, got 'tls=x'"],
        )
        self.assertEqual(
            self.problems("tcp", "pool = p", "listen = 127.0.0.1:80 fast"),
            ["listen: expected ADDRESS:PORT and nothing more, got 'fast'"],
        )

    def test_rate(self) -> None:
        """A rate has a unit, may hold for each source, and may have a burst."""
        self.assertEqual(self.found("tcp", "rate = 100/s").rate, Rate(100.0, 100, False))
        self.assertEqual(
            self.found("tcp", "rate = 30/m per source burst=9").rate, Rate(0.5, 9, True)
        )
        self.assertIsNone(self.found("tcp", "rate = off").rate)
        for wrong in ("0/s", "100", "100/s per sauce", "100/s burst=0", "100/s per"):
            self.assertIn("expected", self.problem_with("tcp", f"rate = {wrong}"))

    def test_claims_and_references(self) -> None:
        """A section claims its listeners under its protocol and names its pool."""
        for maker in (tcp, udp):
            found = self.found(maker.kind)
            (claim,) = maker.section.claims(found)
            self.assertEqual((claim.protocol, claim.port), (maker.kind, 80))
            (reference,) = maker.section.references(found)
            self.assertEqual((reference.kind, reference.name), ("pool", "p"))


class MakerTests(SynchronousTestCase):
    """The plugins' seam."""

    def test_interfaces(self) -> None:
        """Makers and what they make provide what they say."""
        for maker in (tcp, udp):
            verifyObject(IBalancerMaker, maker)
            verifyObject(IBalancer, maker.make("x", Site()))


class LineTests(SynchronousTestCase):
    """The access log."""

    def test_line(self) -> None:
        """A line has who, when, where, how long, how much and how it ended."""
        ended = Ended("192.0.2.7:1", 1.5, "tcp/t", "p/a", (0, 1, 2), 3, 4, "--", 5)
        self.assertEqual(
            line(ended, Stamp()),
            b"192.0.2.7:1 [01/Jan/1970:00:00:01.500 +0000] tcp/t p/a 0/1/2 3/4 -- 5\n",
        )
        ended.server = ""
        self.assertIn(b" <NOSRV> ", line(ended, Stamp()))

    def test_stamp(self) -> None:
        """Times of one second and of the next are told apart."""
        stamp = Stamp()
        self.assertEqual(stamp.text(1.25), "01/Jan/1970:00:00:01.250 +0000")
        self.assertEqual(stamp.text(1.75), "01/Jan/1970:00:00:01.750 +0000")
        self.assertEqual(stamp.text(2.0), "01/Jan/1970:00:00:02.000 +0000")

    def test_peer(self) -> None:
        """IPv6 addresses stand in brackets."""
        self.assertEqual(peer_text("192.0.2.7", 80), "192.0.2.7:80")
        self.assertEqual(peer_text("2001:db8::7", 80), "[2001:db8::7]:80")
        self.assertEqual(peer_text("unix", 0), "unix")

    def test_milliseconds(self) -> None:
        """What did not happen is -1, as in HAProxy's logs."""
        self.assertEqual((milliseconds(None), milliseconds(0.0123)), (-1, 12))


class KeyTests(SynchronousTestCase):
    """What pools choose by."""

    def test_keys(self) -> None:
        """The packed address, with the port where that counts; None where nothing does."""
        self.assertEqual(key_of("source", "192.0.2.7", 258), bytes([192, 0, 2, 7]))
        self.assertEqual(
            key_of("address+port", "192.0.2.7", 258), bytes([192, 0, 2, 7, 1, 2])
        )
        self.assertEqual(len(key_of("source", "fe80::1%eth0", 1) or b""), 16)
        self.assertIsNone(key_of("source", "unix", 0))
        self.assertIsNone(key_of("none", "192.0.2.7", 1))
        self.assertIsNone(key_of("uri", "192.0.2.7", 1))


class HistogramTests(SynchronousTestCase):
    """Buckets."""

    def test_samples(self) -> None:
        """Buckets are cumulative, their bounds belong to them, and count and sum follow."""
        histogram = Histogram((1.0, 2.0))
        for value in (0.5, 1.0, 1.5, 9.0):
            histogram.observe(value)
        self.assertEqual(list(histogram.samples()), [
            ("_bucket", "1.0", 2), ("_bucket", "2.0", 3), ("_bucket", "+Inf", 4),
            ("_count", "", 4), ("_sum", "", 12.0),
        ])
