"""
Datagrams in batches: bound ports that answer from the address that was asked, and connected ones.

Knows sockets; what a datagram says is its owner's business.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.wire.address import Address
from balancer.wire.batches import Batch, batch_for
from balancer.wire.bind import RECEIVE_BUFFER, CannotBind, bind_udp
from balancer.wire.interfaces import IWireReactor
from balancer.wire.pktinfo import ANCILLARY_SIZE, local_of, reply_from

__all__ = [
    "DATAGRAMS_A_TURN",
    "MAX_DATAGRAM",
    "RECEIVE_BUFFER",
    "CannotBind",
    "ConnectedDatagrams",
    "DatagramPort",
    "bind_udp",
]

#: Datagrams read in one turn from one socket.
DATAGRAMS_A_TURN = 64

#: Of those, read one by one before the others are read together. A second look that finds nothing
#: costs a lone datagram less than another way would, whose code is in no cache then.
ALONE = 2

#: So many together are a crowd, and the next are expected to be one.
CROWD = 3

#: The largest datagram that IP carries.
MAX_DATAGRAM = 65535

_DROPPED = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})

_log = Logger("balancer.wire")


def _nothing_at_hand(data: bytes) -> bytes | None:
    return None


@implementer(IReadDescriptor)
class DatagramPort:
    """
    A bound UDP socket: every datagram goes to `received(data, peer, local)`.

    `local` is None, or on a wildcard bind an opaque, hashable token of the address that was asked:
    given back to `send`, the answer leaves from that address. Counters: `received_total`,
    `sent_total`, `dropped_total` (sends that would have blocked or that the kernel refused).

    An owner who answers every datagram at once sets `answer` instead: `answer(data, host)` gives
    what goes back to that host (None: nothing), and spares two calls a datagram. Where many come
    together, `at_hand(data)` is asked first: an answer that is the same whoever asks, None if there
    is no such. Datagrams longer than `longest` bytes are cut.
    """

    def __init__(self, reactor: IWireReactor, sock: socket.socket, address: Address) -> None:
        self.reactor = reactor
        self.socket = sock
        self.address = address
        self.received: Callable[[bytes, Any, object], None] | None = None
        self.answer: Callable[[bytes, str], bytes | None] | None = None
        self.at_hand: Callable[[bytes], bytes | None] | None = None
        self.longest = MAX_DATAGRAM
        self.received_total = 0
        self.sent_total = 0
        self.dropped_total = 0
        self._errors: Callable[[OSError], None] | None = None
        self._wildcard = address.is_wildcard
        self._reading = False
        self._batch: Batch | None = None
        self._room = 0
        self._crowded = False

    def errors(self, callback: Callable[[OSError], None]) -> None:
        """Tell `callback` of errors that the kernel keeps for the socket, ICMP's among them."""
        self._errors = callback

    def start(self) -> None:
        """Begin to read; again is harmless."""
        if not self._reading:
            self._reading = True
            self.reactor.addReader(self)

    def stop(self) -> None:
        """Read no more and close; again is harmless."""
        if self._reading:
            self._reading = False
            self.reactor.removeReader(self)
        self.socket.close()

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

    def doRead(self) -> None:
        """Read until nothing waits, but not for ever."""
        if self.answer is not None and not self._wildcard:
            self._answer_all(self.answer)
            return
        for _ in range(DATAGRAMS_A_TURN):
            if not self._reading:
                return
            local: object = None
            try:
                if self._wildcard:
                    data, ancillary, _flags, peer = self.socket.recvmsg(
                        self.longest, ANCILLARY_SIZE
                    )
                    local = local_of(ancillary)
                else:
                    data, peer = self.socket.recvfrom(self.longest)
            except BlockingIOError:
                return
            except OSError as error:
                if self._errors is not None:
                    self._errors(error)
                continue
            self.received_total += 1
            received = self.received
            if received is not None or self.answer is not None:
                try:
                    if received is not None:
                        received(data, peer, local)
                    else:
                        self._answer_one(data, peer, local)
                except Exception:  # noqa: BLE001  # the reactor's edge: the port must stay
                    _log.failure("a datagram to {address} failed", address=self.address)

    def _answer_one(self, data: bytes, peer: Any, local: object) -> None:
        answer = self.answer
        back = None if answer is None else answer(data, peer[0])
        if back is not None:
            self.send(back, peer, local)

    def _answer_all(self, answer: Callable[[bytes, str], bytes | None]) -> None:
        """The same where answers need no address to leave from: one by one while they come so, for
        which that is the shortest way, and all others together. Nothing is alone in a crowd."""
        most = DATAGRAMS_A_TURN
        if not self._crowded:
            if not self._answer_some(answer, ALONE) or not self._reading:
                return
            most -= ALONE
        if self._room != self.longest:
            self._room = self.longest
            self._batch = batch_for(self.address.family, self.longest)
        batch = self._batch
        if batch is None:
            self._answer_some(answer, most)
            return
        try:
            packets = batch.receive(self.socket.fileno(), most)
        except OSError as error:
            # What ICMP said of an earlier answer: the next turn reads on.
            if self._errors is not None:
                self._errors(error)
            return
        self._crowded = len(packets) >= CROWD
        if packets:
            self._answer_batch(answer, batch, packets)

    def _answer_batch(
        self, answer: Callable[[bytes, str], bytes | None], batch: Batch, packets: list[bytes]
    ) -> None:
        answers: list[bytes | None] = []
        at_hand, append, unanswered = self.at_hand or _nothing_at_hand, answers.append, 0
        for packet in packets:
            try:
                back = at_hand(packet)
                if back is None:
                    back = answer(packet, batch.host(len(answers)))
                    unanswered += back is None
            except Exception:  # noqa: BLE001  # the reactor's edge: the port must stay
                _log.failure("a datagram to {address} failed", address=self.address)
                back, unanswered = None, unanswered + 1
            append(back)
            if not self._reading:
                break
        received = len(answers)
        # Once stopped it has no number any more: the kernel takes nothing.
        refused = batch.send(self.socket.fileno(), answers)
        self.received_total += received
        self.dropped_total += refused
        self.sent_total += received - unanswered - refused

    def _answer_some(self, answer: Callable[[bytes, str], bytes | None], most: int) -> bool:
        """One by one, at most so many; whether there may be more."""
        receive, send, longest = self.socket.recvfrom, self.socket.sendto, self.longest
        received = unsent = 0
        try:
            # Counted by the loop, and what is not sent instead of what is: both cost nothing so.
            for received in range(1, most + 1):  # noqa: B007
                data, peer = receive(longest)
                try:
                    back = answer(data, peer[0])
                except Exception:  # noqa: BLE001  # the reactor's edge: the port must stay
                    _log.failure("a datagram to {address} failed", address=self.address)
                    back = None
                if back is None:
                    unsent += 1
                    continue
                try:
                    send(back, peer)
                except OSError:
                    unsent += 1
                    self.dropped_total += 1
        except BlockingIOError:
            received -= 1
            return False
        except OSError as error:
            # What ICMP said of an earlier answer: the next turn reads on.
            received -= 1
            if self._errors is not None:
                self._errors(error)
            return False
        finally:
            self.received_total += received
            self.sent_total += received - unsent
        return True

    def fileno(self) -> int:
        """The file descriptor, -1 once closed."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """Whose lines these are, for Twisted's log."""
        return f"datagrams {self.address}"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gives everything up."""
        self.stop()


@implementer(IReadDescriptor)
class ConnectedDatagrams:
    """
    A UDP socket connected to one server: its datagrams go to `received(data)`, what ICMP said about
    ours (`ECONNREFUSED`, `EHOSTUNREACH`, ...) to `failed(error)`, always in a later turn.

    Both may be swapped. The constructor raises `OSError` when no socket can be had.
    """

    __slots__ = (
        "_reactor",
        "_socket",
        "address",
        "failed",
        "received",
    )

    def __init__(
        self,
        reactor: IWireReactor,
        address: Address,
        received: Callable[[bytes], None],
        failed: Callable[[OSError], None],
    ) -> None:
        self._reactor = reactor
        self.address = address
        self.received = received
        self.failed = failed
        self._socket = socket.socket(address.family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(address.sockaddr)
            reactor.addReader(self)
        except OSError:
            self._socket.close()
            raise

    def send(self, data: bytes) -> bool:
        """Send to the server. False: dropped, which the caller counts: sockets come and go."""
        for _ in range(2):
            try:
                self._socket.send(data)
            except OSError as error:
                if self._socket.fileno() < 0 or error.errno in _DROPPED:
                    break
                # Most likely what ICMP said about an earlier datagram: this one was not sent yet.
                self._reactor.callLater(0, self._tell, error)
            else:
                return True
        return False

    def close(self) -> None:
        """Call nobody any more; again is harmless."""
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()

    def doRead(self) -> None:
        """Read until nothing waits, but not for ever."""
        for _ in range(DATAGRAMS_A_TURN):
            try:
                data = self._socket.recv(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                self._tell(error)
            else:
                try:
                    self.received(data)
                except Exception:  # noqa: BLE001  # the reactor's edge: the next one is sound
                    _log.failure("a datagram from {address} failed", address=self.address)
            if self._socket.fileno() < 0:
                return

    def _tell(self, error: OSError) -> None:
        if self._socket.fileno() >= 0:
            self.failed(error)

    def fileno(self) -> int:
        """The file descriptor, -1 once closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Whose lines these are, for Twisted's log."""
        return f"datagrams to {self.address}"

    def connectionLost(self, reason: Failure) -> None:
        """A stock reactor takes an ICMP error for the end, or everything is disconnected."""
        code = 0
        if self._socket.fileno() >= 0:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        failed = self.failed
        closed = self._socket.fileno() < 0
        self.close()
        if not closed:
            failed(OSError(code or errno.ECONNABORTED, "the socket was taken down"))
