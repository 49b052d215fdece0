"""Master files: RFC 1035 5, RFC 2308 4, $GENERATE, and what is said of wrong ones."""

from __future__ import annotations

import dns.name
import dns.rdataclass
import dns.zone
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import codes, gathering, generate, names, notes, ordinary, rdata, zone, zonefile
from balancer.dns.tree import Tree, records_of
from tests.dns.zones import HEAD, ORIGIN, load, n, open_nothing, sound

Flat = set[tuple[bytes, int, int, bytes]]


def flat(tree: Tree | None) -> Flat:
    """Every record of a tree."""
    if tree is None:
        raise AssertionError("no tree")
    apex = records_of(tree.origin, tree.get(tree.origin) or ())
    return {tuple(record) for record in (*apex, *tree.records())}  # type: ignore[misc]  # a set of plain tuples


def texts(tree: Tree | None) -> set[str]:
    """The same as lines, without what `HEAD` has."""
    return {
        f"{names.to_text(name)} {ttl} {codes.type_text(type)} {rdata.to_text(type, data)}"
        for name, type, ttl, data in flat(tree) - flat(load(HEAD).tree)
    }


# RFC 1035 5.3, with the RFC's own B.ROOT-like layout.
RFC_1035 = """\
@   IN  SOA     VENERA      Action\\.domains (
                                 20     ; SERIAL
                                 7200   ; REFRESH
                                 600    ; RETRY
                                 3600000; EXPIRE
                                 60)    ; MINIMUM

        NS      A.ISI.EDU.
        NS      VENERA
        NS      VAXA
        MX      10      VENERA
        MX      20      VAXA

A       A       26.3.0.103

VENERA  A       10.1.0.52
        A       128.9.0.32

VAXA    A       10.2.0.27
        A       128.9.0.33

$INCLUDE <SUBSYS>ISI-MAILBOXES.TXT
"""
MAILBOXES = b"MOE MX 10 A\nLARRY MX 10 A\n  TXT nyuk\n"

SHAPES = (
    ("a A 192.0.2.1", {"a.example.test. 300 A 192.0.2.1"}),
    ("A a 192.0.2.1", {"a.example.test. 300 A 192.0.2.1"}),
    ("a.example.test. 5 IN A 192.0.2.1", {"a.example.test. 5 A 192.0.2.1"}),
    ("a IN 5 A 192.0.2.1", {"a.example.test. 5 A 192.0.2.1"}),
    ("a 1h30m CLASS1 A 192.0.2.1", {"a.example.test. 5400 A 192.0.2.1"}),
    ("a in 1d a 192.0.2.1", {"a.example.test. 86400 A 192.0.2.1"}),
    ("a TYPE1 \\# 4 c0000201", {"a.example.test. 300 A 192.0.2.1"}),
    ("a.b A 192.0.2.1", {"a.b.example.test. 300 A 192.0.2.1"}),
    ("a\\.b A 192.0.2.1", {"a\\.b.example.test. 300 A 192.0.2.1"}),
    ("*.w A 192.0.2.1 ; any", {"*.w.example.test. 300 A 192.0.2.1"}),
    ("a A 192.0.2.1\n\n ; x\n\t3 A 192.0.2.1\n a 192.0.2.2 ;",
     {"a.example.test. 3 A 192.0.2.1", "a.example.test. 3 A 192.0.2.2"}),
    ("$ORIGIN x\na NS @\n@ A 192.0.2.1\n$origin y.example.test.\n@ MX 1 a",
     {"a.x.example.test. 300 NS x.example.test.", "x.example.test. 300 A 192.0.2.1",
      "y.example.test. 300 MX 1 a.y.example.test."}),
    ("$TTL 1m\na A 192.0.2.1\nb 7 A 192.0.2.1\nc A 192.0.2.1",
     {"a.example.test. 60 A 192.0.2.1", "b.example.test. 7 A 192.0.2.1",
      "c.example.test. 60 A 192.0.2.1"}),
    ("a TXT (\n \"x;\" ; )\n y(z\n) )\n", {'a.example.test. 300 TXT "x;" "y" "z"'}),
    ("a (\n A 192.0.2.1 )\r\nb A 192.0.2.1\r\n",
     {"a.example.test. 300 A 192.0.2.1", "b.example.test. 300 A 192.0.2.1"}),
    ('a TXT "\\"" \\; \\(\\032 "\\#" é',
     {'a.example.test. 300 TXT "\\"" ";" "( " "#" "\\195\\169"'}),
    ('a TXT "a""b"c', {'a.example.test. 300 TXT "a" "b" "c"'}),
    ('a CAA 0 issue "ca; x"', {'a.example.test. 300 CAA 0 issue "ca; x"'}),
    ('a HTTPS 1 . alpn="h2,h3" port=8443',
     {'a.example.test. 300 HTTPS 1 . alpn="h2,h3" port="8443"'}),
    ("$GENERATE 1-3/2 a$ A 192.0.2.$",
     {"a1.example.test. 300 A 192.0.2.1", "a3.example.test. 300 A 192.0.2.3"}),
    ("$GENERATE 9-10 ${1,3,x} 60 IN CNAME h${-9}.$$.\\$",
     {"00a.example.test. 60 CNAME h0.\\$.\\$.example.test.",
      "00b.example.test. 60 CNAME h1.\\$.\\$.example.test."}),
    ("$GENERATE 18-18 ${0,5,n}.x PTR a", {"2.1.0.x.example.test. 300 PTR a.example.test."}),
    ("$GENERATE 18-18 ${0,3,n}.x PTR a", {"2.1.x.example.test. 300 PTR a.example.test."}),
)  # fmt: skip

