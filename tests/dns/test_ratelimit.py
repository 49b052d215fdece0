"""Response rate limiting: who is answered, who is asked to come over TCP, who gets nothing."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_network

from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import names, ratelimit
from balancer.dns.ratelimit import ANSWERED, NODATA, NXDOMAIN, RateLimit, Verdict

WWW = names.from_text("www.example.test.")
ZONE = names.from_text("example.test.")
V4 = ip_address("192.0.2.1").packed
V6 = ip_address("2001:db8::1").packed


class JudgeTests(SynchronousTestCase):
    """One network's answers."""

    def counts(self, limit: RateLimit, times: int, address: bytes = V4, name: bytes = WWW
               ) -> Counter[Verdict]:
        """The verdicts on so many answers at once."""
        return Counter(limit.judge(address, ANSWERED, name, 1.0) for _ in range(times))

    def test_rate(self) -> None:
        """A second's worth passes at once, then one by one as time goes on."""
        limit = RateLimit(5, slip=0)
        self.assertEqual(self.counts(limit, 8), {Verdict.PASS: 5, Verdict.DROP: 3})
        self.assertIs(limit.judge(V4, ANSWERED, WWW, 1.19), Verdict.DROP)
        self.assertIs(limit.judge(V4, ANSWERED, WWW, 1.21), Verdict.PASS)
        self.assertEqual(limit.dropped_total, 4)

    def test_slip(self) -> None:
        """Every so manieth refused answer is sent truncated: none for 0, each for 1."""
        for slip, slipped in ((0, 0), (1, 12), (2, 6), (3, 4)):
            limit = RateLimit(5, slip)
            counts = self.counts(limit, 17)
            self.assertEqual((counts[Verdict.SLIP], counts[Verdict.DROP]), (slipped, 12 - slipped))
            self.assertEqual((limit.slipped_total, limit.dropped_total), (slipped, 12 - slipped))

    def test_networks(self) -> None:
        """A /24, and a /56 of IPv6, are one network; the next one has its own rate."""
        for same, other in (("192.0.2.255", "192.0.3.1"), ("2001:db8:0:ff::9", "2001:db8:0:100::")):
            limit = RateLimit(2, slip=0)
            first = V4 if "." in same else V6
            self.assertEqual(self.counts(limit, 2, first), {Verdict.PASS: 2})
            self.assertEqual(self.counts(limit, 1, ip_address(same).packed), {Verdict.DROP: 1})
            self.assertEqual(self.counts(limit, 2, ip_address(other).packed), {Verdict.PASS: 2})

    def test_kinds(self) -> None:
        """Other names and other kinds of answer have their own rate."""
        limit = RateLimit(2, slip=0)
        self.assertEqual(self.counts(limit, 3)[Verdict.DROP], 1)
        self.assertIs(limit.judge(V4, ANSWERED, ZONE, 1.0), Verdict.PASS)
        self.assertIs(limit.judge(V4, NXDOMAIN, ZONE, 1.0), Verdict.PASS)
        self.assertIs(limit.judge(V4, NODATA, ZONE, 1.0), Verdict.PASS)

    def test_names_varied(self) -> None:
        """Who varies names or kinds gets NETWORK_TIMES the rate in all, and no more."""
        limit = RateLimit(5, slip=0)
        passed = sum(
            limit.judge(V4, kind, bytes((1, each)) + ZONE, 1.0) is Verdict.PASS
            for each in range(100) for kind in (ANSWERED, NODATA)
        )
        self.assertEqual(passed, 5 * ratelimit.NETWORK_TIMES)

    def test_exempt(self) -> None:
        """An exempt network is never refused; its neighbours and other families are."""
        limit = RateLimit(1, 0, [ip_network("192.0.2.0/28"), ip_network("2001:db8::/32")])
        for text, exempt in (("192.0.2.15", True), ("192.0.2.16", False), ("2001:db8::1", True),
                             ("2001:db9::1", False), ("::c000:201", False)):
            counts = self.counts(limit, 5, ip_address(text).packed)
            self.assertEqual(counts[Verdict.DROP] == 0, exempt, text)

    def test_bound(self) -> None:
        """However many networks and names come, the tables do not grow beyond their bound."""
        self.patch(ratelimit, "MOST_BUCKETS", 50)
        limit = RateLimit(1)
        for each in range(500):
            limit.judge(each.to_bytes(4, "little"), ANSWERED, WWW, 1.0)
        self.assertEqual((len(limit._answers), len(limit._networks)), (50, 50))

    def test_nonsense(self) -> None:
        """No rate and a negative slip are refused."""
        self.assertRaises(ValueError, RateLimit, 0)
        self.assertRaises(ValueError, RateLimit, 5, -1)


class FloodTests(SynchronousTestCase):
    """The aim: less than 3 times a flood's bytes come back."""

    QUERY = 45
    ANSWER = 1232

    def test_flood(self) -> None:
        """10 s of 500 forged queries a second, of one name or of ever new ones."""
        for varied in (False, True):
            limit = RateLimit(5)
            back = 0
            for turn in range(5000):
                name, kind = WWW, ANSWERED
                if varied:
                    name = bytes((2, turn % 251, turn % 13)) + ZONE
                    kind = (ANSWERED, NODATA, NXDOMAIN)[turn % 3]
                verdict = limit.judge(V4[:3] + bytes((turn % 256,)), kind, name, turn / 500)
                back += {Verdict.PASS: self.ANSWER, Verdict.SLIP: self.QUERY}.get(verdict, 0)
            self.assertLess(back, 3 * 5000 * self.QUERY)
            self.assertGreater(back, 0)
