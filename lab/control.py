"""
A balancer's control socket, as docs/lbctl.md describes it: one JSON object a line, and its answer.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

WITHIN = 5.0
"""Seconds for an answer."""


class Control:
    """A connection to the socket at `path`. Use it in a `with`, or close it."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(WITHIN)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """No more. Wakes whoever waits for an answer in another thread."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._lines.close()
        self._socket.close()

    def ask(self, verb: str, **fields: Any) -> Mapping[str, Any]:
        """The result of a request. Raises OSError, also for a refusal."""
        self._say(verb, fields)
        return self._result()

    def events(self, since: int) -> Iterator[Mapping[str, Any]]:
        """Each event after number `since`, as it comes, until `close`."""
        self._say("events", {"since": since})
        self._socket.settimeout(None)
        while True:
            yield self._result()

    def _say(self, verb: str, fields: Mapping[str, Any]) -> None:
        self._socket.sendall(json.dumps({"verb": verb, **fields}).encode() + b"\n")

    def _result(self) -> Mapping[str, Any]:
        line = self._lines.readline()
        answer: dict[str, Any] = json.loads(line or b'{"ok": false, "error": "no answer"}')
        if not answer["ok"]:
            raise ConnectionError(answer["error"])
        result: Mapping[str, Any] = answer["result"]
        return result
