"""
A head read line by line: for heads that are not complete yet, and to name the fault of a bad one.

The readers take a sound and complete head by one pattern; only what that pattern does not match
comes here. Knows where lines end and what each may hold. Must not know what fields mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from attrs import frozen

from balancer.http.grammar import (
    MAX_EMPTY_LINES,
    MAX_METHOD,
    MAX_NAME,
    MAX_TARGET,
    TARGET,
    TOKEN,
    VALUE,
    BadAnswer,
    Refused,
)

_REQUEST_LINE: Final = re.compile(
    rb"%b{1,%d}+ %b{1,%d}+ HTTP/1\.[01]\r\n" % (TOKEN, MAX_METHOD, TARGET, MAX_TARGET)
)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] [1-5][0-9][0-9](?: %b*+)?\r\n" % VALUE)
_FIELD_LINE: Final = re.compile(rb"%b{1,%d}+:%b*+\r\n" % (TOKEN, MAX_NAME, VALUE))
_METHOD_START: Final = re.compile(rb"%b{1,%d}+(?: |\Z)" % (TOKEN, MAX_METHOD))
_NAME_START: Final = re.compile(rb"%b{1,%d}+(?::|\Z)|\r\Z" % (TOKEN, MAX_NAME))
_NAME: Final = re.compile(rb"%b++" % TOKEN)
_STRAY: Final = re.compile(rb"[^\t\r\n\x20-\xff]|\x7f|\r(?!\n|\Z)|(?<!\r)\n")
_PREFACE: Final = b"PRI * HTTP/2.0\r\n"
_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")


@frozen
class Bounds:
    """How much of a head is read, and what is raised for more (`status` counts for requests
    only)."""

    max_head: int
    max_fields: int
    first_line: re.Pattern[bytes]
    fault: Callable[[int, str], Exception]
    explain: Callable[[bytes], tuple[int, str]]
    empty_lines: int


def request_bounds(max_head: int, max_fields: int) -> Bounds:
    """Bounds for requests; faults are `Refused`."""
    return Bounds(
        max_head, max_fields, _REQUEST_LINE, Refused, _explain_request_line, MAX_EMPTY_LINES
    )


def answer_bounds(max_head: int, max_fields: int) -> Bounds:
    """Bounds for answers; faults are `BadAnswer`."""
    return Bounds(
        max_head,
        max_fields,
        _STATUS_LINE,
        lambda status, reason: BadAnswer(reason),
        _explain_status_line,
        0,
    )


class Lines:
    """
    One head that comes in pieces. `advance` gets all that came so far and looks at each byte once.
    """

    __slots__ = ("_bounds", "_count", "_data", "_empty", "_line")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._start_over()

    def _start_over(self) -> None:
        self._data = b""  # what came before: the caller's own object, so no copy is held
        self._line = 0  # where the unfinished line begins
        self._count = -1  # fields so far; -1 before the first line
        self._empty = 0

    def advance(self, data: bytes) -> bool:
        """Whether the head in `data` is complete. Raises the bounds' fault as soon as no bytes to
        come could make it sound."""
        if not data.startswith(self._data):
            self._start_over()
        seen = len(self._data)
        while (stop := data.find(b"\n", seen) + 1) > 0:
            self._check_stray(data, seen, stop)
            if self._take_line(data[self._line : stop], stop):
                return True
            self._line = seen = stop
        self._check_stray(data, seen, len(data))
        self._check_rest(data)
        self._data = data
        return False

    def _take_line(self, line: bytes, stop: int) -> bool:
        bounds = self._bounds
        if stop > bounds.max_head:
            raise self._too_long(line)
        if line == b"\r\n":
            if self._count >= 0:
                return True
            self._empty += 1
            if self._empty > bounds.empty_lines:
                raise bounds.fault(400, "empty line before the first line")
        elif self._count < 0:
            if not bounds.first_line.fullmatch(line):
                raise bounds.fault(*bounds.explain(line))
            self._count = 0
        else:
            if not _FIELD_LINE.fullmatch(line):
                raise bounds.fault(*_explain_field(line))
            self._count += 1
            if self._count > bounds.max_fields:
                raise bounds.fault(431, f"more than {bounds.max_fields} fields")
        return False

    def _check_stray(self, data: bytes, seen: int, stop: int) -> None:
        # The last byte that was seen may be a CR that had nothing behind it.
        if stray := _STRAY.search(data, max(seen - 1, 0), stop):
            if data[:1] == b"\x16":
                raise self._bounds.fault(400, "TLS on a port that speaks plain HTTP")
            what = {b"\n": "bare LF", b"\r": "bare CR", b"\0": "NUL byte"}
            raise self._bounds.fault(400, what.get(stray[0], "control byte") + " in the head")

    def _check_rest(self, data: bytes) -> None:
        """What can be said of the unfinished line. Looks at a bounded part of it."""
        bounds, line = self._bounds, self._line
        if len(data) >= bounds.max_head:
            raise self._too_long(data[line:])
        if self._count >= 0:
            if not _NAME_START.match(data, line) and line < len(data):
                raise bounds.fault(*_explain_field(data[line:]))
            return
        rest = data[line : line + 5]
        if rest in (b"", b"\r"):
            return
        if bounds.empty_lines:
            if not _METHOD_START.match(data, line):
                raise bounds.fault(400, "method is not a token")
            if len(data) - line > MAX_METHOD + MAX_TARGET + 12:
                raise bounds.fault(414, "request target too long")
        elif not b"HTTP/".startswith(rest):
            raise bounds.fault(400, "not an HTTP status line")

    def _too_long(self, line: bytes) -> Exception:
        bounds = self._bounds
        if self._count < 0 and line.count(b" ") == 1:
            return bounds.fault(414, "request target too long")
        return bounds.fault(431, f"head longer than {bounds.max_head} bytes")


def _explain_request_line(line: bytes) -> tuple[int, str]:
    if line == _PREFACE:
        return 400, "HTTP/2 on a port that speaks HTTP/1"
    parts = line[:-2].split(b" ")
    if not re.fullmatch(rb"%b{1,%d}+" % (TOKEN, MAX_METHOD), parts[0]):
        return 400, "method is not a token"
    if len(parts) > 1 and len(parts[1]) > MAX_TARGET:
        return 414, "request target too long"
    if len(parts) != 3 or not parts[1]:
        return 400, "request line is not METHOD TARGET VERSION"
    if not re.fullmatch(rb"%b++" % TARGET, parts[1]):
        return 400, "byte that must not stand in a target"
    if _VERSION.fullmatch(parts[2]):
        return 400, "HTTP version other than 1.0 and 1.1"
    return 400, "request line is not METHOD TARGET VERSION"


def _explain_status_line(line: bytes) -> tuple[int, str]:
    if not line.startswith(b"HTTP/"):
        return 400, "not an HTTP status line"
    if not line.startswith((b"HTTP/1.0 ", b"HTTP/1.1 ")):
        return 400, "HTTP version other than 1.0 and 1.1"
    return 400, "bad status code"


def _explain_field(line: bytes) -> tuple[int, str]:
    """The same for a line and for its beginning, so that a client always reads the same reason."""
    if line.startswith((b" ", b"\t")):
        return 400, "folded field"
    if line.startswith(b":"):
        return 400, "field without a name"
    name = _NAME.match(line)
    behind = name.end() if name else 0
    if behind > MAX_NAME:
        return 431, "field name too long"
    if line[behind : behind + 1] in (b" ", b"\t"):
        return 400, "blank before a field's colon"
    if line[behind : behind + 1] == b"\r":
        return 400, "field without a colon"
    return 400, "field name is not a token"
