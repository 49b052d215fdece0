"""
A connected stream socket under a Twisted Protocol: the transport that carries every byte.

Knows sockets, `IReactorFDSet` and the contract of Twisted's transports (stock Protocols run on it);
nothing of what the bytes mean.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from errno import EAGAIN, ENOBUFS
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    IReadDescriptor,
    ITCPTransport,
    IWriteDescriptor,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.wire.address import SocketAddress
from balancer.wire.interfaces import IWireReactor
from balancer.wire.outgoing import Outgoing
from balancer.wire.reasons import ABORTED, DONE, failure

#: Bytes read at once; a relay of bulk data may ask for more by `recv_size`.
RECV_SIZE = 64 * 1024

#: A producer is paused when this many bytes wait for the kernel (Twisted's bufferSize) ...
HIGH_WATER = 64 * 1024

#: ... and resumed when no more than this many do (HAProxy refills below half a buffer, too).
LOW_WATER = 16 * 1024

#: How long a lingering close waits for the peer to read and close, after all has been sent ...
LINGER_SECONDS = 2.0

#: ... and how many bytes of an unwanted request it reads and drops meanwhile.
LINGER_BYTES = 4 * 1024 * 1024

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
# What a closed stream refers to instead of its protocol, so that both can be freed at once.
_NOBODY = Protocol()

_log = Logger("balancer.wire")


@implementer(
    ITCPTransport,
    IPushProducer,
    IConsumer,
    IReadDescriptor,
    IWriteDescriptor,
    IHalfCloseableDescriptor,
)
class Stream:
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

    `queued` is the number of bytes not yet given to the kernel. `peer_host` (`unix` for a unix
    socket) and `peer_port` are cheap.
    """

    __slots__ = (
        "_aborted",
        "_direct",
        "_half_closing",
        "_host",
        "_linger_call",
        "_linger_left",
        "_lingering",
        "_out",
        "_peer",
        "_producer_paused",
        "_read_closed",
        "_reading",
        "_streaming",
        "_write_closed",
        "_writing",
        "connected",
        "disconnected",
        "disconnecting",
        "peer_host",
        "peer_port",
        "producer",
        "protocol",
        "reactor",
        "recv_size",
        "socket",
    )

    def __init__(
        self,
        reactor: IWireReactor,
        sock: socket.socket,
        protocol: IProtocol,
        host: SocketAddress,
        peer: SocketAddress,
    ) -> None:
        self.reactor = reactor
        self.socket = sock
        self.protocol = protocol
        self._host = host
        self._peer = peer
        if isinstance(peer, tuple):
            self.peer_host: str = peer[0]
            self.peer_port: int = peer[1]
        else:
            self.peer_host = "unix"
            self.peer_port = 0
        self.recv_size = RECV_SIZE
        self.connected = True
        self.disconnecting = False
        self.disconnected = False
        self.producer: Any = None
        self._streaming = False
        self._producer_paused = False
        self._out: Outgoing | None = None
        # Whether a write may go to the kernel at once: open, nothing queued, no pull producer.
        self._direct = True
        self._reading = False
        self._writing = False
        self._read_closed = False
        self._write_closed = False
        self._half_closing = False
        self._aborted = False
        self._lingering = False
        self._linger_left = LINGER_BYTES
        self._linger_call: IDelayedCall | None = None

    def start(self) -> None:
        """Join protocol and socket, and read. If the protocol raises, that ends the connection."""
        self.setTcpNoDelay(True)
        self._start_reading()
        try:
            self.protocol.makeConnection(self)
        except Exception:  # noqa: BLE001  # the reactor's edge: nobody above owns the socket
            _log.failure("{protocol} raised when it was connected", protocol=self.protocol)
            self.connectionLost(failure())

    def fileno(self) -> int:
        """The file descriptor, -1 once closed."""
        return self.socket.fileno()

    def getHandle(self) -> socket.socket:
        """The socket, as ISystemHandle has it."""
        return self.socket

    def logPrefix(self) -> str:
        """Whose lines these are, for Twisted's log."""
        return type(self.protocol).__name__

    # Reading

    def doRead(self) -> Any:
        """Read once, and pass it to the protocol."""
        try:
            data = self.socket.recv(self.recv_size)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        if self._lingering:
            return self._drop(len(data))
        self.protocol.dataReceived(data)
        return None

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

    def readConnectionLost(self, reason: Failure) -> None:
        """The peer has sent its end. Protocols that do not half-close lose the connection."""
        self._reading = False
        self._read_closed = True
        if self._lingering and not self._write_closed:
            return
        half = None if self._lingering else IHalfCloseableProtocol(self.protocol, None)
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

    # Writing

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
        if self.producer is None and (self.disconnecting or self._half_closing or self._lingering):
            return
        self._enqueue(data)

    def _enqueue(self, data: bytes | memoryview) -> None:
        out = self._out
        if out is None:
            out = self._out = Outgoing()
        # A bytearray may change under us.
        out.add(data if isinstance(data, (bytes, memoryview)) else bytes(data))
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
            try:
                sent = self.socket.send(out.head())
            except OSError as error:
                return None if error.errno in (EAGAIN, ENOBUFS) else CONNECTION_LOST
            out.sent(sent)
            if out.size:
                if self._producer_paused and out.size <= LOW_WATER:
                    self._resume_producer()
                return None
            self._out = None
        return self._flushed()

    def _flushed(self) -> Exception | None:
        """Nothing is queued: let the producer go on, or do what waited for this."""
        self._stop_writing()
        closing = self.disconnecting or self._half_closing or self._lingering
        self._direct = not closing and not self._write_closed and self._push_or_none()
        producer = self.producer
        if producer is not None:
            if not self._streaming:
                producer.resumeProducing()
                return None
            if self._producer_paused:
                self._resume_producer()
        if self._out is not None or not self.connected or not closing:
            return None
        if self.disconnecting:
            return CONNECTION_DONE
        return self._close_write_side()

    def _push_or_none(self) -> bool:
        return self.producer is None or self._streaming

    # Producers

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
        if self.producer is None:
            return
        self.producer = None
        self._producer_paused = False
        if self.connected and not self._direct:
            # Sets _direct again, or closes.
            self._start_writing()

    def stopConsuming(self) -> None:
        """The producer has lost its source: close."""
        self.unregisterProducer()
        self.loseConnection()

    def _pause_producer(self) -> None:
        if self.producer is not None and self._streaming and not self._producer_paused:
            self._producer_paused = True
            self.producer.pauseProducing()

    def _resume_producer(self) -> None:
        self._producer_paused = False
        self.producer.resumeProducing()

    # Closing

    def loseConnection(self) -> None:
        """Send what is queued, and close. `connectionLost` follows in a later turn."""
        if not self.connected or self.disconnecting:
            return
        self.disconnecting = True
        self._direct = False
        self._stop_reading()
        self._start_writing()

    def loseWriteConnection(self) -> None:
        """Send what is queued, then our end; read on."""
        if self.connected and not (self.disconnecting or self._half_closing or self._lingering):
            self._half_closing = True
            self._direct = False
            self._start_writing()

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
        self._start_writing()

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

    def _close_write_side(self) -> Exception | None:
        if not self._write_closed:
            self._write_closed = True
            # If the peer has reset the connection, reading tells.
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
            half = None if self._lingering else IHalfCloseableProtocol(self.protocol, None)
            if half is not None:
                half.writeConnectionLost()
        if self._read_closed:
            return CONNECTION_DONE
        if self._lingering and self._linger_call is None:
            self._linger_call = self.reactor.callLater(
                LINGER_SECONDS, self.connectionLost, DONE
            )
        return None

    def _drop(self, count: int) -> Exception | None:
        self._linger_left -= count
        return CONNECTION_DONE if self._linger_left <= 0 else None

    def writeConnectionLost(self, reason: Failure) -> None:
        """Never called by Twisted's reactors."""
        self.connectionLost(reason)

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
        call = self._linger_call
        if call is not None and call.active():
            call.cancel()
        self._linger_call = None
        self._close_socket()
        protocol, self.protocol = self.protocol, _NOBODY
        producer, self.producer = self.producer, None
        try:
            if producer is not None:
                producer.stopProducing()
        finally:
            protocol.connectionLost(reason)

    def _close_socket(self) -> None:
        # Closed all the same (close(2)): what it reports is a reset that nobody waits for.
        with suppress(OSError):
            if self._aborted:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.socket.close()

    # What the reactor is told

    def _start_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self.reactor.addReader(self)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self.reactor.removeReader(self)

    def _start_writing(self) -> None:
        if not self._writing:
            self._writing = True
            self.reactor.addWriter(self)

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self.reactor.removeWriter(self)

    # Addresses and options

    def getHost(self) -> Any:
        """Our address of the connection (an IPv4Address, IPv6Address or UNIXAddress)."""
        if self._host and self._host[0] in ("0.0.0.0", "::") and not self.disconnected:
            self._host = self.socket.getsockname()
        return twisted_address(self._host)

    def getPeer(self) -> Any:
        """The peer's address (an IPv4Address, IPv6Address or UNIXAddress)."""
        return twisted_address(self._peer)

    def getTcpNoDelay(self) -> bool:
        """Whether TCP_NODELAY is set; False on a unix socket."""
        return self._tcp and bool(self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Set TCP_NODELAY, which every TCP stream begins with; nothing on a unix socket."""
        if self._tcp:
            # If it is reset already (macOS says EINVAL then), reading tells.
            with suppress(OSError):
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """Whether SO_KEEPALIVE is set."""
        return bool(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Set SO_KEEPALIVE."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    @property
    def _tcp(self) -> bool:
        return isinstance(self._peer, tuple)


def twisted_address(address: SocketAddress) -> IPv4Address | IPv6Address | UNIXAddress:
    """What Twisted calls the address of a stream."""
    if not isinstance(address, tuple):
        return UNIXAddress(address or None)
    if len(address) == 2:
        return IPv4Address("TCP", address[0], address[1])
    return IPv6Address("TCP", *address)
