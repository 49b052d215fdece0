"""
Binding sockets, and saying what is in the way.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys

from balancer.wire.address import Address
from balancer.wire.pktinfo import ask_for

#: Connections that may wait in the kernel; it takes at most net.core.somaxconn (4096).
BACKLOG = 4096

#: Bytes of kernel buffer asked for: 30 ms of 1 Gb/s, doubled by the kernel for its own use.
RECEIVE_BUFFER = 4 * 1024 * 1024

# linux/socket.h; Python does not name it.
_SO_RCVBUFFORCE = 33


class CannotBind(Exception):
    """An address could not be bound; `address` says which, `code` is the errno."""

    def __init__(self, address: Address, error: OSError) -> None:
        self.address = address
        self.code = error.errno or 0
        what = os.strerror(self.code) if self.code else str(error)
        why = {
            errno.EACCES: _no_access(address),
            errno.EADDRINUSE: ": another process listens there",
            errno.EADDRNOTAVAIL: ": no device of this machine has the address",
        }.get(self.code, "")
        super().__init__(f"cannot bind {address}: {what}{why}")


def _no_access(address: Address) -> str:
    if address.is_unix:
        return ": the directory must be writable"
    return ": ports below 1024 need CAP_NET_BIND_SERVICE"


class _Listening(socket.socket):
    """A socket that knows what it is: `accept` asks for each connection, and the plain one makes
    enums of two numbers then."""

    __slots__ = ("family", "type")

    def __init__(self, family: int, kind: int) -> None:
        super().__init__(family, kind)
        self.family = socket.AddressFamily(family)  # type: ignore[misc]  # a property of the base
        self.type = socket.SocketKind(kind)  # type: ignore[misc]  # as above


def bind_tcp(address: Address, backlog: int = BACKLOG) -> socket.socket:
    """
    A non-blocking socket that listens on `address` (TCP or unix). Raises `CannotBind`.

    A unix socket's file that nobody listens on any more is replaced.
    """
    sock = None
    try:
        sock = _Listening(address.family, socket.SOCK_STREAM)
        sock.setblocking(False)
        if address.is_unix:
            _clear_stale(str(address.sockaddr))
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address.sockaddr)
        sock.listen(backlog)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise CannotBind(address, error) from error
    return sock


def _clear_stale(path: str) -> None:
    """Remove the socket file that a process left behind. One in use stays: bind(2) then says so."""
    try:
        if path.startswith("\0") or not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)


def bind_udp(address: Address) -> socket.socket:
    """A non-blocking UDP socket bound to `address`. Raises `CannotBind`."""
    sock = None
    try:
        sock = socket.socket(address.family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        if address.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _widen(sock)
        if sys.platform == "linux" and address.is_wildcard:
            # Elsewhere answers leave from the address that the routing table picks.
            sock.setsockopt(*ask_for(address.family))
        sock.bind(address.sockaddr)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise CannotBind(address, error) from error
    return sock


def _widen(sock: socket.socket) -> None:
    """Raise the receive buffer: beyond net.core.rmem_max with CAP_NET_ADMIN, else up to it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
