"""Zones asked: RFC 1034 4.3.2 and 6.2, 2308, 4592, 6672, 8482, 9460; dynamic names; transfers."""

from __future__ import annotations

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.slices import finish
from balancer.dns import codes, names, rdata, zone
from balancer.dns.search import MAX_ADDITIONAL, MAX_CHAIN
from balancer.dns.tree import RRset, planted
from balancer.dns.zone import BadZone, Found, Record, Zone
from tests.dns.zones import HEAD, ORIGIN, load, n, sound

A1 = bytes((192, 0, 2, 1))

# RFC 4592 2.2.1's zone, and what else the tables below ask for.
WORLD = """
@       300     NS      ns.example.com.
@       300     NS      ns.example.net.
*       3600    TXT     "this is a wildcard"
*       3600    MX      10 host1
sub.*   3600    TXT     "this is not a wildcard"
host1   3600    A       192.0.2.1
_ssh._tcp.host1 3600 SRV 0 0 22 host1
_ssh._tcp.host2 3600 SRV 0 0 22 host2
subdel  3600    NS      ns.example.com.
subdel  3600    NS      ns.example.net.
dele    NS      ns.dele
dele    NS      ns.other.dele
dele    DS      1 8 9 00
ns.dele A       192.0.2.2
ns.other.dele AAAA 2001:db8::2
x.dele  TXT     hidden
alias   CNAME   host1
far     CNAME   www.example.net.
loop1   CNAME   loop2
loop2   CNAME   loop1
todele  CNAME   www.dele
tonone  CNAME   a.host1
tonodata CNAME  ns1
*.wc    CNAME   host1
*.wn    CNAME   nothing.host1
dn      DNAME   target
target  TXT     top
a.target A      192.0.2.7
out     DNAME   example.net.
long    DNAME   {long}
svc     HTTPS   1 . port=1
svc     A       192.0.2.9
svc2    HTTPS   1 svc
svc3    HTTPS   0 svc
mail    MX      1 host1
mail    MX      2 Host1
mail    MX      3 other.example.net.
nullmx  MX      0 .
many    TXT     a
many    TXT     bb
many    HINFO   c d
*.ent.deep A    192.0.2.3
""".replace("{long}", ".".join(["a" * 60] * 3 + ["b" * 40]) + ".")

