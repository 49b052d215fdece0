"""
Relayed datagrams: each flow has a socket of its own to its server, so that the kernel itself says
whose answer comes, and whose server is unreachable.

Knows UDP sockets, pools and the wheel. Knows nothing of how a site file is read or what is shown.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field

from balancer.interfaces import IContext
from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.relay.flows import Flows, Places
from balancer.relay.histogram import LIFE_SECONDS, Histogram
from balancer.relay.limits import Limits, key_of
from balancer.relay.seat import Seat
from balancer.wire.connected import ConnectedDatagrams
from balancer.wire.datagrams import DatagramPort

FLOWS_A_TURN = 500
"""Flows ended in one turn: at 20 us each this keeps a turn under 50 ms."""

UNREACHABLE = frozenset((errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH))
"""What ICMP says of a server that is not there. Everything else is no fault of the server."""


@define(eq=False)
class Totals:
    """What is counted over all flows. Datagrams and bytes are those of flows that have ended."""

    flows: int = 0
    moved: int = 0
    datagrams_in: int = 0
    datagrams_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dropped: dict[str, int] = field(factory=dict)
    ended: dict[str, int] = field(factory=dict)
    life_seconds: Histogram = field(factory=lambda: Histogram(LIFE_SECONDS))

    def drop(self, reason: str) -> None:
        """One more datagram was dropped."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


@define(eq=False)
class Terms:
    """What the flows made under one set of settings share. `idle_timeout` is in seconds."""

    context: IContext
    pool: Pool
    idle_timeout: float
    limits: Limits
    ended: Callable[[Flow], None]
    link: Callable[..., ConnectedDatagrams] = ConnectedDatagrams


