"""
The parameters of SVCB and HTTPS records (RFC 9460 2.1, 2.2, 7, 8): text and wire.

Knows the keys of RFC 9460's registry; any other is `keyNNNNN`. What stands before the parameters
is `rdata`'s. Whatever is wrong raises `BadData`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from balancer.dns import fields
from balancer.dns.fields import BadData

MANDATORY: Final = 0
ALPN: Final = 1
NO_DEFAULT_ALPN: Final = 2
PORT: Final = 3
IPV4HINT: Final = 4
ECH: Final = 5
IPV6HINT: Final = 6

INVALID: Final = 65535
"""Reserved: no parameter has this key (RFC 9460 14.3.2)."""

MAX_VALUE: Final = 0xFFFF
"""Bytes of one value: its length is two bytes (RFC 9460 2.2)."""

_KEY: Final = re.compile(r"key(0|[1-9][0-9]{0,4})")
_ITEM: Final = re.compile(rb"(?:[^,\\]|\\.)+", re.DOTALL)
_ITEMS: Final = re.compile(rb"(?:[^,\\]|\\.)+(?:,(?:[^,\\]|\\.)+)*", re.DOTALL)


class _Form(NamedTuple):
    """A key's word, and its value as text -> wire and back. `show` gives None for no value."""

    word: str
    parse: Callable[[str], bytes]
    show: Callable[[bytes], str | None]


def key_number(word: str) -> int:
    """The number of a key by its word or `keyNNNNN`. Raises `BadData`."""
    number = _WORDS.get(word)
    if number is not None:
        return number
    match = _KEY.fullmatch(word)
    if match is None or int(match[1]) >= INVALID:
        raise BadData(f"one of {', '.join(_WORDS)}, or key0 to key65534")
    return int(match[1])


def key_word(number: int) -> str:
    """`alpn`, or `keyNNNNN` for a key without a word here."""
    return _FORMS[number].word if number in _FORMS else f"key{number}"


def _mandatory(text: str) -> bytes:
    keys = sorted(key_number(word) for word in text.split(","))
    return b"".join(key.to_bytes(2, "big") for key in keys)


def _show_mandatory(data: bytes) -> str:
    return ",".join(map(key_word, _mandatory_keys(data)))


