"""
Steps through a packet from name to name (RFC 1035 4.1.4), and the fault that may be met there.

Knows labels and pointers. Must not know what the names are for: that is `query`'s.
"""

from __future__ import annotations

from typing import Final

from balancer.dns import codes
from balancer.dns.names import MAX_NAME

HEADER: Final = 12
"""Bytes of a message's header: no name begins before its end."""

MAX_HOPS: Final = 16
"""Compression pointers followed within one name: more than any writer makes, who points once."""


class Malformed(Exception):
    """
    A packet that is no query to answer as asked: the text says why.

    `rcode` is what to answer it, None: nothing at all. Where it is not None, `id` and `flags` are
    the header's, `end` is the offset after the question (12 where none could be read, and then
    the answer bears none) and `edns` says whether the answer needs an OPT record (RFC 6891 7).
    """

    def __init__(self, why: str, rcode: int | None = None) -> None:
        super().__init__(why)
        self.rcode = rcode
        self.id = 0
        self.flags = 0
        self.end = HEADER
        self.edns = False

    @property
    def opcode(self) -> int:
        """The query's opcode: the answer bears the same."""
        return self.flags >> 11 & 0xF

    @property
    def rd(self) -> bool:
        """Whether recursion was desired: the answer repeats it."""
        return bool(self.flags & codes.RD)


def skip_plain(packet: bytes, start: int) -> int:
    """The offset after a name that must not be compressed."""
    at = start
    length = packet[at]
    while length:
        if length > 63:
            # In a question there is nothing before it to point to.
            raise Malformed("a pointer where a whole name must be", codes.FORMERR)
        at += 1 + length
        if at - start >= MAX_NAME:
            raise Malformed("a name of over 255 bytes", codes.FORMERR)
        length = packet[at]
    return at + 1


def skip_name(packet: bytes, start: int) -> int:
    """The offset after a name that need not be read; it must be well formed up to its pointer."""
    at = start
    length = packet[at]
    while length:
        if length > 63:
            if (length << 8 | packet[at + 1]) - 0xC000 not in range(HEADER, start):
                raise Malformed("a pointer that does not lead back", codes.FORMERR)
            return at + 2
        at += 1 + length
        if at - start >= MAX_NAME:
            raise Malformed("a name of over 255 bytes", codes.FORMERR)
        length = packet[at]
    return at + 1


def read_name(packet: bytes, at: int) -> bytes:
    """The whole name at `at`, whose pointers all lead further back than they came."""
    pieces, size, lowest, hops = [], 1, at, 0
    while length := packet[at]:
        if length > 63:
            target = (length << 8 | packet[at + 1]) - 0xC000
            hops += 1
            if not HEADER <= target < lowest or hops > MAX_HOPS:
                raise Malformed("a pointer that does not lead back", codes.FORMERR)
            at = lowest = target
            continue
        pieces.append(packet[at : at + 1 + length])
        at += 1 + length
        size += 1 + length
        if size > MAX_NAME:
            raise Malformed("a name of over 255 bytes", codes.FORMERR)
    return b"".join(pieces) + b"\0"
