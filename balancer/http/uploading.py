"""
The part of a client's connection that comes after a request's head: its body, or what is too early.

Knows how bodies are framed and held up; what a request is, `client` knows, who gets it, `proxying`.
"""

from __future__ import annotations

from typing import Final

from balancer.http.body import Chunks, Lengths
from balancer.http.exchange import ANSWERING, ASKED, CLOSING, FULL, TUNNEL
from balancer.http.front import Front
from balancer.http.head import CHUNKED, Refused, bad_request
from balancer.http.proxying import Proxying

HOLD: Final = 64 * 1024
"""Bytes of later requests, or of a body without a server yet, that are held before reading pauses;
at most one read (64 KiB) more comes on top. nginx holds its client_header_buffer, 1 to 32 KiB."""

TOO_LARGE: Final = "body larger than max-body"


class Uploading(Proxying):
    """
    What a client sends behind a head. An IPushProducer, for the server's transport; and for the
    client's own, while that has more to send than it may: answers come from what a client asks.
    """

    __slots__ = ("_body_seen", "_ended", "_paused", "_unread")

    def __init__(self, front: Front) -> None:
        super().__init__(front)
        self._ended = False  # the client has sent its end
        self._paused = False  # we hold up the client's sending
        self._body_seen = 0
        self._unread = 0  # bytes that the client had still to read when we looked last

    def _refused(self, refusal: Refused) -> None:
        """The client broke the rules."""
        raise NotImplementedError

    def _first_piece(self, data: bytes, end: int, length: int) -> bytes:
        """What came of the body with its head; `body` follows the rest. May raise Refused."""
        front = self.front
        if length > front.max_body:
            self.body = Lengths(length)
            raise Refused(413, TOO_LARGE)
        size = len(data) - end
        if 0 < length <= size:
            stop = end + length
            if length < size:
                self.buffer = data[stop:]
            return data[end:stop]
        chunked = length == CHUNKED
        body = self.body = (
            Chunks(bad_request, front.reader.barred) if chunked else Lengths(length)
        )
        self._body_seen = 0
        if not size:
            return b""
        consumed, done = body.feed(data[end:])
        self._measure(consumed)
        if done:
            self.body = None
            self.buffer = data[end + consumed :]
        return data[end : end + consumed]

    def _measure(self, size: int) -> None:
        """`max-body` for bodies that do not say their length. Chunk framing counts as well."""
        self._body_seen += size
        if self._body_seen > self.front.max_body:
            raise Refused(413, TOO_LARGE)

    def _more(self, data: bytes) -> None:
        if self.phase == TUNNEL:
            if self.tunnel is not None:
                self.tunnel.from_client(data)
        elif self.body is not None and (self.phase == ASKED or self.phase == ANSWERING):
            self._forward(data)
        elif self.phase != CLOSING:
            self.buffer += data
            if len(self.buffer) >= HOLD and not self._paused:
                self._paused = True
                self.transport.pauseProducing()

    def _forward(self, data: bytes) -> None:
        """A piece of the body, for the server that has the rest of it."""
        front, body, link = self.front, self.body, self.link
        if body is None or link is None:
            return
        try:
            consumed, done = body.feed(data)
            self._measure(consumed)
        except Refused as refusal:
            self._refused(refusal)
            return
        self.held = b""  # too much to hold: this request cannot be sent again
        front.figures.bytes_in += consumed
        link.transport.write(data if consumed == len(data) else data[:consumed])
        wait = front.idle_timeout
        if done:
            self.body = None
            self.buffer = data[consumed:]
            link.transport.unregisterProducer()
            # That server may have held the client up.
            self.transport.resumeProducing()
            wait = front.response_timeout
        self.until = front.clock() + wait

    def go_on(self) -> None:
        """The server is there: what was held for it goes out."""
        data, self.buffer = self.buffer, b""
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        if data:
            self._more(data)
        elif self.body is not None:
            self.until = self.front.clock() + self.front.idle_timeout
        if self._ended and self.tunnel is not None:
            self.tunnel.client_ended()

    # -- clients that do not read

    def _await_reader(self, now: float) -> None:
        """Begin nothing, and read nothing, until the client has read what it asked for."""
        self.phase = FULL
        self._unread = self.transport.queued
        self.until = now + self.front.idle_timeout
        self.transport.registerProducer(self, True)  # pauses us at once

    def _reads(self, now: float) -> bool:
        """Time is up: whether the client has read something meanwhile, and gets more time."""
        queued = self.transport.queued
        if queued >= self._unread:
            return False
        self._unread = queued
        self.until = now + self.front.idle_timeout
        return True

    # -- IPushProducer

    def pauseProducing(self) -> None:
        """The server is slower than the client, or the client does not read."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The server has caught up, or the client has."""
        if self.phase == FULL:
            self.transport.unregisterProducer()
            self._paused = True
            self.next(self.front.clock())
        else:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The server's transport has ended; its protocol will say so too."""