# qname, qtype -> kind, rcode, AA, and lines of each section ("SOA": the negative one).
TABLE: tuple[tuple[str, str, str, list[str], str, list[str]], ...] = (
    # RFC 4592 2.2.1, word for word.
    ("host3", "MX", "answer", ["host3 MX 10 host1.example.test."], "", ["host1 A 192.0.2.1"]),
    ("host3", "A", "nodata", [], "SOA", []),
    ("foo.bar", "TXT", "answer", ['foo.bar TXT "this is a wildcard"'], "", []),
    ("host1", "MX", "nodata", [], "SOA", []),
    ("sub.*", "MX", "nodata", [], "SOA", []),
    ("_telnet._tcp.host1", "SRV", "nxdomain", [], "SOA", []),
    ("host.subdel", "A", "referral", [],
     "subdel NS ns.example.com.\nsubdel NS ns.example.net.", []),
    ("ghost.*", "MX", "nxdomain", [], "SOA", []),
    # An asterisk that is asked for is a name as any other (2.3); it exists (2.2.1).
    ("*", "TXT", "answer", ['* TXT "this is a wildcard"'], "", []),
    ("_tcp.host1", "A", "nodata", [], "SOA", []),
    ("host2", "SRV", "nodata", [], "SOA", []),
    ("x.host2", "TXT", "nxdomain", [], "SOA", []),
    ("deep", "A", "nodata", [], "SOA", []),
    ("ent.deep", "A", "nodata", [], "SOA", []),
    ("q.ent.deep", "A", "answer", ["q.ent.deep A 192.0.2.3"], "", []),
    ("q.deep", "TXT", "nxdomain", [], "SOA", []),
    # Delegations (RFC 1034 4.2.1, 4.3.2 3b; RFC 4035 3.1.4.1).
    ("dele", "A", "referral", [], "dele NS ns.dele.example.test.\ndele NS "
     "ns.other.dele.example.test.", ["ns.dele A 192.0.2.2", "ns.other.dele AAAA 2001:db8::2"]),
    ("x.dele", "TXT", "referral", [], "dele NS ns.dele.example.test.\ndele NS "
     "ns.other.dele.example.test.", ["ns.dele A 192.0.2.2", "ns.other.dele AAAA 2001:db8::2"]),
    ("ns.dele", "A", "referral", [], "dele NS ns.dele.example.test.\ndele NS "
     "ns.other.dele.example.test.", ["ns.dele A 192.0.2.2", "ns.other.dele AAAA 2001:db8::2"]),
    ("dele", "DS", "answer", ["dele DS 1 8 9 00"], "", []),
    ("subdel", "DS", "nodata", [], "SOA", []),
    ("x.subdel", "DS", "referral", [],
     "subdel NS ns.example.com.\nsubdel NS ns.example.net.", []),
    ("subdel", "NS", "referral", [],
     "subdel NS ns.example.com.\nsubdel NS ns.example.net.", []),
    ("@", "DS", "nodata", [], "SOA", []),
    ("@", "NS", "answer", ["@ NS ns1.example.test.", "@ NS ns.example.com.",
                           "@ NS ns.example.net."], "", ["ns1 A 192.0.2.1"]),
    # Aliases (RFC 1034 3.6.2, RFC 2308 2.1 and 2.2).
    ("alias", "A", "answer", ["alias CNAME host1.example.test.", "host1 A 192.0.2.1"], "", []),
    ("alias", "CNAME", "answer", ["alias CNAME host1.example.test."], "", []),
    ("alias", "ANY", "answer", ["alias CNAME host1.example.test."], "", []),
    ("alias", "TXT", "nodata", ["alias CNAME host1.example.test."], "SOA", []),
    ("far", "A", "answer", ["far CNAME www.example.net."], "", []),
    ("loop1", "A", "answer", ["loop1 CNAME loop2.example.test.",
                              "loop2 CNAME loop1.example.test."], "", []),
    ("todele", "A", "referral", ["todele CNAME www.dele.example.test."],
     "dele NS ns.dele.example.test.\ndele NS ns.other.dele.example.test.",
     ["ns.dele A 192.0.2.2", "ns.other.dele AAAA 2001:db8::2"]),
    ("tonone", "A", "nxdomain", ["tonone CNAME a.host1.example.test."], "SOA", []),
    ("tonodata", "TXT", "nodata", ["tonodata CNAME ns1.example.test."], "SOA", []),
    ("a.b.wc", "A", "answer", ["a.b.wc CNAME host1.example.test.", "host1 A 192.0.2.1"], "", []),
    ("a.wc", "CNAME", "answer", ["a.wc CNAME host1.example.test."], "", []),
    ("a.wn", "A", "nxdomain", ["a.wn CNAME nothing.host1.example.test."], "SOA", []),
    ("wc", "A", "nodata", [], "SOA", []),
    # DNAME (RFC 6672 2.2, 3.1).
    ("a.dn", "A", "answer", ["dn DNAME target.example.test.", "a.dn CNAME a.target.example.test.",
                             "a.target A 192.0.2.7"], "", []),
    ("b.dn", "A", "nxdomain", ["dn DNAME target.example.test.",
                               "b.dn CNAME b.target.example.test."], "SOA", []),
    ("a.dn", "CNAME", "answer", ["dn DNAME target.example.test.",
                                 "a.dn CNAME a.target.example.test."], "", []),
    ("dn", "DNAME", "answer", ["dn DNAME target.example.test."], "", []),
    ("dn", "A", "nodata", [], "SOA", []),
    ("a.b.out", "A", "answer", ["out DNAME example.net.", "a.b.out CNAME a.b.example.net."], "",
     []),
    # RFC 9460 4.1, RFC 7505, RFC 1034 3.7.1.
    ("svc", "HTTPS", "answer", ['svc HTTPS 1 . port="1"'], "", ["svc A 192.0.2.9"]),
    ("svc2", "HTTPS", "answer", ["svc2 HTTPS 1 svc.example.test."], "", ["svc A 192.0.2.9"]),
    ("svc3", "HTTPS", "answer", ["svc3 HTTPS 0 svc.example.test."], "", ["svc A 192.0.2.9"]),
    ("mail", "MX", "answer", ["mail MX 1 host1.example.test.", "mail MX 2 Host1.example.test.",
                              "mail MX 3 other.example.net."], "", ["host1 A 192.0.2.1"]),
    ("nullmx", "MX", "answer", ["nullmx MX 0 ."], "", []),
    # RFC 8482 4.1: one RRset, the smallest.
    ("many", "ANY", "answer", ['many HINFO "c" "d"'], "", []),
    ("deep", "ANY", "nodata", [], "SOA", []),
    ("nothing.host1", "ANY", "nxdomain", [], "SOA", []),
    ("@", "SOA", "answer", ["@ SOA ns1.example.test. admin.example.test. 1 7200 1800 1209600 60"],
     "", []),
)  # fmt: skip


