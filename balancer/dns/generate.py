"""
BIND's $GENERATE: one line that stands for many. Knows tokens, no records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from balancer.dns.notes import Fault

MAX_GENERATED: Final = 1_000_000
"""Records of one line: as many as a zone is promised to load."""

MAX_WIDTH: Final = 255
"""Characters of one number: no string and no name is longer."""

_RANGE: Final = re.compile(r"([0-9]{1,10})-([0-9]{1,10})(?:/([0-9]{1,10}))?")
_PLACE: Final = re.compile(
    r"\\\$|\$\$|\$(?:\{(-?[0-9]{1,10})(?:,([0-9]{1,3})(?:,([doxXnN]))?)?\})?"
)
_TOP: Final = 2**31 - 1


def entries(words: list[str]) -> Iterator[list[str]]:
    """The tokens of each record that `RANGE OWNER ...` stands for. Raises `Fault`."""
    steps = _steps(words[0])
    for value in steps:
        yield [_put(word, value) for word in words[1:]]


def _steps(text: str) -> range:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise Fault("a range such as 1-100 or 0-254/2", text)
    first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
    if first > last or not step or last > _TOP:
        raise Fault("a range that rises in steps of at least 1", text)
    steps = range(first, last + 1, step)
    if len(steps) > MAX_GENERATED:
        raise Fault(f"at most {MAX_GENERATED} records of one $GENERATE", text)
    return steps


def _put(word: str, value: int) -> str:
    """The word with the number in each `$` and `${OFFSET,WIDTH,BASE}`; `\\$` and `$$` are `$`."""
    if "$" not in word:
        return word

    def number(match: re.Match[str]) -> str:
        if match[0] in ("\\$", "$$"):
            return "$"
        offset, width, base = match.groups()
        count = value + int(offset or 0)
        if count < 0:
            raise Fault("an offset that leaves no number below 0", word)
        return _digits(count, min(int(width or 0), MAX_WIDTH), base or "d")

    return _PLACE.sub(number, word)


def _digits(count: int, width: int, base: str) -> str:
    if base not in "nN":
        return f"{count:0{width}{base}}" if width else f"{count:{base}}"
    # Nibbles, the least first, as in names below ip6.arpa; the dots count.
    text = ".".join(reversed(f"{count:{'x' if base == 'n' else 'X'}}"))
    while len(text) + 1 < width:
        text += ".0"
    return text
