"""
The pieces that record data are made of, each as a master file writes it and as the wire has it.

A `Field` is one token (or all that are left) and its bytes. Knows no record type; which fields a
type has is in `rdata`. Whatever is wrong raises `BadData`, whose text completes "expected ...".
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import AddressValueError, IPv6Address
from typing import Final, NamedTuple

from balancer.dns import names

MAX_STRING: Final = 255
"""Bytes of a character-string: its length is one byte (RFC 1035 3.3)."""

MAX_TTL: Final = 2**31 - 1
"""Seconds (RFC 2181 8)."""


class BadData(ValueError):
    """Record data cannot be read; the text says why in words that complete 'expected ...'."""


class Field(NamedTuple):
    """
    One piece. `parse` takes the tokens that belong to it and the origin of relative names; `show`
    takes data and an offset, and gives the tokens and the offset behind the piece.
    """

    parse: Callable[[Sequence[str], bytes], bytes]
    show: Callable[[bytes, int], tuple[list[str], int]]
    rest: bool = False


_ADDRESS: Final = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}")
_GROUPS: Final = re.compile(r"(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?")
_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_PERIOD: Final = re.compile(r"(?:([0-9]{1,10})([smhdw]))", re.IGNORECASE)
_PERIODS: Final = re.compile(r"(?:[0-9]{1,10}[smhdw])+", re.IGNORECASE)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_ESCAPE: Final = re.compile(rb"\\([0-9]{3})|\\(.)|\\", re.DOTALL)
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_TAG: Final = re.compile(r"[0-9A-Za-z]{1,255}")


def period(text: str) -> int:
    """Seconds: `3600` or BIND's `1h30m`. Raises `BadData`."""
    if _NUMBER.fullmatch(text):
        seconds = int(text)
    elif _PERIODS.fullmatch(text):
        seconds = sum(int(n) * _SECONDS[u.lower()] for n, u in _PERIOD.findall(text))
    else:
        raise BadData("seconds, or a time such as 1h30m")
    if seconds > MAX_TTL:
        raise BadData(f"at most {MAX_TTL} seconds")
    return seconds


def text_bytes(text: str) -> bytes:
    """What a token's characters mean, its `\\DDD` and `\\X` undone (RFC 1035 5.1)."""
    raw = text.encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(_escaped, raw) if b"\\" in raw else raw


def _escaped(match: re.Match[bytes]) -> bytes:
    number, other = match.groups()
    if number is not None:
        if int(number) > 255:
            raise BadData("escapes from \\000 to \\255")
        return bytes((int(number),))
    if other is None:
        raise BadData("a character after each backslash")
    return bytes(other)


def shown(data: bytes, quoted: bytes = b'"\\') -> str:
    """The bytes as a token without its quotes; those in `quoted` get a backslash."""
    return "".join(
        f"\\{byte:03d}" if not 0x20 <= byte <= 0x7E
        else ("\\" + chr(byte) if byte in quoted else chr(byte))
        for byte in data
    )  # fmt: skip


def taken(data: bytes, at: int, length: int) -> bytes:
    """So many bytes of the data. Raises `BadData` if there are fewer."""
    if at + length > len(data):
        raise BadData("longer record data")
    return data[at : at + length]


def wire_name(data: bytes, at: int) -> bytes:
    """The uncompressed name that starts there. Raises `BadData`."""
    start = at
    while length := taken(data, at, 1)[0]:
        if length > names.MAX_LABEL:
            raise BadData("uncompressed names in record data")
        at += 1 + length
    if at + 1 - start > names.MAX_NAME:
        raise BadData(f"a name of at most {names.MAX_NAME} bytes")
    return data[start : at + 1]


def read_name(text: str, origin: bytes) -> bytes:
    """`names.from_text`, where bytes that are not UTF-8 are `BadData` too."""
    try:
        return names.from_text(text, origin)
    except UnicodeEncodeError:
        raise BadData("names in UTF-8; write other bytes as \\DDD") from None


def number(bits: int, parse: Callable[[str], int] | None = None) -> Field:
    """An unsigned number of so many bits; `parse` reads what is more than a number."""
    size, top = bits // 8, (1 << bits) - 1

    def plain(text: str) -> int:
        if _NUMBER.fullmatch(text) and int(text) <= top:
            return int(text)
        raise BadData(f"a number from 0 to {top}")

    read = parse or plain

    def show(data: bytes, at: int) -> tuple[list[str], int]:
        return [str(int.from_bytes(taken(data, at, size), "big"))], at + size

    return Field(lambda tokens, _: read(tokens[0]).to_bytes(size, "big"), show)


def _parse_name(tokens: Sequence[str], origin: bytes) -> bytes:
    return read_name(tokens[0], origin)