LONG = "a" * 64
FAULTS = (
    ("a A 192.0.2", "z:5: expected an IPv4 address such as 192.0.2.1, got '192.0.2'"),
    ("a\tA x\nb A y", "z:5: expected an IPv4 address such as 192.0.2.1, got 'x'\n"
     "z:6: expected an IPv4 address such as 192.0.2.1, got 'y'"),
    ("a A", "z:5: expected 'ADDRESS' as the data of A"),
    ("a", "z:5: expected a type and data"),
    ("a 5 IN", "z:5: expected a type and data, got '5 IN'"),
    ("a AA 192.0.2.1", "z:5: expected a type such as A, or TYPE731, got 'AA'"),
    ("a CH A 192.0.2.1", "z:5: expected the class IN, got 'CH'"),
    ("a IN IN A 192.0.2.1", "z:5: expected a type such as A, or TYPE731, got 'IN'"),
    ("a 5x A 192.0.2.1", "z:5: expected seconds, or a time such as 1h30m, got '5x'"),
    ("a 9999999999 A 192.0.2.1", "z:5: expected at most 2147483647 seconds, got '9999999999'"),
    ("a.test. A 192.0.2.1\n A 192.0.2.2",
     "z:5: expected a name within example.test., got 'a.test.'"),
    ("xexample.test. A 192.0.2.1", "z:5: expected a name within example.test., "
     "got 'xexample.test.'"),
    (f"{LONG} A 192.0.2.1", f"z:5: expected labels of 1 to 63 bytes, got '{LONG}'"),
    ("a..b A 192.0.2.1", "z:5: expected labels of 1 to 63 bytes, got 'a..b'"),
    (".example.test. A 192.0.2.1",
     "z:5: expected labels of 1 to 63 bytes, got '.example.test.'"),
    ("a TXT \"b\n c", "z:5: expected a closing quote on the same line, got '\"b'\n"
     "z:6: expected a type such as A, or TYPE731, got 'c'"),
    ("a TXT (\n \"b\nc A x", "z:6: expected a closing quote on the same line, got '\"b'\n"
     "z:7: expected an IPv4 address such as 192.0.2.1, got 'x'"),
    ("a TXT ( b\n c A x", "z:5: expected a closing parenthesis"),
    ("a TXT b )\nc A x", "z:5: expected an opening parenthesis before the closing one, got ')'\n"
     "z:6: expected an IPv4 address such as 192.0.2.1, got 'x'"),
    ("a TXT b\\", "z:5: expected a character after each backslash, got '\\'"),
    ("$ORIGIN", "z:5: expected $ORIGIN NAME"),
    ("$TTL 1 2", "z:5: expected $TTL TIME, got '1 2'"),
    ("$TTL x", "z:5: expected seconds, or a time such as 1h30m, got 'x'"),
    ("$BAD x", "z:5: expected one of $ORIGIN, $TTL, $INCLUDE, $GENERATE, got '$BAD'"),
    ("$INCLUDE", "z:5: expected $INCLUDE FILE [ORIGIN]"),
    ("$INCLUDE x", "z:5: expected a file that can be read (No such file or directory), got 'x'"),
    ("$INCLUDE bad", "bad:2: expected an IPv4 address such as 192.0.2.1, got 'y'"),
    ("$INCLUDE self", "self:1: expected at most 8 files that include one another, got 'self'"),
    ("$GENERATE 1-2 a$ A", "z:5: expected $GENERATE FROM-TO[/STEP] OWNER [TTL] [IN] TYPE DATA, "
     "got '1-2 a$ A'"),
    ("$GENERATE 2-1 a$ A x", "z:5: expected a range that rises in steps of at least 1, got '2-1'"),
    ("$GENERATE 1 a$ A x", "z:5: expected a range such as 1-100 or 0-254/2, got '1'"),
    ("$GENERATE 0-1000000 a$ A x",
     "z:5: expected at most 1000000 records of one $GENERATE, got '0-1000000'"),
    ("$GENERATE 1-1 ${-2} A x",
     "z:5: expected an offset that leaves no number below 0, got '${-2}'"),
    ("a CNAME b\na A 192.0.2.1",
     "z:6: expected CNAME alone at a.example.test., got 'CNAME and A'"),
    ("a A 192.0.2.1\na CNAME b",
     "z:6: expected CNAME alone at a.example.test., got 'CNAME and A'"),
    ("a DNAME x.\na CNAME b",
     "z:6: expected CNAME alone at a.example.test., got 'CNAME and DNAME'"),
    ("a CNAME b\na CNAME c",
     "z:6: expected one CNAME at a.example.test., got 'c.example.test.'"),
    ("a DNAME b\na DNAME c",
     "z:6: expected one DNAME at a.example.test., got 'c.example.test.'"),
    ("a DNAME b\na NS c", "z:6: expected either NS or DNAME at a.example.test., "
     "got 'NS and DNAME'"),
    ("@ CNAME b",
     "z:5: expected no CNAME at the zone's own name; an answer of a pool can be there"),
    ("*.a NS b.", "z:5: expected no NS at a wildcard, got '*.a.example.test.'"),
    ("*.a DNAME b.", "z:5: expected no DNAME at a wildcard, got '*.a.example.test.'"),
    ("a SOA a b 1 2 3 4 5", "z:5: expected SOA at example.test. only, got 'a.example.test.'"),
    ("@ SOA ns1 admin 2 2 3 4 5", "z:5: expected one SOA at example.test., "
     "got 'ns1.example.test. admin.example.test. 2 2 3 4 5'"),
    ("a TYPE255 \\# 0", "z:5: expected a type that zones hold, got 'ANY'"),
    ("a MX 1 " + "x" * 100 + " y",
     "z:5: expected 'PREFERENCE NAME' as the data of MX, got '1 " + "x" * 75 + "...'"),
)  # fmt: skip
FILES = {"bad": b"a A 192.0.2.1\nb A y\n", "self": b"$INCLUDE self\n"}

