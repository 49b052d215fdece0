"""
Records become the wire form of an answer: compression, truncation, the header.

Knows the layout of messages (RFC 1035 4.1). Must not know why these records are the answer. What is
rendered bears neither the query's id nor its flags nor its spelling of the name: it is made once
and put behind every asker's own question.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, TypeAlias

import attrs

from balancer.dns import codes, names
from balancer.dns.records import Record
from balancer.dns.walk import HEADER

MAX_MESSAGE: Final = 0xFFFF
"""Bytes of a message: over TCP its length has 16 bits (RFC 1035 4.2.2)."""

LAST_TARGET: Final = 0x3FFF
"""The last offset that 14 bits of a compression pointer can name (RFC 1035 4.1.4)."""

_ADDRESSES: Final = frozenset((codes.A, codes.AAAA))
# Names in other types' data are never compressed (RFC 3597 4).
_ONE_NAME: Final = frozenset((codes.NS, codes.CNAME, codes.PTR))
# What an answer repeats of the query's flags: opcode and RD (RFC 1035 4.1.1), CD (RFC 4035 3.1.6).
_REPEATED: Final = codes.OPCODE_MASK | codes.RD | codes.CD

_RRSET: Final = itemgetter(0, 1)
_FIXED: Final = struct.Struct("!HHIH")
_HEADER: Final = struct.Struct("!6H")


class TooLong(ValueError):
    """An answer does not fit into a message of 65535 bytes."""


Cut: TypeAlias = tuple[int, tuple[int, int, int], bool]
"""
Where an RRset ends in a body, how many records each section has up to there, and whether an answer
without it must say that it is truncated (RFC 2181 9, RFC 9471). A plain tuple: the garbage
collector forgets it, and never a NamedTuple; of bodies there may be 65,536.
"""


@attrs.frozen(slots=True)
class Body:
    """
    An answer from behind its question to before its OPT record: `counts` of records in answer,
    authority and additional section. `cuts`, one for each RRset, are for `fit`.
    """

    wire: bytes
    counts: tuple[int, int, int]
    rcode: int
    aa: bool
    tc: bool = False
    cuts: tuple[Cut, ...] = ()


def render(
    question_name: bytes,
    answers: Sequence[Record] = (),
    authority: Sequence[Record] = (),
    additional: Sequence[Record] = (),
    *,
    rcode: int = codes.NOERROR,
    aa: bool = True,
) -> Body:
    """
    Lay the records out behind a question for `question_name`, in any spelling of it.

    The records of one RRset stand together. Addresses that a referral cannot do without (of name
    servers below the cut, RFC 9471) are put in front of other additional records. Raises `TooLong`.
    """
    glue = _glue_of(answers, authority) if additional and not aa else frozenset()
    if glue:
        additional = sorted(additional, key=lambda record: not _is_glue(record, glue))
    writer = _Writer(question_name)
    cuts: list[Cut] = []
    counts = [0, 0, 0]
    for section, records in enumerate((answers, authority, additional)):
        for _, group in groupby(records, _RRSET):
            for record in group:
                writer.add(record)
                counts[section] += 1
            required = _is_required(section, record, glue, bool(answers))
            cuts.append((len(writer.wire), (counts[0], counts[1], counts[2]), required))
    total = cuts[-1][1] if cuts else (0, 0, 0)
    return Body(bytes(writer.wire), total, rcode, aa, False, tuple(cuts))


def lay_out(question_name: bytes, answers: Sequence[Record]) -> Body:
    """`answers` alone, as `render` would, but not to be cut; in half of the time, since a transfer
    has millions. Raises `TooLong`."""
    writer = _Writer(question_name)
    for record in answers:
        writer.add(record)
    return Body(bytes(writer.wire), (len(answers), 0, 0), codes.NOERROR, True)


def _is_required(section: int, record: Record, glue: frozenset[bytes], answered: bool) -> bool:
    """Whether the asker must be told that the record's RRset is missing."""
    if section == 2:
        return _is_glue(record, glue)
    # Name servers beside an answer are a courtesy; a referral is nothing without them.
    return not (section == 1 and answered and record.type == codes.NS)


