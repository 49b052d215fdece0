"""
Two networks with one link between them: clients are in this thread's, and who is asked is in that
of a process, where the one device has several addresses of each kind.
"""

from __future__ import annotations

import socket
from pathlib import Path

from tests.live.harness import ask, need
from tests.live.namespaces import ip

V4 = ("192.0.2.1", "192.0.2.2")
V6 = ("2001:db8::1", "2001:db8::2")
LINK_LOCAL = ("fe80::1", "fe80::2")
"""Where the process can be asked."""

CLIENTS = ("192.0.2.100", "2001:db8::100", "fe80::100")
"""Where clients are, by the kind."""


class Joined:
    """The process `pid`, which must be in a network of its own by now, at the end of a link."""

    def __init__(self, pid: int) -> None:
        need("ip", "nsenter")
        self.pid = pid
        ours = Path("/proc/thread-self/ns/net").stat().st_ino
        assert Path(f"/proc/{pid}/ns/net").stat().st_ino != ours, "it is in this network"
        ip("link", "add", "west", "type", "veth", "peer", "name", "east", "netns", str(pid))
        for host in CLIENTS:
            ip("address", "add", _with_length(host), "dev", "west", *_at_once(host))
        for host in (*V4, *V6, *LINK_LOCAL):
            self.ip("address", "add", _with_length(host), "dev", "east", *_at_once(host))
        ip("link", "set", "west", "up")
        self.ip("link", "set", "east", "up")
        self._device = socket.if_nametoindex("west")

    def ip(self, *words: str) -> None:
        """`ip WORDS` in the network of the process."""
        ask("nsenter", "-t", str(self.pid), "-n", "ip", *words)

    def where(self, host: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
        """What a client sends to for that address."""
        if ":" not in host:
            return host, port
        return host, port, 0, self._device if host.startswith("fe80:") else 0

    def client(self, host: str) -> socket.socket:
        """A client that can ask at that address."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        ours = CLIENTS[2 if host.startswith("fe80:") else family == socket.AF_INET6]
        client = socket.socket(family, socket.SOCK_DGRAM)
        client.settimeout(5)
        client.bind(self.where(ours, 0))
        return client


def source_of(source: tuple[str, int]) -> str:
    """The address that an answer came from, without the device."""
    return source[0].partition("%")[0]


def _with_length(host: str) -> str:
    return f"{host}/{64 if ':' in host else 24}"


def _at_once(host: str) -> tuple[str, ...]:
    """An IPv6 address is looked for elsewhere first, which takes a second."""
    return ("nodad",) if ":" in host else ()