WARNINGS = (
    ("a 5 A 192.0.2.1\na 7 A 192.0.2.2", "z:6: expected one TTL for all of a.example.test. A; "
     "the least, 5, is taken"),
    ("s NS ns.s", "z:5: expected A or AAAA of ns.s.example.test., a name server of "
     "s.example.test."),
    ("s NS nowhere", "z:5: expected A or AAAA of nowhere.example.test., a name server of "
     "s.example.test."),
    ("s NS ns1\nx.s A 192.0.2.1", "z:5: expected below the delegation of s.example.test. nothing "
     "but addresses of name servers, got 'x.s.example.test.'"),
    ("s NS ns.s\nns.s A 192.0.2.1\nns.s TXT x", "z:5: expected below the delegation of "
     "s.example.test. nothing but addresses of name servers, got 'ns.s.example.test.'"),
    ("d DNAME x.\ny.d A 192.0.2.1", "z:5: expected below the DNAME of d.example.test. nothing "
     "but addresses of name servers, got 'y.d.example.test.'"),
    ("@ NS b.", ""), ("s NS ns.s\nns.s A 192.0.2.1", ""), ("s NS s\ns A 192.0.2.1", ""),
    ("s NS x\n*.@ A 192.0.2.1\n* A 192.0.2.1", ""), ("s NS a.t\nt NS ns1", ""),
    ("a A 192.0.2.1\na A 192.0.2.1", ""), ("a NS x.\na NS X.", ""),
)  # fmt: skip