def _mandatory_keys(data: bytes) -> list[int]:
    """The keys, which stand in rising order without MANDATORY itself (RFC 9460 8)."""
    keys = [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
    if not keys or len(data) % 2 or keys != sorted(set(keys)) or MANDATORY in keys:
        raise BadData("in 'mandatory' one or more other keys, each once")
    return keys


def _alpn(text: str) -> bytes:
    # Two layers of escapes (RFC 9460 A.1): the token's, then the list's for commas.
    inner = fields.text_bytes(text)
    if not _ITEMS.fullmatch(inner):
        raise BadData("in 'alpn' protocol names separated by commas, such as h2,h3")
    items = [re.sub(rb"\\(.)", rb"\1", item, flags=re.DOTALL) for item in _ITEM.findall(inner)]
    if max(map(len, items)) > fields.MAX_STRING:
        raise BadData(f"protocol names of at most {fields.MAX_STRING} bytes")
    return b"".join(bytes((len(item),)) + item for item in items)


def _show_alpn(data: bytes) -> str:
    items, at = [], 0
    while at < len(data):
        length = data[at]
        if not length:
            raise BadData("protocol names of 1 to 255 bytes")
        item = fields.taken(data, at + 1, length)
        items.append(item.replace(b"\\", b"\\\\").replace(b",", b"\\,"))
        at += 1 + length
    if not items:
        raise BadData("at least one protocol in 'alpn'")
    return fields.shown(b",".join(items))


def _nothing(text: str) -> bytes:
    if text:
        raise BadData("no value for 'no-default-alpn'")
    return b""


def _show_nothing(data: bytes) -> None:
    if data:
        raise BadData("no value for 'no-default-alpn'")


def _port(text: str) -> bytes:
    return fields.U16.parse([text], b"")


def _show_port(data: bytes) -> str:
    if len(data) != 2:
        raise BadData("two bytes for 'port'")
    return str(int.from_bytes(data, "big"))


def _hints(
    size: int, read: Callable[[str], bytes], write: Callable[[bytes], str]
) -> tuple[Callable[[str], bytes], Callable[[bytes], str]]:
    def parse(text: str) -> bytes:
        return b"".join(read(each) for each in text.split(","))

    def show(data: bytes) -> str:
        if not data or len(data) % size:
            raise BadData(f"hints of {size} bytes each")
        return ",".join(write(data[at : at + size]) for at in range(0, len(data), size))

    return parse, show


def _show_ech(data: bytes) -> str:
    if not data:
        raise BadData("base64")
    return fields.to_base64(data)


def _show_opaque(data: bytes) -> str | None:
    return fields.shown(data) if data else None


_FORMS: Final = MappingProxyType(
    {
        MANDATORY: _Form("mandatory", _mandatory, _show_mandatory),
        ALPN: _Form("alpn", _alpn, _show_alpn),
        NO_DEFAULT_ALPN: _Form("no-default-alpn", _nothing, _show_nothing),
        PORT: _Form("port", _port, _show_port),
        IPV4HINT: _Form("ipv4hint", *_hints(4, fields.address4, fields.text4)),
        ECH: _Form("ech", fields.from_base64, _show_ech),
        IPV6HINT: _Form("ipv6hint", *_hints(16, fields.address6, fields.text6)),
    }
)
_WORDS: Final = MappingProxyType({form.word: number for number, form in _FORMS.items()})


def parse(tokens: Sequence[str], _: bytes = b"") -> bytes:
    """`KEY` and `KEY=VALUE` tokens in any order -> the wire, keys rising (RFC 9460 2.2)."""
    found: dict[int, bytes] = {}
    for token in tokens:
        word, _equals, value = token.partition("=")
        key = key_number(word)
        if key in found:
            raise BadData(f"'{key_word(key)}' once")
        if word in _WORDS:
            found[key] = _FORMS[key].parse(value)
        else:
            found[key] = fields.text_bytes(value)
        if len(found[key]) > MAX_VALUE:
            raise BadData(f"at most {MAX_VALUE} bytes of '{key_word(key)}'")
    wire = b"".join(
        key.to_bytes(2, "big") + len(found[key]).to_bytes(2, "big") + found[key]
        for key in sorted(found)
    )
    show(wire, 0)  # keyNNNNN may have given a key of ours any value
    return wire


def show(data: bytes, at: int) -> tuple[list[str], int]:
    """The tokens of the parameters that start there; checks what RFC 9460 lets a reader refuse."""
    found: dict[int, str | None] = {}
    mandatory: list[int] = []
    last = -1
    while at < len(data):
        head = fields.taken(data, at, 4)
        key, length = int.from_bytes(head[:2], "big"), int.from_bytes(head[2:], "big")
        if not last < key < INVALID:
            raise BadData("rising keys below 65535")
        value = fields.taken(data, at + 4, length)
        found[key] = _FORMS[key].show(value) if key in _FORMS else _show_opaque(value)
        if key == MANDATORY:
            mandatory = _mandatory_keys(value)
        last, at = key, at + 4 + length
    _agree(found, mandatory)
    return [_token(key, value) for key, value in found.items()], at


def _agree(found: dict[int, str | None], mandatory: list[int]) -> None:
    """Hold the parameters against one another (RFC 9460 2.4.3, 7.1.1, 8)."""
    for key in mandatory:
        if key not in found:
            raise BadData(f"'{key_word(key)}' itself, since it is mandatory")
    if NO_DEFAULT_ALPN in found and ALPN not in found:
        raise BadData("'alpn' beside 'no-default-alpn'")


def _token(key: int, value: str | None) -> str:
    return key_word(key) if value is None else f'{key_word(key)}="{value}"'
