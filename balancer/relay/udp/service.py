"""
The kind `udp` at work: flows in, counters and log lines out.

Knows the site's seams. What happens to one flow is in `protocol`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from balancer.config.values import Endpoint
from balancer.interfaces import (
    IBalancer,
    IContext,
    IPrepared,
    Metric,
    PrepareError,
    Published,
)
from balancer.pool.events import EnteredMaintenance, Moved, WasRemoved, WentDown
from balancer.pool.pool import Pool
from balancer.relay.flows import Places
from balancer.relay.limits import Limits
from balancer.relay.lines import Ended, milliseconds, peer_text
from balancer.relay.service import Families, Relay
from balancer.relay.settings import UdpSettings
from balancer.relay.udp.protocol import Crowd, Flow, Inlet, Terms
from balancer.wire import room
from balancer.wire.connected import ConnectedDatagrams
from balancer.wire.datagrams import DatagramPort
from balancer.wire.seldom import Seldom

log = Logger()

OF_THE_PROCESS: Places[Flow] = Places()
"""Places for the flows of all `[udp]` sections of this process, which share its descriptors."""

CROWDED_INTERVAL = 60.0
"""Seconds between two warnings that there are no descriptors for more flows."""

NO_MORE_WORK = (WentDown, EnteredMaintenance, WasRemoved, Moved)
"""What ends a server's flows: it fails, or nobody checks any more where they go. A flow has no end
of its own and each datagram renews it, so it would go nowhere for as long as its client asks."""


@implementer(IBalancer)
class UdpBalancer(Relay[UdpSettings, DatagramPort]):
    """
    `[udp NAME]`. A flow stays on its server while that is up; when it goes down, into maintenance,
    out of the site file, to another address, or is unreachable by what ICMP says, the next datagram
    finds another server.
    """

    def __init__(
        self,
        name: str,
        context: IContext,
        link: Callable[..., ConnectedDatagrams] = ConnectedDatagrams,
        places: Places[Flow] | None = None,
    ) -> None:
        super().__init__(name, context)
        self._link = link
        self._places: Places[Flow] = Places() if places is None else places
        self.crowd = Crowd(context, self._places, self._crowded)
        self._told = Seldom(CROWDED_INTERVAL)
        self._terms: Terms | None = None
        self._owners: dict[DatagramPort, Callable[[bytes, Any, object], None]] = {}
        self._numbers: dict[DatagramPort, int] = {}
        # Pools that there may be flows on, also after a reload gave the section another one.
        self._pools: dict[str, Pool] = {}
        context.subscribe(self._published)

    def prepare(self, settings: UdpSettings) -> IPrepared:
        """See `IBalancer`. Raises `PrepareError` also for servers that take no datagrams. A pool
        that is in force already does not show what the same reload will make of it."""
        for server in self.context.pool(settings.pool).servers:
            if server.address.is_unix:
                raise PrepareError(
                    f"[udp {self.section}] pool: expected servers at ADDRESS:PORT, since they get "
                    f"datagrams, got {server.key} at {server.address}; give it an address and a "
                    "port, or name another pool"
                )
        return super().prepare(settings)

    def _borrow(self, endpoint: Endpoint) -> DatagramPort:
        return self.context.datagrams(endpoint.host, endpoint.port)

    def _give_back(self, bound: DatagramPort) -> None:
        # Unless another balancer has taken it over at a reload.
        if bound.received is self._owners.pop(bound, None):
            bound.received = None

    def _close(self) -> None:
        """The flows that there are go on, so the ports stay ours; the crowd takes no more."""
        self.crowd.draining = True

    def _settled(self, settings: UdpSettings, pool: Pool, limits: Limits) -> None:
        self._terms = Terms(
            self.context, pool, settings.idle_timeout, limits, self._ended, self._link
        )
        self.crowd.flows.most = self._room(settings.max_connections)
        self._forsake_removed_pools()
        self._pools[pool.name] = pool

    def _forsake_removed_pools(self) -> None:
        """Nobody checks the servers of a pool that the site file has no more; no event says so."""
        for former in tuple(self._pools.values()):
            try:
                stays = self.context.pool(former.name) is former
            except KeyError:
                stays = False
            if not stays:
                del self._pools[former.name]
                for server in former.servers:
                    self.crowd.forsake(server.key)

    def _room(self, wanted: int) -> int:
        """As many flows as were asked for, or as file descriptors allow: each needs one."""
        fit = self._places.most = room.flows()
        if fit < wanted:
            log.warn(
                "udp {name}: room for {fit} flows, all [udp] sections together, instead of "
                "max-connections = {wanted}: only {limit} files may be open (ulimit -n)",
                name=self.section,
                fit=fit,
                wanted=wanted,
                limit=room.soft_limit(),
            )
        return min(wanted, fit)

    def _crowded(self) -> None:
        """A new flow found all places taken, by ours and by those of other sections."""
        count = self._told.note(self.context.reactor.seconds())
        if count:
            log.warn(
                "udp {name}: no descriptor for {count} new flows: all [udp] sections together have "
                "{most} of {limit}, and unanswered flows give way; raise ulimit -n (LimitNOFILE), "
                "or lower idle-timeout, max-connections or rate",
                name=self.section,
                count=count,
                most=self._places.most,
                limit=room.soft_limit(),
            )

    def _open(self) -> None:
        terms = self._terms
        assert terms is not None
        for port in self._bound:
            number = self._numbers.setdefault(port, len(self._numbers))
            owner = self._owners[port] = Inlet(self.crowd, terms, port, number).received
            port.received = owner
            port.start()

    def _ended(self, flow: Flow) -> None:
        totals, lasted = self.crowd.totals, self.context.reactor.seconds() - flow.came_at
        totals.datagrams_in += flow.datagrams_in
        totals.datagrams_out += flow.datagrams_out
        totals.bytes_in += flow.bytes_in
        totals.bytes_out += flow.bytes_out
        totals.life_seconds.observe(lasted)
        totals.ended[flow.how] = totals.ended.get(flow.how, 0) + 1
        if self._log is not None:
            self._write(self._entry(flow, lasted))
        self._tell_if_empty()

    def _entry(self, flow: Flow, lasted: float) -> Ended:
        return Ended(
            client=peer_text(flow.peer[0], flow.peer[1]),
            at=time.time() - lasted,
            balancer=f"udp/{self.section}",
            server=flow.server_key,
            three=(flow.datagrams_in, flow.datagrams_out, milliseconds(lasted)),
            to_server=flow.bytes_in,
            to_client=flow.bytes_out,
            how=flow.how,
            left=len(self.crowd.flows),
        )

    def _busy(self) -> bool:
        return bool(len(self.crowd.flows))

    def stopService(self) -> Deferred[None]:
        """End what is left, at once, and hear of no more verdicts."""
        self.context.unsubscribe(self._published)
        return super().stopService()

    def _end_all(self) -> None:
        self.crowd.end_all("KD")
        for port in self._bound:
            self._give_back(port)

    def _published(self, published: Published) -> None:
        # Whatever the pool: flows stay on the one they began on when a reload names another.
        if isinstance(published.event, NO_MORE_WORK):
            self.crowd.forsake(published.event.server)

    def _sums(self) -> tuple[int, int, int, int]:
        """Datagrams and bytes to servers, datagrams and bytes to clients."""
        totals = self.crowd.totals
        sums = [totals.datagrams_in, totals.bytes_in, totals.datagrams_out, totals.bytes_out]
        for flow in self.crowd.flows:
            sums[0] += flow.datagrams_in
            sums[1] += flow.bytes_in
            sums[2] += flow.datagrams_out
            sums[3] += flow.bytes_out
        return sums[0], sums[1], sums[2], sums[3]

    def status(self) -> Mapping[str, Any]:
        """See `IBalancer`."""
        datagrams_in, bytes_in, datagrams_out, bytes_out = self._sums()
        return {
            "kind": "udp",
            "name": self.section,
            "listen": [str(each.address) for each in self._bound],
            "pool": "" if self.pool is None else self.pool.name,
            "flows": len(self.crowd.flows),
            "max_connections": self.crowd.flows.most,
            "draining": self.draining,
            "flows_total": self.crowd.totals.flows,
            "moved": self.crowd.totals.moved,
            "datagrams_to_server": datagrams_in,
            "datagrams_to_client": datagrams_out,
            "bytes_to_server": bytes_in,
            "bytes_to_client": bytes_out,
            "dropped": dict(self.crowd.totals.dropped),
            "rate_forgotten": self.forgotten_total,
            "listeners": {
                str(each.address): {
                    "received": each.received_total,
                    "sent": each.sent_total,
                    "dropped": each.dropped_total,
                }
                for each in self._bound
            },
        }

    def metrics(self) -> Sequence[Metric]:
        """See `IBalancer`."""
        found, totals = Families("balancer_udp_", self.section), self.crowd.totals
        datagrams_in, bytes_in, datagrams_out, bytes_out = self._sums()
        found.one("gauge", "flows", "Flows now.", len(self.crowd.flows))
        found.one("counter", "flows_opened", "Flows begun.", totals.flows)
        found.one(
            "counter", "flows_moved", "Flows that went on to another server.", totals.moved
        )
        found.by(
            "counter",
            "datagrams",
            "Datagrams received, by where they go.",
            "direction",
            {"to-server": datagrams_in, "to-client": datagrams_out},
        )
        found.by(
            "counter",
            "bytes",
            "Bytes received, by where they go.",
            "direction",
            {"to-server": bytes_in, "to-client": bytes_out},
        )
        found.by("counter", "dropped", "Datagrams dropped, by why.", "reason", totals.dropped)
        self._tell_of_rates(found)
        self._tell_of_listeners(found)
        found.by(
            "counter",
            "ended",
            "Flows that are over, by who ended them (see the access log).",
            "how",
            totals.ended,
        )
        found.histogram(
            "duration_seconds", "How long flows lasted.", totals.life_seconds
        )
        return found.found

    def _tell_of_listeners(self, found: Families) -> None:
        ports = {str(each.address): each for each in self._bound}
        text = "Datagrams that came to a listener, those that were dropped among them."
        values = {name: port.received_total for name, port in ports.items()}
        found.by("counter", "listener_received", text, "listener", values)
        text = "Datagrams that left from a listener for a client."
        values = {name: port.sent_total for name, port in ports.items()}
        found.by("counter", "listener_sent", text, "listener", values)
        text = "Datagrams for a client that the kernel did not take from a listener."
        values = {name: port.dropped_total for name, port in ports.items()}
        found.by("counter", "listener_dropped", text, "listener", values)
