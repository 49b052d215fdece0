"""
The control socket at work: JSON lines in, verbs asked, answers and events out.

Knows connections and their bounds; the frame is `control_lines`, the verbs are `control_verbs`. It
sees the site through `ISite` and `IOperator` only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.admin.control_lines import Garbage, Lines, Request, answer, read, refusal
from balancer.admin.control_socket import ControlSocket, peer_of
from balancer.admin.control_verbs import Desk, Given, event_status, events_since, find
from balancer.interfaces import NotDone, Published
from balancer.wire.listener import Listener
from balancer.wire.stock import serve

MOST_CONNECTIONS = 32
"""Connections at once; one more is told so and closed. Operators are few, and so are their shells
and dashboards."""

IDLE_TIMEOUT = 60.0
"""Seconds without a whole request after which a connection that does not stream is closed."""

FAREWELL_TIMEOUT = 5.0
"""Seconds that a peer has to read the last line; then the connection is reset."""

MOST_PENDING = 10_000
"""Events that wait for one slow reader; who is further behind is dropped. Twice the servers of a
large pool, so that all of them may change at once. The events themselves are shared by all."""

SLOW = f"dropped: {MOST_PENDING} events waited to be read; ask again with 'since'"
FULL = f"{MOST_CONNECTIONS} connections are open already: close one, or try again later"
ELSEWHERE = "this connection streams events: ask on another one"

log = Logger()


@implementer(IHalfCloseableProtocol, IPushProducer)
class Control(Protocol):
    """
    One connection. Requests are answered in order, one at a time: while an answer is under way, or
    the peer does not read, no more is read of it. After `events` it streams and takes no more.
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
        self._timer: IDelayedCall | None = None
        self._paused = False  # by the transport: the peer does not read
        self._asking = False  # an answer is under way
        self._streaming = False
        self._leaving = False
        self._gone = False
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
            self._work()

    def writeConnectionLost(self) -> None:
        """Ours, when closing."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._gone = self._leaving = True
        self._stop_waiting()
        self._stop_streaming()
        self._ended(self)

    # -- IPushProducer: the transport says how fast the peer reads

    def pauseProducing(self) -> None:
        """The peer reads too slowly."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The peer has read."""
        self._paused = False
        self._pump()
        self._go_on()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` follows."""

    # -- requests

    def _work(self) -> None:
        """Take requests until one has to wait."""
        while not (self._paused or self._asking or self._streaming or self._leaving):
            try:
                line = self._lines.next()
                if line is None:
                    break
                request = read(line)
            except Garbage as garbage:
                self.leave(str(garbage))
                return
            self._take(request)
        if self._at_end and not (self._asking or self._leaving or self._lines.ready):
            if len(self._lines):
                self.leave("expected a newline at the end of the line")
            else:
                self._close()

    def _go_on(self) -> None:
        """What held the requests up is over."""
        if self._leaving or self._streaming:
            return
        self._work()
        if not (self._leaving or self._lines.ready or self._at_end):
            self.transport.resumeProducing()

    def _take(self, request: Request) -> None:
        self._wait(IDLE_TIMEOUT, self._idle)
        try:
            verb = find(request)
            given = verb.read(request)
            if request.verb == "events" and given.get("follow", True):
                self._stream(given)
                return
            result = verb.ask(self._desk, given)
        except Exception:  # noqa: BLE001  # the edge: a verb that fails must not take others along
            self._failed(Failure(), request)
            return
        if verb.changes:
            log.info("{peer} asks: {verb} {given}", peer=peer_of(self.transport),
                     verb=request.verb, given=" ".join(map(str, given.values())))
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
            self._go_on()

    def _answer(self, result: object, request: Request) -> None:
        try:
            line = answer(result)
        except (TypeError, ValueError):
            self._failed(Failure(), request)
        else:
            self._say(line)

    def _failed(self, failure: Failure, request: Request) -> None:
        error = failure.value
        if isinstance(error, NotDone):
            self._say(refusal(str(error), error.problems))
            return
        log.failure("{verb} failed", failure=failure, verb=request.verb)
        self._say(refusal(f"{request.verb} failed by a fault of the balancer: its log says more"))

    def _say(self, line: bytes) -> None:
        if not self._gone:
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

    def _stop_streaming(self) -> None:
        if self._streaming:
            self._streaming = False
            self._pending.clear()
            self._desk.site.unsubscribe(self._happened)

    # -- the end

    def leave(self, why: str) -> None:
        """Say why in a last line, and close."""
        if not self._leaving:
            self._say(refusal(why))
            self._close()

    def _close(self) -> None:
        self._leaving = True
        self._stop_streaming()
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


class ControlFactory(Factory):
    """Builds a connection's protocol, as long as there are not too many."""

    noisy = False

    def __init__(self, desk: Desk, reactor: IReactorTime) -> None:
        self._desk = desk
        self._reactor = reactor
        self.connections: set[Control] = set()

    def buildProtocol(self, address: IAddress | None) -> Control:
        full = len(self.connections) >= MOST_CONNECTIONS
        control = Control(self._desk, self._reactor, self._ended, FULL if full else "")
        if not full:
            self.connections.add(control)
        return control

    def _ended(self, control: Control) -> None:
        self.connections.discard(control)


class ControlService(Service):
    """Serves the control socket that the site bound. Its file goes when the service stops; closing
    the listener stays the site's."""

    def __init__(self, desk: Desk, listener: Listener, bound: ControlSocket | None = None) -> None:
        self._listener = listener
        self._bound = bound
        self._factory = ControlFactory(desk, listener.reactor)
        self._give_up: Callable[[], None] | None = None

    def startService(self) -> None:
        super().startService()
        self._give_up = serve(self._listener, self._factory)
        self._listener.start()

    def stopService(self) -> None:
        super().stopService()
        if self._give_up is not None:
            self._give_up()
            self._give_up = None
        if self._bound is not None:
            self._bound.remove()
        for control in list(self._factory.connections):
            control.leave("the balancer stops")
