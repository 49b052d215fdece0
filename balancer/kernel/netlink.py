"""
Netlink messages and attributes (RFC 3549; linux/netlink.h): bytes to values and back. Pure.

Knows how a message is framed, and how the kernel says what was wrong with one. What a route or a
next hop looks like is `route`'s and `nexthop`'s to know.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Mapping
from typing import Final

from attrs import frozen

REQUEST: Final = 0x1
MULTI: Final = 0x2
ACK: Final = 0x4
DUMP_INTERRUPTED: Final = 0x10
"""NLM_F_DUMP_INTR: what was dumped changed meanwhile; the dump is to be asked for again."""
REPLACE: Final = 0x100
DUMP: Final = 0x300
EXCLUSIVE: Final = 0x200
CREATE: Final = 0x400
CAPPED: Final = 0x100
"""NLM_F_CAPPED: an error repeats the header of the request alone."""
WITH_ATTRIBUTES: Final = 0x200
"""NLM_F_ACK_TLVS: attributes stand behind an error: words for the operator."""

ERROR: Final = 2
DONE: Final = 3
OVERRUN: Final = 4

NESTED: Final = 0x8000
"""NLA_F_NESTED: the attribute holds attributes. Newer families refuse a nest without it."""

MAX_PAYLOAD: Final = 0xFFFF - 4
"""Bytes of an attribute: its length has 16 bits, four bytes of it are the header."""

_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_NUMBER: Final = struct.Struct("=i")
_TYPE_MASK: Final = 0x3FFF
_MESSAGE_TEXT: Final = 1  # NLMSGERR_ATTR_MSG


class Malformed(ValueError):
    """Bytes that are no netlink message, or not one of the kind that was expected."""


@frozen
class Message:
    """One message: `port` is that of who caused it (0: the kernel itself)."""

    kind: int
    flags: int
    sequence: int
    port: int
    payload: bytes


@frozen
class Failure:
    """What the kernel answered to a request: `code` is an errno, 0 for done; `text` its own words,
    which it has for some errors only."""

    code: int
    text: str = ""

    def __str__(self) -> str:
        name = errno.errorcode.get(self.code, f"error {self.code}")
        return f"{self.text.rstrip('.')} ({name})" if self.text else name


def aligned(length: int) -> int:
    """Messages and attributes begin at multiples of four."""
    return (length + 3) & ~3


def pack(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """A request."""
    size = _HEADER.size + len(payload)
    return _HEADER.pack(size, kind, flags | REQUEST, sequence, 0) + payload


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram. Raises `Malformed` where it ends too early."""
    at = 0
    while at < len(data):
        if len(data) - at < _HEADER.size:
            raise Malformed(f"expected a netlink header of 16 bytes, got {len(data) - at}")
        size, kind, flags, sequence, port = _HEADER.unpack_from(data, at)
        if not _HEADER.size <= size <= len(data) - at:
            raise Malformed(f"expected a netlink message of {size} bytes, got {len(data) - at}")
        payload = data[at + _HEADER.size : at + size]
        yield Message(kind, flags, sequence, port, payload)
        at += aligned(size)


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute. Raises ValueError for more data than one can hold."""
    if len(data) > MAX_PAYLOAD:
        raise ValueError(f"expected at most {MAX_PAYLOAD} bytes, got {len(data)}")
    head = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind)
    return head + data + bytes(aligned(len(data)) - len(data))


def attributes(data: bytes) -> Mapping[int, bytes]:
    """Attributes by type, without flags; of several of one type the last. Raises `Malformed`."""
    found: dict[int, bytes] = {}
    at = 0
    while len(data) - at >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= size <= len(data) - at:
            raise Malformed(f"expected an attribute of {size} bytes, got {len(data) - at}")
        found[kind & _TYPE_MASK] = data[at + _ATTRIBUTE.size : at + size]
        at += aligned(size)
    if at < len(data):
        raise Malformed(f"expected an attribute, got {len(data) - at} bytes")
    return found


def number(data: bytes | None) -> int:
    """An unsigned number of one to eight bytes in the machine's order; 0 where there is none."""
    order = "little" if struct.pack("=H", 1)[0] else "big"
    return int.from_bytes(data or b"", order)  # type: ignore[arg-type]  # one of the two literals


def failure(message: Message) -> Failure:
    """What an `ERROR` message, which acknowledges too, says. Raises `Malformed`."""
    if len(message.payload) < _NUMBER.size + _HEADER.size:
        raise Malformed(f"expected an error and a header, got {len(message.payload)} bytes")
    code = -_NUMBER.unpack_from(message.payload)[0]
    if not message.flags & WITH_ATTRIBUTES:
        return Failure(code)
    size = _HEADER.unpack_from(message.payload, _NUMBER.size)[0]
    start = _NUMBER.size + (_HEADER.size if message.flags & CAPPED else aligned(size))
    text = attributes(message.payload[start:]).get(_MESSAGE_TEXT, b"")
    return Failure(code, text.rstrip(b"\0").decode("utf-8", "replace"))


def dump_failure(message: Message) -> Failure:
    """What ended a dump: a `DONE` message may bear an errno."""
    code = -_NUMBER.unpack_from(message.payload)[0] if len(message.payload) >= 4 else 0
    return Failure(max(code, 0))
