"""
Asks the other sites how their section is, over HTTP, again and again: the answers must be there
before they are needed.

Knows the admin's address and page of each, and a connection for one question. What the answers
mean is `lastsite`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from balancer.config.values import Endpoint
from balancer.wire.address import literal
from balancer.wire.connect import ConnectFailed, connect

EVERY: Final = 1.0
"""Seconds from one question to a site to the next."""

WITHIN: Final = 1.0
"""Seconds that an answer may take, with its connection. Half around the world and back are 0.3."""

MAX_ANSWER: Final = 256 * 1024
"""Bytes of an answer. With 256 prefixes, 16 neighbors and ten lines of ExaBGP's it is 40 KiB."""

Heard = Callable[[Endpoint, float, bytes, str], None]
"""A site, when it was asked, and all that it answered, or why it did not."""


class Asking:
    """Asks the sites that are wanted for `path`, each by itself, with one question at a time."""

    def __init__(self, reactor: Any, path: str, heard: Heard, connect: Any = connect) -> None:
        self.reactor, self.path, self.heard, self.connect = reactor, path, heard, connect
        self._turns: dict[Endpoint, _Turn] = {}

    def want(self, sites: Iterable[Endpoint]) -> None:
        """Ask these from now on, and no others."""
        before, self._turns = self._turns, {}
        for site in sites:
            self._turns[site] = before.pop(site) if site in before else _Turn(self, site)
        for turn in before.values():
            turn.stop()

    def ask_now(self) -> None:
        """Ask all of them, whatever the time; whoever is being asked, right after that."""
        for turn in list(self._turns.values()):
            turn.ask()


class _Turn:
    """One site, which is asked at once."""

    def __init__(self, asking: Asking, site: Endpoint) -> None:
        self._asking, self._site = asking, site
        self._question: _Question | None = None
        self._connecting: Any = None
        self._asked = 0.0
        self._again = False
        self._call: IDelayedCall | None = asking.reactor.callLater(0, self._due)

    def _due(self) -> None:
        self._call = None
        self.ask()

    def ask(self) -> None:
        """Ask now, or as soon as the question before is over."""
        if self._question is not None:
            self._again = True
            return
        self._cancel()
        asking, site = self._asking, self._site
        self._asked, self._again = asking.reactor.seconds(), False
        self._question = _Question(asking.path, str(site), self._over)
        self._call = asking.reactor.callLater(WITHIN, self._late)
        self._connecting = asking.connect(
            asking.reactor, literal(site.host, site.port), self._question, self._failed, WITHIN
        )

    def _late(self) -> None:
        self._call = None
        self._over(b"", f"it does not answer within {WITHIN:g} s")

    def _failed(self, error: ConnectFailed) -> None:
        self._over(b"", f"it cannot be reached: {error}")

    def _over(self, answer: bytes, why: str) -> None:
        self._end()
        reactor = self._asking.reactor
        wait = 0.0 if self._again else max(0.0, self._asked + EVERY - reactor.seconds())
        self._call = reactor.callLater(wait, self._due)
        self._asking.heard(self._site, self._asked, answer, why)

    def _end(self) -> None:
        """No question is open."""
        question, self._question = self._question, None
        self._cancel()
        if question is not None:
            question.drop()
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None

    def _cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def stop(self) -> None:
        """Ask no more."""
        self._end()


class _Question(Protocol):
    """One request of HTTP/1.0: the answer ends with the connection (RFC 1945, 7.2.2)."""

    transport: Any

    def __init__(self, path: str, host: str, over: Callable[[bytes, str], None]) -> None:
        self._path, self._host, self._over = path, host, over
        self._answer: list[bytes] = []
        self._size = 0
        self._dropped = False

    def connectionMade(self) -> None:
        request = f"GET {self._path} HTTP/1.0\r\nHost: {self._host}\r\n\r\n"
        self.transport.write(request.encode())

    def dataReceived(self, data: bytes) -> None:
        self._answer.append(data)
        self._size += len(data)
        if self._size > MAX_ANSWER:
            self._finish(b"", f"its answer is longer than {MAX_ANSWER} bytes")

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._finish(b"".join(self._answer), "" if self._answer else "it hangs up")

    def _finish(self, answer: bytes, why: str) -> None:
        if not self._dropped:
            self._over(answer, why)

    def drop(self) -> None:
        """Nobody waits for the answer any more."""
        self._dropped = True
        if self.transport is not None:
            self.transport.abortConnection()
