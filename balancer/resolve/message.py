"""
One question to a DNS server, and the answer to it (RFC 1035 4). Pure.

Reads just what a client needs: the answer section, and the negative TTL. It is linear in the size
of the message, whatever that says: twisted.names' codec, which Debian 12 has without the fix of
CVE-2026-42304, follows pointers again and again: a message of 64 KiB takes it seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from struct import error as StructError
from typing import Final

from attrs import frozen

A: Final = 1
CNAME: Final = 5
SOA: Final = 6
TXT: Final = 16
AAAA: Final = 28  # RFC 3596
IN: Final = 1

NOERROR: Final = 0
NXDOMAIN: Final = 3

MAX_MESSAGE: Final = 16_384
"""Bytes of an answer, by UDP or TCP: without EDNS a server sends at most 512 by UDP (RFC 1035
4.2.1), and what comes by TCP, for more than 30 addresses, is a few kilobytes."""

MAX_RECORDS: Final = 128
"""Records of an answer that are read; one that has more in its first two sections is refused. The
costliest that may be sent takes 7 ms."""

MAX_NAME: Final = 255
"""Bytes of a name (RFC 1035 2.3.4)."""

MAX_JUMPS: Final = 32
"""Pointers within one name. Each leads backwards, so that there is an end to them anyway."""

MAX_CHAIN: Final = 16
"""Aliases (CNAME) that are followed from one name to the next, as unbound's bound was."""

_HEADER = Struct("!6H")
_RECORD = Struct("!HHIH")
_TWO = Struct("!HH")
_LONG = Struct("!I")

# A response, its opcode, whether it was cut, and its response code.
_QR, _OPCODE, _TC, _RD, _RCODE = 0x8000, 0x7800, 0x0200, 0x0100, 0x000F

# Where in their data a name stands that may be compressed (RFC 1035 3.3): CNAME, NS, PTR, MX.
_NAMES_IN: Final = {CNAME: 0, 2: 0, 12: 0, 15: 2}


class Unanswered(Exception):
    """A message is no answer to the question, or not sound; the text says why in a few words."""


@frozen
class Question:
    """`name` in its wire form, in lower case, and the number of a type; the class is IN."""

    name: bytes
    type: int

    def ask(self, id: int, recursion: bool = True) -> bytes:
        """The message that asks it; `id` is what the answer must repeat."""
        header = _HEADER.pack(id, _RD if recursion else 0, 1, 0, 0, 0)
        return header + self.name + _TWO.pack(self.type, IN)


@frozen
class Record:
    """A record of class IN: its owner in lower case, and its data with names in them expanded."""

    name: bytes
    type: int
    ttl: int
    data: bytes


@frozen
class Answer:
    """What a server said; `negative_ttl` is for how long there will be nothing (RFC 2308 5)."""

    rcode: int
    truncated: bool
    records: tuple[Record, ...]
    negative_ttl: int | None = None


def wire_name(text: str) -> bytes:
    """
    A host name in its wire form, in lower case. Raises ValueError for an empty label, one of over
    63 bytes, and a name that is too long.
    """
    labels = text.lower().removesuffix(".").encode("ascii").split(b".")
    if not all(0 < len(label) < 64 for label in labels):
        raise ValueError(f"expected labels of 1 to 63 bytes, got {text!r}")
    name = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    if len(name) > MAX_NAME:
        raise ValueError(f"expected a name of at most {MAX_NAME} bytes, got {text!r}")
    return name


def read(data: bytes, id: int, question: Question) -> Answer:
    """What the message `data` answers to `question`, asked with `id`. Raises `Unanswered`."""
    if len(data) > MAX_MESSAGE:
        raise Unanswered(f"over {MAX_MESSAGE} bytes")
    try:
        return _read(data, id, question)
    except (IndexError, StructError):
        raise Unanswered("cut short") from None


def _read(data: bytes, id: int, question: Question) -> Answer:
    its_id, bits, questions, answers, authority, _ = _HEADER.unpack_from(data)
    if its_id != id or not bits & _QR or bits & _OPCODE:
        raise Unanswered("no answer to this question")
    rcode, truncated = bits & _RCODE, bool(bits & _TC)
    if not questions and rcode not in (NOERROR, NXDOMAIN):
        return Answer(rcode, truncated, ())  # who could not read the question repeats none
    name, at = _name(data, 12)
    if questions != 1 or (name, *_TWO.unpack_from(data, at)) != (question.name, question.type, IN):
        raise Unanswered("an answer to another question")
    if truncated:
        return Answer(rcode, True, ())  # what is there of it is not to be used (RFC 2181 9)
    if answers + authority > MAX_RECORDS:
        raise Unanswered(f"over {MAX_RECORDS} records")
    found = list(_records(data, at + 4, answers + authority))
    soa = (record for record in found[answers:] if record is not None and record.type == SOA)
    negative = next((min(each.ttl, _minimum(each.data)) for each in soa), None)
    records = tuple(record for record in found[:answers] if record is not None)
    return Answer(rcode, False, records, negative)


def _records(data: bytes, at: int, count: int) -> Iterator[Record | None]:
    """So many records from `at` on; None for one of another class."""
    for _ in range(count):
        name, at = _name(data, at)
        type, class_, ttl, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        end = at + length
        if end > len(data):
            raise Unanswered("cut short")
        its = data[at:end]
        before = _NAMES_IN.get(type)
        if before is not None:
            target, after = _name(data, at + before)
            if after != end:
                raise Unanswered("a record of the wrong length")
            its = its[:before] + target
        at = end
        # A TTL with its top bit set is none (RFC 2181 8).
        yield Record(name, type, ttl if ttl < 1 << 31 else 0, its) if class_ == IN else None


def _minimum(data: bytes) -> int:
    """The last field of an SOA record (RFC 1035 3.3.13)."""
    if len(data) < 22:
        raise Unanswered("a record of the wrong length")
    minimum: int = _LONG.unpack_from(data, len(data) - 4)[0]
    return minimum


def _name(data: bytes, at: int) -> tuple[bytes, int]:
    """The name at `at`, in lower case and without pointers, and where it ends."""
    parts: list[bytes] = []
    size, jumps, after, start = 1, 0, 0, at
    while length := data[at]:
        if length < 64:
            parts.append(data[at : at + 1 + length])
            at += 1 + length
            size += 1 + length
        elif length >= 192:
            target = (length & 63) << 8 | data[at + 1]
            after = after or at + 2
            jumps += 1
            if target >= start or jumps > MAX_JUMPS:
                raise Unanswered("a pointer that does not lead back")
            at = start = target
        else:
            raise Unanswered("an unknown kind of label")
        if size > MAX_NAME:
            raise Unanswered("a name that is too long")
    return b"".join((*parts, b"\0")).lower(), after or at + 1


def follow(answer: Answer, question: Question) -> tuple[list[bytes], int]:
    """
    The data of the records that answer `question`, behind aliases as the answer gives them, and the
    least TTL of all that led there. Empty: there are none.
    """
    name, ttl = question.name, 1 << 31
    aliases = {each.name: each for each in answer.records if each.type == CNAME}
    for _ in range(MAX_CHAIN):
        found = [each for each in answer.records if (each.name, each.type) == (name, question.type)]
        alias = aliases.get(name)
        if found or alias is None:
            return [each.data for each in found], min([ttl, *(each.ttl for each in found)])
        name, ttl = alias.data, min(ttl, alias.ttl)
    return [], ttl
