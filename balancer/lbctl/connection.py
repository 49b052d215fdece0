"""
The control socket from the operator's side: found, asked, and its errors said in words that help.

Knows the frame (docs/lbctl.md): JSON lines, `ok` with `result`, or `error` with `problems`.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

PATHS = ("run/lb.sock", "/run/balancer/lb.sock")
"""Where a control socket is looked for, the first first."""

TIMEOUT = 60.0
"""Seconds to wait for an answer: a site file of 20,000 lines takes two."""

RECEIVE = 256 * 1024

MOST_ANSWER = 256 * 1024 * 1024
"""Bytes of an answer. The status of 5,000 servers is some 3 MB; this only keeps from swallowing
whatever a stranger's socket says."""

Dial = Callable[[str], socket.socket]


class Failed(Exception):
    """What was asked for did not happen; the text says why, and what to do."""


class Refused(Failed):
    """The balancer says no. `answer` is the line as it came."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(str(answer.get("error") or "the balancer gives no reason"))
        self.answer = answer
        self.problems = tuple(str(each) for each in answer.get("problems") or ())


def dial(path: str) -> socket.socket:
    """A connection to the unix socket at `path`. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(TIMEOUT)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def reach(control: str | None, dial: Dial = dial) -> Connection:
    """
    The control connection at `control`, or at the first of `PATHS` that answers.

    Raises `Failed`, which says what was tried and what to do.
    """
    tried: list[tuple[str, OSError]] = []
    for path in PATHS if control is None else (control,):
        try:
            return Connection(dial(path), path)
        except OSError as error:
            tried.append((path, error))
    raise Failed(_unreachable(tried, asked_for=control is not None))


class Connection:
    """One control connection: requests go out, answers come back in order."""

    def __init__(self, sock: socket.socket, path: str) -> None:
        self._socket = sock
        self._path = path
        self._held = bytearray()

    def close(self) -> None:
        """Give the connection up."""
        self._socket.close()

    def ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """The result of `request`. Raises `Refused`, or `Failed` when there is no answer."""
        self._send(request)
        return self._result(self._line())

    def stream(self, request: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """One result after the other, until the balancer ends the connection: that raises."""
        self._send(request)
        # Events come when they happen.
        self._socket.settimeout(None)
        while True:
            yield self._result(self._line())

    def _send(self, request: Mapping[str, Any]) -> None:
        # If the balancer does not want us, its reason is there to be read.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(json.dumps(request).encode("ascii") + b"\n")

    def _line(self) -> bytes:
        searched = 0
        while (end := self._held.find(b"\n", searched)) < 0:
            searched = len(self._held)
            if searched > MOST_ANSWER:
                raise Failed(f"{self._path} is no control socket: its answer does not end")
            self._held += self._receive()
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        return line

    def _receive(self) -> bytes:
        try:
            data = self._socket.recv(RECEIVE)
        except TimeoutError:
            msg = f"no answer within {TIMEOUT:.0f} s: the balancer hangs; see its log"
            raise Failed(msg) from None
        except OSError as error:
            raise Failed(f"{self._path}: {error.strerror or error}") from error
        if not data:
            raise Failed("the balancer closed the connection: it may have been stopped")
        return data

    def _result(self, line: bytes) -> Mapping[str, Any]:
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or "ok" not in answer:
            raise Failed(f"{self._path} is no control socket of a balancer: it says no JSON")
        if not answer["ok"]:
            raise Refused(answer)
        result = answer.get("result")
        return result if isinstance(result, dict) else {"result": result}


def _unreachable(tried: list[tuple[str, OSError]], *, asked_for: bool) -> str:
    lines = ["cannot reach the balancer"]
    lines += [f"  {path}: {_reason(error)}" for path, error in tried]
    denied = next((path for path, error in tried if isinstance(error, PermissionError)), None)
    if denied is not None:
        return "\n".join([*lines, _permission(denied)])
    lines.append("is it running? 'twistd -n lb --config FILE' starts it")
    if not asked_for:
        lines.append("another socket is named by --control PATH, as 'control' in [site] has it")
    return "\n".join(lines)


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, (TimeoutError, BlockingIOError)):
        return "it does not accept: the balancer hangs"
    return (error.strerror or str(error)).lower()


def _permission(path: str) -> str:
    """What somebody needs who may not connect."""
    group = _group(path)
    if group is None:
        return f"its directory is not yours to enter: try sudo, or ask who owns {path}"
    return f"its group is {group}: join it (usermod -aG {group} YOU, then log in anew), or try sudo"


def _group(path: str) -> str | None:
    import grp

    try:
        number = os.stat(path).st_gid
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
    except OSError:
        return None
