"""
A client's connection: reads requests one at a time, holds back what comes too early, keeps time.

Knows how requests are framed; who answers them is decided in `proxying`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, ClassVar, Final

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.http import exchange
from balancer.http.answers import redirect
from balancer.http.exchange import ANSWERING, ASKED, CLOSING, FULL, HEAD, IDLE, TUNNEL
from balancer.http.forwarded import additions, address_of, client_of, is_trusted
from balancer.http.front import Front, Target
from balancer.http.head import Refused, RequestReader
from balancer.http.message import RequestHead
from balancer.http.uploading import Uploading
from balancer.wire.sending import HIGH_WATER

if TYPE_CHECKING:
    from balancer.http.naming import Naming
    from balancer.wire.stream import Stream

MOST_REMEMBERED: Final = 2048
"""Bytes of a head that is remembered for the next one, so that 10,000 connections at rest take no
more than 20 MiB by it. Browsers send 400 to 1,500."""

TRIES: Final = 4
"""Heads in a row that were remembered in vain. After these every 16th is: a proxy in front of us
sends another client's head each time, and remembering costs a twentieth of reading."""


@implementer(IProtocol, IHalfCloseableProtocol, IPushProducer)
class ClientConnection(Uploading):
    """One client. It stands in the wheel from its first moment to its last."""

    __slots__ = (
        "_inside",
        "_last",
        "_lingers",
        "_misses",
        "_reader",
        "_tail",
        "_tail_host",
        "counted",
        "deadline",
        "peer",
        "trusted",
    )

    scheme: ClassVar[bytes] = b"http"

    def __init__(self, front: Front) -> None:
        super().__init__(front)
        self.peer = "-"
        self.trusted = False
        self.deadline = inf
        self._reader: RequestReader | None = None
        self._inside = False  # dataReceived is on the stack
        self._lingers = False  # closing must read what the client still sends
        self.counted = False  # in `per_source`
        # The head that the next one is compared with: see `RequestHead.renew`.
        self._last: RequestHead | None = None
        self._misses = 0
        self._tail = b""
        self._tail_host: bytes | None = None

    # -- IProtocol

    def makeConnection(self, transport: Stream) -> None:  # type: ignore[override]  # our own kind
        """The client is here."""
        front = self.front
        self.transport = transport
        self.peer = self.source = transport.peer_host
        self.peer_port = transport.peer_port
        self.trusted = self.trusts(self.peer)
        front.connections.add(self)
        front.figures.connections_total += 1
        now = front.clock()
        self.until = now + front.head_timeout
        self.deadline = now + front.shortest
        front.wheel.add(self)

    def connectionMade(self) -> None:
        """Part of IProtocol; nobody calls it."""

    def dataReceived(self, data: bytes) -> None:
        """Requests, or whatever the present one still needs."""
        if self.phase > HEAD:
            self._more(data)
            return
        if self.buffer:
            data = self.buffer + data
            self.buffer = b""
        last = self._last
        if last is not None and last.renew(data, self.front.reader.max_head):
            # The whole of it, and nothing else: what follows below is not needed.
            now = self.began = self.front.clock()
            self._misses = 0
            self._begin(last, b"", last.end, now)
            return
        self._inside = True
        self._request(data)
        # Answers of our own are done at once: the next request may stand there already.
        while self.buffer and self.phase == IDLE:
            data, self.buffer = self.buffer, b""
            self._request(data)
        self._inside = False
        if self._ended and self.phase <= HEAD:
            self.close()

    def readConnectionLost(self) -> None:
        """The client has sent its end: it still reads what it asked for."""
        self._ended = True
        if self.phase == TUNNEL and self.tunnel is not None:
            self.tunnel.client_ended()
        elif self.phase == IDLE and not self.buffer:
            self.close()
        elif self.phase == HEAD or self.body is not None:
            self.failed(exchange.CLIENT_LEFT)
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our end of a tunnel has been sent."""

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone."""
        front = self.front
        front.wheel.discard(self)
        if self.phase == TUNNEL and self.tunnel is not None and self.tunnel.over:
            self.tunnel_over(front.clock())
        elif self.phase != CLOSING:  # else the exchange is over, and has let go of everything
            self.failed(exchange.CLIENT_LEFT)
        self.phase = CLOSING
        self.deadline = inf
        front.connections.discard(self)
        front.left(self)

    # -- requests

    def _request(self, data: bytes) -> None:
        """Begin the exchange that `data` asks for, or wait for the rest of its head."""
        try:
            head = (self._reader or self.front.reader).read(data, self.trusted)
            now = self.front.clock()
            if head is None:
                self._wait(data, now)
                return
            self._reader = None
            if self.phase == IDLE:
                self.began = now
            end, length = head.end, head.length
            if length == 0:
                piece = b""
                if len(data) > end:
                    self.buffer = data[end:]
                self._last = self._remembered(head)
            else:
                self._last = None
                self.head = head
                self.keep = head.keep_alive
                self.minor = head.minor
                self.read_at = now
                self.chosen_at = self.sent_at = self.answered_at = 0.0
                self.letters = b"--"
                piece = self._first_piece(data, end, length)
                end += len(piece)
        except Refused as refusal:
            self._refused(refusal)
            return
        self._begin(head, piece, end, now)

    def _begin(self, head: RequestHead, piece: bytes, size: int, now: float) -> None:
        """Find out who answers, and ask. `size` bytes have come, with the `piece` of the body."""
        front = self.front
        self.head = head
        self.minor = head.minor
        self.keep = head.keep_alive
        self.read_at = now
        self.chosen_at = self.sent_at = self.answered_at = 0.0
        self.letters = b"--"
        front.figures.bytes_in += size
        if front.limited and not self._admitted(head, now):
            return
        target = front.only
        if target is None:
            client = address_of(self.source) if front.table.needs_client else None
            target = front.table.find(head, client)
        tail = self._tail if head.host == self._tail_host else self._new_tail(head)
        pool = target.pool
        if pool is None:
            # Asked only here, so that requests for a pool need not.
            target = self.unless_here(target, head)
            pool = target.pool
        if pool is None:
            self._respond(target, head, now)
            return
        self.held = head.out + tail + piece
        self.start(target, pool, now)

    def unless_here(self, target: Target, head: RequestHead) -> Target:
        """What answers in place of a redirect to where the request has come already."""
        return target

    def _remembered(self, head: RequestHead) -> RequestHead | None:
        """`head` if the next one may be compared with it."""
        misses = self._misses = self._misses + 1
        if not head.mark or not head.keep_alive or head.end > MOST_REMEMBERED:
            return None
        if misses > TRIES and misses & 15:
            return None
        head.remember()
        return head

    def _wait(self, data: bytes, now: float) -> None:
        """The head is not complete."""
        self.buffer = data
        self._last = None
        if self._reader is None:
            self._reader = self.front.lend_reader()
        if self.phase == IDLE and data:
            self.phase = HEAD
            self.began = now
            self.read_at = self.chosen_at = self.sent_at = self.answered_at = 0.0
            self.minor = 1
            self.keep = False
            self.until = now + self.front.head_timeout

    def _admitted(self, head: RequestHead, now: float) -> bool:
        """Learn who asks, and whether that client may ask now."""
        front = self.front
        if self.trusted:
            self.source = client_of(head, self.peer, front.proxies)
        if front.rates is None or front.rates.allow(self.source, now):
            return True
        front.figures.refused["rate"] += 1
        self.letters = b"PR"
        self.refuse(front.error(429), now)
        return False

    def _refused(self, refusal: Refused) -> None:
        """The client broke the rules; nothing more that it sends can be understood."""
        front = self.front
        kind = "max-body" if refusal.status == 413 else "bad-request"
        front.figures.refused[kind] += 1
        now = front.clock()
        if self.phase == IDLE and self.head is None:
            self.began, self.read_at = now, 0.0
            self.chosen_at = self.sent_at = self.answered_at = 0.0
            self.minor = 1
        self.keep = False
        self._lingers = True
        self.failed(exchange.REFUSED, refusal.reason, refusal.status)

    def _respond(self, target: Target, head: RequestHead, now: float) -> None:
        """A route's own answer."""
        if target.redirect is not None:
            self.refuse(redirect(target.redirect, head.host, head.target), now)
        elif target.answer is not None:
            self.refuse(target.answer, now)
        elif target.naming is not None:
            self._send_to(target.naming, head, now)
        else:
            self.refuse(self.front.error(404, "no route leads there"), now)

    def _send_to(self, naming: Naming, head: RequestHead, now: float) -> None:
        """To the name of the server that its pool chooses."""
        server = naming.choose(self, head)
        if server is None:
            self.front.figures.refused["no-server"] += 1
            self.failed(exchange.NO_SERVER, "no server is available")
            return
        self.server = server  # for the log; it gets no work of ours
        door = self.scheme, self.transport.getHost().port
        self.refuse(naming.answer(server, head, door), now)

    def _new_tail(self, head: RequestHead) -> bytes:
        """What is appended to the request's head. It is kept for the next request, if that would
        get the same."""
        front = self.front
        added = additions(front.forwarded, self.peer, head, self.trusted, self.scheme)
        tail = front.request_lines + added + b"\r\n"
        if front.request_id is not None:
            kept = head.field(front.request_id) if self.trusted else None
            name = front.request_id
            return b"%b: %b\r\n%b" % (name, kept or front.new_id(), tail)
        if not self.trusted:
            self._tail_host, self._tail = head.host, tail
        return tail

    def trusts(self, peer: str) -> bool:
        """Whether `peer` is a trusted proxy."""
        proxies = self.front.proxies
        return bool(proxies) and is_trusted(address_of(peer), proxies)

    def settings_changed(self) -> None:
        """The next request goes by new settings."""
        self._last = None
        self._tail_host = None
        self.trusted = self.trusts(self.peer)
        self.source = self.peer

    # -- between exchanges

    def next(self, now: float) -> None:
        """After an exchange: the next request, or the end of the connection."""
        if not self.keep or self.body is not None or self.front.draining:
            self.close()
            return
        if self.transport.queued >= HIGH_WATER:
            self._await_reader(now)
            return
        self.phase = IDLE
        self.until = now + self.front.idle_timeout
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        if self._inside:
            return
        if self.buffer:
            self.dataReceived(b"")
        elif self._ended:
            self.close()

    def close(self) -> None:
        """End the connection, when all that was written has gone out."""
        if self.phase == CLOSING:
            return
        if self.phase == FULL:
            self.transport.unregisterProducer()
            self._lingers = True
        self.phase = CLOSING
        self.until = self.front.clock() + self.front.idle_timeout
        lingers = self._lingers or self.body is not None or self.buffer or self._paused
        # While draining, a client that was not told so may have its next request on the way, which
        # a plain close would answer with a reset instead of an end that lets it ask elsewhere.
        if lingers or self.front.draining:
            self.body = None
            self.buffer = b""
            self.transport.close_lingering()
        else:
            self.transport.loseConnection()

    def drain(self) -> None:
        """Finish what is going on, and begin nothing new. A request that has come already, and that
        nobody has read yet, is answered."""
        if self.phase == IDLE:
            self.transport.doRead()
        if self.phase in (IDLE, FULL):
            self.close()

    def stop(self) -> None:
        """End now, whatever is going on."""
        self.failed(exchange.STOPPED, "the balancer stops")

    def expired(self, now: float) -> None:
        """
        The wheel asks whether time is up. `until` says when; `deadline` is only when the wheel
        looks again, never later than the shortest time-out from now. So `until` moves in both
        directions by plain writes.
        """
        if now >= self.until and not (self.phase == FULL and self._reads(now)):
            happening = exchange.TIMED_OUT
            link = self.link
            if self.phase == ANSWERING and self.transport.queued:
                happening = exchange.STALLED
            elif self.phase == ASKED and self.body is not None and link is not None:
                happening = exchange.TIMED_OUT if link.transport.queued else exchange.STALLED
            self.failed(happening, "timed out")
        if self.deadline != inf:
            self.deadline = min(self.until, now + self.front.shortest)
            if self.deadline <= now:
                self.deadline = now + self.front.shortest
            self.front.wheel.add(self)
