"""
A connected stream socket as a reactor sees it: registered or not, its addresses and options.

What a stream is before it carries a byte; `sending` and `stream` add the two directions.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IProtocol, IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.wire.address import SocketAddress
from balancer.wire.interfaces import IWireReactor


@implementer(IReadDescriptor, IWriteDescriptor)
class Descriptor:
    """
    The socket, the protocol, and what the reactor was told of them.

    `connected` says whether bytes may still flow. `peer_host` (`unix` for a unix socket) and
    `peer_port` cost nothing; `getPeer` makes an object.
    """

    __slots__ = (
        "_host",
        "_peer",
        "_reading",
        "_writing",
        "connected",
        "peer_host",
        "peer_port",
        "protocol",
        "reactor",
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
        self.connected = True
        self._reading = False
        self._writing = False

    def fileno(self) -> int:
        """The file descriptor, -1 once closed."""
        return self.socket.fileno()

    def getHandle(self) -> socket.socket:
        """The socket, as ISystemHandle has it."""
        return self.socket

    def logPrefix(self) -> str:
        """Whose lines these are, for Twisted's log."""
        return type(self.protocol).__name__

    def doRead(self) -> Any:
        """Readable: a reason ends the connection."""
        raise NotImplementedError

    def doWrite(self) -> Any:
        """Writable: a reason ends the connection."""
        raise NotImplementedError

    def connectionLost(self, reason: Failure) -> None:
        """The end."""
        raise NotImplementedError

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

    def getHost(self) -> Any:
        """Our address of the connection (an IPv4Address, IPv6Address or UNIXAddress)."""
        if self._host and self._host[0] in ("0.0.0.0", "::") and self.fileno() >= 0:
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
