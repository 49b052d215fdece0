"""
A bound UDP socket: its datagrams come one by one, answers leave from the address that was asked,
and both are counted.

Knows sockets. When it is read, and for whom, is `datagrams`' and `answering`'s.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

from balancer.wire.address import Address
from balancer.wire.pktinfo import ANCILLARY_SIZE, local_of, reply_from

__all__ = ["DATAGRAMS_A_TURN", "MAX_DATAGRAM", "BoundSocket"]

DATAGRAMS_A_TURN: Final = 64
"""Datagrams read in one turn from one socket."""

MAX_DATAGRAM: Final = 65535
"""The largest datagram that IP carries."""


class BoundSocket:
    """
    A bound UDP socket. Datagrams longer than `longest` bytes are cut.

    `local` is None, or on a wildcard bind an opaque, hashable token of the address that was asked:
    given back to `send`, the answer leaves from that address. Counters: `received_total`,
    `sent_total`, `dropped_total` (sends that would have blocked or that the kernel refused).
    `at_close`, if there is one, is called when it is about to be closed, and can still send.
    """

    def __init__(self, sock: socket.socket, address: Address) -> None:
        self.socket = sock
        self.address = address
        self.wildcard = address.is_wildcard
        self.longest = MAX_DATAGRAM
        self.closed = False
        self.received_total = 0
        self.sent_total = 0
        self.dropped_total = 0
        self.at_close: Callable[[], object] | None = None
        self._errors: Callable[[OSError], None] | None = None

    def errors(self, callback: Callable[[OSError], None]) -> None:
        """Tell `callback` of errors that the kernel keeps for the socket, ICMP's among them."""
        self._errors = callback

    def failed(self, error: OSError) -> None:
        """Tell who asked for it."""
        if self._errors is not None:
            self._errors(error)

    def close(self) -> None:
        """Send and receive nothing more, once `at_close` was called; again is harmless."""
        if not self.closed:
            self.closed = True
            try:
                if self.at_close is not None:
                    self.at_close()
            finally:
                self.socket.close()

    def receive(self) -> tuple[bytes, Any, bytes | None]:
        """The next datagram, its peer and its local address. Raises `OSError`."""
        if not self.wildcard:
            return *self.socket.recvfrom(self.longest), None
        data, ancillary, _flags, peer = self.socket.recvmsg(self.longest, ANCILLARY_SIZE)
        return data, peer, local_of(ancillary)

    def send(self, data: bytes, peer: Any, local: object = None) -> bool:
        """Send to `peer`, from `local` if given. False: dropped, and counted."""
        try:
            if local is None:
                self.socket.sendto(data, peer)
            else:
                assert isinstance(local, bytes)
                control = reply_from(self.address.family, local)
                self.socket.sendmsg((data,), (control,), 0, peer)
        except OSError:
            self.dropped_total += 1
            return False
        self.sent_total += 1
        return True

    def fileno(self) -> int:
        """The file descriptor, -1 once closed."""
        return self.socket.fileno()
