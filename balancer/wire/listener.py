"""
Listening sockets: bound early, accepted from in batches, and never spun on.

Knows sockets and errno; what becomes of a connection is its owner's business.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.wire.address import Address
from balancer.wire.bind import BACKLOG, CannotBind, bind_tcp
from balancer.wire.interfaces import IWireReactor
from balancer.wire.seldom import Seldom

__all__ = ["ACCEPTS_A_TURN", "BACKLOG", "CannotBind", "Listener", "bind_tcp"]

#: Connections accepted in one turn at most: at some 30 us each this leaves room for the others.
ACCEPTS_A_TURN = 64

#: And of those whose first bytes are here (see `defer`), which the owner answers at once: to find
#: that no other waits costs 6 us (the kernel makes a file first), as much as another turn.
DEFERRED_A_TURN = 1

#: How long the kernel holds back a connection whose client says nothing (see `defer`): until it has
#: sent its SYN-ACK once more.
SILENT_SECONDS = 1

#: Seconds between two lines about a shortage.
LOG_INTERVAL = 1.0

# accept(2): no room for another descriptor or socket.
_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = Logger("balancer.wire")


@implementer(IReadDescriptor)
class Listener:
    """
    Gives every connection that comes in on `sock` to `accepted(sock, peer)`.

    `accepted` may be swapped at any time; while it is None, before `start()` and while paused,
    connections wait in the backlog. When descriptors run out, connections are accepted and closed
    by means of a reserved one, so that clients hear of it and the reactor does not spin.
    """

    def __init__(self, reactor: IWireReactor, sock: socket.socket, address: Address) -> None:
        self.reactor = reactor
        self.socket = sock
        self.address = address
        self.accepted_total = 0
        self.refused_total = 0
        #: Whether connections come with TCP_NODELAY set (see `Stream.start`).
        self.prompt = False
        self._accepted: Callable[[socket.socket, Any], None] | None = None
        self._started = False
        self._paused: set[Hashable] = set()
        self._deferred: set[Hashable] = set()
        self._reading = False
        self._reserve: int | None = _reserve()
        self._seldom = Seldom(LOG_INTERVAL)

    @property
    def accepted(self) -> Callable[[socket.socket, Any], None] | None:
        """The owner: called with each new non-blocking socket and the peer's address."""
        return self._accepted

    @accepted.setter
    def accepted(self, owner: Callable[[socket.socket, Any], None] | None) -> None:
        self._accepted = owner
        self._update()

    def start(self) -> None:
        """Begin to accept; again is harmless."""
        if not self._started and not self.address.is_unix and sys.platform == "linux":
            # Inherited there by what is accepted.
            with suppress(OSError):
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.prompt = True
        self._started = True
        self._update()

    def pause(self, why: Hashable = None) -> None:
        """Let connections wait in the backlog, for `why` among other reasons."""
        self._paused.add(why)
        self._update()

    def resume(self, why: Hashable = None) -> None:
        """Accept again, unless there is another reason not to."""
        self._paused.discard(why)
        self._update()

    @property
    def deferred(self) -> bool:
        """Whether connections come when their clients have spoken."""
        return bool(self._deferred)

    def defer(self, why: Hashable) -> None:
        """
        Accept connections only when their first bytes are here, for `why` among other reasons.

        For protocols in which the client speaks first: to wake twice for that is dear. The kernel
        gives up waiting after `SILENT_SECONDS`. (Apache's default on Linux; `deferred` in nginx,
        `defer-accept` in HAProxy.) Nothing on a unix socket and beyond Linux.
        """
        if self._set_deferral(SILENT_SECONDS):
            self._deferred.add(why)

    def defer_no_more(self, why: Hashable) -> None:
        """Accept connections at once, unless there is another reason not to."""
        self._deferred.discard(why)
        if not self._deferred:
            self._set_deferral(0)

    def _set_deferral(self, seconds: int) -> bool:
        if self.address.is_unix or sys.platform != "linux":
            return False
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, seconds)
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Close the socket: the kernel refuses what comes now, and resets what still waits."""
        self._started = False
        self._update()
        if self.socket.fileno() >= 0:
            self.socket.close()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _update(self) -> None:
        wanted = self._started and not self._paused and self._accepted is not None
        if wanted and not self._reading:
            self._reading = True
            self.reactor.addReader(self)
        elif self._reading and not wanted:
            self._reading = False
            self.reactor.removeReader(self)

    def fileno(self) -> int:
        """The file descriptor, -1 once closed."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """Whose lines these are, for Twisted's log."""
        return f"listener {self.address}"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gives everything up."""
        self.stop()

    def doRead(self) -> None:
        """Accept until nobody waits, but not for ever."""
        for _ in range(DEFERRED_A_TURN if self._deferred else ACCEPTS_A_TURN):
            owner = self._accepted
            if owner is None or not self._reading:
                return
            try:
                sock, peer = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if not self._survived(error):
                    return
                continue
            sock.setblocking(False)
            self.accepted_total += 1
            try:
                owner(sock, peer)
            except Exception:  # noqa: BLE001  # the reactor's edge: the next connection is sound
                # Not closed here: a stream may have it by now.
                _log.failure("a connection to {address} failed", address=self.address)

    def _survived(self, error: OSError) -> bool:
        """Whether to accept on. Most errors belong to a connection that is gone (accept(2))."""
        if error.errno not in _SHORTAGE:
            return True
        refused = self._refuse_one()
        count = self._seldom.note(self.reactor.seconds())
        if count:
            _log.error(
                "{address}: {error}; connections refused so far: {total}",
                address=self.address,
                error=os.strerror(error.errno or 0),
                total=self.refused_total,
            )
        return refused

    def _refuse_one(self) -> bool:
        """Accept and close one connection in place of the reserved descriptor."""
        if self._reserve is None:
            self._reserve = _reserve()
        if self._reserve is None:
            return False
        os.close(self._reserve)
        try:
            self.socket.accept()[0].close()
        except OSError:
            return False
        else:
            self.refused_total += 1
            return True
        finally:
            self._reserve = _reserve()


def _reserve() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