class ZonefileTests(SynchronousTestCase):
    """Reading a zone's file."""

    def test_rfc_1035(self) -> None:
        """The example of RFC 1035 5.3 has the records that the RFC means; without a TTL they get
        the minimum."""
        loaded = load(RFC_1035, {"<SUBSYS>ISI-MAILBOXES.TXT": MAILBOXES})
        self.assertEqual((loaded.problems, loaded.warnings), ((), ()))
        records = flat(loaded.tree)
        self.assertEqual(len(records), 14)
        self.assertEqual({ttl for _, _, ttl, _ in records}, {60})
        self.assertIn((n("larry"), codes.TXT, 60, b"\x04nyuk"), records)
        self.assertIn((n("venera"), codes.A, 60, bytes((128, 9, 0, 32))), records)

    def test_shapes(self) -> None:
        """The ways to write a record."""
        for text, lines in SHAPES:
            with self.subTest(text=text):
                self.assertEqual(texts(sound(text).tree), lines)

    def test_long_way(self) -> None:
        """Each ordinary line means the same when it is written over two."""
        self.patch(ordinary.Ordinary, "take", lambda self, text, at, cursor, count: at)
        for text, lines in SHAPES:
            with self.subTest(text=text):
                self.assertEqual(texts(sound(text).tree), lines)

    def test_faults(self) -> None:
        """Each fault is named with its file and line, what was expected and what came."""
        for text, lines in FAULTS:
            with self.subTest(text=text):
                loaded = load(HEAD + text, FILES)
                self.assertEqual("\n".join(loaded.problems), lines)
                self.assertIsNone(loaded.tree)

    def test_unprintable(self) -> None:
        """Whatever a file holds, what is said of it can be read on a terminal."""
        for raw in (b"a A \x1b[2J", b"a A \xff\xfe", b"a A \x00", b"\x1b \r x", b"a NS \xff",
                    "a A \u202e".encode()):
            (line,) = load(HEAD.encode() + raw).problems
            self.assertTrue(line.isprintable(), line)

    def test_faults_of_the_whole(self) -> None:
        """A zone has an SOA and NS at its apex, and TTLs from somewhere."""
        for text, lines in (
            ("", ["z: expected SOA at example.test., which has none",
                  "z: expected NS at example.test., which has none"]),
            ("$TTL 5\n@ SOA a b 1 2 3 4 5", ["z: expected NS at example.test., which has none"]),
            (" A 192.0.2.1", ["z:1: expected a name at the start of the first record, got 'A'"]),
            ("a A 192.0.2.1", ["z:1: expected a TTL, a $TTL before it, or an SOA before it"]),
        ):  # fmt: skip
            with self.subTest(text=text):
                self.assertEqual(list(load(text).problems)[: len(lines)], lines)

    def test_warnings(self) -> None:
        """What is odd and harmless is a warning, and the zone is read."""
        for text, line in WARNINGS:
            with self.subTest(text=text):
                loaded = sound(text)
                self.assertEqual("\n".join(loaded.warnings), line)

    def test_default_apex(self) -> None:
        """Options give the apex what the file has not, and only that."""
        default = zone.apex(ORIGIN, [n("n1"), n("n2")], n("hm"), 7, 60)
        loaded = load("a A 192.0.2.1\n", apex=default)
        self.assertEqual(loaded.problems, ())
        records = flat(loaded.tree)
        self.assertIn((n("a"), codes.A, 60, bytes((192, 0, 2, 1))), records)
        self.assertIn((ORIGIN, codes.NS, 60, n("n2")), records)
        self.assertEqual(flat(load(HEAD, apex=default).tree), flat(load(HEAD).tree))
        half = flat(load("$TTL 9\n@ NS x.\n", apex=default).tree)
        self.assertEqual({(type, ttl) for _, type, ttl, _ in half},
                         {(codes.SOA, 60), (codes.NS, 9)})

    def test_empty(self) -> None:
        """A file without a record, of which options make a zone, is doubtful."""
        default = zone.apex(ORIGIN, [n("n1")], n("hm"), 7, 60)
        for text in ("", "; nothing yet\n", "$TTL 5\n"):
            loaded = load(text, apex=default)
            self.assertIsNotNone(loaded.tree)
            self.assertEqual(loaded.warnings[0],
                             "z: expected at least one record in the file, which has none")
        self.assertEqual(load("n1 5 A 192.0.2.1\n", apex=default).warnings, ())

    def test_include_restores(self) -> None:
        """After $INCLUDE the origin, the owner and the TTL are as before."""
        files = {"in": b"$TTL 9\n$ORIGIN q\nb A 192.0.2.2\n"}
        tree = sound("a A 192.0.2.1\n$INCLUDE in p\n A 192.0.2.3\nc A 192.0.2.4", files=files).tree
        self.assertEqual(texts(tree), {
            "a.example.test. 300 A 192.0.2.1", "b.q.p.example.test. 9 A 192.0.2.2",
            "a.example.test. 300 A 192.0.2.3", "c.example.test. 300 A 192.0.2.4",
        })

    def test_bounds(self) -> None:
        """Problems, the size of a zone and of an entry, and what is at a name are bounded."""
        loaded = load("x\n" * (notes.MAX_NOTES + 5))
        self.assertEqual(len(loaded.problems), notes.MAX_NOTES + 1)
        self.patch(zonefile, "MAX_BYTES", 2 * len(HEAD))
        loaded = load(HEAD + "$INCLUDE x\n", {"x": b"\n" * len(HEAD)})
        self.assertEqual(loaded.problems,
                         (f"z:5: expected at most {2 * len(HEAD)} bytes in all files of a zone",))
        self.patch(zonefile, "MAX_BYTES", 10_000_000)
        for text in ("a TXT (" + "\n" * 30_000, "a TXT (" + "x" * 200_000, "a TXT " + '"' * 200_000,
                     "a TXT " + "\\x" * 100_000, ";" * 200_000):
            self.assertEqual(load(HEAD + text).problems, (
                "z:5: expected an entry of at most 163840 bytes and 20000 pieces",))
        longest = "\\# 65535 (\n" + ("ab" * 32 + "\n") * 2047 + "cd" * 31 + ")"
        self.assertEqual(len(flat(sound(f"a TYPE731 {longest}").tree)), 4)
        self.patch(gathering, "MAX_DATAS", 2)
        self.patch(gathering, "MAX_TYPES", 2)
        loaded = load(HEAD + "a A 192.0.2.1\na A 192.0.2.2\na A 192.0.2.3\na MX 1 a\na TXT x")
        self.assertEqual(loaded.problems, (
            "z:7: expected at most 2 records of one type at one name",
            "z:9: expected at most 2 types at one name"))
        self.patch(generate, "MAX_GENERATED", 3)
        loaded = load(HEAD + "$GENERATE 1-4 a$ A 192.0.2.1")
        self.assertIn("at most 3 records", loaded.problems[0])

    def test_slices(self) -> None:
        """A zone is read in slices, whatever its lines look like."""
        master = zonefile.Master("z", ORIGIN, open_nothing)
        for text in ("a{} A 192.0.2.1\n", "a{} A (192.0.2.1\n)\n", "; {}\n", "a{} CNAME x\n"):
            body = "".join(text.format(i) for i in range(700))
            count = sum(1 for _ in zonefile.reading((HEAD + body).encode(), master))
            self.assertGreater(count, 2, text)
        count = sum(1 for _ in zonefile.reading(
            (HEAD + "$GENERATE 1-700 a$ A 192.0.2.1\n").encode(), master))
        self.assertGreater(count, 2)

    def test_truncated(self) -> None:
        """A file cut at any byte gives a zone or problems, and no exception."""
        whole = RFC_1035[-60:].encode() + (
            b'$GENERATE 1-2 a$ TXT "x" ( y )\nb HTTPS 1 . alpn="h2"\n')
        files = {"<SUBSYS>ISI-MAILBOXES.TXT": MAILBOXES}
        for end in range(len(whole)):
            loaded = load(whole[:end], files)
            self.assertEqual(loaded.tree is None, bool(loaded.problems), whole[:end])

    @settings(max_examples=12)
    @given(st.lists(st.sampled_from((
        b"a", b" ", b"\t", b"\n", b"\r\n", b"(", b")", b'"', b"\\", b";", b"$", b"@", b".", b"*",
        b"A", b"NS", b"IN", b"5", b"1h", b"192.0.2.1", b"TXT", b"\xff", b"\x00", b"$ORIGIN ",
        b"$GENERATE ", b"1-3", b"${0,1}", b"=\"", b"SOA", b"CNAME", b"DNAME", b"\\# 4 01020304",
    )), max_size=40))  # fmt: skip
    def test_anything(self, pieces: list[bytes]) -> None:
        """Any text gives a zone or problems, and no exception; both ways agree."""
        text = HEAD.encode() + b"".join(pieces)
        loaded = load(text)
        self.assertEqual(loaded.tree is None, bool(loaded.problems))
        take = ordinary.Ordinary.take
        try:
            ordinary.Ordinary.take = (  # type: ignore[method-assign]  # the long way for once
                lambda self, text, at, cursor, count: at)
            slow = load(text)
        finally:
            ordinary.Ordinary.take = take  # type: ignore[method-assign]  # as it was
        self.assertEqual((loaded.problems, loaded.warnings), (slow.problems, slow.warnings))
        if loaded.tree is not None:
            self.assertEqual(flat(loaded.tree), flat(slow.tree))


