"""
Datagrams that are answered at once: one by one while they come so, and all together in a crowd.

Knows when which way is the shorter. What is asked, and what is answered, is the owner's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from twisted.logger import Logger

from balancer.wire.batches import Batch, batch_for
from balancer.wire.bound import DATAGRAMS_A_TURN, BoundSocket
from balancer.wire.pktinfo import ANCILLARY_SIZE, ControlMessage, local_of, reply_from

__all__ = ["Answer", "Answering", "AtHand"]

Answer = Callable[[bytes, str], bytes | None]
"""What goes back for a datagram to the host that sent it, None: nothing."""

AtHand = Callable[[bytes], bytes | None]
"""The answer to a datagram that is the same whoever asks, None: there is no such."""

ALONE: Final = 3
"""Datagrams read one by one in a turn before the others are read together. Looks that find nothing
cost a lone datagram less than another way would, whose code is in no cache then; and so many cost
less one by one."""

CROWD: Final = 4
"""So many in a turn are a crowd, and the next are expected to be one: from here on they cost less
together."""

_Whom = tuple[str, Any, tuple[ControlMessage, ...]]

_log = Logger("balancer.wire")


class Answering:
    """Answers what comes to `port`, and counts there. An answer that raises is logged, and costs
    that datagram alone; one that closes the port is the last."""

    __slots__ = ("_batch", "_crowded", "_from", "_port", "_room", "_told")

    def __init__(self, port: BoundSocket) -> None:
        self._port = port
        self._batch: Batch | None = None
        self._room = 0
        self._crowded = False
        self._told: list[ControlMessage] | None = None
        self._from: tuple[ControlMessage, ...] = ()

    def turn(self, answer: Answer, at_hand: AtHand | None) -> None:
        """Answer what waits, but not for ever. In a crowd `at_hand` is asked first."""
        port, most = self._port, DATAGRAMS_A_TURN
        if not self._crowded:
            if not self._some(answer, ALONE):
                return
            most -= ALONE
        if self._room != port.longest:
            self._room = port.longest
            self._batch = batch_for(port.address.family, port.longest, port.wildcard)
        batch = self._batch
        if batch is None:
            self._some(answer, most)
            return
        try:
            packets = batch.receive(port.socket.fileno(), most)
        except OSError as error:
            # What ICMP said of an earlier answer: the next turn reads on.
            port.failed(error)
            return
        self._crowded = len(packets) + DATAGRAMS_A_TURN - most >= CROWD
        if packets:
            self._together(batch, packets, answer, at_hand or _nothing_at_hand)

    def _together(
        self, batch: Batch, packets: list[bytes], answer: Answer, at_hand: AtHand
    ) -> None:
        port, answers = self._port, list[bytes | None]()
        append = answers.append
        # Whoever was answered before the owner stops the port gets it, as one by one.
        port.at_close = partial(self._leave, batch, answers)
        try:
            for packet in packets:
                try:
                    back = at_hand(packet)
                    if back is None:
                        back = answer(packet, batch.host(len(answers)))
                except Exception:  # noqa: BLE001  # the reactor's edge: the port must stay
                    self._raised()
                    back = None
                if port.closed:
                    port.received_total += 1
                    port.dropped_total += back is not None
                    break
                append(back)
            else:
                self._leave(batch, answers)
        finally:
            port.at_close = None

    def _leave(self, batch: Batch, answers: Sequence[bytes | None]) -> None:
        port = self._port
        sent, refused = batch.send(port.socket.fileno(), answers)
        port.received_total += len(answers)
        port.sent_total += sent
        port.dropped_total += refused

    def _some(self, answer: Answer, most: int) -> bool:
        """One by one, at most so many; whether there may be more."""
        port = self._port
        longest, receive, send = port.longest, port.socket.recvfrom, port.socket.sendto
        if port.wildcard:
            receive, send = self._receive_asked, self._send_asked  # type: ignore[assignment]  # overloads
        received = unsent = 0
        try:
            # Counted by the loop, and what is not sent instead of what is: both cost nothing so.
            for received in range(1, most + 1):  # noqa: B007
                data, whom = receive(longest)
                try:
                    back = answer(data, whom[0])
                except Exception:  # noqa: BLE001  # the reactor's edge: the port must stay
                    self._raised()
                    back = None
                if back is None:
                    unsent += 1
                else:
                    try:
                        send(back, whom)
                    except OSError:
                        unsent += 1
                        port.dropped_total += 1
                if port.closed:
                    return False
        except BlockingIOError:
            received -= 1
            return False
        except OSError as error:
            # What ICMP said of an earlier answer: the next turn reads on.
            received -= 1
            port.failed(error)
            return False
        finally:
            port.received_total += received
            port.sent_total += received - unsent
        return True

    def _receive_asked(self, longest: int) -> tuple[bytes, _Whom]:
        """As `recvfrom`; but whom to answer is the host, its whole address, and from where."""
        data, told, _flags, peer = self._port.socket.recvmsg(longest, ANCILLARY_SIZE)
        if told != self._told:
            # Most are asked at the address that the last one was: 1 us less of 11 for those.
            self._told, local = told, local_of(told)
            self._from = () if local is None else (reply_from(self._port.address.family, local),)
        return data, (peer[0], peer, self._from)

    def _send_asked(self, data: bytes, whom: _Whom) -> None:
        """As `sendto` to such a one."""
        _host, peer, control = whom
        self._port.socket.sendmsg((data,), control, 0, peer)

    def _raised(self) -> None:
        _log.failure("a datagram to {address} failed", address=self._port.address)


def _nothing_at_hand(data: bytes) -> bytes | None:
    return None
