"""
Domain names (RFC 1035 3.1): a name is its uncompressed wire form, as bytes, root label and all.

`www.example.` is b"\\x03www\\x07example\\x00". A key is a name in lower case (RFC 4343): label
lengths are below 64 and so never letters, which makes `name.lower()` the key of any name. Knows no
message: compression is `query`'s and `reply`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

MAX_NAME: Final = 255
"""Bytes of a name with its length bytes and root label (RFC 1035 2.3.4)."""

MAX_LABEL: Final = 63
"""Bytes of a label (RFC 1035 2.3.4)."""

ROOT: Final = b"\0"

_PIECE = re.compile(r"\\([0-9]{3})|\\(.)|(\.)|([^.\\]+)", re.DOTALL)

# What a master file must not have bare in a name (RFC 1035 5.1).
_QUOTED: Final = frozenset(b'."\\();@$')


class BadName(ValueError):
    """A text is no domain name; the text says why in words that complete 'expected ...'."""


def from_text(text: str, origin: bytes = ROOT) -> bytes:
    """
    The name that `text` writes: `\\DDD` and `\\X` escapes as in RFC 1035 5.1, `@` the origin;
    without a dot at its end it is relative to `origin`. Its case is kept. Raises `BadName`.
    """
    if text == "@":
        return origin
    if text == ".":
        return ROOT
    try:
        labels, absolute = _labels(text)
    except UnicodeEncodeError:
        raise BadName("a name without halves of characters (lone surrogates)") from None
    wire = b"".join(bytes((len(label),)) + label for label in labels)
    wire += ROOT if absolute else origin
    if len(wire) > MAX_NAME:
        raise BadName(f"a name of at most {MAX_NAME} bytes")
    return wire


def _labels(text: str) -> tuple[list[bytes], bool]:
    """The labels, and whether a dot ends the last one."""
    if "\\" not in text and text.isascii():
        labels = text.encode().split(b".")
        absolute = not labels[-1]
        if absolute:
            labels.pop()
    else:
        labels, absolute = _escaped(text)
    for label in labels:
        if not 0 < len(label) <= MAX_LABEL:
            raise BadName(f"labels of 1 to {MAX_LABEL} bytes")
    if not labels:
        raise BadName("a domain name such as www.example.org")
    return labels, absolute


def _escaped(text: str) -> tuple[list[bytes], bool]:
    labels, label, at, open_ = [], b"", 0, False
    for match in _PIECE.finditer(text):
        if match.start() != at:
            break
        at = match.end()
        number, escaped, dot, plain = match.groups()
        open_ = dot is None
        if dot is not None:
            labels.append(label)
            label = b""
        elif number is not None:
            if int(number) > 255:
                raise BadName("escapes from \\000 to \\255")
            label += bytes((int(number),))
        else:
            label += (escaped or plain).encode()
    if at != len(text):
        raise BadName("a character after each backslash")
    if open_:
        labels.append(label)
    return labels, not open_


def to_text(name: bytes) -> str:
    """The absolute name as a master file writes it."""
    if name == ROOT:
        return "."
    return "".join(f"{_label_text(label)}." for label in labels(name))


def _label_text(label: bytes) -> str:
    return "".join(
        f"\\{byte:03d}"
        if not 0x21 <= byte <= 0x7E
        else ("\\" + chr(byte) if byte in _QUOTED else chr(byte))
        for byte in label
    )


def labels(name: bytes) -> Iterator[bytes]:
    """The labels without their lengths and without the root's, from the left."""
    at = 0
    while name[at]:
        end = at + 1 + name[at]
        yield name[at + 1 : end]
        at = end


def count(name: bytes) -> int:
    """How many labels it has besides the root's."""
    return sum(1 for _ in labels(name))


def parent(name: bytes) -> bytes:
    """The name without its first label; the root is its own parent."""
    return name[1 + name[0] :] if name[0] else name


def ancestors(name: bytes) -> Iterator[bytes]:
    """The name itself, its parent, and so on up to the root."""
    at = 0
    while name[at]:
        yield name[at:]
        at += 1 + name[at]
    yield ROOT


def is_within(key: bytes, zone: bytes) -> bool:
    """Whether the key is `zone` or below it; both in lower case."""
    end = len(key) - len(zone)
    if not key.endswith(zone):
        return False
    # The end may lie within a label that looks like the zone: walk to it.
    at = 0
    while at < end:
        at += 1 + key[at]
    return at == end


def wildcard(name: bytes) -> bytes:
    """`*.` before the name (RFC 4592)."""
    return b"\x01*" + name


def canonical(name: bytes) -> tuple[bytes, ...]:
    """What sorts names in the canonical order of RFC 4034 6.1."""
    return tuple(reversed([label.lower() for label in labels(name)]))
