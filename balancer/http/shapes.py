"""
Shapes of answers: what a server says again and again, learned from what it said.

An application's answers have few shapes: one status line, the same fields in the same order. A
pattern of one shape finds a head sound and its length at once, in a fifth of the time of reading
it. It takes nothing that the reader would read otherwise, for its names are those of a head that
was found sound, its framing fields are those very ones, and its values have the grammar's bytes.

Pure: knows heads of answers. `head` decides which of them may be a shape.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

from balancer.http.grammar import CHUNKED, CUT, FIELD, LENGTH, MAX_DIGITS, VALUE
from balancer.http.message import CHUNKED_FIELD, ResponseHead

MOST: Final = 4
"""Shapes that are tried on each answer. One that does not fit costs 0.1 to 0.3 us."""

SAMPLE: Final = 32
"""Of so many answers without a shape one is looked at, because that takes as long as reading it."""

ENOUGH: Final = 8
"""Samples of a shape after which it is learned: compiling its pattern takes 1.5 ms."""

MOST_FIELDS: Final = 32
"""Fields of a shape, so that its pattern stays small. Applications send 5 to 20."""

MOST_COUNTED: Final = 64
"""Shapes that are counted at once. Who sends more of them has none worth learning."""

_DIGITS: Final = rb"(?P<length>0|[1-9][0-9]{0,%d}+)" % (MAX_DIGITS - 1)

Watched = Callable[[bytes, int, int], Iterator[re.Match[bytes]]]


class Shape:
    """Answers that differ from one in values of fields that do not matter, and in length."""

    __slots__ = ("_at", "_keep_alive", "_match", "_pieces", "_reason", "_status", "source")

    def __init__(self, source: bytes, head: ResponseHead) -> None:
        self.source = source
        pattern = _compiled(source)
        self._match = pattern.match
        at = self._at = pattern.groupindex.get("length", 0)
        self._pieces = tuple(index for index in range(1, pattern.groups + 1) if index != at)
        self._status, self._reason = head.status, head.reason
        self._keep_alive = head.keep_alive

    def read(self, data: bytes, max_head: int) -> ResponseHead | None:
        """The head that `data` begins with, if it has this shape."""
        m = self._match(data)
        if m is None:
            return None
        end = m.end()
        if end > max_head:
            return None
        pieces: Any = m.group(*self._pieces)  # two at least
        out = b"".join(pieces)
        if self._at:
            length = int(m[self._at])
        else:
            length = CHUNKED
            out += CHUNKED_FIELD
        return ResponseHead(end, self._status, self._reason, 1, length, self._keep_alive, out)


class Shapes:
    """The shapes of one balancer's answers, the ones in use in `known`."""

    __slots__ = ("_counts", "_seen", "known")

    def __init__(self) -> None:
        self.known: tuple[Shape, ...] = ()
        self._seen = 0
        self._counts: Counter[bytes] = Counter()

    def saw(self, m: re.Match[bytes], watched: Watched, head: ResponseHead) -> None:
        """`m`, the match of a whole head whose fields are group 4, was read as `head`, which has a
        body of a length that it tells; `watched` finds the fields that matter in it."""
        self._seen += 1
        if self._seen % SAMPLE:
            return
        source = _source(m, watched)
        if not source:
            return
        self._counts[source] += 1
        if self._counts[source] >= ENOUGH:
            self._counts.clear()
            # The one learned first goes: if it is still in use, it will be back.
            self.known = (*self.known, Shape(source, head))[-MOST:]
        elif len(self._counts) > MOST_COUNTED:
            self._counts.clear()


@lru_cache(maxsize=64)
def _compiled(source: bytes) -> re.Pattern[bytes]:
    return re.compile(source)


def _source(m: re.Match[bytes], watched: Watched) -> bytes:
    """The pattern of the shape; its groups are the pieces to send on, and `length`."""
    data = m.string
    start, stop = m.span(4)
    kinds = {found.start(): found.lastindex for found in watched(data, start, stop + 2)}
    parts = [b"(", re.escape(data[:start])]
    fields = list(FIELD.finditer(data, start, stop))
    if len(fields) > MOST_FIELDS:
        return b""
    for field in fields:
        kind = kinds.get(field.start())
        name = re.escape(b"\r\n%b:" % field[1])
        if kind is None:
            parts.append(name + VALUE + b"*+")
        elif kind == LENGTH:
            parts.append(name + b" " + _DIGITS)
        elif kind == CUT:
            parts.append(b")" + name + VALUE + b"*+(")
        else:
            # Connection or Transfer-Encoding: these very ones.
            parts.append(b")" + re.escape(field[0]) + b"(")
    parts.append(b")(\r\n)\r\n")
    return b"".join(parts)
