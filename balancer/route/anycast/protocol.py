"""
The balancer's end of the socket to the helper beside ExaBGP: who may connect, lines and frames.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.route.anycast import frames
from balancer.route.anycast.lines import Lines

MAX_LINKS: Final = 4
"""Helpers that may be connected: ours, one of an ExaBGP that we replace, and some to spare."""

BACKLOG: Final = 8

log = Logger()


def bind(name: str) -> socket.socket:
    """
    A listening socket with that name in the abstract namespace (unix(7)), which has no file, so
    that ExaBGP reaches it whatever user it runs as and whatever it may read. Raises OSError.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind("\0" + name)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def uid_of(transport: Any) -> int:
    """Whom the process at the other end runs as (SO_PEERCRED). Raises OSError."""
    handle: socket.socket = transport.getHandle()
    found = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("3i", found)[1])


def pid_of(transport: Any) -> int:
    """The process at the other end (SO_PEERCRED); 0 if it is of another pid namespace. Raises
    OSError."""
    handle: socket.socket = transport.getHandle()
    found = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("3i", found)[0])


@implementer(IPushProducer)
class Link(Protocol):
    """One helper. `hello` is what it said of itself, None before."""

    transport: Any

    def __init__(self, door: Door) -> None:
        self._door = door
        self._lines = Lines(frames.MAX_FRAME)
        self._full = False
        self._waiting: frames.Frame | None = None
        self.hello: frames.Hello | None = None

    def connectionMade(self) -> None:
        try:
            uid = uid_of(self.transport)
        except OSError:
            uid = -1
        if uid not in self._door.uids:
            log.warn("a helper of ExaBGP's runs as uid {uid}, who may not speak to us", uid=uid)
            self.transport.abortConnection()
            return
        self._door.links.append(self)
        if len(self._door.links) > MAX_LINKS:
            self.transport.abortConnection()
            return
        self.transport.registerProducer(self, True)

    def tell(self, frame: frames.Frame) -> None:
        """Send it; while the helper does not read, the latest frame takes the others' place."""
        if self._full:
            self._waiting = frame
        else:
            self.transport.write(frames.encode(frame))

    def kill(self) -> bool:
        """The helper hangs: end it at once. Whether that can be done."""
        try:
            pid = pid_of(self.transport)
            # To kill(2), 0 is everybody in our process group.
            if pid > 0:
                os.kill(pid, signal.SIGKILL)
            return pid > 0
        except OSError:
            return False
        finally:
            self.transport.abortConnection()

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False
        frame, self._waiting = self._waiting, None
        if frame is not None:
            self.tell(frame)

    def stopProducing(self) -> None:
        self._full = True

    def dataReceived(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            try:
                frame = frames.decode(line)
            except frames.BadFrame as error:
                log.error("ExaBGP's helper: {error}", error=error)
                self.transport.abortConnection()
                return
            if isinstance(frame, frames.Hello):
                self.hello = frame
            self._door.said(self, frame)

    def connectionLost(self, reason: Failure | None = None) -> None:
        if self in self._door.links:
            self._door.links.remove(self)
            self._door.lost(self)


class Door(ServerFactory):
    """Whoever of `uids` comes in."""

    noisy = False

    def __init__(
        self,
        uids: frozenset[int],
        said: Callable[[Link, frames.Frame], None],
        lost: Callable[[Link], None],
    ) -> None:
        self.uids, self.said, self.lost = uids, said, lost
        self.links: list[Link] = []

    def buildProtocol(self, addr: Any) -> Link:
        return Link(self)


def own_uids() -> frozenset[int]:
    """Root, and whom we run as."""
    return frozenset((0, os.geteuid()))
