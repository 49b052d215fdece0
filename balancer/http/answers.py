"""
Answers that the balancer gives itself: errors, redirects, and what routes `respond`.

Knows status codes and how an answer is written. Pure: files of `error-page` are read by others.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from attrs import frozen

from balancer.http.routes import Redirect, RedirectToHttps, Respond
from balancer.http.table import host_of

PLAIN: Final = "text/plain; charset=utf-8"

TYPES: Final[Mapping[str, str]] = {
    "html": "text/html; charset=utf-8",
    "htm": "text/html; charset=utf-8",
    "json": "application/json",
}
"""Content types of error pages by the file's ending; others are plain text."""

MAX_PAGE: Final = 64 * 1024
"""The largest error page: it is held in memory and must go out at once. HAProxy's bound is 16k."""

RETRY_AFTER: Final = 1
"""Seconds after which a client that was too fast may come again: buckets refill by the second."""


def phrase(code: int) -> str:
    """The reason phrase of a status code."""
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Status"


@frozen
class Answer:
    """An answer, ready but for what differs from request to request."""

    code: int
    body: bytes
    start: bytes
    """Status line and fields that stay, with their CRLF."""

    def bytes(self, date: bytes, keep: bool, minor: int = 1, method: bytes = b"GET") -> bytes:
        """As it goes out. `keep`: the connection goes on; `minor`: the client's version."""
        if not keep:
            connection = b"Connection: close\r\n"
        else:
            connection = b"" if minor else b"Connection: keep-alive\r\n"
        body = b"" if method == b"HEAD" else self.body
        return b"%bDate: %b\r\n%b\r\n%b" % (self.start, date, connection, body)


def answer(code: int, body: bytes, kind: str = PLAIN, fields: bytes = b"") -> Answer:
    """An answer with that body; `fields` are lines with their CRLF."""
    start = b"HTTP/1.1 %d %b\r\n" % (code, phrase(code).encode())
    if code == 204 or code == 304:  # they have no content (RFC 9110 15.3.5, 15.4.5)
        return Answer(code, b"", start + fields)
    kind_line = b"Content-Type: %b\r\n" % kind.encode()
    length = b"Content-Length: %d\r\n" % len(body)
    return Answer(code, body, start + kind_line + length + fields)


def error(code: int, reason: str = "") -> Answer:
    """The built-in answer to an error: `400 Bad Request: bare LF in the head`."""
    text = f"{code} {phrase(code)}: {reason}\n" if reason else f"{code} {phrase(code)}\n"
    fields = b"Retry-After: %d\r\n" % RETRY_AFTER if code == 429 else b""
    return answer(code, text.encode("utf-8", "replace"), fields=fields)


def page(code: int, body: bytes, name: str) -> Answer:
    """The answer to an error whose body is the file `name`."""
    kind = TYPES.get(name.rpartition(".")[2].lower(), PLAIN)
    fields = b"Retry-After: %d\r\n" % RETRY_AFTER if code == 429 else b""
    return answer(code, body, kind, fields)


def response(action: Respond) -> Answer:
    """What `-> respond CODE [TEXT]` gives."""
    text = action.text or f"{action.code} {phrase(action.code)}"
    return answer(action.code, text.encode() + b"\n")


def redirect(action: Redirect | RedirectToHttps, host: bytes, target: bytes) -> Answer:
    """What `-> redirect` gives for a request of `target` (origin form) at `host`."""
    path = b"/" if target == b"*" else target
    if isinstance(action, RedirectToHttps):
        if not host:
            return error(400, "no Host to redirect to")
        where = b"https://" + host_of(host) + path
    else:
        where = action.url.encode("ascii")
        if where.endswith(b"*"):
            where = _joined(where[:-1], path)
    body = b"%d %b: %b\n" % (action.code, phrase(action.code).encode(), where)
    return answer(action.code, body, fields=b"Location: %b\r\n" % where)


def _joined(base: bytes, path: bytes) -> bytes:
    # `*` stands for the path and query: `https://a/*` and `/p` make `https://a/p`. A path that
    # begins with `//` must not become a host of the client's choice (open redirect).
    if base.endswith(b"/"):
        return base + path.lstrip(b"/")
    return base + b"/" + path.lstrip(b"/")
