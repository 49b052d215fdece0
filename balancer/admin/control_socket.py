"""
The control socket's file: who may open it is who may operate the balancer.
"""

from __future__ import annotations

import grp
import os
import socket
import struct
from contextlib import suppress
from typing import Any

from attrs import frozen

from balancer.wire.address import Address, literal
from balancer.wire.bind import CannotBind, bind_tcp

MODE = 0o660
"""The owner and the group may connect: unix(7) asks for write permission."""

_NOT_FOR_OTHERS = 0o117
"""The umask that makes a file of `MODE`: it never was open to others, not for a moment."""


@frozen
class ControlSocket:
    """A bound control socket; `inode` tells its file from another's at the same path."""

    socket: socket.socket
    address: Address
    path: str
    inode: int

    def remove(self) -> None:
        """Remove the file, unless it is gone, or a successor's by now. Closing is the owner's."""
        with suppress(OSError):
            if os.stat(self.path).st_ino == self.inode:
                os.unlink(self.path)


def bind_control(path: str, group: str = "") -> ControlSocket:
    """
    Bind the control socket at `path`, and make its directory if there is none. For `makeService`:
    it sets the umask of the process for a moment.

    What a killed balancer left there is replaced; a socket in use is not. `group` is given the
    file. Raises `ValueError` for what cannot be a socket's path, and `CannotBind`.
    """
    if path.startswith("@"):
        raise ValueError(f"expected a path, got {path!r}: only a file has permissions")
    address = literal(f"unix:{path}", 0)
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    except OSError as error:
        raise CannotBind(address, error) from error
    before = os.umask(_NOT_FOR_OTHERS)
    try:
        sock = bind_tcp(address)
    finally:
        os.umask(before)
    bound = ControlSocket(sock, address, path, os.stat(path).st_ino)
    try:
        secure(path, group)
    except OSError as error:
        bound.remove()
        sock.close()
        raise CannotBind(address, error) from error
    return bound


def secure(path: str, group: str = "") -> None:
    """Give the file at `path` its mode, and to `group`. Raises OSError."""
    if group:
        try:
            number = grp.getgrnam(group).gr_gid
        except KeyError:
            raise OSError(f"expected a group of this machine, got {group!r}") from None
        os.chown(path, -1, number)
    os.chmod(path, MODE)


def peer_of(transport: Any) -> str:
    """Who is at the other end of a unix socket (SO_PEERCRED, unix(7)), for the log."""
    handle = getattr(transport, "getHandle", None)
    option = getattr(socket, "SO_PEERCRED", None)
    if handle is None or option is None:
        return "somebody"
    try:
        pid, uid, _ = struct.unpack("3i", handle().getsockopt(socket.SOL_SOCKET, option, 12))
    except OSError:
        return "somebody"
    return f"uid {uid} (pid {pid})"
