"""
One packet in: its header, its question and what came with it, read within bounds (RFC 1035 4.1).

Knows what a sound query looks like. Must not know what is answered. The work for one packet is
bounded by MAX_RECORDS and by the length of names, never by the packet's length or its counts:
nothing is decompressed but a TSIG record's name, and a record's data are stepped over.
"""

from __future__ import annotations

import struct
from typing import Final

import attrs

from balancer.dns import codes
from balancer.dns.options import BadOptions, Edns, read_options
from balancer.dns.walk import HEADER, Malformed, read_name, skip_name, skip_plain

__all__ = ["MAX_RECORDS", "Malformed", "Query", "TsigRecord", "parse", "signature"]

MAX_RECORDS: Final = 16
"""Records that a query may bring besides its question. Real ones bring an SOA (IXFR, NOTIFY), an
OPT, a TSIG and at times a few signatures; NSD takes 64 for IXFR alone and none otherwise."""

_HEADER: Final = struct.Struct("!6H")
_QUESTION: Final = struct.Struct("!HH")
_RECORD: Final = struct.Struct("!HHIH")
_TIMES: Final = struct.Struct("!HIHH")
_TAIL: Final = struct.Struct("!HHH")


@attrs.frozen(slots=True)
class TsigRecord:
    """
    The TSIG record of a packet (RFC 8945 4.2), which begins at `offset`. `key` and `algorithm` are
    names in lower case, `time` is in seconds since 1970, `id` the original one.
    """

    offset: int
    key: bytes
    algorithm: bytes
    time: int
    fudge: int
    mac: bytes
    id: int
    error: int
    other: bytes


class Query:
    """
    What a packet asks. `flags` are the header's second 16 bits as they came, `name` is the
    question's name as it was spelt and `key` the same in lower case, `end` the offset after the
    question. A query for nothing but a cookie (RFC 7873 5.4) has no question: it is `bare`, its
    name is empty and its type 0. `ixfr_serial` is the serial that an IXFR has (RFC 1995 3).
    """

    __slots__ = (
        "edns", "end", "flags", "id", "ixfr_serial", "key", "name", "qclass", "qtype", "tsig",
    )

    def __init__(self, id: int, flags: int) -> None:
        self.id = id
        self.flags = flags
        self.name = self.key = b""
        self.qtype = self.qclass = 0
        self.end = HEADER
        self.edns: Edns | None = None
        self.tsig: TsigRecord | None = None
        self.ixfr_serial: int | None = None

    @property
    def opcode(self) -> int:
        """`codes.QUERY` or `codes.NOTIFY`: others are not parsed."""
        return self.flags >> 11 & 0xF

    @property
    def rd(self) -> bool:
        """Whether recursion is desired."""
        return bool(self.flags & codes.RD)

    @property
    def bare(self) -> bool:
        """Whether it has no question."""
        return self.end == HEADER


def parse(packet: bytes, tcp: bool = False) -> Query:
    """
    Read one packet, all of it. Raises `Malformed`, and nothing else whatever the packet.

    TC, AD, CD, Z and the rcode of a query are ignored, as knot does (its process_query.c) and NSD
    for all but the rcode.
    """
    if len(packet) < HEADER:
        raise Malformed("expected 12 bytes of header")
    id, flags, questions, answers, authority, additional = _HEADER.unpack_from(packet)
    if flags & codes.QR:
        # An answer to it might be answered again, for ever: NSD, knot and gdnsd are silent as well.
        raise Malformed("expected a query, came an answer")
    query = Query(id, flags)
    try:
        # Looked at first: what the rest means depends on it (NSD does the same).
        if flags & codes.OPCODE_MASK and query.opcode != codes.NOTIFY:
            raise Malformed(f"opcode {query.opcode}", codes.NOTIMP)
        if questions == 1:
            at = _question(packet, query)
        elif questions == 0:
            at = HEADER
        else:
            raise Malformed(f"expected one question, came {questions}", codes.FORMERR)
        if answers or authority or additional:
            at = _records(packet, query, (at, answers, authority, additional), tcp)
        _check_end(packet, query, at)
    except Malformed as malformed:
        _note(malformed, query)
        raise
    except (IndexError, struct.error):
        ended = Malformed("the packet ends too soon", codes.FORMERR)
        _note(ended, query)
        raise ended from None
    return query


def _note(malformed: Malformed, query: Query) -> None:
    """Take down what of the packet was read before the fault was met."""
    malformed.id, malformed.flags, malformed.end = query.id, query.flags, query.end
    malformed.edns = malformed.edns or query.edns is not None


