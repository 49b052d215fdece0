"""
What an http check asks, and which answer is good: the words of the option, read.

Pure: knows neither connections nor pools.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen

from balancer.config.values import Unreadable, modifiers
from balancer.http.grammar import HOST, TARGET

MAX_BODY: Final = 65536
"""Bytes of an answer's body in which `body=` looks for its pattern; no more is read."""

Codes = tuple[tuple[int, int], ...]


def codes(text: str) -> Codes:
    """Status codes such as `200,204,300-399`: ranges, both ends included."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", part)
        if match is None or int(match[1]) > int(match[2] or match[1]):
            raise Unreadable("status codes such as 200,204,300-399", text)
        found.append((int(match[1]), int(match[2] or match[1])))
    return tuple(found)


def pattern(text: str) -> re.Pattern[bytes]:
    """A regular expression, as Python's `re` has them, for bytes."""
    try:
        return re.compile(text.encode())
    except (re.error, RecursionError, OverflowError) as error:
        raise Unreadable(f"a regular expression ({error})", text) from error


def host(text: str) -> str:
    """A host name or address, with a port or without."""
    if not re.fullmatch(HOST, text.encode()):
        raise Unreadable("a host name", text)
    return text


@frozen
class Question:
    """What to ask, and which answer is good. `host` empty: the server's own address."""

    method: str = "GET"
    path: str = "/"
    expect: Codes = ((200, 399),)
    host: str = ""
    body: re.Pattern[bytes] | None = None

    def request(self, address: str) -> bytes:
        """The request for the server at `address`, which stands in Host unless there is a name."""
        name = self.host or address
        return (
            f"{self.method} {self.path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: balancer-check\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n"
        ).encode("ascii")

    def fault_of_status(self, status: int) -> str:
        """Why the status is not good, or empty."""
        if any(low <= status <= high for low, high in self.expect):
            return ""
        wanted = [f"{low}-{high}" if low < high else str(low) for low, high in self.expect]
        return f"status {status}, expected {','.join(wanted)}"

    def fault_of_body(self, body: bytes) -> str:
        """Why the body is not good, or empty."""
        if self.body is None or self.body.search(body):
            return ""
        return f"body does not match {self.body.pattern.decode()}"


def question(words: Sequence[str]) -> Question:
    """`[METHOD] [/PATH] [expect=CODES] [host=NAME] [body=REGEX]`."""
    rest = list(words)
    found: dict[str, Any] = {}
    if rest and re.fullmatch(r"[A-Z][A-Z-]*", rest[0]):
        found["method"] = rest.pop(0)
        if found["method"] in ("CONNECT", "TRACE"):
            raise Unreadable("a method such as GET, HEAD or OPTIONS", found["method"])
    if rest and rest[0].startswith("/"):
        found["path"] = rest.pop(0)
        if not re.fullmatch(TARGET + rb"+", found["path"].encode()):
            raise Unreadable("a path of ASCII characters without '#'", found["path"])
    found |= modifiers(rest, {"expect": codes, "host": host, "body": pattern})
    if found.get("method") == "HEAD" and "body" in found:
        raise Unreadable("no body= with HEAD, whose answers have no body")
    return Question(**found)
