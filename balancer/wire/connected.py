"""
Datagrams to one server and back, over a socket of their own that is connected to it.

Knows sockets; what a datagram says is its owner's business.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.wire.address import Address
from balancer.wire.bound import DATAGRAMS_A_TURN, MAX_DATAGRAM
from balancer.wire.interfaces import IWireReactor

__all__ = ["ConnectedDatagrams"]

_DROPPED = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})

_log = Logger("balancer.wire")


@implementer(IReadDescriptor)
class ConnectedDatagrams:
    """
    A UDP socket connected to one server: its datagrams go to `received(data)`, what ICMP said about
    ours (`ECONNREFUSED`, `EHOSTUNREACH`, ...) to `failed(error)`, always in a later turn.

    Both may be swapped. The constructor raises `OSError` when no socket can be had.
    """

    __slots__ = (
        "_reactor",
        "_socket",
        "address",
        "failed",
        "received",
    )

    def __init__(
        self,
        reactor: IWireReactor,
        address: Address,
        received: Callable[[bytes], None],
        failed: Callable[[OSError], None],
    ) -> None:
        self._reactor = reactor
        self.address = address
        self.received = received
        self.failed = failed
        self._socket = socket.socket(address.family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(address.sockaddr)
            reactor.addReader(self)
        except OSError:
            self._socket.close()
            raise

    def send(self, data: bytes) -> bool:
        """Send to the server. False: dropped, which the caller counts: sockets come and go."""
        for _ in range(2):
            try:
                self._socket.send(data)
            except OSError as error:
                if self._socket.fileno() < 0 or error.errno in _DROPPED:
                    break
                # Most likely what ICMP said about an earlier datagram: this one was not sent yet.
                self._reactor.callLater(0, self._tell, error)
            else:
                return True
        return False

    def close(self) -> None:
        """Call nobody any more; again is harmless."""
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()

    def doRead(self) -> None:
        """Read until nothing waits, but not for ever."""
        for _ in range(DATAGRAMS_A_TURN):
            try:
                data = self._socket.recv(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                self._tell(error)
            else:
                try:
                    self.received(data)
                except Exception:  # noqa: BLE001  # the reactor's edge: the next one is sound
                    _log.failure("a datagram from {address} failed", address=self.address)
            if self._socket.fileno() < 0:
                return

    def _tell(self, error: OSError) -> None:
        if self._socket.fileno() >= 0:
            self.failed(error)

    def fileno(self) -> int:
        """The file descriptor, -1 once closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Whose lines these are, for Twisted's log."""
        return f"datagrams to {self.address}"

    def connectionLost(self, reason: Failure) -> None:
        """A stock reactor takes an ICMP error for the end, or everything is disconnected."""
        code = 0
        if self._socket.fileno() >= 0:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        failed = self.failed
        closed = self._socket.fileno() < 0
        self.close()
        if not closed:
            failed(OSError(code or errno.ECONNABORTED, "the socket was taken down"))
