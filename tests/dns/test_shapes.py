"""
One body for all names of one length: what goes out against what is rendered for each name alone.
"""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import codes
from balancer.dns.pools import ANYBODY
from balancer.dns.reply import message, render
from balancer.dns.served import Served
from balancer.dns.zone import Zone
from tests.dns.serving import CLIENT, opt, query, records, served, serving
from tests.dns.test_search_oracle import Row, line, sown
from tests.dns.world import all_up, pool_of
from tests.dns.zones import HEAD, ORIGIN, load, n

LABELS = st.sampled_from(["a", "b", "aa", "ns1", "\\000", "\\001", "*", "x" * 30, "admin"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(tuple)
TARGETS = st.one_of(NAMES, NAMES, st.none())
ROWS = st.builds(Row, NAMES, st.sampled_from(["A", "TXT", "NS", "CNAME", "DNAME", "DS"]), TARGETS)
QUESTIONS = st.tuples(NAMES, st.sampled_from([1, 2, 5, 6, 16, 43, 255, 731, 732]))


def direct(zone: Zone, packet: bytes) -> bytes:
    """The answer that is made for this packet alone."""
    key, qtype = packet[12:-4].lower(), int.from_bytes(packet[-4:-2], "big")
    found = zone.find(key, key, qtype, ANYBODY)
    body = render(key, found.answers, found.authority, found.additional,
                  rcode=found.rcode, aa=found.aa)
    return message(0x1234, 0, packet[12:], body)


def distinct(found: list[list[str]]) -> list[list[str]]:
    """Each record once: where a wildcard's alias is a name of its own the shared body has it
    twice."""
    return [sorted(set(section)) for section in found]


class ShapeTests(SynchronousTestCase):
    """Random zones and the names in them."""

    @settings(max_examples=4, deadline=None)
    @given(st.lists(ROWS, max_size=8), st.lists(QUESTIONS, min_size=1, max_size=20))
    # An alias of a name that a wildcard makes, shorter than the wildcard.
    @example([Row(("a",), "CNAME", ("x" * 30, "b")), Row(("x" * 30, "*"), "A", None)],
             [(("a",), 1), (("x" * 30, "b"), 1)])
    # ... and as long as another name that the wildcard makes.
    @example([Row(("aa", "*"), "A", None), Row(("aa", "b", "b"), "CNAME", ("aa", "a"))],
             [(("aa", "aa", "a"), 1), (("aa", "b", "b"), 1)])
    # Names that look like a filler.
    @example([Row(("*",), "CNAME", ("a", "\\000")), Row(("\\000",), "TXT", None)],
             [(("a",), 1), (("b",), 1), (("\\000",), 1), (("\\000",), 16), (("b",), 16)])
    @example([Row(("aa",), "NS", ("aa", "\\000"))], [(("aa", "b"), 1), (("aa", "\\000"), 1)])
    # DNAME, then a wildcard.
    @example([Row(("a",), "DNAME", ("aa",)), Row(("aa", "*"), "A", None)],
             [(("a", "b"), 1), (("a", "ns1"), 1), (("aa", "b"), 1)])
    def test_same_as_direct(
        self, rows: list[Row], questions: list[tuple[tuple[str, ...], int]]
    ) -> None:
        """Asked once or again, in any order, each name gets what it would get alone."""
        tree = load(HEAD + "".join(f"{line(row)}\n" for row in sown(rows))).tree
        assert tree is not None
        zone = Zone(tree)
        responder = serving(Served(ORIGIN, zone))
        for path, qtype in [*questions, *questions]:
            packet = query(n(".".join([*reversed(path), "example.test."])), qtype)
            answer = responder.datagram(packet, CLIENT)
            assert answer is not None
            expected = direct(zone, packet)
            self.assertEqual(answer[:4], expected[:4], packet)
            self.assertEqual(distinct(records(answer)), distinct(records(expected)), packet)

    def test_spelling(self) -> None:
        """The question comes back as it was spelt (0x20), and owners that point to it follow."""
        responder = serving(served("*.w TXT x\nwww A 192.0.2.1\nsub NS ns.sub\nns.sub A 192.0.2.2"))
        for name in ("wWw", "a.W", "A.w", "nOnE", "x.sUb", "X.y.SUB"):
            for _ in range(2):
                packet = query(n(name)[:-14] + b"\x07eXamPLE\x04TesT\0")
                answer = responder.datagram(packet, CLIENT)
                assert answer is not None
                self.assertEqual(answer[12:len(packet)], packet[12:])
                records(answer)

    def test_service_of_a_wildcard(self) -> None:
        """Addresses beside an HTTPS record that a wildcard made bear the name that was asked."""
        responder = serving(served("*.w HTTPS 1 .\n*.w A 192.0.2.1"))
        for name in ("a.w", "b.w"):
            answer = records(responder.datagram(query(n(name), codes.HTTPS), CLIENT))
            self.assertEqual(answer[2], [f"{name}.example.test. 300 IN A 192.0.2.1"])

    def test_wildcard_of_a_pool(self) -> None:
        """A wildcard's names follow its pool; all of them at once."""
        pool = all_up(pool_of({"a": "192.0.2.1", "b": "192.0.2.2"}))
        zone = served("", {"*": ("", pool)})
        responder = serving(zone)
        for name in ("x", "y", "x.y"):
            self.assertEqual(len(records(responder.datagram(query(n(name)), CLIENT))[0]), 2)
        pool.maintain(pool.server("a"))
        zone.settle("web")
        for name in ("x", "y", "x.y", "new"):
            self.assertEqual(records(responder.datagram(query(n(name)), CLIENT))[0],
                             [f"{name}.example.test. 30 IN A 192.0.2.2"])

    def test_bounds(self) -> None:
        """However many names, cookies and clients there are, the tables end somewhere."""
        responder = serving(served("*.w TXT x\nwww A 192.0.2.1"))
        tables = (responder._entries, responder._shapes)
        for table in tables:
            table._most = 20
        responder._envelopes.update({bytes(3) + i.to_bytes(2, "big"): responder._envelopes[b""]
                                     for i in range(4090)})
        cookie = b"\0\x0a\0\x08" + bytes(7)
        for number in range(60):
            label = f"{'y' * number}{number}"
            for packet in (query(n(label + ".w"), 16), query(n(label), 731 + number),
                           query(n("www"), 1000 + number),
                           query(n("www"), tail=opt(cookie + bytes((number,))))):
                self.assertIsNotNone(responder.datagram(packet, CLIENT))
        for table in tables:
            self.assertLessEqual(len(table.table), 20)
        self.assertLess(len(responder._envelopes), 100)
        self.assertIn(b"", responder._envelopes)
