"""
Questions to one DNS server and its answers: by UDP from a port of their own, and by TCP where an
answer was too long for that (RFC 7766 5).

Only what comes from the server's address, by the kernel's word, with the random id and the question
of one of ours counts as its answer (RFC 5452 9): 32 bits and more to be guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from balancer.resolve.looking import Ask, Reply
from balancer.resolve.message import MAX_MESSAGE, Question, Unanswered, read
from balancer.wire.address import Address, literal
from balancer.wire.connect import ConnectFailed, connect
from balancer.wire.connected import ConnectedDatagrams
from balancer.wire.reactor import IWireReactor

MAX_STRAY: Final = 16
"""Datagrams that are no answers, until a server is given up: somebody guesses ids."""

NO_ANSWER: Final = "no answer"

OpenSocket = Callable[
    [IWireReactor, Address, Callable[[bytes], None], Callable[[OSError], None]], ConnectedDatagrams
]


@define(eq=False)
class Exchange:
    """Makes an `Ask` of a core come true. `open` and `connect` are for tests to replace."""

    reactor: IWireReactor
    random: Random
    open: OpenSocket = ConnectedDatagrams
    connect: Callable[..., Any] = connect

    def ask(self, ask: Ask) -> Deferred[Sequence[Reply]]:
        """Fires with a reply to each question, within the time. Cancelling frees what it holds."""
        asking = _Asking(self, ask)
        asking.begin()
        return asking.done


@define(eq=False)
class _Asking:
    """Two questions on their way."""

    _by: Exchange
    _ask: Ask
    done: Deferred[Sequence[Reply]] = field(init=False)
    _ids: list[int] = field(factory=list, init=False)
    _replies: dict[int, Reply] = field(factory=dict, init=False)
    _socket: ConnectedDatagrams | None = field(default=None, init=False)
    _streams: dict[int, Any] = field(factory=dict, init=False)
    _late: IDelayedCall | None = field(default=None, init=False)
    _stray: int = field(default=0, init=False)
    _until: float = field(default=0.0, init=False)

    def begin(self) -> None:
        by, ask = self._by, self._ask
        self.done = Deferred(lambda _: self._close())
        self._ids = by.random.sample(range(65536), len(ask.questions))
        self._until = by.reactor.seconds() + ask.timeout
        self._late = by.reactor.callLater(ask.timeout, self._over, NO_ANSWER)
        try:
            address = literal(*ask.server)
            self._socket = by.open(by.reactor, address, self._received, self._failed)
        except (OSError, ValueError) as error:
            # No route, or no descriptor: told in a later turn, as everything else is.
            by.reactor.callLater(0, self._failed, error)
            return
        for id, question in zip(self._ids, ask.questions, strict=True):
            self._socket.send(question.ask(id))

    def _received(self, data: bytes) -> None:
        id = int.from_bytes(data[:2], "big")
        try:
            at = self._ids.index(id)
            if at in self._replies or at in self._streams:
                return  # the same again
            answer = read(data, id, self._ask.questions[at])
        except (ValueError, Unanswered):
            self._stray += 1
            if self._stray >= MAX_STRAY:
                self._over("answers to other questions")
            return
        if answer.truncated:
            self._go_by_stream(at, id)
        else:
            self._replied(at, answer)

    def _go_by_stream(self, at: int, id: int) -> None:
        left = max(0.0, self._until - self._by.reactor.seconds())

        def over(reply: Reply) -> None:
            self._streams.pop(at, None)
            self._replied(at, reply)

        stream = _Stream(id, self._ask.questions[at], over)
        address = literal(*self._ask.server)
        stream.connecting = self._by.connect(
            self._by.reactor, address, stream, stream.failed, left + 1.0
        )
        self._streams[at] = stream

    def _replied(self, at: int, reply: Reply) -> None:
        self._replies[at] = reply
        if len(self._replies) == len(self._ids):
            self._over(NO_ANSWER)

    def _failed(self, error: Exception) -> None:
        self._over(getattr(error, "strerror", None) or str(error))

    def _over(self, reason: str) -> None:
        """What has no reply by now has none for this reason."""
        if not self.done.called:
            self._close()
            self.done.callback([self._replies.get(at, reason) for at in range(len(self._ids))])

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._late is not None and self._late.active():
            self._late.cancel()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.close()


class _Stream(Protocol):
    """One question by TCP: two bytes of length, and the message (RFC 1035 4.2.2)."""

    transport: Any

    def __init__(self, id: int, question: Question, over: Callable[[Reply], None]) -> None:
        self.connecting: Any = None
        self._id, self._question, self._tell = id, question, over
        self._data = b""
        self._ended = False

    def connectionMade(self) -> None:
        self.connecting = None
        message = self._question.ask(self._id)
        self.transport.write(len(message).to_bytes(2, "big") + message)

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        length = int.from_bytes(self._data[:2], "big")
        if len(self._data) >= 2 and length > MAX_MESSAGE:
            self._end(f"over {MAX_MESSAGE} bytes")
        elif len(self._data) >= 2 + length and len(self._data) >= 2:
            try:
                self._end(read(self._data[2 : 2 + length], self._id, self._question))
            except Unanswered as error:
                self._end(str(error))

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's
        self._end("closed the connection")

    def failed(self, error: ConnectFailed) -> None:
        """It cannot be connected to."""
        self.connecting = None
        self._end(error.reason)

    def close(self) -> None:
        """Tell nobody any more."""
        self._ended = True
        if self.connecting is not None:
            self.connecting.cancel()
        elif self.transport is not None:
            self.transport.abortConnection()

    def _end(self, reply: Reply) -> None:
        if not self._ended:
            self.close()
            self._tell(reply)
