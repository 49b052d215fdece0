"""
A connected stream socket under a Twisted Protocol: the transport that carries every byte.

Knows sockets, `IReactorFDSet` and the contract of Twisted's transports (stock Protocols run on it);
nothing of what the bytes mean.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    ISystemHandle,
    ITCPTransport,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.wire.address import SocketAddress
from balancer.wire.descriptor import Descriptor
from balancer.wire.interfaces import IWireReactor
from balancer.wire.reasons import ABORTED, DONE, failure
from balancer.wire.sending import HIGH_WATER, LOW_WATER, Sender

__all__ = ["HIGH_WATER", "LINGER_BYTES", "LINGER_SECONDS", "LOW_WATER", "RECV_SIZE", "Stream"]

#: Bytes read at once; a relay of bulk data may ask for more by `recv_size`.
RECV_SIZE = 64 * 1024

#: How long a lingering close waits for the peer to read and close, after all has been sent
#: (nginx: lingering_timeout, 5 s) ...
LINGER_SECONDS = 2.0

#: ... and how many bytes of an unwanted request it reads and drops meanwhile (nginx: no bound).
LINGER_BYTES = 4 * 1024 * 1024

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
# What a closed stream refers to instead of its protocol, so that both can be freed at once.
nobody = Protocol()

_log = Logger("balancer.wire")


@implementer(
    ITCPTransport,
    IPushProducer,
    IConsumer,
    IHalfCloseableDescriptor,
    ISystemHandle,
)
class Stream(Sender):
    """
    A transport over a connected, non-blocking stream socket (TCP or unix).

    It keeps Twisted's contract, and differs where that costs or surprises:

    - `write` gives the bytes to the kernel at once when nothing is queued. It never fails: a reset
      is found by a later `doWrite` or `doRead`, and told by `connectionLost`.
    - A streaming producer is paused at `HIGH_WATER` queued bytes and resumed at `LOW_WATER`. It
      does not hold off closing; a pull producer does, until it is unregistered.
    - What is written after `loseConnection` or `loseWriteConnection` is dropped unless a producer
      is registered.
    - When both directions are closed the connection ends by itself.
    - While paused with nothing to write the socket is in no poll set, so a reset goes unseen: who
      pauses keeps a deadline.
    """

    __slots__ = (
        "_aborted",
        "_at_end",
        "_half_closing",
        "_linger_call",
        "_linger_left",
        "_lingering",
        "_read_closed",
        "disconnected",
        "disconnecting",
        "recv_size",
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
        self.recv_size = RECV_SIZE
        self.disconnecting = False
        self.disconnected = False
        self._read_closed = False
        self._half_closing = False
        self._aborted = False
        self._at_end = False
        self._lingering = False
        self._linger_left = LINGER_BYTES
        self._linger_call: IDelayedCall | None = None

    def start(self, prompt: bool = False) -> None:
        """Join protocol and socket, and read. If the protocol raises, that ends the connection.
        `prompt`: TCP_NODELAY is set already."""
        if not prompt:
            self.setTcpNoDelay(True)
        self._start_reading()
        try:
            self.protocol.makeConnection(self)
        except Exception:  # noqa: BLE001  # the reactor's edge: nobody above owns the socket
            _log.failure("{protocol} raised when it was connected", protocol=self.protocol)
            self.connectionLost(failure())

    # Reading

    def doRead(self) -> Any:
        """Read once, and pass it to the protocol."""
        if not self._reading:
            # Paused or closed by another within this batch of events.
            return None
        try:
            data = self.socket.recv(self.recv_size)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            self._peer_ended()
            return None
        if self._lingering:
            return self._drop(len(data))
        self.protocol.dataReceived(data)
        return None

    def _peer_ended(self) -> None:
        """What reactors do when `doRead` says CONNECTION_DONE, without the search for what that
        means: each connection ends here."""
        Descriptor._stop_reading(self)
        self._at_end = True
        self.readConnectionLost(DONE)
        self._at_end = False
        if self.disconnecting and not self._writing:
            self._end()

    def pauseProducing(self) -> None:
        """Read no more for now."""
        if not self._lingering:
            self._stop_reading()

    def resumeProducing(self) -> None:
        """Read on, unless closing or the peer has sent its end."""
        if self.connected and not self.disconnecting and not self._read_closed:
            self._start_reading()

    def stopProducing(self) -> None:
        """A consumer of ours has gone: close."""
        self.loseConnection()

    def stopConsuming(self) -> None:
        """The producer has lost its source: close."""
        self.unregisterProducer()
        self.loseConnection()

    def readConnectionLost(self, reason: Failure) -> None:
        """The peer has sent its end. Protocols that do not half-close lose the connection."""
        self._reading = False
        self._read_closed = True
        if self._lingering and not self._write_closed:
            return
        half = self._half_closeable()
        if half is None:
            self.connectionLost(reason)
            return
        try:
            half.readConnectionLost()
        except Exception:  # noqa: BLE001  # the reactor's edge: it calls this outside of its try
            _log.failure("{protocol} raised at the peer's end", protocol=self.protocol)
            self.connectionLost(failure())
        else:
            if self._write_closed:
                self.connectionLost(reason)

    # Closing

    def loseConnection(self) -> None:
        """Send what is queued, and close. `connectionLost` follows in a later turn."""
        if not self.connected or self.disconnecting:
            return
        self.disconnecting = True
        self._direct = False
        self._stop_reading()
        self._flush_soon()

    def loseWriteConnection(self) -> None:
        """Send what is queued, then our end; read on."""
        if self.connected and not self._closing():
            self._half_closing = True
            self._direct = False
            self._flush_soon()

    def close_lingering(self) -> None:
        """
        Send what is queued, then our end, and read and drop what the peer still sends until its
        end, within `LINGER_SECONDS` and `LINGER_BYTES`; then close.

        A plain close with unread bytes of the request answers them with a reset, which destroys
        the answer on its way (RFC 9112 9.6). How long the queue takes is the owner's to bound.
        """
        if not self.connected or self.disconnecting or self._lingering:
            return
        if self._read_closed:
            self.loseConnection()
            return
        self._lingering = True
        self._direct = False
        self._start_reading()
        self._flush_soon()

    def abortConnection(self) -> None:
        """Drop what is queued and reset; `connectionLost` follows in a later turn."""
        if self.disconnected or self._aborted:
            return
        self._aborted = True
        self.connected = False
        self._direct = False
        self._out = None
        self._stop_reading()
        self._stop_writing()
        self.reactor.callLater(0, self.connectionLost, ABORTED)

    def connectionLost(self, reason: Failure) -> None:
        """Close the socket and tell producer and protocol why; again is harmless."""
        if self.disconnected:
            return
        self.disconnected = True
        self.connected = False
        self._direct = False
        self._out = None
        # Before the close: afterwards the reactor would have to search for us.
        self._stop_reading()
        self._stop_writing()
        if self._linger_call is not None and self._linger_call.active():
            self._linger_call.cancel()
        try:
            if self._aborted:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.socket.close()
        except OSError:  # each connection ends here, and `suppress` is three calls
            # Closed all the same (close(2)): what it reports is a reset that nobody waits for.
            pass
        protocol, self.protocol = self.protocol, nobody
        producer, self.producer = self.producer, None
        try:
            if producer is not None:
                producer.stopProducing()
        finally:
            protocol.connectionLost(reason)

    def writeConnectionLost(self, reason: Failure) -> None:
        """Never called by Twisted's reactors."""
        self.connectionLost(reason)

    def _closing(self) -> bool:
        return self.disconnecting or self._half_closing or self._lingering

    def _flush_soon(self) -> None:
        """Something is to happen once the queue is empty. If it is, not by an event of its own: to
        be told of that costs as much as the end itself."""
        if self._out is None and self.producer is None and not self._writing:
            if self._at_end and self.disconnecting:
                # Nothing of the protocol's is on the stack by the time `_peer_ended` goes on.
                return
            at_turn_end = getattr(self.reactor, "at_turn_end", None)
            if at_turn_end is not None:
                at_turn_end(self._end)
                return
        self._start_writing()

    def _end(self) -> None:
        if not self.connected:
            return
        if self._out is not None or self.producer is not None:
            self._start_writing()
            return
        why = self._after_flush()
        if why:
            self.connectionLost(DONE if why is CONNECTION_DONE else failure(why))

    def _after_flush(self) -> Any:
        if self.disconnecting:
            return CONNECTION_DONE
        if not self._write_closed:
            self._write_closed = True
            # If the peer has reset the connection, reading tells.
            with suppress(OSError):
                self._shut_write()
            half = self._half_closeable()
            if half is not None:
                half.writeConnectionLost()
        if self._read_closed:
            return CONNECTION_DONE
        if self._lingering and self._linger_call is None:
            later = self.reactor.callLater
            self._linger_call = later(LINGER_SECONDS, self.connectionLost, DONE)
        return None

    def _shut_write(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def _half_closeable(self) -> Any:
        """The protocol if it half-closes and still listens."""
        return None if self._lingering else IHalfCloseableProtocol(self.protocol, None)

    def _drop(self, count: int) -> Any:
        self._linger_left -= count
        return CONNECTION_DONE if self._linger_left <= 0 else None