class Flow:
    """
    The datagrams between one client's port and one of our addresses, and the server they go to.

    `how` is HAProxy's letters: '--' when it ended by being idle. `came_at` is a time of the
    reactor. While `link` is None it has no server, and looks for one at its next datagram.
    """

    __slots__ = (
        "_answered",
        "_flows",
        "_idle",
        "_port",
        "_seconds",
        "_totals",
        "asked_at",
        "bytes_in",
        "bytes_out",
        "came_at",
        "datagrams_in",
        "datagrams_out",
        "deadline",
        "how",
        "key",
        "link",
        "local",
        "peer",
        "seat",
        "server_key",
        "terms",
    )

    def __init__(self, key: tuple[Any, object, int], inlet: Inlet, seat: Seat) -> None:
        self.key = key
        self.peer, self.local, _ = key
        self.seat = seat
        self.terms = inlet.terms
        self.server_key = ""
        self.how = "--"
        self.link: ConnectedDatagrams | None = None
        self.datagrams_in = self.bytes_in = self.datagrams_out = self.bytes_out = 0
        self._port = inlet.port
        self._flows = inlet.crowd.flows
        self._totals = inlet.crowd.totals
        self._answered = False
        self._seconds = self.terms.context.reactor.seconds
        self._idle = self.terms.idle_timeout
        self.came_at = self.asked_at = self._seconds()
        self.deadline = self.came_at + self._idle

    def begin(self, server: Server) -> bool:
        """Open the socket to `server`, on which the seat is; False: none can be had."""
        try:
            link = self.terms.link(
                self.terms.context.reactor, server.address, self.answer, self.refused
            )
        except OSError:
            self.seat.leave(self._seconds())
            return False
        self.link = link
        self._answered = False
        self.asked_at = self._seconds()
        return True

    def answer(self, data: bytes) -> None:
        """A datagram came from the server: the way back."""
        now = self._seconds()
        self.deadline = now + self._idle
        self.datagrams_out += 1
        self.bytes_out += len(data)
        if not self._answered:
            self._first_answer(now)
        if not self._port.send(data, self.peer, self.local):
            self._totals.drop("send-client")

    def _first_answer(self, now: float) -> None:
        self._answered = True
        self._flows.answered(self)
        server, pool = self.seat.server, self.terms.pool
        if server is not None:
            self._publish(pool.succeeded(server, now - self.asked_at, now))

    def refused(self, error: OSError) -> None:
        """The kernel has something to say about what we sent."""
        if error.errno == errno.EMSGSIZE:
            self._totals.drop("too-big")
            return
        now, server = self._seconds(), self.seat.server
        self._unlink()
        if server is not None and error.errno in UNREACHABLE:
            # Before it leaves the seat, so that an ejection is decided on what is in flight.
            events = self.terms.pool.failed(server, f"udp: {_word(error)}", now)
            self.seat.give_up(now)
            self._publish(events)
        else:
            self.seat.leave(now)
        if self._flows.by_key.get(self.key) is self:
            self._flows.moved(self, "")

    def _publish(self, events: Sequence[Any]) -> None:
        if events:
            self.terms.context.publish(self.terms.pool, events)

    def _unlink(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            link.close()

    def expired(self, now: float) -> None:
        """Idle: forget it."""
        self.end("--")

    def end(self, how: str) -> None:
        """Forget the flow; again is harmless."""
        if not self._flows.remove(self):
            return
        self.how = how
        self._unlink()
        self.terms.context.wheel.discard(self)
        self.seat.leave(self._seconds())
        self.terms.limits.release(self.peer[0])
        self.terms.ended(self)


def _word(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


class Inlet:
    """One listener of a balancer: `received` is what its port calls."""

    __slots__ = ("_by_key", "_idle", "_number", "_seconds", "crowd", "port", "terms")

    def __init__(self, crowd: Crowd, terms: Terms, port: DatagramPort, number: int) -> None:
        self.crowd = crowd
        self.terms = terms
        self.port = port
        self._number = number
        self._by_key = crowd.flows.by_key
        self._seconds = terms.context.reactor.seconds
        self._idle = terms.idle_timeout

    def received(self, data: bytes, peer: Any, local: object) -> None:
        """A datagram came from a client: the hot path, one look-up and one send."""
        key = (peer, local, self._number)
        flow = self._by_key.get(key)
        if flow is None:
            flow = self.crowd.opened(self, key)
            if flow is None:
                return
        flow.deadline = self._seconds() + self._idle
        flow.datagrams_in += 1
        flow.bytes_in += len(data)
        link = flow.link or self.crowd.moved(flow)
        if link is None:
            return
        if not link.send(data):
            self.crowd.totals.drop("send-server")


class Crowd:
    """The flows of one balancer. `crowded` is told each time that a new flow found all of `places`
    taken, which it shares with others."""

    def __init__(
        self, context: IContext, places: Places[Flow], crowded: Callable[[], None]
    ) -> None:
        self.flows: Flows[Flow] = Flows(1, places)
        self.crowded = crowded
        self.totals = Totals()
        self.draining = False
        self._context = context
        self._forsaken: deque[Flow] = deque()
        self._ending = False

    def opened(self, inlet: Inlet, key: tuple[Any, object, int]) -> Flow | None:
        """A new flow with a socket to its server, or None: the reason is counted."""
        terms, now, (host, port) = inlet.terms, inlet.terms.context.reactor.seconds(), key[0][:2]
        if self.draining:
            self.totals.drop("draining")
            return None
        reason = terms.limits.refusal(host, now)
        if reason:
            self.totals.drop(reason)
            return None
        seat = Seat(terms.pool, key_of(terms.pool.needs_key.kind, host, port))
        flow = Flow(key, inlet, seat)
        reason = self._settle(flow, now)
        if reason:
            terms.limits.release(host)
            self.totals.drop(reason)
            return None
        terms.context.wheel.add(flow)
        self.totals.flows += 1
        return flow

    def _settle(self, flow: Flow, now: float) -> str:
        """Give a new flow its place in the table and its server; why that cannot be, or ''."""
        room, oldest = self.flows.room()
        why = "full" if self.flows.full else "descriptors"
        if why == "descriptors" and (oldest is not None or not room):
            self.crowded()
        if not room:
            if oldest is not None:
                oldest.end("PD")
            return why
        server = flow.seat.take(now)
        if server is None:
            return "no-server"
        if oldest is not None:
            oldest.end("PD")
        if not flow.begin(server):
            return "no-socket"
        flow.server_key = server.key
        self.flows.add(flow)
        return ""

    def moved(self, flow: Flow) -> ConnectedDatagrams | None:
        """The socket of a flow that lost its server, to the next one; None: there is none."""
        now = flow.terms.context.reactor.seconds()
        server = flow.seat.take(now)
        if server is None:
            # All have been tried: the next datagram begins anew.
            flow.seat.tried = ()
            self.totals.drop("no-server")
            return None
        if not flow.begin(server):
            self.totals.drop("no-socket")
            return None
        self.flows.moved(flow, server.key)
        self.totals.moved += 1
        return flow.link

    def forsake(self, server_key: str) -> None:
        """The server takes no more work: its flows end, some each turn, so that the next datagram
        of each finds another server."""
        self._forsaken.extend(self.flows.of(server_key))
        if self._forsaken and not self._ending:
            self._end_some()

    def end_all(self, how: str) -> None:
        """End every flow now."""
        for flow in self.flows:
            flow.end(how)

    def _end_some(self) -> None:
        # A reload may take hundreds of servers away in one turn: they share what a turn may cost.
        self._ending = bool(self._forsaken)
        for _ in range(min(FLOWS_A_TURN, len(self._forsaken))):
            self._forsaken.popleft().end("SD")
        if self._ending:
            self._context.reactor.callLater(0, self._end_some)
