"""A control socket that has its answers ready, and notes what it is asked."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any, cast

from attrs import define, field


def ok(result: Any) -> bytes:
    """An answer."""
    return json.dumps({"ok": True, "result": result}).encode() + b"\n"


def no(error: str, *problems: str) -> bytes:
    """A refusal."""
    return json.dumps({"ok": False, "error": error, "problems": problems}).encode() + b"\n"


@define
class FakeSocket:
    """Gives `answers` out in pieces, then the end, or raises `at_end`."""

    answers: bytes
    piece: int = 1 << 20
    at_end: BaseException | None = None
    refuses: bool = False
    sent: bytes = b""
    timeouts: list[float | None] = field(factory=list)
    closed: bool = False

    def settimeout(self, seconds: float | None) -> None:
        self.timeouts.append(seconds)

    def sendall(self, data: bytes) -> None:
        if self.refuses:
            raise BrokenPipeError
        self.sent += data

    def recv(self, most: int) -> bytes:
        taken, self.answers = self.answers[: self.piece], self.answers[self.piece :]
        if not taken and self.at_end is not None:
            raise self.at_end
        return taken

    def close(self) -> None:
        self.closed = True

    @property
    def asked(self) -> list[Any]:
        """The requests."""
        return [json.loads(line) for line in self.sent.splitlines()]


def dial_to(**sockets: Any) -> Callable[[str], socket.socket]:
    """Paths, with / as _, to sockets or to what connecting raises; others do not exist."""

    def dial(path: str) -> socket.socket:
        found = sockets.get(path.replace("/", "_").replace(".", "_"), FileNotFoundError(2, "No"))
        if isinstance(found, OSError):
            raise found
        return cast(socket.socket, found)

    return dial
