"""
Connecting under TLS: whom to trust, and a handshake within the connection's time.

Knows `ssl`'s contexts and `Connecting`; a name is resolved before it comes here.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import frozen
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from balancer.wire.address import Address, SocketAddress
from balancer.wire.certificates import CIPHERS, CannotLoad
from balancer.wire.connecting import ConnectFailed, Connecting
from balancer.wire.deadlines import Wheel
from balancer.wire.interfaces import IWireReactor
from balancer.wire.pem import Broken, read
from balancer.wire.regular import open_regular
from balancer.wire.tls import TlsStream
from balancer.wire.tls_reasons import TIMED_OUT, explain

#: Sessions kept for resumption, one for each server; the least lately used go first.
MOST_SESSIONS = 1024


class ClientContext(ssl.SSLContext):
    """Whom to trust and what to show; remembers a session of each server, to resume it."""

    def __init__(self, protocol: int) -> None:
        self.sessions: OrderedDict[tuple[Address, str], ssl.SSLSession] = OrderedDict()


def client_context(
    ca: str | Path | None = None,
    cert: str | Path | None = None,
    verify: bool = True,
    alpn: Sequence[str] = (),
) -> ClientContext:
    """
    What to connect to servers with, under TLS 1.2 and later.

    `ca` is a PEM file of certificates to trust in place of the system's; a server's own may be
    among them. `cert` is a PEM file with our certificate and its key, for servers that ask. Without
    `verify` any certificate will do. Raises `CannotLoad`.
    """
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    # Set by Python 3.11.2: an end without close_notify would be as good as one with it.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.set_ciphers(CIPHERS)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        context.load_default_certs()
    else:
        _trust(context, Path(ca))
    if cert is not None:
        _show(context, Path(cert))
    return context


def _trust(context: ssl.SSLContext, ca: Path) -> None:
    # As Python's default contexts do from 3.13 on: what is in the file need not be self-signed.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        open_regular(ca).close()  # OpenSSL would wait for the writer of a pipe
        context.load_verify_locations(ca)
    except ssl.SSLError:
        raise CannotLoad([f"{ca}: expected certificates in PEM to trust, got none"]) from None
    except OSError as error:
        text = f"{ca}: cannot be read: {(error.strerror or str(error)).lower()}"
        raise CannotLoad([f"{text}; check the path and who may read it"]) from None


def _show(context: ssl.SSLContext, cert: Path) -> None:
    try:
        pair = read(cert)
        context.load_cert_chain(pair.file, pair.key, password="")
    except (Broken, ssl.SSLError) as error:
        text = str(error) if isinstance(error, Broken) else f"{cert}: {explain(error)}"
        raise CannotLoad([text]) from None


class TlsFailed(ConnectFailed):
    """Connected, but the handshake failed; `reason` says why in a few words."""


@frozen
class Trust:
    """
    Under what to connect: `name` is asked for (SNI) and must be in the server's certificate.

    A literal address as `name` must be in it too, but is not asked for (RFC 6066 3). Empty: the
    address that is connected to.
    """

    context: ClientContext
    name: str = ""


@frozen
class Secured(Address):
    """An address that is connected to under TLS; made by `secured`. It says what the plain one
    says, and equals only one of the same trust."""

    trust: Trust

    def at(self, address: Address) -> Address:
        """The same server at another address."""
        return secured(address, self.trust)


def secured(address: Address, trust: Trust) -> Secured:
    """`address`, to be connected to under `trust`."""
    return Secured(address.family, address.sockaddr, address.host, address.port, trust)


def connect_tls(
    reactor: IWireReactor,
    address: Address,
    protocol: IProtocol,
    failed: Callable[[ConnectFailed], None],
    timeout: float,
    trust: Trust,
    wheel: Wheel | None = None,
    local: Address | None = None,
) -> TlsConnecting:
    """
    Connect `protocol` to `address` through a `TlsStream`: as `connect`, and within the same
    `timeout` also the handshake. `failed` gets `TlsFailed` when that is what failed.
    """
    connecting = TlsConnecting(reactor, address, protocol, failed, wheel)
    connecting.trust = trust
    connecting.begin(timeout, local)
    return connecting


class TlsConnecting(Connecting):
    """A connection or its handshake under way."""

    __slots__ = ("_stream", "trust")

    trust: Trust

    def __init__(
        self,
        reactor: IWireReactor,
        address: Address,
        protocol: IProtocol,
        failed: Callable[[ConnectFailed], None],
        wheel: Wheel | None,
    ) -> None:
        super().__init__(reactor, address, protocol, failed, wheel)
        self._stream: _Resumable | None = None

    def _join(
        self, sock: socket.socket, protocol: IProtocol, host: SocketAddress, peer: SocketAddress
    ) -> None:
        # From here on the descriptor is the stream's; time and `cancel` stay ours.
        self._reactor.removeWriter(self)
        context, name = self.trust.context, self._name()
        try:
            tls = context.wrap_socket(
                sock,
                server_hostname=name or None,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
                session=context.sessions.get((self._address, name)),
            )
        except (OSError, ValueError) as error:
            self._fail_for(explain(error))
            return
        self._socket = None
        stream = _Resumable(self._reactor, tls, protocol, (host, peer), self._shaken)
        self._stream = stream
        stream.sessions, stream.key = context.sessions, (self._address, name)
        stream.start()

    def _name(self) -> str:
        if self.trust.name or self._address.is_unix:
            return self.trust.name
        return self._address.host.partition("%")[0]

    def _shaken(self, stream: TlsStream, reason: str) -> None:
        self._stream = None
        if reason:
            self._fail_for(reason)
        else:
            self._finish(close=False)

    def _fail_for(self, reason: str) -> None:
        failed, protocol = self._failed, self._protocol
        self._finish(close=True)
        if protocol is not None:
            failed(TlsFailed(self._address, errno.EPROTO, reason))

    def _fail(self, code: int) -> None:
        if self._stream is None:
            super()._fail(code)
            return
        # In time, but not with the handshake.
        failed, protocol = self._failed, self._protocol
        self._finish(close=True)
        if protocol is not None:
            failed(TlsFailed(self._address, code, TIMED_OUT))

    def _finish(self, close: bool) -> None:
        super()._finish(close)
        stream, self._stream = self._stream, None
        if stream is not None and close:
            # It tells us, but there is nobody left to pass that on to.
            stream.give_up(TIMED_OUT)


class _Resumable(TlsStream):
    """A stream to a server, which leaves its session behind."""

    __slots__ = ("key", "sessions")

    key: tuple[Address, str]
    sessions: OrderedDict[tuple[Address, str], ssl.SSLSession]

    def connectionLost(self, reason: Failure) -> None:
        """Remember the session, for TLS 1.3 gives it only after the handshake (RFC 8446 4.6.1)."""
        if self._established and not self.disconnected:
            with suppress(ssl.SSLError):
                self._remember(self._tls.session)
        super().connectionLost(reason)

    def _remember(self, session: ssl.SSLSession | None) -> None:
        if session is None or not session.has_ticket:
            return
        self.sessions[self.key] = session
        self.sessions.move_to_end(self.key)
        if len(self.sessions) > MOST_SESSIONS:
            self.sessions.popitem(last=False)
