"""What a parser of values raises. Knows what was expected, not where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_SENTENCE: Final = re.compile(r"(?:expected )?(.*?)(?:, got (['\"])(.*)\2)?", re.DOTALL)


class Unreadable(ValueError):
    """
    A value is not what was expected.

    `expected` completes "expected ..."; `got` is the part of the value at fault (None: all of it);
    `meant` is the text that the operator probably meant. A whole sentence ("expected x, got 'y'")
    is taken apart, so that nothing is said twice.
    """

    def __init__(self, expected: str, got: str | None = None, meant: str | None = None) -> None:
        super().__init__(expected)
        match = _SENTENCE.fullmatch(expected)
        self.expected = match[1] if match else expected
        self.got = match[3] if match and got is None else got
        self.meant = meant


class Misspelt(Unreadable):
    """`word` is none of the `known` words; the nearest of them is offered. `got` is what is shown
    when that is more than the word."""

    def __init__(
        self, expected: str, word: str, known: Iterable[str], got: str | None = None
    ) -> None:
        super().__init__(expected, word if got is None else got)
        self.word = word
        self.known = tuple(known)


class NotBuilt(ValueError):
    """`what` is in the contract, but not in this version."""

    def __init__(self, what: str = "") -> None:
        super().__init__("not in this version")
        self.what = what
