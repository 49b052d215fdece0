"""
A stream under TLS: OpenSSL reads and writes the socket itself, and says what it waits for.

Knows `ssl`'s sockets; nothing of certificates or of who counts handshakes.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cryptography import x509
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import INegotiated, IProtocol
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.wire.address import SocketAddress
from balancer.wire.descriptor import Descriptor
from balancer.wire.interfaces import IWireReactor
from balancer.wire.outgoing import JOIN_LIMIT
from balancer.wire.reasons import DONE, failure
from balancer.wire.stream import Stream, nobody
from balancer.wire.tls_reasons import CLOSED, explain

#: Plain bytes of one record at most (RFC 8446 5.1). OpenSSL reads one at a time, and with room for
#: all of it leaves nothing behind that the kernel would not tell of.
RECORD = 16 * 1024

#: Plain bytes given to OpenSSL at once: what does not fit the socket is encrypted all the same.
WRITE_SIZE = JOIN_LIMIT

_log = Logger("balancer.wire")


@implementer(INegotiated)
class TlsStream(Stream):
    """
    A `Stream` whose bytes travel under TLS 1.2 or 1.3.

    `start` begins the handshake; when it is over, `shaken(stream, "")` is called and the protocol
    is connected, or `shaken(stream, reason)` is called and the protocol never hears of it. How long
    that may take is the owner's to bound, by `give_up`.

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

    __slots__ = (
        "_established",
        "_goodbye",
        "_read_waits",
        "_shaken",
        "_tls",
        "_waits_for_gap",
        "_wanted",
        "_write_waits",
        "negotiated",
        "server_name",
        "session_reused",
    )

    def __init__(
        self,
        reactor: IWireReactor,
        sock: ssl.SSLSocket,
        protocol: IProtocol,
        addresses: tuple[SocketAddress, SocketAddress],
        shaken: Callable[[TlsStream, str], None],
    ) -> None:
        """`addresses` are ours and the peer's; `sock` does not block and hides no ragged end."""
        super().__init__(reactor, sock, protocol, *addresses)
        self._tls = sock
        self._shaken: Callable[[TlsStream, str], None] | None = shaken
        self._established = False
        # A write that waits until something can be read, and the other way round: a message of the
        # handshake kind (a ticket, KeyUpdate) is under way.
        self._write_waits = False
        self._read_waits = False
        # Whether the application reads; `_reading` says whether the reactor looks.
        self._wanted = False
        # Whether close_notify has gone out, and whether it waits until nothing is to be read.
        self._goodbye = False
        self._waits_for_gap = False
        #: What ALPN agreed on, or None.
        self.negotiated: bytes | None = None
        #: Which server the client asked for, as it wrote it; at the client's side None.
        self.server_name: str | None = None
        #: Whether an earlier session spared the full handshake.
        self.session_reused = False

    # The handshake

    def start(self) -> None:
        """Begin the handshake; the client's side speaks first."""
        self.setTcpNoDelay(True)
        self._start_reading()
        if not self._tls.server_side:
            self.shake()

    def shake(self) -> None:
        """Take the handshake as far as it goes now."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._stop_writing()
            Descriptor._start_reading(self)
        except ssl.SSLWantWriteError:
            Descriptor._stop_reading(self)
            self._start_writing()
        except (OSError, ValueError) as error:
            self.give_up(explain(error, self._tls.server_hostname or ""))
        else:
            self._stop_writing()
            self._connect()

    def give_up(self, reason: str) -> None:
        """End a handshake in progress; harmless afterwards."""
        shaken, self._shaken = self._shaken, None
        if shaken is not None:
            # Before the owner looks, so that descriptor and memory are free by then.
            protocol, self.protocol = self.protocol, nobody
            super().connectionLost(DONE)
            self.protocol = protocol
            shaken(self, reason)
            self.protocol = nobody

    def _connect(self) -> None:
        tls = self._tls
        protocol = tls.selected_alpn_protocol()
        self.negotiated = None if protocol is None else protocol.encode()
        self.server_name = getattr(tls, "server_name", None)
        self.session_reused = bool(tls.session_reused)
        self._established = True
        Descriptor._start_reading(self)
        shaken, self._shaken = self._shaken, None
        try:
            if shaken is not None:
                shaken(self, "")
            self.protocol.makeConnection(self)
        except Exception:  # noqa: BLE001  # the reactor's edge: nobody above owns the socket
            _log.failure("{protocol} raised when it was connected", protocol=self.protocol)
            self.connectionLost(failure())

    @property
    def version(self) -> str:
        """`TLSv1.3` or `TLSv1.2`."""
        return self._tls.version() or ""

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """As INegotiated has it."""
        return self.negotiated

    def getPeerCertificate(self) -> x509.Certificate | None:
        """The peer's certificate, if it gave one and it was asked for."""
        der = self._tls.getpeercert(binary_form=True)
        return None if der is None else x509.load_der_x509_certificate(der)

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
        data, why = self._receive()
        if data:
            self.protocol.dataReceived(data)
        if self._waits_for_gap and not why and self.connected:
            return self._half_close()
        return why

    def _receive(self) -> tuple[bytes, Any]:
        """All that is there within bounds, and the reason if that is the end of it."""
        try:
            data = self._tls.read(RECORD)
            if len(data) < RECORD:
                # To ask the kernel again would cost more than the reactor's next turn.
                return data, None if data else CONNECTION_DONE
        except OSError as error:
            return b"", self._why(error)
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
            sent = self._tls.send(_cut(data))
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
        self._waits_for_gap = not self._nothing_waits()
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

    def readConnectionLost(self, reason: Failure) -> None:
        """The peer has sent its close_notify; or the reactor saw a hang-up in the handshake."""
        if self._established:
            super().readConnectionLost(reason)
        else:
            self.give_up(CLOSED)

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