def _check_end(packet: bytes, query: Query, at: int) -> None:
    if at != len(packet):
        # knot answers FORMERR; NSD does where it was built to be strict.
        raise Malformed(f"{len(packet) - at} bytes after the last record", codes.FORMERR)
    if query.bare and (query.opcode or query.edns is None or query.edns.cookie is None):
        raise Malformed("expected a question, or a cookie", codes.FORMERR)


def _question(packet: bytes, query: Query) -> int:
    """Read the question; return the offset after it."""
    at = skip_plain(packet, HEADER)
    query.qtype, query.qclass = _QUESTION.unpack_from(packet, at)
    query.name = name = packet[HEADER:at]
    query.key = name.lower()
    query.end = at + 4
    return at + 4


def _records(packet: bytes, query: Query, counts: tuple[int, int, int, int], tcp: bool) -> int:
    """Walk the records of all three sections from offset `counts[0]`; return where they end."""
    at, answers, authority, additional = counts
    total = answers + authority + additional
    if total > MAX_RECORDS:
        raise Malformed(f"{total} records in a query", codes.FORMERR)
    for index in range(total):
        start = at
        at = skip_name(packet, at)
        kind, class_, ttl, length = _RECORD.unpack_from(packet, at)
        at += 10
        data, at = at, at + length
        if at > len(packet):
            raise Malformed("a record's data end too soon", codes.FORMERR)
        if kind == codes.OPT:
            if index < answers + authority or query.edns is not None or packet[start]:
                # RFC 6891 6.1.1: one, in the additional section, its name the root.
                raise Malformed("an OPT record out of its place", codes.FORMERR)
            query.edns = _edns(packet[data:at], class_, ttl, tcp)
        elif kind == codes.TSIG:
            if index != total - 1 or not additional or class_ != codes.CLASS_ANY or ttl:
                # RFC 8945 5.1 and 4.2: the last one of all; class ANY and TTL 0.
                raise Malformed("a TSIG record out of its place", codes.FORMERR)
            query.tsig = _tsig(packet, start, data, at)
        elif kind == codes.SOA and query.qtype == codes.IXFR and \
                answers <= index < answers + authority and query.ixfr_serial is None:
            query.ixfr_serial = _serial(packet, data, at)
    return at


def _edns(rdata: bytes, size: int, ttl: int, tcp: bool) -> Edns:
    try:
        return read_options(rdata, size, ttl, tcp)
    except BadOptions as why:
        malformed = Malformed(f"expected {why}", codes.FORMERR)
        malformed.edns = True
        raise malformed from None


def _serial(packet: bytes, at: int, end: int) -> int:
    """The serial within an SOA's data (RFC 1035 3.3.13)."""
    at = skip_name(packet, skip_name(packet, at))
    if at + 20 != end:
        raise Malformed("an SOA record of the wrong length", codes.FORMERR)
    return int.from_bytes(packet[at : at + 4], "big")


def _tsig(packet: bytes, start: int, at: int, end: int) -> TsigRecord:
    """The record from `start`, its data from `at` to `end` (RFC 8945 4.2)."""
    algorithm = at
    at = skip_plain(packet, at)
    name = packet[algorithm:at].lower()
    high, low, fudge, size = _TIMES.unpack_from(packet, at)
    at += 10
    mac = packet[at : at + size]
    id, error, others = _TAIL.unpack_from(packet, at + size)
    at += size + 6
    if at + others != end:
        raise Malformed("TSIG data of the wrong length", codes.FORMERR)
    return TsigRecord(
        start, read_name(packet, start).lower(), name, high << 32 | low, fudge, mac,
        id, error, packet[at:end],
    )


def signature(packet: bytes) -> TsigRecord | None:
    """The TSIG record of an answer with one question, None if it has none: it is the last of all
    (RFC 8945 5.1). Raises `Malformed`."""
    try:
        _, _, questions, *counts = _HEADER.unpack_from(packet)
        total = sum(counts)
        if questions != 1 or total > MAX_RECORDS:
            raise Malformed(f"expected 1 question and few records, came {questions} and {total}")
        found, at = None, skip_plain(packet, HEADER) + 4
        for index in range(total):
            start, at = at, skip_name(packet, at)
            kind, class_, ttl, length = _RECORD.unpack_from(packet, at)
            at += 10 + length
            if kind == codes.TSIG:
                if index != total - 1 or not counts[2] or class_ != codes.CLASS_ANY or ttl:
                    raise Malformed("a TSIG record out of its place")
                found = _tsig(packet, start, at - length, at)
        if at != len(packet):
            raise Malformed("the packet ends elsewhere than its last record")
        return found
    except (IndexError, struct.error):
        raise Malformed("the packet ends too soon") from None