def _glue_of(answers: Sequence[Record], authority: Sequence[Record]) -> frozenset[bytes]:
    """The name servers of a referral that are below its cut: nobody else knows their addresses."""
    if answers:
        return frozenset()
    servers = [record for record in authority if record.type == codes.NS]
    return frozenset(
        server.data.lower()
        for server in servers
        if names.is_within(server.data.lower(), server.name.lower())
    )


def _is_glue(record: Record, glue: frozenset[bytes]) -> bool:
    return record.type in _ADDRESSES and record.name.lower() in glue


class _Writer:
    """The bytes of a body as they come, and where in the message each name may be pointed to."""

    __slots__ = ("_places", "base", "wire")

    def __init__(self, question_name: bytes) -> None:
        self.base = HEADER + len(question_name) + 4
        self.wire = bytearray()
        # By suffix in lower case. The question's own come first, so that most owners point there:
        # they are the asker's spelling, of the same length whatever it is.
        self._places: dict[bytes, int] = {}
        key = question_name.lower()
        at = 0
        while key[at]:
            self._places[key[at:]] = HEADER + at
            at += 1 + key[at]

    def add(self, record: Record) -> None:
        wire = self.wire
        self._name(record.name)
        kind, data = record.type, record.data
        wire += _FIXED.pack(kind, codes.IN, record.ttl, len(data))
        start = len(wire)
        if kind in _ONE_NAME:
            self._name(data)
        elif kind == codes.MX:
            wire += data[:2]
            self._name(data[2:])
        elif kind == codes.SOA:
            second = _end_of_name(data, 0)
            third = _end_of_name(data, second)
            self._name(data[:second])
            self._name(data[second:third])
            wire += data[third:]
        else:
            wire += data
        if len(wire) != start + len(data):
            wire[start - 2 : start] = (len(wire) - start).to_bytes(2, "big")
        if self.base + len(wire) > MAX_MESSAGE:
            # Told record by record: a set of any size costs no more than a message.
            msg = f"expected an answer of at most {MAX_MESSAGE} bytes"
            raise TooLong(msg)

    def _name(self, name: bytes) -> None:
        wire, places = self.wire, self._places
        key = name.lower()
        at = 0
        while key[at]:
            suffix = key[at:]
            place = places.get(suffix)
            if place is not None:
                wire += name[:at]
                wire += (0xC000 | place).to_bytes(2, "big")
                return
            place = self.base + len(wire) + at
            if place <= LAST_TARGET:
                places[suffix] = place
            at += 1 + key[at]
        wire += name


def _end_of_name(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def fit(body: Body, limit: int) -> Body:
    """
    The body cut to `limit` bytes (of itself: header, question and OPT have been taken off).

    What is cut goes from the end, by whole RRsets. Additional records and name servers beside an
    answer go silently (RFC 2181 9). If only glue of a referral has gone, what is left is sent with
    TC (RFC 9471 3). If anything else has, TC and nothing but the question is left, as gdnsd
    has it: an asker may not use a part of it, and less is given to those who forge addresses.
    """
    if len(body.wire) <= limit:
        return body
    kept, counts = 0, (0, 0, 0)
    missing = False
    for end, upto, required in body.cuts:
        if end <= limit:
            kept, counts = end, upto
        elif required:
            missing = True
            if upto[2] == 0:
                return Body(b"", (0, 0, 0), body.rcode, body.aa, True)
    return Body(body.wire[:kept], counts, body.rcode, body.aa, body.tc or missing)


def message(id: int, flags: int, question: bytes, body: Body, opt: bytes = b"") -> bytes:
    """
    The whole answer to a query of this id, `flags` and question section (its bytes as they came,
    empty if it had none). `opt`, from `options.opt_record`, bears the rcode's high bits, if it has
    any. Raises `TooLong`.
    """
    flags = codes.QR | flags & _REPEATED | body.rcode & 0xF
    if body.aa:
        flags |= codes.AA
    if body.tc:
        flags |= codes.TC
    answers, authority, additional = body.counts
    if opt:
        additional += 1
    header = _HEADER.pack(id, flags, 1 if question else 0, answers, authority, additional)
    whole = b"".join((header, question, body.wire, opt))
    if len(whole) > MAX_MESSAGE:
        msg = f"expected a message of at most {MAX_MESSAGE} bytes, got {len(whole)}"
        raise TooLong(msg)
    return whole