@frozen
class Fixed:
    """A dynamic name that gives one RRset, or what `client` is."""

    rrset: RRset
    for_all: bool = False

    types: frozenset[int] = frozenset({codes.A})

    def records(self, qtype: int, client: object) -> RRset | None:
        if client == "nobody":
            return None
        return self.rrset._replace(datas=(client,)) if isinstance(client, bytes) else self.rrset


def fixed(last: int = 1, for_all: bool = False) -> Fixed:
    """One that gives 198.51.100.`last`."""
    return Fixed(RRset(codes.A, 5, (bytes((198, 51, 100, last)),)), for_all)


def lines(records: tuple[Record, ...]) -> list[str]:
    """Records without TTL; owners below the origin relative."""
    return [
        f"{owner(name)} {codes.type_text(type)} {rdata.to_text(type, data)}"
        for name, type, _, data in records
    ]


def owner(name: bytes) -> str:
    return names.to_text(name).removesuffix("example.test.").removesuffix(".") or "@"


class TableTests(SynchronousTestCase):
    """Static zones."""

    def setUp(self) -> None:
        """The zone of the tables."""
        tree = sound(WORLD).tree
        if tree is None:
            raise AssertionError("no tree")
        self.zone = Zone(tree)

    def ask(self, name: str, word: str) -> Found:
        """Ask for a name below the origin."""
        wire = n(name)
        return self.zone.find(wire, wire.lower(), codes.TYPES[word])

    def test_table(self) -> None:
        """Each question of the RFCs' examples gets their answer in every section."""
        for name, word, kind, answers, authority, additional in TABLE:
            with self.subTest(name=name, word=word):
                found = self.ask(name, word)
                self.assertEqual(found.kind, kind)
                self.assertEqual(found.rcode, codes.NXDOMAIN if kind == "nxdomain" else 0)
                self.assertEqual(found.aa, kind != "referral" or bool(answers))
                self.assertEqual(lines(found.answers), answers)
                self.assertEqual(lines(found.additional), additional)
                if authority == "SOA":
                    (soa,) = found.authority
                    self.assertEqual(soa[:3], (ORIGIN, codes.SOA, 60))
                else:
                    self.assertEqual("\n".join(lines(found.authority)), authority)

    def test_spelling(self) -> None:
        """The answer's owner is spelled as the question, and so is the rest of it under DNAME."""
        found = self.ask("HOST1", "A")
        self.assertEqual(found.answers[0].name, n("HOST1"))
        found = self.ask("A.Dn", "A")
        self.assertEqual([each.name for each in found.answers],
                         [n("Dn"), n("A.Dn"), n("A.target")])
        self.assertEqual(self.ask("X.Y", "TXT").answers[0].name, n("X.Y"))

    def test_wildcard(self) -> None:
        """What was made from a wildcard names it; what was not does not."""
        self.assertEqual(self.ask("x.y", "TXT").wildcard, n("*"))
        self.assertEqual(self.ask("x.y", "A").wildcard, n("*"))
        self.assertEqual(self.ask("a.wc", "A").wildcard, n("*.wc"))
        for name, word in (("*", "TXT"), ("host1", "A"), ("x.host1", "A"), ("alias", "A")):
            self.assertIsNone(self.ask(name, word).wildcard)

    def test_too_long(self) -> None:
        """A name that DNAME makes too long is YXDOMAIN (RFC 6672 2.2)."""
        found = self.ask("a" * 40 + ".long", "A")
        self.assertEqual((found.kind, found.rcode), ("dname-too-long", codes.YXDOMAIN))
        self.assertEqual([each.type for each in found.answers], [codes.DNAME])
        self.assertEqual(self.ask("a.long", "A").kind, "answer")

    def test_outside(self) -> None:
        """A name of another zone gets nothing but REFUSED, also one that looks alike."""
        for text in ("example.net.", "xexample.test.", "test.", "."):
            wire = n(text)
            self.assertEqual(self.zone.find(wire, wire, codes.A)[:4], ("outside", 5, False, ()))

    def test_negative_ttl(self) -> None:
        """Negative answers live as long as the SOA or its minimum, whichever is less."""
        for ttl, minimum in ((5, 60), (60, 5)):
            tree = load(f"@ {ttl} SOA a. b. 1 2 3 4 {minimum}\n@ NS a.\n").tree
            if tree is None:
                raise AssertionError("no tree")
            found = Zone(tree).find(n("x"), n("x"), codes.A)
            self.assertEqual(found.authority[0].ttl, 5)

    def test_bounds(self) -> None:
        """A chain of aliases ends, and the additional section does."""
        chain = "".join(f"c{i} CNAME c{i + 1}\n" for i in range(30))
        servers = "".join(f"m MX 1 h{i}\nh{i} A 192.0.2.1\n" for i in range(50))
        tree = load(HEAD + chain + servers).tree
        if tree is None:
            raise AssertionError("no tree")
        long = Zone(tree)
        self.assertEqual(len(long.find(n("c0"), n("c0"), codes.A).answers), MAX_CHAIN)
        self.assertEqual(len(long.find(n("m"), n("m"), codes.MX).additional), MAX_ADDITIONAL)

    def test_records(self) -> None:
        """A transfer has every record but the SOA once, the apex's first."""
        records = list(self.zone.records())
        self.assertEqual(len(records), len(set(records)))
        self.assertEqual([each.name for each in records[:3]], [ORIGIN] * 3)
        self.assertNotIn(codes.SOA, {each.type for each in records})
        # HEAD has two, the world 48 lines of which all are records.
        self.assertEqual(len(records), 2 + len(WORLD.strip().splitlines()))

    def test_forgetting(self) -> None:
        """A tree that nobody asks any more is freed in slices, a transfer under way goes on."""
        transfer = self.zone.records()
        first = [next(transfer) for _ in range(4)]
        whole = 2 + len(WORLD.strip().splitlines())
        tree = self.zone.tree
        self.assertGreater(sum(1 for _ in tree.forgetting()), 100)
        self.assertEqual(tree.nodes, [])
        self.assertEqual(len(first + list(transfer)), whole)
        finish(tree.forgetting())


