"""
The sending direction of a stream: direct sends, the queue, and who produces into it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from errno import EAGAIN, ENOBUFS
from typing import Any

from twisted.internet.interfaces import IProtocol
from twisted.internet.main import CONNECTION_LOST

from balancer.wire.address import SocketAddress
from balancer.wire.descriptor import Descriptor
from balancer.wire.interfaces import IWireReactor
from balancer.wire.outgoing import Outgoing

#: A producer is paused when this many bytes wait for the kernel (Twisted's bufferSize) ...
HIGH_WATER = 64 * 1024

#: ... and resumed when no more than this many do (Twisted: none, and the kernel may run dry).
LOW_WATER = 16 * 1024


class Sender(Descriptor):
    """
    An IConsumer over the socket. `_closing` and `_after_flush` are the stream's.
    """

    __slots__ = (
        "_direct",
        "_out",
        "_producer_paused",
        "_streaming",
        "_write_closed",
        "producer",
    )

    def __init__(
        self,
        reactor: IWireReactor,
        sock: socket.socket,
        protocol: IProtocol,
        host: SocketAddress,
        peer: SocketAddress,
    ) -> None:
        super().__init__(reactor, sock, protocol, host, peer)
        self.producer: Any = None
        self._streaming = False
        self._producer_paused = False
        # What the kernel has not taken. Most streams never need one.
        self._out: Outgoing | None = None
        # Whether a write may go to the kernel at once: open, nothing queued, no pull producer.
        self._direct = True
        self._write_closed = False

    def _closing(self) -> bool:
        """Whether something is to happen once the queue is empty."""
        raise NotImplementedError

    def _after_flush(self) -> Any:
        """The queue is empty and something was to happen; a reason ends the connection."""
        raise NotImplementedError

    @property
    def queued(self) -> int:
        """Bytes written and not yet given to the kernel."""
        out = self._out
        return 0 if out is None else out.size

    def write(self, data: bytes) -> None:
        """Send `data`, or queue what the kernel does not take now."""
        if not self._direct:
            self._write_later(data)
            return
        try:
            sent = self.socket.send(data)
        except OSError:
            # Whatever it is (EAGAIN, EPIPE, ECONNRESET), doWrite will meet it again.
            sent = 0
        if sent != len(data):
            self._enqueue(memoryview(data)[sent:] if sent else data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send the parts as one."""
        self.write(b"".join(data))

    def _write_later(self, data: bytes) -> None:
        if not self.connected or self._write_closed or not data:
            return
        if self.producer is not None or not self._closing():
            self._enqueue(data)

    def _enqueue(self, data: bytes | memoryview) -> None:
        out = self._out
        if out is None:
            out = self._out = Outgoing()
        out.add(data)
        self._direct = False
        self._start_writing()
        if out.size >= HIGH_WATER:
            self._pause_producer()

    def doWrite(self) -> Any:
        """The kernel takes bytes again."""
        if not self.connected:
            return None
        out = self._out
        if out is not None:
            sent = self._send_more(out.head())
            if sent < 0:
                return CONNECTION_LOST
            out.sent(sent)
            if out.size:
                if self._producer_paused and out.size <= LOW_WATER:
                    self._resume_producer()
                return None
            self._out = None
        return self._flushed()

    def _send_more(self, data: bytes | memoryview) -> int:
        """How much of `data` the kernel takes now; -1 when the connection is lost."""
        try:
            return self.socket.send(data)
        except OSError as error:
            return 0 if error.errno in (EAGAIN, ENOBUFS) else -1

    def _flushed(self) -> Any:
        """Nothing is queued: let the producer go on, or do what waited for this."""
        self._stop_writing()
        closing = self._closing()
        producer = self.producer
        self._direct = not closing and (producer is None or self._streaming)
        if producer is not None:
            if not self._streaming:
                # It holds off closing until it is unregistered.
                producer.resumeProducing()
                return None
            if self._producer_paused:
                self._resume_producer()
        if closing and self._out is None and self.connected:
            return self._after_flush()
        return None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Take data from `producer`: an IPushProducer when `streaming`, else an IPullProducer.

        Raises RuntimeError when another is registered.
        """
        if self.producer is not None:
            msg = f"cannot register {producer}: {self.producer} is registered"
            raise RuntimeError(msg)
        if not self.connected:
            producer.stopProducing()
            return
        self.producer = producer
        self._streaming = streaming
        self._producer_paused = False
        if not streaming:
            # A pull producer is asked again after each flush, so its writes pass the queue.
            self._direct = False
            producer.resumeProducing()
        elif self.queued >= HIGH_WATER:
            self._pause_producer()

    def unregisterProducer(self) -> None:
        """Expect no more from the producer; a close that waited for it goes on."""
        self.producer = None
        self._producer_paused = False
        if self.connected and not self._direct:
            # The next doWrite closes, or makes writes direct again.
            self._start_writing()

    def _pause_producer(self) -> None:
        if self.producer is not None and self._streaming and not self._producer_paused:
            self._producer_paused = True
            self.producer.pauseProducing()

    def _resume_producer(self) -> None:
        self._producer_paused = False
        self.producer.resumeProducing()
