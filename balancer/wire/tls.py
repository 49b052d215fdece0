"""
A stream under TLS: OpenSSL reads and writes the socket itself, and says what it waits for.

Knows `ssl`'s sockets. How it begins is in `shaking`.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import INegotiated, IProtocol
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.wire.address import SocketAddress
from balancer.wire.descriptor import Descriptor
from balancer.wire.interfaces import IWireReactor
from balancer.wire.outgoing import JOIN_LIMIT
from balancer.wire.shaking import Shaking
from balancer.wire.tls_reasons import CLOSED

#: Plain bytes of one record at most (RFC 8446 5.1). OpenSSL reads one at a time, and with room for
#: all of it leaves nothing behind that the kernel would not tell of.
RECORD = 16 * 1024

#: Plain bytes given to OpenSSL at once: what does not fit the socket is encrypted all the same.
WRITE_SIZE = JOIN_LIMIT


@implementer(INegotiated)
class TlsStream(Shaking):
    """
    A `Stream` whose bytes travel under TLS 1.2 or 1.3, once the handshake is done.

    What differs from a plain stream:

    - The peer's close_notify is its end (`ConnectionDone`, or `readConnectionLost` of a protocol
      that half-closes). An end without one is a loss: the data may have been cut off by another.
    - `loseConnection` sends what is queued and then close_notify. It does not wait for the peer's
      (RFC 8446 6.1 lets us).
    - `loseWriteConnection` sends what is queued and close_notify, and reads on. OpenSSL loses what
      arrives just then, so it waits for a moment when nothing does; if something still does, the
      connection is lost rather than a part of it. Under TLS 1.2 the peer must close at once
      (RFC 5246 7.2.1), and under 1.3 many do: where more than a last answer is to be read, do not
      half-close.
    - An aborted connection, or one that ends with bytes in the queue, sends no close_notify.
    """

    __slots__ = ("_goodbye", "_read_waits", "_waits_for_gap", "_wanted", "_write_waits")

    def __init__(
        self,
        reactor: IWireReactor,
        sock: ssl.SSLSocket,
        protocol: IProtocol,
        addresses: tuple[SocketAddress, SocketAddress],
        shaken: Callable[[TlsStream, str], None],
    ) -> None:
        super().__init__(reactor, sock, protocol, addresses, shaken)
        # A write that waits until something can be read, and the other way round: a message of the
        # handshake kind (a ticket, KeyUpdate) is under way.
        self._write_waits = False
        self._read_waits = False
        # Whether the application reads; `_reading` says whether the reactor looks.
        self._wanted = False
        # Whether close_notify has gone out, and whether it waits until nothing is to be read.
        self._goodbye = False
        self._waits_for_gap = False

    # Reading

    def doRead(self) -> Any:
        """Read what is there, up to `recv_size`, and pass it to the protocol."""
        if not self._reading:
            return None
        if not self._established:
            self.shake()
            return None
        if self._lingering:
            return self._drop_raw()
        if self._write_waits:
            self._let_write()
            if not self._wanted:
                return None
        why = None
        try:
            data = self._tls.read(RECORD)
        except OSError as error:
            data, why = b"", self._why(error)
        else:
            if not data:
                self._peer_ended()
                return None
            # Of less than a record no more is there: to ask the kernel again would cost more than
            # the reactor's next turn.
            if len(data) == RECORD:
                data, why = self._receive(data)
            self.protocol.dataReceived(data)
        if self._waits_for_gap and not why and self.connected:
            return self._half_close()
        return why

    def _receive(self, data: bytes) -> tuple[bytes, Any]:
        """`data` and what there is behind it, within bounds; the reason if that is the end."""
        parts = [data]
        left = self.recv_size - RECORD
        why = None
        while len(data) == RECORD and left >= RECORD:
            try:
                data = self._tls.read(RECORD)
            except OSError as error:
                why = self._why(error)
                break
            if not data:
                why = CONNECTION_DONE
                break
            parts.append(data)
            left -= RECORD
        return b"".join(parts), why

    def _why(self, error: OSError) -> Any:
        """Why reading stops: None for now, or a reason for good."""
        if isinstance(error, ssl.SSLWantReadError):
            return None
        if isinstance(error, ssl.SSLWantWriteError):
            self._read_waits = True
            Descriptor._stop_reading(self)
            self._start_writing()
            return None
        if isinstance(error, ssl.SSLZeroReturnError):
            return CONNECTION_DONE
        return CONNECTION_LOST

    def _drop_raw(self) -> Any:
        """What nobody wants needs no deciphering."""
        try:
            count = len(socket.socket.recv(self.socket, self.recv_size))
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        return self._drop(count) if count else CONNECTION_DONE

    def _start_reading(self) -> None:
        self._wanted = True
        if not self._read_waits:
            super()._start_reading()

    def _stop_reading(self) -> None:
        self._wanted = False
        if not self._write_waits or not self.connected:
            super()._stop_reading()

    # Writing

    def write(self, data: bytes) -> None:
        """Send `data`, or queue what does not fit the socket now."""
        if not self._direct or not data:
            self._write_later(data)
            return
        try:
            sent = self._tls.send(data if len(data) <= WRITE_SIZE else _cut(data))
        except OSError:
            # Whatever it is, doWrite will meet it again with the same bytes.
            sent = 0
        if sent != len(data):
            self._enqueue(memoryview(data)[sent:] if sent else data)

    def doWrite(self) -> Any:
        """The socket takes bytes again."""
        if not self._established:
            self.shake()
            return None
        if self._read_waits:
            self._read_waits = False
            if self._wanted:
                super()._start_reading()
        return super().doWrite()

    def _send_more(self, data: bytes | memoryview) -> int:
        try:
            # No shorter than at the last attempt (OpenSSL's BAD_LENGTH): the queue only grows.
            return self._tls.send(_cut(data))
        except ssl.SSLWantWriteError:
            return 0
        except ssl.SSLWantReadError:
            self._write_waits = True
            self._stop_writing()
            super()._start_reading()
            return 0
        except OSError:
            return -1

    def _let_write(self) -> None:
        self._write_waits = False
        self._start_writing()
        if not self._wanted:
            super()._stop_reading()

    # Closing

    def _after_flush(self) -> Any:
        if self._half_closing and not (self.disconnecting or self._lingering or self._write_closed):
            return self._half_close()
        if not self._goodbye and not self._say_goodbye():
            self._start_writing()
            return None
        return super()._after_flush()

    def _shut_write(self) -> None:
        # The method of an SSLSocket would forget its TLS.
        socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def _half_close(self) -> Any:
        """Send close_notify in a moment when nothing is to be read; until then read on."""
        self._waits_for_gap = not (self._read_closed or self._nothing_waits())
        if self._waits_for_gap:
            return None
        try:
            self._tls.unwrap()
            # The peer's had come already.
            self._read_closed = True
        except ssl.SSLWantWriteError:
            self._start_writing()
            return None
        except ssl.SSLWantReadError:
            pass
        except (OSError, ValueError):
            # Data came between the look and the call, and OpenSSL has dropped it.
            return CONNECTION_LOST
        self._goodbye = True
        return super()._after_flush()

    def readConnectionLost(self, reason: Failure) -> None:
        """The peer has sent its end: ours, if it waited for that, goes out now."""
        super().readConnectionLost(reason)
        if self._waits_for_gap and self.connected:
            self._flush_soon()

    def _nothing_waits(self) -> bool:
        try:
            return not socket.socket.recv(self.socket, 1, socket.MSG_PEEK)
        except OSError:
            return True

    def _say_goodbye(self) -> bool:
        """Send close_notify; False: the socket is full. Nothing more is read under TLS then."""
        try:
            self._tls.unwrap()
        except ssl.SSLWantWriteError:
            return False
        except (OSError, ValueError):
            # Sent, but the peer's has not come yet (or data in its place); or all is lost anyway.
            pass
        self._goodbye = True
        return True

    def connectionLost(self, reason: Failure) -> None:
        """Close the socket and tell producer and protocol why; again is harmless."""
        if not self._established:
            self.give_up(CLOSED)
            return
        clean = reason.type is ConnectionDone and self._out is None
        if clean and not (self.disconnected or self._goodbye):
            # Our answer to the peer's (RFC 5246 7.2.1).
            with suppress(OSError, ValueError):
                self._tls.unwrap()
        super().connectionLost(reason)


def _cut(data: bytes | memoryview) -> bytes | memoryview:
    return data if len(data) <= WRITE_SIZE else memoryview(data)[:WRITE_SIZE]
