"""
A connection under way: a socket that does not block, its time, and what came of it.

Knows sockets and errno; a name is resolved before it comes here. `connect` begins one.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable

from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.wire.address import Address, SocketAddress
from balancer.wire.deadlines import Wheel
from balancer.wire.interfaces import IWireReactor
from balancer.wire.stream import Stream

# Linux has it since 4.2; Python names it since 3.12. The port is chosen at connect, so that one
# source address may have 64k connections to each destination instead of 64k in all (ip(7)).
_IP_BIND_ADDRESS_NO_PORT = 24

# Shortages of this machine, which say nothing about the server.
_OURS = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EADDRNOTAVAIL,
        errno.EADDRINUSE,
        errno.EACCES,
        errno.EPERM,
    }
)


class ConnectFailed(ConnectError):
    """
    No connection to `address`. `code` is the errno, `reason` says it in a few words.
    """

    def __init__(self, address: Address, code: int, reason: str = "") -> None:
        self.address = address
        self.code = code
        self.reason = reason or os.strerror(code).lower()
        super().__init__(code, self.reason)

    def __str__(self) -> str:
        return f"{self.address}: {self.reason}"

    @property
    def timed_out(self) -> bool:
        """Whether nobody answered in time."""
        return self.code == errno.ETIMEDOUT


class ConnectImpossible(ConnectFailed):
    """We are short of something (descriptors, ports, memory, rights): not the server's fault."""


@implementer(IReadDescriptor, IWriteDescriptor)
class Connecting:
    """A connection under way."""

    __slots__ = (
        "_address",
        "_call",
        "_failed",
        "_protocol",
        "_reactor",
        "_socket",
        "_wheel",
        "deadline",
    )

    def __init__(
        self,
        reactor: IWireReactor,
        address: Address,
        protocol: IProtocol,
        failed: Callable[[ConnectFailed], None],
        wheel: Wheel | None,
    ) -> None:
        self._reactor = reactor
        self._address = address
        self._protocol: IProtocol | None = protocol
        self._failed = failed
        self._wheel = wheel
        self._socket: socket.socket | None = None
        self._call: IDelayedCall | None = None
        self.deadline = 0.0

    def begin(self, timeout: float, local: Address | None) -> None:
        """Open the socket and start; for `connect` and its like."""
        reactor = self._reactor
        try:
            code = self._open(local)
        except OSError as error:
            code = error.errno or errno.EINVAL
        if code:
            # Later, so that the caller has what we return before it hears of it.
            self._call = reactor.callLater(0, self._fail, code)
            return
        reactor.addWriter(self)
        if self._wheel is None:
            self._call = reactor.callLater(timeout, self._fail, errno.ETIMEDOUT)
        else:
            self.deadline = reactor.seconds() + timeout
            self._wheel.add(self)

    def cancel(self) -> None:
        """Give up; nobody is called any more. Safe at any time."""
        self._finish(close=True)

    def expired(self, now: float) -> None:
        """The wheel says that the time is over."""
        self._fail(errno.ETIMEDOUT)

    def fileno(self) -> int:
        """The file descriptor, -1 once it is a stream's or closed."""
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        """Whose lines these are, for Twisted's log."""
        return "connect"

    def doRead(self) -> None:
        """Not registered for reading."""

    def doWrite(self) -> None:
        """Connected, or refused."""
        sock, protocol = self._socket, self._protocol
        if sock is None or protocol is None:
            return
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(code)
            return
        try:
            host, peer = sock.getsockname(), sock.getpeername()
        except OSError as error:
            self._fail(error.errno or errno.ENOTCONN)
            return
        if host == peer and isinstance(host, tuple):
            # TCP's simultaneous open with ourselves: nobody listens on that ephemeral port.
            self._fail(errno.ECONNREFUSED)
            return
        self._join(sock, protocol, host, peer)

    def _join(
        self, sock: socket.socket, protocol: IProtocol, host: SocketAddress, peer: SocketAddress
    ) -> None:
        """The socket is connected: what becomes of it."""
        self._finish(close=False)
        Stream(self._reactor, sock, protocol, host, peer).start()

    def connectionLost(self, reason: Failure) -> None:
        """A stock reactor saw a hang-up instead of writability, or everything is disconnected."""
        code = 0
        if self._socket is not None:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._fail(code or errno.ECONNABORTED)

    def _open(self, local: Address | None) -> int:
        address = self._address
        sock = self._socket = socket.socket(address.family, socket.SOCK_STREAM)
        sock.setblocking(False)
        if local is not None:
            if sys.platform == "linux" and not local.is_unix and not local.port:
                sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind(local.sockaddr)
        code = sock.connect_ex(address.sockaddr)
        # A unix socket connects at once, or says EAGAIN: the backlog over there is full.
        return 0 if code == errno.EINPROGRESS else code

    def _fail(self, code: int) -> None:
        failed, protocol = self._failed, self._protocol
        self._finish(close=True)
        if protocol is not None:
            failed(self._failure(code))

    def _failure(self, code: int) -> ConnectFailed:
        kind = ConnectImpossible if code in _OURS else ConnectFailed
        return kind(self._address, code, _WORDS.get(code, ""))

    def _finish(self, close: bool) -> None:
        """Drop everything that could still call us."""
        self._protocol = None
        sock = self._socket
        if sock is not None:
            self._reactor.removeWriter(self)
            self._socket = None
            if close:
                sock.close()
        if self._call is not None:
            if self._call.active():
                self._call.cancel()
            self._call = None
        elif self._wheel is not None:
            self._wheel.discard(self)


_WORDS = {
    errno.ETIMEDOUT: "timed out",
    errno.EAGAIN: "the backlog is full",
    errno.EMFILE: "too many open files (raise ulimit -n)",
    errno.ENFILE: "too many open files in the system",
    errno.EADDRNOTAVAIL: "no local port is free, or the local address is not ours",
}