OWNER = st.sampled_from((
    "", "@", "a", "b.a", "B.A", "*.b", "a.example.test.", "c.b.A.Example.Test.", "\\097x",
    "_sip._tcp", "d\\.e",
))  # fmt: skip
DATA = st.sampled_from((
    "A 192.0.2.1", "A 192.0.2.2", "A (192.0.2.3)", "AAAA 2001:db8::1", "MX 10 a", "MX 10 a.b.",
    "TXT hi \"a;b\" \\\"", "TXT (\n\"x\"\ny )", "SRV 1 2 3 a", "PTR @", "CAA 0 issue \"x\"",
    "HTTPS 1 . alpn=h2 port=1", "TYPE731 \\# 2 abcd", "HINFO a b", "a 192.0.2.9",
))  # fmt: skip
LINE = st.one_of(
    st.tuples(OWNER, st.sampled_from(("", "5", "IN", "5 IN", "IN 1m", "7")), DATA,
              st.sampled_from(("", " ; c", " "))).map(
        lambda part: f"{part[0]} {part[1]} {part[2]}{part[3]}"),
    st.sampled_from((
        "", "; x", "$TTL 9", "$TTL 1h", "$ORIGIN x.example.test.", "$ORIGIN sub",
        "$GENERATE 1-3 g$ A 192.0.2.$", "k CNAME a\n@ PTR a", "s NS ns.s", "ns.s A 192.0.2.7",
    )),
)  # fmt: skip


class PeerTests(SynchronousTestCase):
    """The same zones through dnspython."""

    @settings(max_examples=15)
    @given(st.lists(LINE, max_size=12))
    def test_same(self, lines: list[str]) -> None:
        """dnspython finds the same records in the same text. Where the TTLs of an RRset differ, we
        take the least and it the last."""
        text = HEAD + "\n".join(["@ A 192.0.2.1", *lines]) + "\n"
        loaded = load(text)
        self.assertEqual(loaded.problems, ())
        peer = dns.zone.from_text(text, "example.test.", relativize=False)
        theirs = {
            ((name.to_wire() or b"").lower(), int(one.rdtype), one.ttl, rd.to_wire())
            for name, one in peer.iterate_rdatasets() for rd in one
        }  # fmt: skip
        mine = flat(loaded.tree)
        if any("one TTL" in line for line in loaded.warnings):
            mine = {(name, type, 0, data) for name, type, _, data in mine}
            theirs = {(name, type, 0, data) for name, type, _, data in theirs}
        self.assertEqual(mine, theirs)