def _show_name(data: bytes, at: int) -> tuple[list[str], int]:
    name = wire_name(data, at)
    return [names.to_text(name)], at + len(name)


def address4(text: str) -> bytes:
    """The four bytes of an IPv4 address. Raises `BadData`."""
    if _ADDRESS.fullmatch(text):
        parts = [int(part) for part in text.split(".")]
        if max(parts) <= 255:
            return bytes(parts)
    raise BadData("an IPv4 address such as 192.0.2.1")


def address6(text: str) -> bytes:
    """The sixteen bytes of an IPv6 address. Raises `BadData`."""
    left, gap, right = text.partition("::")
    if _GROUPS.fullmatch(left) and _GROUPS.fullmatch(right):
        # Half of what ipaddress takes: zones have a million of these.
        head = left.split(":") if left else []
        tail = right.split(":") if right else []
        missing = 8 - len(head) - len(tail)
        if missing > 0 if gap else not missing:
            groups = [group.rjust(4, "0") for group in (*head, *["0"] * missing, *tail)]
            return bytes.fromhex("".join(groups))
    elif "." in text and "%" not in text:
        with suppress(AddressValueError):
            return IPv6Address(text).packed
    raise BadData("an IPv6 address such as 2001:db8::1")


def text4(data: bytes) -> str:
    """An IPv4 address as text."""
    return ".".join(map(str, data))


def text6(data: bytes) -> str:
    """An IPv6 address as text (RFC 5952)."""
    return str(IPv6Address(data))


def _show4(data: bytes, at: int) -> tuple[list[str], int]:
    return [text4(taken(data, at, 4))], at + 4


def _show6(data: bytes, at: int) -> tuple[list[str], int]:
    return [text6(taken(data, at, 16))], at + 16


def _string(text: str) -> bytes:
    data = text_bytes(text)
    if len(data) > MAX_STRING:
        raise BadData(f"strings of at most {MAX_STRING} bytes; write longer ones as several")
    return bytes((len(data),)) + data


def _show_string(data: bytes, at: int) -> tuple[list[str], int]:
    length = taken(data, at, 1)[0]
    return [f'"{shown(taken(data, at + 1, length))}"'], at + 1 + length


def _show_strings(data: bytes, at: int) -> tuple[list[str], int]:
    found: list[str] = []
    while at < len(data) or not found:
        one, at = _show_string(data, at)
        found += one
    return found, at


def _tag(tokens: Sequence[str], _: bytes) -> bytes:
    # RFC 8659 4.1: letters and digits, at least one.
    if not _TAG.fullmatch(tokens[0]):
        raise BadData("a tag such as issue")
    return bytes((len(tokens[0]),)) + tokens[0].encode()


def _show_tag(data: bytes, at: int) -> tuple[list[str], int]:
    length = taken(data, at, 1)[0]
    tag = taken(data, at + 1, length).decode("latin-1")
    if not _TAG.fullmatch(tag):
        raise BadData("a tag of letters and digits")
    return [tag], at + 1 + length


def _hex(tokens: Sequence[str], _: bytes) -> bytes:
    return from_hex("".join(tokens))


def from_hex(text: str) -> bytes:
    """Bytes of hexadecimal digits, at least one byte. Raises `BadData`."""
    if not _HEX.fullmatch(text):
        raise BadData("pairs of hexadecimal digits")
    return bytes.fromhex(text)


def _show_hex(data: bytes, at: int) -> tuple[list[str], int]:
    if at >= len(data):
        raise BadData("longer record data")
    return [data[at:].hex().upper()], len(data)


def from_base64(text: str) -> bytes:
    """Bytes of base64, at least one. Raises `BadData`."""
    try:
        data = b64decode(text, validate=True)
    except (NotBase64, ValueError):
        data = b""
    if not data:
        raise BadData("base64")
    return data


def to_base64(data: bytes) -> str:
    """The bytes in base64."""
    return b64encode(data).decode()


U8: Final = number(8)
U16: Final = number(16)
U32: Final = number(32)
PERIOD: Final = number(32, period)
NAME: Final = Field(_parse_name, _show_name)
ADDRESS4: Final = Field(lambda tokens, _: address4(tokens[0]), _show4)
ADDRESS6: Final = Field(lambda tokens, _: address6(tokens[0]), _show6)
STRING: Final = Field(lambda tokens, _: _string(tokens[0]), _show_string)
STRINGS: Final = Field(lambda tokens, _: b"".join(map(_string, tokens)), _show_strings, rest=True)
TAG: Final = Field(_tag, _show_tag)
HEX: Final = Field(_hex, _show_hex, rest=True)
# RFC 8659 4.1: the value takes what is left of the record.
VALUE: Final = Field(
    lambda tokens, _: text_bytes(tokens[0]),
    lambda data, at: ([f'"{shown(data[at:])}"'], len(data)),
)
