"""
The netlink sockets: one that asks, and one that listens to what others change.

The kernel carries a request out within `send`, and its answer lies in the socket's buffer when that
returns (some 30 to 100 us for a route or a next hop). So a request is a plain call: nothing queues,
nothing is in flight between two turns, and nothing can be lost to a flood of notifications, which
have a socket of their own.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure as Reason
from zope.interface import implementer

from balancer.kernel import netlink
from balancer.kernel.netlink import Failure, Malformed, Message

RECEIVE: Final = 256 * 1024
"""Bytes read at once: a dump comes in pieces of at most 32 KiB, a notification is smaller."""

DUMP_ATTEMPTS: Final = 5
"""How often a dump that others' changes interrupted is asked for: iproute2 gives up at once."""

MAX_DUMPED: Final = 1_000_000
"""Messages of one dump: more than the routes of the whole Internet."""

READS_A_TURN: Final = 64
"""Notifications read in one turn: some 2 ms."""

MONITOR_BUFFER: Final = 1024 * 1024
"""Bytes of notifications that may wait in the kernel; BIRD asks for as much. What comes in excess
is lost, and told by ENOBUFS."""

LINKS: Final = 1
IPV4_ADDRESSES: Final = 5
IPV4_ROUTES: Final = 7
IPV6_ADDRESSES: Final = 9
IPV6_ROUTES: Final = 11
NEXT_HOPS: Final = 32

_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP, _CAP_ACK, _EXT_ACK, _STRICT = 1, 10, 11, 12
_RCVBUFFORCE: Final = 33
_ROUTE: Final = 0

log = Logger()


class Refused(Exception):
    """The kernel did not do what it was asked for; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure

    @property
    def code(self) -> int:
        """The errno."""
        return self.failure.code


def opened() -> socket.socket:
    """A netlink socket. Raises `Refused`."""
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _ROUTE)
    except OSError as error:
        raise Refused(Failure(error.errno or 0, "cannot open a netlink socket")) from error
    sock.setblocking(False)
    return sock


class Netlink:
    """
    A socket that asks the kernel. Every call is over when it returns, and raises `Refused` if the
    kernel would not. `port` is what notifications of our own changes bear.
    """

    def __init__(self, sock: socket.socket | None = None) -> None:
        self._socket = opened() if sock is None else sock
        for option in (_CAP_ACK, _EXT_ACK, _STRICT):
            with suppress(OSError):  # a kernel without it answers with fewer words
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))
        self.port: int = self._socket.getsockname()[0]
        self._sequence = 0

    def close(self) -> None:
        """The end; harmless if it was before."""
        self._socket.close()

    def ask(self, request: Callable[[int], bytes]) -> Message | None:
        """Carry one request out; `request` is given its sequence number. The message that the
        kernel answered with, None for one that it only acknowledged."""
        sequence = self._send(request)
        for message in self._replies(sequence):
            if message.kind == netlink.ERROR:
                _raise_if(netlink.failure(message))
                return None
            return message
        return None

    def dump(self, request: Callable[[int], bytes]) -> list[Message]:
        """All messages of a dump in which nothing changed meanwhile."""
        for _ in range(DUMP_ATTEMPTS):
            found = self._dumped(self._send(request))
            if found is not None:
                return found
        raise Refused(Failure(errno.EINTR, "others change it without end"))

    def _dumped(self, sequence: int) -> list[Message] | None:
        found: list[Message] = []
        whole = True
        for message in self._replies(sequence):
            whole = whole and not message.flags & netlink.DUMP_INTERRUPTED
            if message.kind == netlink.ERROR:
                _raise_if(netlink.failure(message))
                break
            if message.kind == netlink.DONE:
                _raise_if(netlink.dump_failure(message))
                break
            if len(found) >= MAX_DUMPED:
                raise Refused(Failure(errno.E2BIG, f"over {MAX_DUMPED} messages in a dump"))
            found.append(message)
        return found if whole else None

    def _send(self, request: Callable[[int], bytes]) -> int:
        self._sequence = self._sequence % 0xFFFFFFFF + 1
        self._forget_leftovers()
        try:
            self._socket.send(request(self._sequence))
        except OSError as error:
            raise Refused(Failure(error.errno or 0, "cannot send to the kernel")) from error
        return self._sequence

    def _forget_leftovers(self) -> None:
        """What a request that was given up left behind."""
        for _ in range(READS_A_TURN):
            try:
                self._socket.recv(RECEIVE)
            except BlockingIOError:
                return
            except OSError:
                continue  # ENOBUFS: it was lost anyway

    def _replies(self, sequence: int) -> Iterator[Message]:
        """Replies to that request, until the caller has heard enough."""
        while True:
            try:
                data = self._socket.recv(RECEIVE)
                found = list(netlink.messages(data))
            except OSError as error:
                raise Refused(Failure(error.errno or 0, "no answer from the kernel")) from error
            except Malformed as error:
                raise Refused(Failure(errno.EBADMSG, str(error))) from error
            for message in found:
                if message.sequence == sequence:
                    yield message


def _raise_if(failure: Failure) -> None:
    if failure.code:
        raise Refused(failure)


@implementer(IReadDescriptor)
class Monitor:
    """
    Listens to what changes in the kernel, whoever changes it.

    `heard` is called with the messages of each datagram, and `overrun` when some were lost, or
    could not be read: whoever follows them has to look at everything anew. Both may be called from
    `start` on and must not raise.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        groups: Sequence[int],
        heard: Callable[[Sequence[Message]], None],
        overrun: Callable[[], None],
        sock: socket.socket | None = None,
    ) -> None:
        """Raises `Refused`. What changes from now on is heard."""
        self._reactor = reactor
        self._heard = heard
        self._overrun = overrun
        self._socket = opened() if sock is None else sock
        with suppress(OSError):  # needs a privilege; half of it does as well
            self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, MONITOR_BUFFER)
        try:
            self._socket.bind((0, 0))
            for group in groups:
                number = struct.pack("=i", group)
                self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, number)
        except OSError as error:
            self._socket.close()
            raise Refused(Failure(error.errno or 0, "cannot listen to the kernel")) from error

    def start(self) -> None:
        """Begin to listen."""
        self._reactor.addReader(self)

    def close(self) -> None:
        """The end; harmless if it was before."""
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()

    def fileno(self) -> int:
        """The file descriptor, -1 once closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Whose lines these are, for Twisted's log."""
        return "netlink"

    def doRead(self) -> Any:
        """Readable."""
        for _ in range(READS_A_TURN):
            if self._socket.fileno() < 0:
                return None  # whoever heard has closed it
            try:
                self._heard(list(netlink.messages(self._socket.recv(RECEIVE))))
            except BlockingIOError:
                return None
            except (OSError, Malformed):
                self._overrun()
                return None
        return None

    def connectionLost(self, reason: Reason) -> None:
        """The reactor ends, or could not wait on it."""
        self.close()
