"""Domain names as text and on the wire."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import codes, names
from balancer.dns.names import BadName

NAME = st.lists(st.binary(min_size=1, max_size=20), min_size=0, max_size=8).map(
    lambda labels: b"".join(bytes((len(x),)) + x for x in labels) + b"\0"
)


class NameTests(SynchronousTestCase):
    """RFC 1035 3.1, 5.1; RFC 4343; RFC 4592."""

    def test_text(self) -> None:
        """Absolute and relative names, the origin, and the root."""
        example = names.from_text("Example.test.")
        self.assertEqual(example, b"\x07Example\x04test\x00")
        self.assertEqual(names.from_text("www", example), b"\x03www\x07Example\x04test\x00")
        self.assertEqual(names.from_text("@", example), example)
        self.assertEqual(names.from_text("."), b"\0")
        self.assertEqual(names.from_text("a.b", b"\0"), b"\x01a\x01b\0")

    def test_escapes(self) -> None:
        r"""`\.` and `\046` are a dot within a label; what is no text is written in decimal."""
        self.assertEqual(names.from_text("a\\.b.c."), b"\x03a.b\x01c\0")
        self.assertEqual(names.from_text("a\\046b."), b"\x03a.b\0")
        self.assertEqual(names.to_text(b"\x03a.b\x02\x00\xff\0"), "a\\.b.\\000\\255.")

    def test_refused(self) -> None:
        """Empty labels, labels over 63 and names over 255 bytes, and broken escapes are refused."""
        for text in ("", "..", "a..b", ".a", "a" * 64, "\\300", "\\", "a\\", "\udcff.b"):
            with self.subTest(text=text), self.assertRaises(BadName):
                names.from_text(text)
        names.from_text(".".join(["a" * 61] * 4) + ".abcde.")
        with self.assertRaises(BadName):
            names.from_text(".".join(["a" * 61] * 4) + ".abcdef.")

    @given(NAME)
    def test_round_trip(self, name: bytes) -> None:
        """A name that is written out and read again is the same."""
        self.assertEqual(names.from_text(names.to_text(name)), name)

    def test_family(self) -> None:
        """Parents, ancestors, and what lies below what."""
        name = names.from_text("a.b.c.")
        self.assertEqual(names.parent(name), names.from_text("b.c."))
        self.assertEqual(names.parent(b"\0"), b"\0")
        self.assertEqual([names.to_text(n) for n in names.ancestors(name)],
                         ["a.b.c.", "b.c.", "c.", "."])
        self.assertEqual(names.count(name), 3)
        self.assertTrue(names.is_within(name, names.from_text("c.")))
        self.assertTrue(names.is_within(name, name))
        self.assertTrue(names.is_within(name, b"\0"))
        self.assertFalse(names.is_within(names.from_text("xc."), names.from_text("c.")))
        # The last bytes of this label are the zone's: it is not below it.
        self.assertFalse(names.is_within(b"\x04xx\x01c\0", names.from_text("c.")))
        self.assertEqual(names.wildcard(names.from_text("c.")), names.from_text("*.c."))

    def test_order(self) -> None:
        """The example of RFC 4034 6.1."""
        texts = ["example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.",
                 "zABC.a.EXAMPLE.", "z.example.", "\\001.z.example.", "*.z.example.",
                 "\\200.z.example."]
        wires = [names.from_text(text) for text in texts]
        self.assertEqual(sorted(wires, key=names.canonical), wires)


class CodeTests(SynchronousTestCase):
    """Types by name and number."""

    def test_types(self) -> None:
        """Mnemonics in any case, TYPEnnn for the rest (RFC 3597 5)."""
        self.assertEqual(codes.type_number("https"), 65)
        self.assertEqual(codes.type_number("TYPE731"), 731)
        self.assertIsNone(codes.type_number("TYPE65536"))
        self.assertIsNone(codes.type_number("BOGUS"))
        self.assertEqual(codes.type_text(28), "AAAA")
        self.assertEqual(codes.type_text(731), "TYPE731")
