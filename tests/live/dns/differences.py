"""
Two answers to one question, field by field, and the table of the differences that are explained.

Pure: messages in, differences out. The table is a Markdown one, so that a reader and this test
have the same: `| peer | field | ours | theirs | names | types | ways | why |`. The last three
columns before `why` are lists of patterns by blanks, as of a shell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
from attrs import frozen

from tests.live.dns.questions import Question

COLUMNS = ("peer", "field", "ours", "theirs", "names", "types", "ways", "why")

BITS = ("AA", "TC", "RD", "RA", "AD", "CD")

Record = tuple[object, int, object]
"""Owner, type and data of a record; equal whatever the case of names is."""


@frozen
class Answer:
    """What an answer says, in the fields that are compared."""

    facts: Mapping[str, str]
    sections: Mapping[str, Mapping[Record, int]]
    """The TTL of each record, by section."""


def read(query: dns.message.Message, wire: bytes | None) -> Answer:
    """The fields of an answer. Raises DNSException where dnspython finds it malformed."""
    if wire is None:
        return Answer({"answer": "none"}, {})
    message = dns.message.from_wire(wire)
    facts = {"answer": "one", "rcode": dns.rcode.to_text(message.rcode()),
             "id": str(message.id == query.id), "question": _question(query, wire),
             "OPT": _opt(message)}
    for bit in BITS:
        facts[bit] = str(int(bool(message.flags & dns.flags.Flag[bit])))
    facts["spelling"] = _spelling(query, message)
    sections: dict[str, dict[Record, int]] = {}
    if not message.flags & dns.flags.TC:  # what of a truncated answer is there, means nothing
        for name in ("answer", "authority", "additional"):
            sections[name] = {(rrset.name, rrset.rdtype, rdata): rrset.ttl
                              for rrset in message.section_from_number(
                                  ("question", "answer", "authority", "additional").index(name))
                              for rdata in rrset}
    return Answer(facts, sections)


def _question(query: dns.message.Message, wire: bytes) -> str:
    """Whether the question comes back byte by byte, so also in its case."""
    asked = query.to_wire()[12:]
    length = len(query.question[0].name.to_wire() or b"") + 4
    return "echoed" if wire[12:12 + length] == asked[:length] else "other"


def _opt(message: dns.message.Message) -> str:
    if message.edns < 0:
        return "none"
    options = " ".join(str(int(option.otype)) for option in message.options)
    return f"v{message.edns} {message.payload} {message.ednsflags & 0xffff:04x} {options}".strip()


def _spelling(query: dns.message.Message, message: dns.message.Message) -> str:
    """Whether records of the name that was asked for are spelled as the asker spelled it."""
    asked = query.question[0].name
    owners = [rrset.name for rrset in message.answer if rrset.name == asked]
    return str(all(owner.labels == asked.labels for owner in owners))


@frozen
class Difference:
    """In one field, what we say and what they say."""

    field: str
    ours: str
    theirs: str


def differences(ours: Answer, theirs: Answer) -> Iterator[Difference]:
    """Where two answers differ. Of sections, the types of records that the other one lacks."""
    for name, value in ours.facts.items():
        if name in theirs.facts and theirs.facts[name] != value:
            yield Difference(name, value, theirs.facts[name])
    for name, records in ours.sections.items():
        if name not in theirs.sections:
            continue
        other = theirs.sections[name]
        if records.keys() != other.keys():
            yield Difference(name, _types(records.keys() - other.keys()),
                             _types(other.keys() - records.keys()))
        shared = [record for record in records.keys() & other.keys()
                  if records[record] != other[record]]
        for record in shared:
            kind = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(record[1]))
            yield Difference(f"{name} TTL", f"{kind} {records[record]}", f"{kind} {other[record]}")


def _types(records: Iterable[Record]) -> str:
    names = {dns.rdatatype.to_text(dns.rdatatype.RdataType.make(kind)) for _, kind, _ in records}
    return " ".join(sorted(names)) or "-"


@frozen
class Row:
    """A line of the table: which differences it explains."""

    peer: str
    field: str
    ours: str
    theirs: str
    names: str
    types: str
    ways: str
    why: str

    def explains(self, peer: str, question: Question, found: Difference) -> bool:
        """Whether it is about this."""
        cells = ((self.peer, peer), (self.field, found.field), (self.ours, found.ours),
                 (self.theirs, found.theirs))
        lists = ((self.names, question.kind), (self.types, question.type),
                 (self.ways, question.way.name))
        return (all(fnmatchcase(value, pattern) for pattern, value in cells)
                and all(any(fnmatchcase(value, pattern) for pattern in patterns.split())
                        for patterns, value in lists))


def explained(page: str) -> list[Row]:
    """The rows of the table in the page. ValueError if it has no such table."""
    rows = []
    inside = False
    for line in page.splitlines():
        cells = tuple(cell.strip().strip("`") for cell in line.strip().strip("|").split("|"))
        if cells == COLUMNS:
            inside = True
        elif inside and not line.startswith("|"):
            break
        elif inside and not set(cells[0]) <= set("-: "):
            rows.append(Row(*cells))
    if not rows:
        raise ValueError(f"expected a table with the columns {' | '.join(COLUMNS)}")
    return rows
