"""
A connection to a server: sends one request at a time, and passes its answer on as it comes.

Knows the framing of answers, and hands every decision about the request to the client's side.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.http.body import Chunks, Lengths, Unchunked, UntilClose
from balancer.http.exchange import ANSWERING, ASKED, BAD_ANSWER, SERVER_LEFT, TUNNEL
from balancer.http.head import CHUNKED, UNTIL_CLOSE, BadAnswer, ResponseHead, ResponseReader

if TYPE_CHECKING:
    from balancer.http.client import ClientConnection
    from balancer.http.links import Links
    from balancer.http.message import RequestHead
    from balancer.wire.stream import Stream

MOST_REMEMBERED: Final = 2048
"""Bytes of an answer's head that is remembered, to be compared with the next one."""

TRIES: Final = 4
"""Heads in a row that were remembered in vain. After these every 16th is: many servers put the time
or a number of its own into each answer."""

MAX_INTERIM: Final = 32
"""Interim (1xx) answers to one request: servers send one or two."""


@implementer(IProtocol, IHalfCloseableProtocol, IPushProducer)
class ServerConnection:
    """One connection to `links.server`. `client` is whom it works for; None while it is idle."""

    __slots__ = (
        "_body",
        "_buffer",
        "_interims",
        "_misses",
        "_reader",
        "_reusable",
        "_seen",
        "_seen_as",
        "_seen_by",
        "_seen_for",
        "_streaming",
        "client",
        "deadline",
        "links",
        "transport",
        "until",
    )

    def __init__(self, links: Links, client: ClientConnection) -> None:
        self.links = links
        self.client: ClientConnection | None = client
        self.transport: Stream
        self.deadline = self.until = math.inf
        self._body: Lengths | Chunks | UntilClose | None = None
        self._buffer = b""
        self._interims = 0
        self._reader: ResponseReader | None = None
        self._reusable = True
        # The last answer's head as it came, as it was read, the method of its request, and what
        # made its reader (settings that are taken anew bring another).
        self._misses = 0
        self._seen: bytes | None = None
        self._seen_as: ResponseHead
        self._seen_for = b""
        self._seen_by: Any = None
        self._streaming = False

    # -- IProtocol

    def makeConnection(self, transport: Stream) -> None:  # type: ignore[override]  # our own kind
        """Connected: ask."""
        self.transport = transport
        if self.client is None:
            transport.abortConnection()
        else:
            self.client.connected(self)

    def connectionMade(self) -> None:
        """Part of IProtocol; nobody calls it."""

    def ask(self, client: ClientConnection, now: float) -> None:
        """Send what `client` holds; its answer will go to it."""
        self.client = client
        client.link = self
        client.phase = ASKED
        client.sent_at = now
        client.until = now + client.front.response_timeout
        self.transport.write(client.held)
        if client.body is not None:
            client.go_on()
            if client.body is not None:
                # Now, so that it is paused if all that is too much.
                self.transport.registerProducer(client, True)

    def dataReceived(self, data: bytes) -> None:
        """A piece of an answer, or of a tunnel."""
        client = self.client
        if client is None:
            # Nobody asked: whatever it is, the next answer would be taken for another's.
            self.close()
        elif client.phase == ASKED:
            seen = self._seen
            request = client.head
            if (
                seen is not None
                and data.startswith(seen)
                and not self._buffer
                and request is not None
                and request.method == self._seen_for
                and client.front.new_answer_reader is self._seen_by
            ):
                self._misses = 0
                self._answer(client, self._seen_as, data)
            else:
                self._head(client, data)
        elif client.phase == ANSWERING:
            self._piece(client, data)
        elif client.tunnel is not None:
            client.tunnel.from_server(data)

    def readConnectionLost(self) -> None:
        """The server has sent its end."""
        client = self.client
        if client is not None and client.phase == TUNNEL and client.tunnel is not None:
            client.tunnel.server_ended()
            return
        self._ended(clean=True, reason="closed the connection")

    def writeConnectionLost(self) -> None:
        """Our end of a tunnel has been sent."""

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone."""
        if self.deadline != math.inf:
            self.deadline = math.inf
            self.links.front.wheel.discard(self)
        clean = reason.check(ConnectionDone) is not None
        self._ended(clean, "closed the connection" if clean else "reset the connection")

    def _ended(self, clean: bool, reason: str) -> None:
        client = self.client
        if client is None:
            self.links.forget(self)
            self.transport.loseConnection()
        elif client.phase == TUNNEL and client.tunnel is not None and client.tunnel.over:
            client.tunnel_over(client.front.clock())
        elif client.phase == ANSWERING and isinstance(self._body, UntilClose) and clean:
            self._reusable = False
            self._complete(client, client.front.clock())
        elif client.phase == ASKED and (self._buffer or self._interims):
            client.failed(BAD_ANSWER, f"{reason} in the middle of an answer's head")
        else:
            client.failed(SERVER_LEFT, reason)

    # -- answers

    def _head(self, client: ClientConnection, data: bytes) -> None:
        """What the server said before the answer's body."""
        request = client.head
        if request is None:
            return
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        try:
            while True:
                reader = self._reader
                head = (reader or client.front.answer_reader).read(data, request.method)
                if head is None:
                    if reader is None:
                        self._reader = client.front.lend_answer_reader()
                    self._buffer = data
                    return
                if reader is not None:
                    self._reader = None
                if head.status >= 200:
                    self._misses += 1
                    if self._misses <= TRIES or not self._misses & 15:
                        self._remember(client, request, head, data)
                    self._answer(client, head, data)
                    return
                data = data[head.end :]
                if self._interim(client, head, data) or not data:
                    return
        except BadAnswer as bad:
            client.failed(BAD_ANSWER, bad.reason)

    def _remember(
        self, client: ClientConnection, request: RequestHead, head: ResponseHead, data: bytes
    ) -> None:
        """Have the next answer's head compared with this one."""
        self._seen = data[: head.end] if head.end <= MOST_REMEMBERED else None
        self._seen_as, self._seen_for = head, request.method
        self._seen_by = client.front.new_answer_reader

    def _interim(self, client: ClientConnection, head: ResponseHead, rest: bytes) -> bool:
        """Pass a 1xx on. True: it was 101, and what follows is no answer."""
        self._interims += 1
        if self._interims > MAX_INTERIM:
            raise BadAnswer("too many interim answers")
        request = client.head
        if request is None:
            return True
        if head.status == 101:
            if not request.upgrade or client.body is not None:
                raise BadAnswer("switched protocols without being asked")
            client.switch(self, head.out + b"\r\n", rest)
            return True
        if request.minor:  # RFC 9110 section 15.2: never to an HTTP/1.0 client
            client.transport.write(head.out + b"\r\n")
        client.until = client.front.clock() + client.front.response_timeout
        return False

    def _answer(self, client: ClientConnection, head: ResponseHead, data: bytes) -> None:
        """Pass the answer's head on, and as much of its body as came with it, in one write."""
        front = client.front
        end, length = head.end, head.length
        size = len(data) - end
        if size == length:
            out, rest, done = head.out, data[end:], True
            self._reusable = head.keep_alive
        else:
            out, rest, done = self._part(client, head, data, size)
        if not client.keep or client.body is not None or front.draining:
            client.keep = False
            tail = front.tail_close
        else:
            tail = front.tail if client.minor else front.tail_old
        sent_head = len(out) + len(tail)
        client.status = head.status
        client.sent_head = sent_head
        client.sent = sent_head + len(rest)
        client.answered_at = now = front.clock()
        client.transport.write(out + tail + rest)
        if done:
            self._complete(client, now)
        else:
            self._stream(client, now)

    def _part(
        self, client: ClientConnection, head: ResponseHead, data: bytes, size: int
    ) -> tuple[bytes, bytes, bool]:
        """The head to send, what came of the body with it (`size` bytes of `data`, or less, if
        there is too much), and whether that is all."""
        end, length = head.end, head.length
        if length >= 0:
            done = size >= length
            self._reusable = head.keep_alive and not done
            self._body = None if done else Lengths(length - size)
            return head.out, data[end : end + length], done
        body = self._body = self._body_of(length, client)
        consumed, done = body.feed(data[end:])
        self._reusable = head.keep_alive and (not done or consumed == size)
        if length == UNTIL_CLOSE or not client.minor:
            client.keep = False
        if isinstance(body, Unchunked):
            return head.unchunked, body.take(), done
        return head.out, data[end : end + consumed], done

    def _body_of(self, length: int, client: ClientConnection) -> Chunks | UntilClose:
        if length != CHUNKED:
            return UntilClose()
        barred = client.front.answer_reader.barred
        return Chunks(BadAnswer, barred) if client.minor else Unchunked(BadAnswer, barred)

    def _stream(self, client: ClientConnection, now: float) -> None:
        client.phase = ANSWERING
        client.held = b""
        client.until = now + client.front.response_timeout
        self._streaming = True
        client.transport.registerProducer(self, True)

    def _piece(self, client: ClientConnection, data: bytes) -> None:
        body = self._body
        if body is None:
            return
        try:
            consumed, done = body.feed(data)
        except BadAnswer as bad:
            client.failed(BAD_ANSWER, bad.reason)
            return
        if consumed != len(data):
            data = data[:consumed]
            self._reusable = False
        if isinstance(body, Unchunked):
            data = body.take()
        if data:
            client.sent += len(data)
            client.transport.write(data)
        now = client.front.clock()
        client.until = now + client.front.response_timeout
        if done:
            self._complete(client, now)

    def _complete(self, client: ClientConnection, now: float) -> None:
        """The answer is complete: this connection is free, or of no more use."""
        self.client = client.link = None
        if self._streaming:
            self._release(client)
        if client.body is not None:
            # The server would take the rest of that body for a request.
            self.transport.abortConnection()
        elif self._reusable:
            self._interims = 0
            self.links.keep(self, now)
        else:
            self.transport.loseConnection()
        client.finish(now)

    def _release(self, client: ClientConnection) -> None:
        self._body = None
        self._streaming = False
        client.transport.unregisterProducer()
        # It may have been held up by the client; it must read on, to see the server's end.
        self.transport.resumeProducing()

    def abandon(self) -> None:
        """The client is not interested any more."""
        client, self.client = self.client, None
        if client is not None and self._streaming:
            self._release(client)
        self.transport.abortConnection()

    # -- at rest

    def watch(self) -> None:
        """Let the wheel watch over `until`."""
        self.deadline = self.until
        self.links.front.wheel.add(self)

    def expired(self, now: float) -> None:
        """The wheel asks: is this connection still at rest, and for too long?"""
        if self.client is not None or now < self.until:
            # In use, or used since: `until` is never less than a whole rest away from then.
            self.deadline = self.until if now < self.until else now + REST_AGAIN
            self.links.front.wheel.add(self)
            return
        self.deadline = math.inf
        self.close()

    def close(self) -> None:
        """End an idle connection."""
        self.links.forget(self)
        self.transport.loseConnection()

    # -- IPushProducer, for the client's transport

    def pauseProducing(self) -> None:
        """The client is slower than the server."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has caught up."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The client's transport has ended; its protocol will say so too."""


REST_AGAIN: Final = 10.0
"""Seconds after which the wheel looks again at a connection that was in use."""
