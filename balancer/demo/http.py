"""
One HTTP connection of a demo server: requests in, answers out, in order.

Knows connections; framing is in `requests`, and what is said is in `answers`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Structure

from attrs import define, field
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IPullProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.demo.answers import (
    MAX_ECHO,
    Answer,
    Place,
    answer,
    head,
    is_switch,
    wants_body,
)
from balancer.demo.requests import END, Malformed, Reader, Request
from balancer.wire.stream import Stream

IDLE = 65.0
"""Seconds without progress until a connection is closed; more than balancers keep idle ones."""

PIECE = 64 * 1024
"""Bytes of /bytes that are written at once."""

_ZEROS = bytes(PIECE)


class Switch(Structure):
    """The server that a connection belongs to."""

    failing: bool
    requests_total: int

    def turn(self, failing: bool) -> None:
        """Make it fail, or recover."""

    def left(self, connection: HttpConnection) -> None:
        """The connection is over."""

    def eased(self) -> None:
        """A connection has nothing in progress any more."""


@implementer(IHalfCloseableProtocol)
class HttpConnection(Protocol):
    """
    Reads one request at a time: while it answers, the next ones wait in the kernel.

    `deadline` is for the site's wheel: it moves with every progress, and at it the connection ends.
    """

    transport: Stream

    def __init__(self, server: Switch, place: Place, clock: IReactorTime) -> None:
        self._server = server
        self._place = place
        self._clock = clock
        self._reader = Reader()
        self._request: Request | None = None
        self._body = bytearray()
        self._length = 0
        self._answering = False
        self._closing = False
        self._in_loop = False
        self._waiting: IDelayedCall | None = None
        self.deadline = clock.seconds() + IDLE

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request came that is not answered."""
        return self._request is None and not self._reader.pending

    def close(self) -> None:
        """End it: at once if it is idle, else after the answer in progress."""
        self._closing = True
        if self._request is None:
            self.transport.loseConnection()

    def expired(self, now: float) -> None:
        """The wheel says that there was no progress for too long."""
        self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        """The client sends no more: what it asked is still answered (RFC 9112 9.6)."""
        self._closing = True
        if not self._answering:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Said only by us."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._closing = True
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._server.left(self)

    def dataReceived(self, data: bytes) -> None:
        self.deadline = self._clock.seconds() + IDLE
        self._reader.receive(data)
        self._read_on()

    # -- requests

    def _read_on(self) -> None:
        if self._in_loop:
            return  # an answer that was complete at once: the loop goes on by itself
        self._in_loop = True
        try:
            while not (self._answering or self._over):
                part = self._reader.next()
                if part is None:
                    return
                if isinstance(part, Request):
                    self._begin(part)
                elif part is END:
                    self._answer()
                elif isinstance(part, bytes):
                    self._keep(part)
        except Malformed as error:
            self._refuse(f"{error}\n".encode())
        finally:
            self._in_loop = False

    @property
    def _over(self) -> bool:
        return self._closing and self._request is None

    def _begin(self, request: Request) -> None:
        if self._server.failing and not is_switch(request):
            # Not a byte: a balancer may then ask another server.
            self.close()
            return
        self._server.requests_total += 1
        self._request = request
        self._body.clear()
        self._length = 0
        if request.expects_continue and request.length:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _keep(self, data: bytes) -> None:
        self._length += len(data)
        if self._request is not None and wants_body(self._request) and self._length <= MAX_ECHO:
            self._body += data

    def _refuse(self, text: bytes) -> None:
        refusal = Request(b"GET", b"", b"", 1, 0, False, False)
        self._closing = True
        self._request = None
        self.transport.write(head(refusal, self._place, Answer(text, 400), False) + text)
        self.transport.close_lingering()

    # -- answers

    def _answer(self) -> None:
        request = self._request
        assert request is not None
        said = answer(request, self._place, bytes(self._body), self._length)
        self._body.clear()
        if said.failing is not None:
            self._server.turn(said.failing)
        if said.wait:
            self._hold()
            self.deadline = self._clock.seconds() + said.wait + IDLE
            self._waiting = self._clock.callLater(said.wait, self._say, request, said)
        else:
            self._say(request, said)

    def _say(self, request: Request, said: Answer) -> None:
        self._waiting = None
        keep_alive = request.keep_alive and not (self._closing or self._server.failing)
        self._closing = not keep_alive
        begin = head(request, self._place, said, keep_alive)
        if request.method == b"HEAD":
            self.transport.write(begin)
            self._done()
        elif said.filler:
            self._hold()
            self.transport.write(begin)
            Filler(self.transport, said.filler, self._progress, self._done).start()
        else:
            self.transport.write(begin + said.body)
            self._done()

    def _hold(self) -> None:
        if not self._answering:
            self._answering = True
            self.transport.pauseProducing()

    def _progress(self) -> None:
        self.deadline = self._clock.seconds() + IDLE

    def _done(self) -> None:
        self._request = None
        self._server.eased()
        if self._closing:
            self._answering = False
            self.transport.close_lingering()
        elif self._answering:
            self._answering = False
            self.transport.resumeProducing()
            self._read_on()


@implementer(IPullProducer)
@define(eq=False)
class Filler:
    """Writes `left` zeros to `transport`, as fast as the client takes them."""

    transport: Stream
    left: int
    progress: Callable[[], None]
    done: Callable[[], None]
    _stopped: bool = field(default=False, init=False)

    def start(self) -> None:
        """Begin; `done` is called after the last byte was written, `progress` now and then."""
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """The client took the last piece."""
        if self._stopped:
            return
        self.progress()
        piece = min(PIECE, self.left)
        self.left -= piece
        self.transport.write(_ZEROS[:piece])
        if not self.left:
            self._stopped = True
            self.transport.unregisterProducer()
            self.done()

    def stopProducing(self) -> None:
        """The connection is gone."""
        self._stopped = True
