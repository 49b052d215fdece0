"""
The entries of a master file and their tokens (RFC 1035 5.1): quotes, escapes, comments, and
parentheses over lines. Knows no record and no directive.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from balancer.dns.notes import Fault

MAX_ENTRY: Final = 160 * 1024
"""Bytes of one entry: the longest data of a record take 128 KiB in hexadecimal."""

MAX_PIECES: Final = 20_000
"""Tokens, parentheses and lines of one entry: 10 ms. The longest data take
2,000 tokens in lines of 64 digits."""

# A quote within a token belongs to it after an equals sign only: alpn="h2,h3" (RFC 9460 2.1).
_PIECE: Final = re.compile(
    rb"""[ \t\r]*+(?:;[^\n]*+)?(?:(\n)|([()])
    |"((?:[^"\\\n]++|\\[^\n])*)"
    |((?:[^ \t\r\n"();\\]++|\\[^\n]|(?<==)"(?:[^"\\\n]++|\\[^\n])*")+)
    |\Z)""",
    re.VERBOSE,
)
_NEWLINE: Final = 1
_PAREN: Final = 2
_QUOTED: Final = 3
_BARE: Final = 4

_INNER_QUOTES: Final = re.compile(r"\\.|\"", re.DOTALL)


class Broken(Fault):
    """An entry cannot be taken apart. `end` is where to go on, behind `lines` newlines: the next
    line, or the file's end where what follows cannot be told from it."""

    def __init__(self, fault: Fault, end: int, lines: int) -> None:
        super().__init__(fault.expected, fault.got)
        self.end = end
        self.lines = lines


class Entry(NamedTuple):
    """`tokens` without quotes and with escapes; `indented`: it takes the last owner; `end`: where
    the next one begins; `lines`: how many newlines it has."""

    tokens: list[str]
    indented: bool
    end: int
    lines: int


def entry(text: bytes, start: int) -> Entry:
    """The entry that begins there, no tokens if it is a blank or a comment. Raises `Broken`."""
    tokens: list[str] = []
    indented = text[start : start + 1] in (b" ", b"\t")
    depth, lines, at = 0, 0, start
    for count, match in enumerate(_PIECE.finditer(text, start, start + MAX_ENTRY)):
        if count == MAX_PIECES:
            raise _too_long(text, lines)
        if match.start() != at:
            break
        at = match.end()
        piece = match.lastindex
        if piece == _BARE:
            tokens.append(_token(match[_BARE], False))
        elif piece == _QUOTED:
            tokens.append(_token(match[_QUOTED], True))
        elif piece == _NEWLINE:
            lines += 1
            if not depth:
                return Entry(tokens, indented, at, lines)
        elif piece == _PAREN:
            depth += 1 if match[_PAREN] == b"(" else -1
            if depth < 0:
                fault = Fault("an opening parenthesis before the closing one", ")")
                raise Broken(fault, next_line(text, at), lines + 1)
    if at < len(text):
        raise _stuck(text, start + MAX_ENTRY, at, lines)
    if depth:
        raise Broken(Fault("a closing parenthesis"), at, lines)
    return Entry(tokens, indented, at, lines)


def _stuck(text: bytes, stop: int, at: int, lines: int) -> Broken:
    """Why an entry goes no further: what comes is no piece of any, if it all is within bounds."""
    end = next_line(text, at)
    if end > stop:
        return _too_long(text, lines)
    line = text[at:end].strip().decode("utf-8", "replace")
    quote = line.startswith('"')
    wanted = "a closing quote on the same line" if quote else "a character after each backslash"
    return Broken(Fault(wanted, line), end, lines + 1)


def _too_long(text: bytes, lines: int) -> Broken:
    bound = f"an entry of at most {MAX_ENTRY} bytes and {MAX_PIECES} pieces"
    return Broken(Fault(bound), len(text), lines)


def _token(raw: bytes, quoted: bool) -> str:
    text = raw.decode("utf-8", "surrogateescape")
    if quoted:
        # In quotes it is a string: RFC 3597 5 wants its \# bare.
        return text[1:] if text.startswith("\\#") else text
    if '"' in text:
        return _INNER_QUOTES.sub(lambda match: "" if match[0] == '"' else match[0], text)
    return text


def next_line(text: bytes, at: int) -> int:
    """Where the line after this one begins."""
    end = text.find(b"\n", at)
    return end + 1 if end >= 0 else len(text)
