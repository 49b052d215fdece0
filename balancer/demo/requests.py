"""
HTTP/1.x requests out of bytes (RFC 9112), as far as a demo server needs them. Pure.

Knows framing: where a head and a body end. Knows no path and no answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs

from attrs import frozen

MAX_HEAD = 16 * 1024
"""Bytes of a head, as the balancer's own default."""

MAX_LINE = 1024
"""Bytes of a chunk's size line, or of one trailer."""

MAX_TRAILERS = 100
"""Trailers of one body."""

CHUNKED = -1
"""The length of a body that comes in chunks."""

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n\0]*)?")
_DIGITS = re.compile(rb"[0-9]{1,15}")


class Malformed(Exception):
    """What came is no request; the text is for the body of a 400."""


class End:
    """The body of a request is complete."""


END = End()


@frozen
class Request:
    """A head. `length` is that of the body, or CHUNKED."""

    method: bytes
    path: bytes
    query: bytes
    minor: int
    length: int
    keep_alive: bool
    expects_continue: bool

    def number(self, name: str) -> int:
        """The query field `name`, 0 if it is absent. ValueError: it is no count."""
        text = parse_qs(self.query.decode("latin-1")).get(name, ["0"])[-1]
        if not (text.isascii() and text.isdecimal() and len(text) <= 15):
            raise ValueError(f"expected {name}=NUMBER")
        return int(text)


Part = Request | bytes | End


class Reader:
    """
    Bytes in by `receive`; out by `next` a Request, the parts of its body, END, and so on.

    Nothing is read ahead: what is not asked for stays as it came. After Malformed it is of no use.
    """

    __slots__ = ("_buffer", "_left", "_next", "_trailers")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._next: Callable[[], Part | None] = self._head
        self._left = 0
        self._trailers = 0

    @property
    def pending(self) -> int:
        """How many bytes came that `next` did not give yet."""
        return len(self._buffer)

    def receive(self, data: bytes) -> None:
        """More bytes came."""
        self._buffer += data

    def next(self) -> Part | None:
        """What comes next, None if it is not there yet. Raises Malformed."""
        return self._next()

    def _head(self) -> Request | None:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):  # RFC 9112 2.2: empty lines before a request
            del buffer[:2]
        end = buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0:
            if len(buffer) >= MAX_HEAD:
                raise Malformed(f"a head of more than {MAX_HEAD} bytes")
            return None
        request = _request(bytes(buffer[:end]))
        del buffer[: end + 4]
        if request.length == CHUNKED:
            self._next = self._size
        else:
            self._left = request.length
            self._next = self._counted
        return request

    def _counted(self) -> bytes | End | None:
        return self._data() if self._left else self._end()

    def _data(self) -> bytes | None:
        data = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        self._left -= len(data)
        return data or None

    def _end(self) -> End:
        self._next = self._head
        return END

    def _size(self) -> Part | None:
        line = self._line()
        if line is None:
            return None
        match = _SIZE.fullmatch(line)
        if match is None:
            raise Malformed("a chunk without its size")
        self._left = int(match[1], 16)
        self._trailers = 0
        self._next = self._chunk if self._left else self._trailer
        return self._next()

    def _chunk(self) -> Part | None:
        if self._left:
            return self._data()
        if len(self._buffer) < 2:
            return None
        if not self._buffer.startswith(b"\r\n"):
            raise Malformed("a chunk longer than its size")
        del self._buffer[:2]
        self._next = self._size
        return self._size()

    def _trailer(self) -> End | None:
        while (line := self._line()) is not None:
            if not line:
                return self._end()
            self._trailers += 1
            if self._trailers > MAX_TRAILERS:
                raise Malformed(f"more than {MAX_TRAILERS} trailers")
        return None

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n", 0, MAX_LINE)
        if end < 0:
            if len(self._buffer) >= MAX_LINE:
                raise Malformed(f"a line of more than {MAX_LINE} bytes in a chunked body")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line


def _request(head: bytes) -> Request:
    first, *lines = head.split(b"\r\n")
    match = _LINE.fullmatch(first)
    if match is None:
        raise Malformed("no request line of HTTP/1.x")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise Malformed("a line that is no field")
        name, value = field[1].lower(), field[2].rstrip(b" \t")
        fields[name] = fields[name] + b", " + value if name in fields else value
    minor = int(match[3])
    options = {word.strip() for word in fields.get(b"connection", b"").lower().split(b",")}
    path, _, query = match[2].partition(b"?")
    return Request(
        method=match[1],
        path=path,
        query=query,
        minor=minor,
        length=_length(fields),
        keep_alive=b"keep-alive" in options if minor == 0 else b"close" not in options,
        expects_continue=minor > 0 and fields.get(b"expect", b"").lower() == b"100-continue",
    )


def _length(fields: dict[bytes, bytes]) -> int:
    """RFC 9112 6.3; whatever two parties could read differently is refused."""
    coding, length = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    if coding is not None:
        if length is not None or coding.lower() != b"chunked":
            raise Malformed("a Transfer-Encoding other than chunked alone")
        return CHUNKED
    if length is None:
        return 0
    if _DIGITS.fullmatch(length) is None:
        raise Malformed("a Content-Length that is no number")
    return int(length)
