"""
How a connection under TLS begins: the handshake, in steps as the socket allows, and what it agreed.

Knows `ssl`'s sockets; nothing of certificates or of who counts handshakes.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from cryptography import x509
from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.wire.address import SocketAddress
from balancer.wire.descriptor import Descriptor
from balancer.wire.interfaces import IWireReactor
from balancer.wire.reasons import DONE, failure
from balancer.wire.stream import Stream, nobody
from balancer.wire.tls_reasons import CLOSED, explain

_log = Logger("balancer.wire")


class Shaking(Stream):
    """
    A stream that connects its protocol when the handshake is over; `TlsStream` carries the rest.

    `start` begins. At the end `shaken(stream, "")` is called and the protocol is connected; or
    `shaken(stream, reason)`, and the protocol never hears of it. How long that may take is the
    owner's to bound, by `give_up`.
    """

    __slots__ = (
        "_established",
        "_shaken",
        "_tls",
        "negotiated",
        "session_reused",
    )

    def __init__(
        self,
        reactor: IWireReactor,
        sock: ssl.SSLSocket,
        protocol: IProtocol,
        addresses: tuple[SocketAddress, SocketAddress],
        shaken: Callable[[Any, str], None],
    ) -> None:
        """`addresses` are ours and the peer's; `sock` does not block and hides no ragged end."""
        super().__init__(reactor, sock, protocol, *addresses)
        self._tls = sock
        self._shaken: Callable[[Any, str], None] | None = shaken
        self._established = False
        #: What ALPN agreed on, or None.
        self.negotiated: bytes | None = None
        #: Whether an earlier session spared the full handshake.
        self.session_reused = False

    def start(self, prompt: bool = False) -> None:
        """Begin the handshake; the client's side speaks first."""
        if not prompt:
            self.setTcpNoDelay(True)
        self._start_reading()
        if not self._tls.server_side:
            self.shake()

    def shake(self) -> None:
        """Take the handshake as far as it goes now."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            if self._writing:
                self._stop_writing()
                Descriptor._start_reading(self)
        except ssl.SSLWantWriteError:
            Descriptor._stop_reading(self)
            self._start_writing()
        except (OSError, ValueError) as error:
            self.give_up(explain(error, self._tls.server_hostname or ""))
        else:
            if self._writing:
                self._stop_writing()
                Descriptor._start_reading(self)
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
        self.session_reused = bool(tls.session_reused)
        self._established = True
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
        """The peer's certificate while connected, if it was asked for one."""
        der = self._tls.getpeercert(binary_form=True) if self._tls.version() else None
        return None if der is None else x509.load_der_x509_certificate(der)

    def readConnectionLost(self, reason: Failure) -> None:
        """The peer's end, or a hang-up that the reactor saw in the handshake."""
        if self._established:
            super().readConnectionLost(reason)
        else:
            self.give_up(CLOSED)
