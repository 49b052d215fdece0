"""
One operator's connection: JSON lines in, verbs asked, answers and events out.

Knows the order and the bounds of a connection; the frame is `control_lines`, the verbs are
`control_verbs`. It sees the site through `ISite` and `IOperator` only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.admin.control_lines import Garbage, Lines, Request, answer, pieces, read, refusal
from balancer.admin.control_socket import peer_of
from balancer.admin.control_verbs import Desk, Given, event_status, events_since, find
from balancer.interfaces import NotDone, Published

IDLE_TIMEOUT = 60.0
"""Seconds without a whole request after which a connection that does not stream is closed."""

FAREWELL_TIMEOUT = 5.0
"""Seconds that a peer has to read the last line; then the connection is reset."""

PIECES_A_TURN = 4
"""Pieces of a long answer that are sent in one turn: some 4 ms."""

MOST_PENDING = 10_000
"""Events that wait for one slow reader; who is further behind is dropped. Twice the servers of a
large pool, so that all of them may change at once. The events themselves are shared by all."""

SLOW = f"dropped: {MOST_PENDING} events waited to be read; ask again with 'since'"
ELSEWHERE = "this connection streams events: ask on another one"

log = Logger()


@implementer(IHalfCloseableProtocol, IPushProducer)
class Control(Protocol):
    """
    One connection. Requests are answered in order, one at a time and one a turn: while an answer is
    under way, or the peer does not read, no more is read of it. After `events` it streams and takes
    no more.
    """

    transport: Any

    def __init__(
        self,
        desk: Desk,
        reactor: IReactorTime,
        ended: Callable[[Control], None],
        unwelcome: str = "",
    ) -> None:
        self._desk = desk
        self._reactor = reactor
        self._ended = ended
        self._unwelcome = unwelcome
        self._lines = Lines()
        self._pending: deque[Published] = deque()
        self._answering: Iterator[bytes] | None = None  # what is left of a long answer
        self._again: IDelayedCall | None = None
        self._timer: IDelayedCall | None = None
        self._paused = False  # by the transport: the peer does not read
        self._asking = False  # a result is awaited
        self._streaming = False
        self._leaving = False
        self._at_end = False  # the peer has sent its end

    # -- the connection

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        if self._unwelcome:
            self.leave(self._unwelcome)
        else:
            self._wait(IDLE_TIMEOUT, self._idle)

    def dataReceived(self, data: bytes) -> None:
        if self._leaving:
            return
        if self._streaming:
            self.leave(ELSEWHERE)
            return
        self._lines.feed(data)
        self._work()
        if self._lines.ready and not self._leaving:
            self.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """The peer asks no more. What it asked is answered; a stream ends."""
        self._at_end = True
        if self._streaming:
            self._close()
        else:
            self._go_on()

    def writeConnectionLost(self) -> None:
        """Ours, when closing."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._leaving = True
        self._stop_waiting()
        self._stop_sending()
        self._ended(self)

    # -- IPushProducer: the transport says how fast the peer reads

    def pauseProducing(self) -> None:
        """The peer reads too slowly."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The peer has read."""
        self._paused = False
        self._pump()
        if self._answering is None:
            self._go_on()
        elif self._again is None:
            self._answer_on()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` follows."""

    # -- requests

    @property
    def _is_held_up(self) -> bool:
        """Whether the next request has to wait, or will never be taken."""
        busy = self._asking or self._answering is not None or self._again is not None
        return busy or self._paused or self._streaming or self._leaving

    def _work(self) -> None:
        """Take the next request. The one after it has a turn of its own."""
        if self._is_held_up:
            return
        try:
            line = self._lines.next()
            if line is not None:
                self._take(read(line))
        except Garbage as garbage:
            self.leave(str(garbage))
        if self._is_held_up:
            return
        if self._lines.ready:
            self._again = self._reactor.callLater(0, self._another)
        elif self._at_end:
            self._end()

    def _another(self) -> None:
        self._again = None
        self._go_on()

    def _go_on(self) -> None:
        """What held the next request up is over, or part of it."""
        if self._is_held_up:
            return
        self._work()
        if not (self._leaving or self._lines.ready or self._at_end):
            self.transport.resumeProducing()

    def _end(self) -> None:
        """All that was asked is answered."""
        if len(self._lines):
            self.leave("expected a newline at the end of the line")
        else:
            self._close()

    def _take(self, request: Request) -> None:
        self._wait(IDLE_TIMEOUT, self._idle)
        try:
            verb = find(request)
            given = verb.read(request)
            if request.verb == "events" and given.get("follow", True):
                self._stream(given)
                return
            if verb.changes:
                what = " ".join(map(str, [request.verb, *given.values()]))
                log.info("{peer} asks: {what}", peer=peer_of(self.transport), what=what)
            result = verb.ask(self._desk, given)
        except Exception:  # noqa: BLE001  # the edge: a verb that fails must not take others along
            self._failed(Failure(), request)
            return
        if not isinstance(result, Deferred):
            self._answer(result, request)
            return
        self._asking = True
        self._stop_waiting()
        result.addCallback(self._answer, request)
        result.addErrback(self._failed, request)
        result.addCallback(self._asked)

    def _asked(self, _: object) -> None:
        """The answer that took its time is given."""
        self._asking = False
        if not self._leaving:
            self._wait(IDLE_TIMEOUT, self._idle)
            if self._again is None:
                # Not at once: it may have fired at once, and the next one may do so, too.
                self._again = self._reactor.callLater(0, self._another)

    def _answer(self, result: object, request: Request) -> None:
        line = pieces(result)
        try:
            first = next(line)
        except (TypeError, ValueError):
            self._failed(Failure(), request)
            return
        self._say(first)
        if not first.endswith(b"\n"):
            # The rest in other turns, as the peer reads; what it took to ask was enough for one.
            self._answering = line
            self._again = self._reactor.callLater(0, self._answer_on)

    def _answer_on(self) -> None:
        """Send more of a long answer."""
        self._again = None
        for _ in range(PIECES_A_TURN):
            if self._answering is None or self._paused:
                return
            try:
                self._say(next(self._answering))
            except StopIteration:
                self._answering = None
                self._go_on()
                return
            except (TypeError, ValueError):
                log.failure("an answer broke off")
                self._close()
                return
        self._again = self._reactor.callLater(0, self._answer_on)

    def _failed(self, failure: Failure, request: Request) -> None:
        error = failure.value
        if isinstance(error, NotDone):
            self._say(refusal(str(error), error.problems))
            return
        log.failure("{verb} failed", failure=failure, verb=request.verb)
        self._say(refusal(f"{request.verb} failed by a fault of the balancer: its log says more"))

    def _say(self, line: bytes) -> None:
        if not self._leaving:
            self.transport.write(line)

    # -- events

    def _stream(self, given: Given) -> None:
        """Send the kept events that were asked for, then each as it comes."""
        if len(self._lines):
            self.leave(ELSEWHERE)
            return
        site = self._desk.site
        self._streaming = True
        self._stop_waiting()
        if "since" in given:
            self._pending.extend(events_since(site, given["since"])[-MOST_PENDING:])
        site.subscribe(self._happened)
        self._pump()

    def _happened(self, published: Published) -> None:
        if self._leaving:
            return
        self._pending.append(published)
        self._pump()
        if len(self._pending) > MOST_PENDING:
            self.leave(SLOW)

    def _pump(self) -> None:
        while self._pending and not self._paused and not self._leaving:
            self._say(answer(event_status(self._pending.popleft())))

    def _stop_sending(self) -> None:
        self._answering = None
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._streaming:
            self._streaming = False
            self._pending.clear()
            self._desk.site.unsubscribe(self._happened)

    # -- the end

    def leave(self, why: str) -> None:
        """Say why in a last line, and close."""
        if self._leaving:
            return
        if self._answering is None:
            self._say(refusal(why))
        self._close()

    def _close(self) -> None:
        self._leaving = True
        self._stop_sending()
        self._wait(FAREWELL_TIMEOUT, self._abort)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _idle(self) -> None:
        self.leave(f"no request came for {IDLE_TIMEOUT:.0f} s")

    def _abort(self) -> None:
        self.transport.abortConnection()

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_waiting()
        self._timer = self._reactor.callLater(seconds, then)

    def _stop_waiting(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
