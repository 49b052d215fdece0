"""
Where a body ends: by its length, by chunks (RFC 9112 section 7.1), or with the connection.

Bodies travel as they came; these objects only follow the framing and refuse what two parties could
read apart. None holds more of a body than one unfinished line. Must not know who sends to whom:
`fault` turns a reason into the exception to raise.

`feed(data)` gives `(consumed, done)`: how many bytes of `data` belong to the body, and whether it
is over. While it is not over, all of `data` is consumed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from balancer.http.grammar import MAX_NAME, TOKEN, VALUE
from balancer.http.trailers import FRAMING

MAX_EXTENSION: Final = 256
"""Bytes of one chunk's extensions. Nobody uses them; unbounded, they were a way to keep peers busy
(CVE-2023-39326)."""

MAX_TRAILERS: Final = 8192
"""Bytes of all trailer fields of a message."""

MAX_CHUNK: Final = (1 << 62) - 1
"""Bytes of one chunk: whoever counts in signed 64 bits reads the same number as we do."""

_SIZE = rb"([0-9A-Fa-f]{1,16}+)(?:;%b{0,%d}+)?\r\n" % (VALUE, MAX_EXTENSION - 1)
_FIRST: Final = re.compile(_SIZE)
_NEXT: Final = re.compile(rb"\r\n" + _SIZE)
_SIZE_START: Final = rb"(?:[0-9A-Fa-f]{1,16}+(?:;%b{0,%d}+)?\r?+)?" % (VALUE, MAX_EXTENSION - 1)
_FIRST_START: Final = re.compile(_SIZE_START)
_NEXT_START: Final = re.compile(rb"\r?+|\r\n" + _SIZE_START)
_TRAILER: Final = re.compile(rb"(?:(%b{1,%d}+):%b*+)?\r\n" % (TOKEN, MAX_NAME, VALUE))
_TRAILER_START: Final = re.compile(rb"(?:%b{1,%d}+(?::%b*+)?)?\r?+" % (TOKEN, MAX_NAME, VALUE))

Fault = Callable[[str], Exception]


class Lengths:
    """A body of `left` bytes (0 or more)."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def feed(self, data: bytes) -> tuple[int, bool]:
        """See the module. Never raises."""
        size = len(data)
        if size < self.left:
            self.left -= size
            return size, False
        left, self.left = self.left, 0
        return left, True


class UntilClose:
    """A body that ends with the connection: the caller knows when."""

    __slots__ = ()

    def feed(self, data: bytes) -> tuple[int, bool]:
        """See the module. Never raises, never done."""
        return len(data), False


class Chunks:
    """A body in chunks, trailers and the last empty line included. `barred` matches names, in lower
    case, that no trailer may have."""

    __slots__ = ("_barred", "_fault", "_left", "_line", "_start", "_step", "_trailers")

    def __init__(self, fault: Fault, barred: re.Pattern[bytes] = FRAMING) -> None:
        self._fault = fault
        self._barred = barred
        self._left = 0  # bytes of chunk data still to come
        self._line = b""  # an unfinished line
        self._trailers = -1  # bytes of trailers so far; -1 before the last chunk
        self._step = _FIRST
        self._start = _FIRST_START

    def feed(self, data: bytes) -> tuple[int, bool]:
        """See the module. Raises `fault` for framing that is not exactly RFC 9112's."""
        size = len(data)
        at = 0
        while at < size:
            left = self._left
            if left:
                if size - at < left:
                    self._left = left - (size - at)
                    self._payload(data, at, size)
                    return size, False
                self._payload(data, at, at + left)
                at += left
                self._left = 0
                continue
            if self._line or self._trailers >= 0:
                at = self._go_on(data, at)
                if self._trailers == _OVER:
                    return at, True
                continue
            m = self._step.match(data, at)
            if m is None:
                self._keep(data[at:])
                return size, False
            self._sized(m)
            at = m.end()
        return size, False

    def _sized(self, m: re.Match[bytes]) -> None:
        self._left = int(m[1], 16)
        if self._left > MAX_CHUNK:
            raise self._fault("chunk too large")
        self._step, self._start = _NEXT, _NEXT_START
        if not self._left:
            self._trailers = 0
            self._step, self._start = _TRAILER, _TRAILER_START

    def _go_on(self, data: bytes, at: int) -> int:
        """A line that began in an earlier piece, or a trailer. Gives the offset behind it."""
        stop = at
        while True:
            stop = data.find(b"\n", stop) + 1
            line = self._line + data[at : stop or len(data)]
            if not stop:
                self._keep(line)
                return len(data)
            # `\r\n` before a chunk size ends no line by itself.
            if self._step is not _NEXT or line != b"\r\n":
                break
        m = self._step.fullmatch(line)
        if m is None:
            raise self._fault(self._why(line))
        self._line = b""
        if self._trailers < 0:
            self._sized(m)
        elif m[1] is None:
            self._trailers = _OVER
        else:
            self._trailer(m[1], len(line))
        return stop

    def _trailer(self, name: bytes, size: int) -> None:
        if self._barred.fullmatch(name.lower()):
            raise self._fault(f"trailer {name.decode('ascii')}")
        self._trailers += size
        if self._trailers > MAX_TRAILERS:
            raise self._fault("trailers too long")

    def _keep(self, line: bytes) -> None:
        if not self._start.fullmatch(line):
            raise self._fault(self._why(line))
        if self._trailers + len(line) > MAX_TRAILERS:
            raise self._fault("trailers too long")
        self._line = line

    def _why(self, line: bytes) -> str:
        if self._trailers >= 0:
            return "bad trailer"
        if self._step is _NEXT and not line.startswith(b"\r\n"):
            return "chunk without its end"
        return "bad chunk size"

    def _payload(self, data: bytes, start: int, stop: int) -> None:
        """Chunk data stands in `data` from `start` to `stop`. Here it just travels on."""


class Unchunked(Chunks):
    """
    As Chunks, for a peer that speaks HTTP/1.0 and knows no chunks: `take` gives the bare data, to
    be sent instead of what was fed.
    """

    __slots__ = ("_parts",)

    def __init__(self, fault: Fault, barred: re.Pattern[bytes] = FRAMING) -> None:
        super().__init__(fault, barred)
        self._parts: list[bytes] = []

    def _payload(self, data: bytes, start: int, stop: int) -> None:
        self._parts.append(data[start:stop])

    def take(self) -> bytes:
        """The data of the chunks fed since the last call."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data


_OVER: Final = 1 << 62
"""Value of Chunks._trailers once the last line has come."""
