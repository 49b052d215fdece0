"""
`Zone.find` against an oracle that walks the steps of RFC 1034 4.3.2, RFC 4592 3.2 and RFC 6672 3.2
one by one over a bare list of records: slow, and easy to compare with the RFCs' words.
"""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import codes
from balancer.dns.zone import RRset, Zone
from tests.dns.zones import HEAD, load, n

# A name is its labels from the apex down: ("b", "a") is a.b.example.test.
Path = tuple[str, ...]


class Row(NamedTuple):
    """A record; `target` is of NS, CNAME and DNAME, None outside of the zone."""

    owner: Path
    type: str
    target: Path | None


class Answer(NamedTuple):
    """What the oracle says: kind, (owner, type) of the answers in order, whose NS or SOA the
    authority section has, where a dynamic name was asked."""

    kind: str
    answers: list[tuple[Path, str]]
    authority: Path | None


APEX: Path = ()


class Oracle:
    """The RFCs' algorithm."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = [*rows, Row(APEX, "SOA", None), Row(APEX, "NS", ("ns1",)),
                     Row(("ns1",), "A", None)]

    def exists(self, name: Path) -> bool:
        """RFC 4592 2.2.2: it owns records, or a name below it does."""
        return any(row.owner[: len(name)] == name for row in self.rows)

    def at(self, name: Path, type: str) -> list[Row]:
        """The RRset."""
        return [row for row in self.rows if row.owner == name and row.type == type]

    def ask(self, qname: Path, qtype: str) -> Answer:
        """Steps 1 to 6, from step 2: this zone is the nearest ancestor."""
        answers: list[tuple[Path, str]] = []
        seen: list[Path] = []
        while qname not in seen and len(seen) < 16:
            seen.append(qname)
            # Step 3: match down, label by label.
            node: Path = APEX
            matched = 0
            while True:
                whole = matched == len(qname)
                if node != APEX and self.at(node, "NS") and not (whole and qtype == "DS"):
                    return Answer("referral", answers, node)  # 3b
                if whole or not self.exists(qname[: matched + 1]):
                    break
                if self.at(node, "DNAME"):
                    break
                matched += 1
                node = qname[:matched]
            if matched < len(qname) and (dname := self.at(node, "DNAME")):  # RFC 6672 3.2 3C
                answers += [(node, "DNAME"), (qname, "CNAME")]
                if qtype == "CNAME" or dname[0].target is None:
                    return Answer("answer", answers, None)
                qname = dname[0].target + qname[matched:]
                continue
            source = node
            if matched < len(qname):  # 3c
                source = (*node, "*")
                if not self.exists(source):
                    return Answer("nxdomain", answers, APEX)
            alias = self.at(source, "CNAME")  # 3a
            if alias and qtype != "CNAME":
                answers.append((qname, "CNAME"))
                if alias[0].target is None:
                    return Answer("answer", answers, None)
                qname = alias[0].target
                continue
            found = self.at(source, qtype)
            answers += [(qname, qtype)] * len(found)
            return Answer("answer", answers, None) if found else Answer("nodata", answers, APEX)
        return Answer("answer", answers, None)


NAMES = st.lists(st.sampled_from("aab*"), min_size=1, max_size=4).map(tuple)
TARGETS = st.one_of(NAMES, NAMES, st.none(), st.just(APEX))
STATIC = st.builds(Row, NAMES, st.sampled_from(["A", "TXT", "NS", "CNAME", "DNAME", "DS"]), TARGETS)
DYNAMIC = NAMES


def text(path: Path) -> str:
    """As a master file writes it."""
    return ".".join([*reversed(path), "example.test."])


def line(row: Row) -> str:
    """The record in a master file."""
    target = "elsewhere.test." if row.target is None else text(row.target)
    return f"{text(row.owner)} {row.type} " + {
        "A": "192.0.2.1", "TXT": "x", "DS": "1 8 9 00",
    }.get(row.type, target)  # fmt: skip


class Named:
    """A dynamic name with addresses."""

    types = frozenset({codes.A})

    def records(self, qtype: int, client: object) -> RRset:
        return RRset(codes.A, 1, (b"\0\0\0\0",))


def sown(rows: list[Row]) -> list[Row]:
    """Those of the rows that may stand in a zone together, the first come first."""
    kept: list[Row] = []
    for row in rows:
        if row.target is None and row.type == "NS":
            row = row._replace(target=("ns1",))
        loaded = load(HEAD + "\n".join(map(line, [*kept, row])) + "\n")
        if not loaded.problems and (row.owner, row.type) not in {r[:2] for r in kept}:
            kept.append(row)
    return kept


class OracleTests(SynchronousTestCase):
    """Random small zones."""

    @settings(max_examples=15, deadline=None)
    @given(st.lists(STATIC, max_size=9), st.lists(DYNAMIC, max_size=2),
           st.lists(st.tuples(NAMES, st.sampled_from(["A", "TXT", "NS", "CNAME", "DS", "DNAME"])),
                    min_size=1, max_size=25))
    @example([Row(("a",), "NS", ("a", "b")), Row(("a", "b"), "A", None)], [],
             [(("a", "b"), "A"), (("a",), "DS"), (("a", "a"), "DS")])
    @example([Row(("a", "*"), "TXT", None), Row(("*", "a"), "TXT", None)], [("b", "*")],
             [(("a", "b"), "TXT"), (("b",), "A"), (("b", "b"), "A"), (("*", "b"), "TXT")])
    def test_find(
        self, rows: list[Row], dynamic: list[Path], questions: list[tuple[Path, str]]
    ) -> None:
        """Every question gets the answer of the RFCs' algorithm: its kind, its answers with their
        owners in order, and whose authority; also where names are dynamic."""
        rows = sown(rows)
        tree = load(HEAD + "".join(f"{line(row)}\n" for row in rows)).tree
        if tree is None:
            raise AssertionError("no tree")
        zone = Zone(tree)
        oracle_rows = list(rows)
        for path in dynamic:
            try:
                zone = zone.with_dynamic({**zone._dynamic, n(text(path)): Named()})
            except ValueError:
                continue
            if not any(row.owner == path and row.type == "A" for row in oracle_rows):
                oracle_rows.append(Row(path, "A", None))
        oracle = Oracle(oracle_rows)
        for path, word in questions:
            name = n(text(path))
            found = zone.find(name, name, codes.TYPES[word])
            expected = oracle.ask(path, word)
            context = (rows, dynamic, path, word)
            self.assertEqual(found.kind, expected.kind, context)
            self.assertEqual(
                [(each.name, each.type) for each in found.answers],
                [(n(text(owner)), codes.TYPES[type]) for owner, type in expected.answers], context)
            owners = {each.name for each in found.authority}
            self.assertEqual(owners, set() if expected.authority is None
                             else {n(text(expected.authority))}, context)
            self.assertEqual(found.rcode, codes.NXDOMAIN if found.kind == "nxdomain" else 0)
            self.assertEqual(found.aa, found.kind != "referral" or bool(found.answers))
            self.assertEqual({each.type for each in found.authority},
                             {"referral": {codes.NS}, "answer": set()}.get(found.kind, {codes.SOA}))
