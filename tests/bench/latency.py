"""
Requests at a fixed rate, each timed: `python -m tests.bench.latency PORT SECONDS`.

A request's time counts from when it was due, not from when a connection was free to send it: what a
stall holds up is counted in full (the usual clients wait with it, and miss it). One request of ten
comes on a connection of its own, the others on kept-alive ones.
Prints one line of JSON, a `Timed`.
"""

from __future__ import annotations

import json
import math
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from attrs import asdict, field, frozen, mutable

HOST = "127.0.0.1"
RATE = 2000
"""Requests a second: a fifth of what each proxy can do, and little for the client."""

CONNECTIONS = 32
FRESH = 10
"""One of so many requests has a connection of its own."""

PATIENCE = 2.0
"""Seconds after the last request was due; what has no answer then has failed."""

HEAD = (b"GET / HTTP/1.1\r\nHost: www.example.test\r\nUser-Agent: latency\r\nAccept: */*\r\n"
        b"Accept-Encoding: gzip, deflate, br\r\nCookie: session=0123456789abcdef\r\n")


@frozen
class Timed:
    """
    What became of the requests; times in seconds.

    `closed` counts kept-alive connections that the proxy ended, `failed` requests that got no
    answer or another one than 200; the times are those of the others.
    """

    count: int
    failed: int
    closed: int
    p50: float
    p99: float
    p999: float
    worst: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the sorted ones do not exceed."""
    if not ordered:
        return 0.0
    return ordered[max(1, math.ceil(share * len(ordered))) - 1]


def timed(times: Sequence[float], failed: int, closed: int) -> Timed:
    """The summary of a run."""
    ordered = sorted(times)
    shares = (percentile(ordered, share) for share in (0.5, 0.99, 0.999, 1.0))
    return Timed(len(ordered) + failed, failed, closed, *shares)


def whole(data: bytes) -> bool:
    """Whether an answer with Content-Length is complete."""
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        return False
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return len(body) >= int(length)


@mutable(eq=False)
class Talk:
    """A connection, and the request on it."""

    sock: socket.socket
    kept: bool = True
    due: float = 0.0
    answer: bytes = field(default=b"")


class Load:
    """Sends what is due on free connections, and notes when the answers come."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._talks: dict[int, Talk] = {}
        self._free: deque[Talk] = deque()
        self._due: deque[float] = deque()
        self._sent = self._kept = 0
        self.times: list[float] = []
        self.failed = self.closed = 0

    def _open(self, kept: bool) -> Talk:
        talk = Talk(socket.create_connection((HOST, self._port), timeout=PATIENCE), kept)
        talk.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk.sock.setblocking(False)
        self._talks[talk.sock.fileno()] = talk
        self._kept += kept
        return talk

    def _drop(self, talk: Talk) -> None:
        """Close it; a kept-alive one gets a successor when it is wanted."""
        del self._talks[talk.sock.fileno()]
        talk.sock.close()
        with suppress(ValueError):
            self._free.remove(talk)
        self.closed += talk.kept
        self._kept -= talk.kept

    def _send(self, due: float) -> None:
        """One request, on a free connection or one of its own."""
        self._sent += 1
        fresh = self._sent % FRESH == 0
        try:
            open_another = fresh or not self._free
            talk = self._open(kept=not fresh) if open_another else self._free.popleft()
        except OSError:
            self.failed += 1
            return
        talk.due, talk.answer = due, b""
        try:
            talk.sock.sendall(HEAD + (b"Connection: close\r\n\r\n" if fresh else b"\r\n"))
        except OSError:
            self._lose(talk)

    def _lose(self, talk: Talk) -> None:
        """The proxy has ended the connection; a request on it is lost, and not sent again."""
        if talk.due:
            self.failed += 1
        self._drop(talk)

    def _receive(self, talk: Talk) -> None:
        """A piece of an answer, or an end."""
        try:
            data = talk.sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._lose(talk)
            return
        talk.answer += data
        if not talk.due or not whole(talk.answer):
            return
        if talk.answer.startswith(b"HTTP/1.1 200"):
            self.times.append(time.monotonic() - talk.due)
        else:
            self.failed += 1
        talk.due = 0.0
        if not talk.kept or b"\r\nconnection: close" in talk.answer.lower():
            self._drop(talk)
        else:
            self._free.append(talk)

    def run(self, seconds: float) -> Timed:
        """`RATE` requests a second for that long."""
        start, made, all_of_them = time.monotonic(), 0, int(seconds * RATE)
        end = start + seconds + PATIENCE
        while (now := time.monotonic()) < end and len(self.times) + self.failed < all_of_them:
            while made < all_of_them and start + made / RATE <= now:
                self._due.append(start + made / RATE)
                made += 1
            while self._due and (self._free or self._kept < CONNECTIONS):
                self._send(self._due.popleft())
            # select, not epoll: it alone takes less than a millisecond.
            wait = start + made / RATE - time.monotonic() if made < all_of_them else 0.1
            for number in select.select(list(self._talks), [], [], max(0.0, wait))[0]:
                if number in self._talks:
                    self._receive(self._talks[number])
        lost = all_of_them - len(self.times) - self.failed
        return timed(self.times, self.failed + lost, self.closed)


if __name__ == "__main__":
    print(json.dumps(asdict(Load(int(sys.argv[1])).run(float(sys.argv[2])))))
