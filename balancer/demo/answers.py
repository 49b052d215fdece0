"""
What a demo server answers to which path. Pure.

Knows paths and bodies. Must not know connections: an answer says what to do with its own.
"""

from __future__ import annotations

from email.utils import formatdate

from attrs import frozen

from balancer.demo.requests import Request

MAX_BYTES = 100_000_000
"""The longest body that /bytes sends."""

MAX_WAIT = 60_000
"""The longest time that /slow waits, in milliseconds."""

MAX_ECHO = 4 * 1024 * 1024
"""The longest body that /echo holds and gives back."""

_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    405: b"Method Not Allowed",
    413: b"Content Too Large",
}


@frozen
class Answer:
    """
    `body` goes out after `wait` seconds, and then `filler` bytes of no meaning. `failing`, if not
    None, is what the server becomes before it answers.
    """

    body: bytes = b""
    status: int = 200
    wait: float = 0.0
    filler: int = 0
    failing: bool | None = None
    kind: bytes = b"text/plain; charset=utf-8"
    allow: bytes = b""


@frozen
class Place:
    """Who answers: the server's name and the address that was asked."""

    name: str
    address: str


def is_switch(request: Request) -> bool:
    """Whether a server that fails answers it all the same."""
    return request.method == b"POST" and request.path in (b"/up", b"/down")


def wants_body(request: Request) -> bool:
    """Whether the answer needs the bytes of the request's body."""
    return request.path == b"/echo"


def answer(request: Request, place: Place, body: bytes, length: int) -> Answer:
    """The answer to a whole request whose body had `length` bytes; `body` may be cut."""
    path = request.path
    try:
        if path in (b"/up", b"/down"):
            return _switch(request)
        if path == b"/slow":
            wait = _bounded(request, "ms", MAX_WAIT) / 1000
            return Answer(_hello(request, place, length), wait=wait)
        if path == b"/bytes":
            kind = b"application/octet-stream"
            return Answer(filler=_bounded(request, "n", MAX_BYTES), kind=kind)
    except ValueError as error:
        return Answer(f"{error}\n".encode(), 400)
    if path == b"/health":
        return Answer(b"ok\n")
    if path == b"/echo" and request.method in (b"POST", b"PUT"):
        if length > MAX_ECHO:
            return Answer(f"expected at most {MAX_ECHO} bytes, got {length}\n".encode(), 413)
        return Answer(body, kind=b"application/octet-stream")
    return Answer(_hello(request, place, length))


def head(request: Request, place: Place, answer: Answer, keep_alive: bool) -> bytes:
    """The answer's head, blank line included (RFC 9112 4)."""
    lines = [
        b"HTTP/1.1 %d %s" % (answer.status, _REASONS[answer.status]),
        b"Date: " + formatdate(usegmt=True).encode(),
        b"Server-Name: " + place.name.encode(),
        b"Content-Type: " + answer.kind,
        b"Content-Length: %d" % (len(answer.body) + answer.filler),
    ]
    if answer.allow:
        lines.append(b"Allow: " + answer.allow)
    if not keep_alive:
        lines.append(b"Connection: close")
    elif request.minor == 0:
        lines.append(b"Connection: keep-alive")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _switch(request: Request) -> Answer:
    if request.method != b"POST":
        return Answer(b"expected POST\n", 405, allow=b"POST")
    return Answer(request.path[1:] + b"\n", failing=request.path == b"/down")


def _hello(request: Request, place: Place, length: int) -> bytes:
    lines = [f"hello from {place.name} ({place.address})"]
    if request.path != b"/":
        lines.append(request.path.decode("latin-1"))
    if length:
        lines.append(f"{length} bytes")
    return "".join(f"{line}\n" for line in lines).encode()


def _bounded(request: Request, name: str, most: int) -> int:
    number = request.number(name)
    if number > most:
        raise ValueError(f"expected {name} of at most {most}, got {number}")
    return number
