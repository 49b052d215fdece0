"""
The socket to which helpers beside ExaBGP come, and which of them is ours.

Knows who has the word of our configuration, and who has not: an ExaBGP that a killed balancer left.
What the helper is told, and what follows from what it says, is its owner's business.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from balancer.interfaces import PrepareError
from balancer.route.anycast import reach
from balancer.route.anycast.frames import Frame, Hello, Quit
from balancer.route.anycast.protocol import Door, Link

Bind = Callable[[str], socket.socket]

log = Logger()


def socket_name(state: str, section: str) -> str:
    """The socket's of the balancer with that state directory: '' for the one that all sections
    share, else a section's own."""
    digest = hashlib.sha256(state.encode()).hexdigest()[:16]
    return f"balancer-anycast-{digest}{'-' if section else ''}{section}"


@define(eq=False)
class Helper:
    """
    `name` is the socket's, in the abstract namespace; `token` is what our helper says, '' if any
    may come. `came` and `went` are called when there is one and when there is none any more, `said`
    with each frame but its first.
    """

    name: str
    token: str
    bind: Bind
    came: Callable[[], None]
    said: Callable[[Frame], None]
    went: Callable[[], None]
    _sock: socket.socket | None = field(default=None, init=False)
    """Bound, while nobody listens there."""
    _port: Any = field(default=None, init=False)
    _door: Door = field(init=False)
    _link: Link | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._door = Door(reach.uids(), self._heard, self._lost)

    # -- the socket

    def open(self) -> None:
        """Bind the socket, unless it is. Raises `PrepareError`."""
        if self._sock is not None or self._port is not None:
            return
        try:
            self._sock = self.bind(self.name)
        except OSError as error:
            raise PrepareError(
                f"the socket @{self.name} cannot be bound ({error.strerror}): expected no "
                f"other balancer with the same state directory; stop it, or set state in [site]"
            ) from error

    def listen(self, reactor: Any) -> None:
        """Let helpers come to the socket, which is open."""
        assert self._sock is not None
        self._port = reactor.adoptStreamPort(self._sock.fileno(), socket.AF_UNIX, self._door)
        self.close()

    def close(self) -> None:
        """Close the socket, unless somebody listens there."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def deafen(self) -> None:
        """Let nobody come any more; who is here stays."""
        if self._port is not None:
            self._port.stopListening()
            self._port = None

    def hang_up(self) -> None:
        """Send all away who are here."""
        for link in list(self._door.links):
            link.transport.loseConnection()

    # -- the one that is ours

    @property
    def connected(self) -> bool:
        """Whether there is one."""
        return self._link is not None

    @property
    def pid(self) -> int | None:
        """Its process, as it says."""
        return None if self._link is None or self._link.hello is None else self._link.hello.pid

    def tell(self, frame: Frame) -> None:
        """Send it that, if there is one."""
        if self._link is not None:
            self._link.tell(frame)

    def kill(self) -> bool:
        """It hangs: end it at once, or leave it behind. Whether its process could be ended."""
        return self._link is not None and self._link.kill()

    def _heard(self, link: Link, frame: Frame) -> None:
        if isinstance(frame, Hello):
            self._greet(link, frame)
        elif link is self._link:
            self.said(frame)

    def _greet(self, link: Link, hello: Hello) -> None:
        if self.token and hello.token != self.token:
            log.info("an ExaBGP of a balancer that is gone ends: {pid}", pid=hello.exabgp)
            link.tell(Quit())
            return
        if self._link is not None and self._link is not link:
            self._link.transport.abortConnection()
        self._link = link
        log.info("ExaBGP's helper has connected: {pid}", pid=hello.pid)
        self.came()

    def _lost(self, link: Link) -> None:
        if link is self._link:
            self._link = None
            self.went()