class DynamicTests(SynchronousTestCase):
    """Names that follow something."""

    def setUp(self) -> None:
        """A zone with a few static names."""
        tree = sound("""\
            a TXT x
            alias CNAME dyn
            mail MX 1 dyn
            mail MX 2 steady
            dele NS x.
            * TXT star
            b.c A 192.0.2.1
        """).tree  # fmt: skip
        if tree is None:
            raise AssertionError("no tree")
        self.zone = Zone(tree)

    def with_names(self, *keys: str) -> Zone:
        """The zone with such dynamic names."""
        return self.zone.with_dynamic({n(key): fixed() for key in keys})

    def ask(self, zone: Zone, name: str, qtype: int = codes.A, client: object = None) -> Found:
        """Ask for a name below the origin."""
        return zone.find(n(name), n(name).lower(), qtype, client)

    def test_answers(self) -> None:
        """A dynamic name is asked with the client, and the result says that it was."""
        found = self.ask(self.with_names("dyn"), "DYN", client=b"\1\2\3\4")
        self.assertEqual(found.answers, (Record(n("DYN"), codes.A, 5, b"\1\2\3\4"),))
        self.assertEqual((found.kind, found.aa, found.follows), ("answer", True, (n("dyn"),)))

    def test_nothing(self) -> None:
        """No data, and a type that it has not, are NODATA; only the first follows it."""
        zone = self.with_names("dyn")
        for qtype, follows in ((codes.A, (n("dyn"),)), (codes.TXT, ())):
            found = self.ask(zone, "dyn", qtype, "nobody")
            self.assertEqual((found.kind, found.follows), ("nodata", follows))
            self.assertEqual(found.authority[0].type, codes.SOA)

    def test_beside(self) -> None:
        """Static RRsets of other types stay beside it."""
        zone = self.with_names("a")
        self.assertEqual(lines(self.ask(zone, "a", codes.TXT).answers), ['a TXT "x"'])
        self.assertEqual(self.ask(zone, "a").follows, (n("a"),))
        self.assertEqual(lines(self.ask(zone, "a", codes.ANY).answers), ['a TXT "x"'])

    def test_any(self) -> None:
        """ANY asks it only if there is nothing static."""
        found = self.ask(self.with_names("dyn"), "dyn", codes.ANY)
        self.assertEqual((found.answers[0].type, found.follows), (codes.A, (n("dyn"),)))
        found = self.ask(self.with_names("dyn"), "dyn", codes.ANY, "nobody")
        self.assertEqual(found.kind, "nodata")

    def test_in_the_tree(self) -> None:
        """It exists, so do the names above it, and both stop a wildcard."""
        zone = self.with_names("x.y.z", "b.c.q")
        for name, kind in (
            ("y.z", "nodata"), ("z", "nodata"), ("w.z", "nxdomain"), ("q.x.y.z", "nxdomain"),
            ("w", "answer"), ("w.w", "answer"), ("c.q", "nodata"), ("x.y.z", "nodata"),
        ):  # fmt: skip
            self.assertEqual(self.ask(zone, name, codes.TXT).kind, kind, name)
        self.assertEqual(self.ask(self.zone, "y.z", codes.TXT).kind, "answer")

    def test_wildcard(self) -> None:
        """It may be a wildcard: then its answers are made for the name that was asked."""
        zone = self.with_names("*.w", "*.c")
        found = self.ask(zone, "p.q.w")
        self.assertEqual(lines(found.answers), ["p.q.w A 198.51.100.1"])
        self.assertEqual((found.wildcard, found.follows), (n("*.w"), (n("*.w"),)))
        self.assertEqual(lines(self.ask(zone, "b.c").answers), ["b.c A 192.0.2.1"])
        self.assertEqual(lines(self.ask(zone, "*.w").answers), ["*.w A 198.51.100.1"])

    def test_apex(self) -> None:
        """It may be the zone's own name, beside SOA and NS."""
        zone = self.with_names("@")
        self.assertEqual(lines(self.ask(zone, "@").answers), ["@ A 198.51.100.1"])
        self.assertEqual(self.ask(zone, "@", codes.NS).answers[0].type, codes.NS)

    def test_alias(self) -> None:
        """A chain of aliases may end at one."""
        found = self.ask(self.with_names("dyn"), "alias")
        self.assertEqual(lines(found.answers),
                         ["alias CNAME dyn.example.test.", "dyn A 198.51.100.1"])
        self.assertEqual(found.follows, (n("dyn"),))

    def test_additional(self) -> None:
        """In the additional section stand only addresses that are the same for every client."""
        zone = self.zone.with_dynamic({n("dyn"): fixed(), n("steady"): fixed(2, for_all=True)})
        found = self.ask(zone, "mail", codes.MX, client=b"\1\2\3\4")
        self.assertEqual([each.name for each in found.additional], [n("steady")])
        self.assertEqual(found.follows, (n("steady"),))

    def test_clashes(self) -> None:
        """What cannot stand beside a dynamic name is said in words for the operator, at once."""
        error = self.assertRaises(
            BadZone, self.with_names, "alias", "b.c", "dele", "x.dele", "a.test.")
        self.assertEqual(str(error), "\n".join(error.problems))
        self.assertEqual(error.problems, (
            "alias.example.test.: expected no CNAME of its own in the zone beside the answer of a "
            "pool; remove one of them",
            "b.c.example.test.: expected no A of its own in the zone beside the answer of a pool; "
            "remove one of them",
            "dele.example.test.: expected no NS or DNAME at dele.example.test. (z:9), which "
            "gives this name away; remove it or the answer",
            "x.dele.example.test.: expected no NS or DNAME at dele.example.test. (z:9), which "
            "gives this name away; remove it or the answer",
            "a.test.: expected a name within example.test.",
        ))

    def test_swap(self) -> None:
        """Other dynamic names and another serial share the tree and leave the old zone alone."""
        one = self.with_names("dyn")
        two = one.with_dynamic({n("other"): fixed(3)}, serial=8)
        self.assertIs(one.tree, two.tree)
        self.assertEqual((one.serial, two.serial, two.with_dynamic({}).serial), (1, 8, 8))
        self.assertEqual(self.ask(one, "dyn").kind, "answer")
        self.assertEqual(self.ask(two, "dyn").kind, "nodata")
        for found in (self.ask(two, "@", codes.SOA).answers, self.ask(two, "a").authority):
            self.assertEqual(found[0].data, two.soa.datas[0])
        self.assertIn(b"\0\0\0\x08", two.soa.datas[0])

    def test_records(self) -> None:
        """A transfer has what an unknown client gets."""
        records = list(self.with_names("dyn").records())
        self.assertIn(Record(n("dyn"), codes.A, 5, bytes((198, 51, 100, 1))), records)
        self.assertEqual(len(records), len(list(self.zone.records())) + 1)

    def test_without_a_file(self) -> None:
        """A zone may be made of options alone."""
        made = zone.apex(ORIGIN, [n("ns1"), n("ns2"), n("ns1")], n("hostmaster"), 5)
        bare = Zone(planted(ORIGIN, {ORIGIN: made, n("x.y"): (RRset(codes.A, 1, (A1,)),)}),
                    {n("www"): fixed()})
        self.assertEqual(bare.serial, 5)
        self.assertEqual(lines(self.ask(bare, "@", codes.NS).answers),
                         ["@ NS ns1.example.test.", "@ NS ns2.example.test."])
        for name, kind in (("www", "answer"), ("x.y", "answer"), ("y", "nodata"),
                           ("x", "nxdomain")):
            self.assertEqual(self.ask(bare, name).kind, kind)
        self.assertEqual(self.ask(bare, "q").authority[0].ttl, 3600)
        self.assertRaises(ValueError, zone.apex, ORIGIN, [], n("x"), 1)
        self.assertRaises(BadZone, Zone, planted(ORIGIN, {}))
