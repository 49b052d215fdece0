"""
Where a socket binds or connects: a literal address, ready for the socket calls.

Knows address families and nothing of names: a DNS name is somebody else's work.
"""

from __future__ import annotations

import ipaddress
import os
import socket

from attrs import frozen

#: The prefix of a unix socket's path in an endpoint.
UNIX = "unix:"

#: sockaddr_un holds 108 bytes, one of them for the final NUL (unix(7)).
MAX_UNIX_PATH = 107

SocketAddress = tuple[str, int] | tuple[str, int, int, int] | str


@frozen
class Address:
    """
    A literal address of a stream or datagram socket.

    `sockaddr` is what the calls of `socket` take; `host` and `port` are what the operator wrote
    (`host` is `unix:PATH` and `port` 0 for a unix socket).
    """

    family: int
    sockaddr: SocketAddress
    host: str
    port: int

    def __str__(self) -> str:
        if self.family == socket.AF_INET6:
            return f"[{self.host}]:{self.port}"
        if self.family == socket.AF_INET:
            return f"{self.host}:{self.port}"
        return self.host

    def at(self, address: Address) -> Address:
        """The same server at another address: how it is connected to stays."""
        return address

    @property
    def is_unix(self) -> bool:
        """Whether this is a unix socket."""
        return self.family not in (socket.AF_INET, socket.AF_INET6)

    @property
    def is_wildcard(self) -> bool:
        """Whether a socket bound here answers for every local address of its family."""
        return self.host == "0.0.0.0" or (
            self.family == socket.AF_INET6 and int(ipaddress.IPv6Address(self.host)) == 0
        )


def literal(host: str, port: int) -> Address:
    """
    The address that `host` (IPv4, IPv6 without brackets, or `unix:PATH`) and `port` name.

    Raises `ValueError` when `host` is a name or the port is out of range.
    """
    if host.startswith(UNIX):
        return _unix(host)
    if not 0 <= port <= 65535:
        raise ValueError(f"expected a port from 0 to 65535, got {port}")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        msg = f"expected an IPv4 or IPv6 address or unix:PATH, got {host!r}"
        raise ValueError(msg) from None
    if address.version == 4:
        return Address(socket.AF_INET, (host, port), host, port)
    scope = 0
    if address.scope_id is not None:
        scope = _scope(address.scope_id)
    return Address(socket.AF_INET6, (host.partition("%")[0], port, 0, scope), host, port)


def from_sockaddr(family: int, sockaddr: SocketAddress | bytes) -> Address:
    """The address that `getsockname`, `getpeername` or `accept` gave."""
    if isinstance(sockaddr, bytes):
        sockaddr = os.fsdecode(sockaddr)
    if isinstance(sockaddr, str):
        return Address(family, sockaddr, UNIX + sockaddr.replace("\0", "@", 1), 0)
    return Address(family, sockaddr, sockaddr[0], sockaddr[1])


def _unix(host: str) -> Address:
    path = host[len(UNIX) :]
    if not path:
        raise ValueError("expected a path after unix:")
    if len(os.fsencode(path)) > MAX_UNIX_PATH:
        msg = f"expected at most {MAX_UNIX_PATH} bytes of path after unix:, got {path!r}"
        raise ValueError(msg)
    # An @ in front stands for Linux's abstract name space, as in ss(8) and systemd.
    sockaddr = "\0" + path[1:] if path.startswith("@") else path
    return Address(getattr(socket, "AF_UNIX", -1), sockaddr, host, 0)


def _scope(name: str) -> int:
    if name.isdigit():
        return int(name)
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise ValueError(f"expected a network device after %, got {name!r}") from None
