"""
A client that never stops asking, so that a test can say that no request failed meanwhile.

It knows HTTP/1.1 with Content-Length, enough to tell a whole answer from a broken one.
"""

from __future__ import annotations

import http.client
import threading
import time
from types import TracebackType
from typing import NamedTuple, Self

from tests.live.harness import LOOPBACK


class Answer(NamedTuple):
    """One request's outcome. `at` is its end (monotonic seconds); `error` is '' when it came."""

    at: float
    status: int
    body: bytes
    error: str


class Traffic:
    """`connections` keep-alive clients, each asking again as soon as its answer came."""

    def __init__(self, port: int, connections: int = 4, path: str = "/") -> None:
        self._port, self._path = port, path
        self.answers: list[Answer] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True)
                         for _ in range(connections)]

    def _run(self) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=10)
        while not self._over.is_set():
            try:
                connection.request("GET", self._path)
                answer = connection.getresponse()
                body = answer.read()
                outcome = Answer(time.monotonic(), answer.status, body, "")
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                outcome = Answer(time.monotonic(), 0, b"", repr(error))
            self.answers.append(outcome)
            time.sleep(0.001)  # the balancer shares its core with us
        connection.close()

    def bodies(self, since: float = 0.0) -> list[bytes]:
        """The bodies of the answers that came after `since`."""
        return [answer.body for answer in list(self.answers) if answer.at > since]

    def failures(self) -> list[Answer]:
        """Every request that did not end in a whole answer with status 200."""
        return [answer for answer in list(self.answers) if answer.status != 200]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(15)
