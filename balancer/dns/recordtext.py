"""
The words of one record in a master file: `[TTL] [IN] TYPE DATA`, TTL and class in either order.

Knows words, no files. Whatever is wrong raises `Fault`, which says what came.
"""

from __future__ import annotations

import re
from typing import Final

from balancer.dns import codes, fields, rdata
from balancer.dns.fields import BadData
from balancer.dns.names import BadName
from balancer.dns.notes import Fault

_CLASSES: Final = frozenset({"IN", "CH", "HS", "CS", "ANY", "NONE"})
_CLASS: Final = re.compile(r"CLASS[0-9]{1,5}", re.IGNORECASE)


def counted(words: list[str], count: int, form: str) -> None:
    """So many words, else `form` was expected."""
    if len(words) != count:
        raise Fault(form, " ".join(words) or None)


def head(words: list[str]) -> tuple[int | None, int, int]:
    """TTL and class in either order, then the type: TTL, type, and where the data begin."""
    ttl: int | None = None
    classes = 0
    for at, word in enumerate(words):
        if ttl is None and word[:1].isdigit():
            ttl = period(word)
        elif not classes and (word.upper() in _CLASSES or _CLASS.fullmatch(word)):
            classes = 1
            if word.upper() not in ("IN", "CLASS1"):
                raise Fault("the class IN", word)
        else:
            type = codes.type_number(word)
            if type is None:
                raise Fault("a type such as A, or TYPE731", word)
            return ttl, type, at + 1
    raise Fault("a type and data", " ".join(words) or None)


def period(text: str) -> int:
    """Seconds of `3600` or `1h`."""
    try:
        return fields.period(text)
    except BadData as bad:
        raise Fault(str(bad), text) from None


def name(text: str, origin: bytes) -> bytes:
    """A name, relative to `origin` without a dot at its end."""
    try:
        return fields.read_name(text, origin)
    except (BadData, BadName) as bad:
        raise Fault(str(bad), text) from None


def data(type: int, words: list[str], origin: bytes) -> bytes:
    """The data that the words write."""
    try:
        return rdata.from_tokens(type, words, origin)
    except (BadData, BadName) as bad:
        raise Fault(str(bad), " ".join(words) or None) from None
