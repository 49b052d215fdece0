"""Ways to feed a parser: whole, byte by byte, truncated. And plain heads to start from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def byte_by_byte(read: Callable[[bytes], T | None], data: bytes) -> T | None:
    """The first thing that `read` gives when it sees one more byte of `data` at each call."""
    for size in range(1, len(data) + 1):
        found = read(data[:size])
        if found is not None:
            return found
    return None


def outcome(fault: type[Exception], call: Callable[..., Any], *args: Any) -> Any:
    """What `call` returns, or the `fault` that it raises."""
    try:
        return call(*args)
    except fault as raised:
        return raised


def lines(*fields: bytes, first: bytes = b"GET / HTTP/1.1") -> bytes:
    """A whole head of a first line and `fields`."""
    return b"\r\n".join([first, *fields, b"", b""])
