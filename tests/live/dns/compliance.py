"""
What an authoritative server has to make of odd queries, from the RFCs: the cases of ISC's DNS
compliance testing (genreport) and those of our own, in one table.

Pure. Each query is made of bytes here, since dnspython makes no wrong ones.
"""

from __future__ import annotations

import struct

import dns.message
import dns.rcode
from attrs import frozen

NUMBER = 0x1234
ZONE = b"\x07example\x04test\x00"
WWW = b"\x03www" + ZONE
A, SOA, TXT, OPT, IXFR, AXFR, ANY = 1, 6, 16, 41, 251, 252, 255
IN, CHAOS, NONE = 1, 3, 254
QR, AA, TC, RD, RA, Z, AD, CD = (1 << bit for bit in (15, 10, 9, 8, 7, 6, 5, 4))
NSID, ECS, EXPIRE, COOKIE, KEEPALIVE, PADDING, UNKNOWN = 3, 8, 9, 10, 11, 12, 100
DO, UNKNOWN_FLAG = 0x8000, 0x0040


def question(name: bytes = ZONE, rdtype: int = SOA, rdclass: int = IN) -> bytes:
    """A question's bytes."""
    return name + struct.pack("!HH", rdtype, rdclass)


def opt(version: int = 0, flags: int = 0, options: bytes = b"", size: int = 4096,
        name: bytes = b"\x00") -> bytes:
    """An OPT record (RFC 6891 6.1)."""
    ttl = version << 16 | flags
    return name + struct.pack("!HHIH", OPT, size, ttl, len(options)) + options


def option(code: int, data: bytes = b"") -> bytes:
    """One EDNS option."""
    return struct.pack("!HH", code, len(data)) + data


def query(bits: int = 0, opcode: int = 0, asked: tuple[bytes, ...] = (question(),),
          more: tuple[bytes, ...] = ()) -> bytes:
    """A message with the id `NUMBER`; `more` are records of the additional section."""
    head = struct.pack("!6H", NUMBER, bits | opcode << 11, len(asked), 0, 0, len(more))
    return head + b"".join(asked) + b"".join(more)


def edns(version: int = 0, flags: int = 0, options: bytes = b"", size: int = 4096,
         name: bytes = ZONE, rdtype: int = SOA, bits: int = 0) -> bytes:
    """A query with EDNS."""
    return query(bits, asked=(question(name, rdtype),),
                 more=(opt(version, flags, options, size),))


@frozen
class Expected:
    """What must come back. None: not looked at, since the RFC leaves it open."""

    rcodes: tuple[str, ...] = ("NOERROR",)
    answered: bool | None = None
    """Whether the answer section has records."""

    aa: bool | None = None
    tc: bool = False
    set: int = 0
    """Bits of the header that must be set."""

    clear: int = Z
    """Bits of the header that must not be."""

    opt: bool | None = None
    options: tuple[int, ...] = ()
    no_options: tuple[int, ...] = ()
    largest: int = 65535
    echoed: bool = True
    """Whether the question must come back, byte by byte."""


SILENCE = Expected(())
"""Nothing at all may come back."""

GOOD = Expected(answered=True, aa=True, opt=False)
GOOD_EDNS = Expected(answered=True, aa=True, opt=True)
BADVERS = Expected(("BADVERS",), answered=False, opt=True)
FORMERR = Expected(("FORMERR",), answered=False, echoed=False)
NOTIMP = Expected(("NOTIMP",), answered=False, aa=False, echoed=False)
REFUSED = Expected(("REFUSED",), answered=False, aa=False)


@frozen
class Case:
    """One query, what must come back, and where that is written."""

    name: str
    query: bytes
    expected: Expected
    source: str
    tcp: bool = False


def faults(case: Case, wire: bytes | None) -> list[str]:
    """What is wrong with an answer to the case's query. Raises DNSException where it is no DNS."""
    expected = case.expected
    if wire is None or not expected.rcodes:
        silent = wire is None
        return [] if silent == (not expected.rcodes) else [f"answered: {not silent}"]
    answer = dns.message.from_wire(wire, ignore_trailing=False)
    (bits,) = struct.unpack("!H", wire[2:4])
    options = [int(each.otype) for each in answer.options]
    looked: list[tuple[str, object, object]] = [
        ("id", NUMBER, answer.id), ("QR", QR, bits & QR),
        ("opcode", _opcode(case.query), bits >> 11 & 15),
        ("TC", expected.tc, bool(bits & TC)),
        ("bits set", expected.set, bits & expected.set),
        ("bits clear", 0, bits & expected.clear),
        ("options", True, set(expected.options) <= set(options)),
        ("options not there", True, not set(expected.no_options) & set(options)),
        ("fits", True, len(wire) <= expected.largest)]
    if expected.answered is not None:
        looked.append(("answers", expected.answered, bool(answer.answer)))
    if expected.aa is not None:
        looked.append(("AA", expected.aa, bool(bits & AA)))
    if expected.opt is not None:
        looked.append(("OPT", expected.opt, answer.edns == 0))
    if expected.echoed:
        end = _end_of_question(case.query)
        looked.append(("question", case.query[12:end], wire[12:end]))
    found = [f"{what}: expected {right!r}, got {got!r}" for what, right, got in looked
             if right != got]
    rcode = dns.rcode.to_text(answer.rcode())
    if rcode not in expected.rcodes:
        found.insert(0, f"expected {' or '.join(expected.rcodes)}, got {rcode}")
    if answer.edns > 0 or (answer.edns == 0 and answer.ednsflags & 0x7fff):
        found.append(f"EDNS version {answer.edns}, flags {answer.ednsflags & 0x7fff:04x}")
    return found


def _opcode(wire: bytes) -> int:
    return wire[2] >> 3 & 15


def _end_of_question(wire: bytes) -> int:
    """Where the question of a query ends, which has no pointers in its name."""
    at = 12
    while wire[at]:
        at += 1 + wire[at]
    return at + 5


