"""
The kind `tcp` at work: connections in, limits, counters and log lines out.

Knows the site's seams. What happens to one connection is in `protocol`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import define
from twisted.logger import Logger
from zope.interface import implementer

from balancer.config.slices import Slices, finish
from balancer.config.values import Endpoint
from balancer.interfaces import (
    Flaw,
    IContext,
    IPrepared,
    IPreparedFromFiles,
    IPreparesInSlices,
    Metric,
    PrepareError,
)
from balancer.pool.pool import Pool
from balancer.relay.limits import Limits
from balancer.relay.lines import Ended, milliseconds, peer_text
from balancer.relay.service import Families, Prepared, Relay
from balancer.relay.settings import TcpSettings
from balancer.relay.tcp.protocol import Link, Side, Terms, Totals
from balancer.wire import room
from balancer.wire.connect import Connecting, connect
from balancer.wire.handshakes import HANDSHAKE_SECONDS, MOST_HANDSHAKES
from balancer.wire.keyring import judging
from balancer.wire.listener import Listener
from balancer.wire.stream import Stream
from balancer.wire.terminations import CannotLoad, Keyrings, Terminations

log = Logger()


def flaws(sections: Mapping[str, TcpSettings]) -> Iterator[Flaw | None]:
    """What is wrong with the certificates that sections name. See `IReadsFiles`."""
    for name, settings in sections.items():
        if settings.tls is None:
            continue
        verdict = yield from judging(settings.tls, ())
        for text in verdict.problems:
            yield Flaw(f"tcp:{name}", "tls", 0, text)
        for text in verdict.warnings:
            yield Flaw(f"tcp:{name}", "tls", 0, text, doubt=True)


@implementer(IPreparedFromFiles)
@define
class PreparedWithTls(Prepared):
    """A change that may also come from the files of certificates."""

    read_again: tuple[str, ...]

    def changes(self) -> Sequence[str]:
        """See `IPreparedFromFiles`."""
        return self.read_again


@implementer(IPreparesInSlices)
class TcpBalancer(Relay[TcpSettings, Listener]):
    """
    `[tcp NAME]`. A connection stays on its server whatever becomes of the server's health, and when
    a reload removes the server: the kernel tells when it is really gone, and a failing check alone
    closes nothing.
    """

    def __init__(
        self,
        name: str,
        context: IContext,
        connect: Callable[..., Connecting] = connect,
        stream: Callable[..., Stream] = Stream,
    ) -> None:
        super().__init__(name, context)
        self._connect = connect
        self._stream = stream
        self.totals = Totals()
        self.links: set[Link] = set()
        self.connections_total = 0
        self.pauses_total = 0
        self.refused: dict[str, int] = {}
        self._terms: Terms | None = None
        self._owners: dict[Listener, Callable[[socket.socket, Any], None]] = {}
        self._most = 0
        self._paused = False
        self._tls = Terminations(self._not_shaken)

    def prepare(self, settings: TcpSettings) -> IPrepared:
        """See `IBalancer`."""
        return finish(self.preparing(settings))

    def preparing(self, settings: TcpSettings) -> Slices[IPrepared]:
        """See `IPreparesInSlices`. Raises `PrepareError` also when certificates cannot be used."""
        others = super().prepare(settings)
        paths = {}
        if settings.tls is not None:
            paths = {self._borrow(endpoint): settings.tls for endpoint in settings.listen}
        try:
            keyrings = yield from self._tls.preparing(paths, self.context.reactor.seconds())
        except CannotLoad as error:
            msg = "\n".join(f"[tcp {self.section}] tls: {each}" for each in error.problems)
            raise PrepareError(msg) from error
        return PreparedWithTls(
            partial(self._take_all, others, keyrings, settings),
            tuple(
                f"~ tcp {self.section}: {path} was read again"
                for path in self._tls.read_again(keyrings)
            ),
        )

    def _take_all(self, others: IPrepared, keyrings: Keyrings, settings: TcpSettings) -> None:
        timeout = min(HANDSHAKE_SECONDS, settings.idle_timeout)
        self._tls.take(keyrings, timeout, min(MOST_HANDSHAKES, settings.max_connections))
        others.commit()

    def _borrow(self, endpoint: Endpoint) -> Listener:
        return self.context.listener(endpoint.host, endpoint.port)

    def _give_back(self, bound: Listener) -> None:
        # Unless another balancer has taken it over at a reload.
        if bound.accepted is self._owners.pop(bound, None):
            bound.accepted = None
            bound.resume()

    def _settled(self, settings: TcpSettings, pool: Pool, limits: Limits) -> None:
        self._terms = Terms(
            context=self.context,
            pool=pool,
            idle_timeout=settings.idle_timeout,
            limits=limits,
            totals=self.totals,
            ended=self._ended,
            connect=self._connect,
        )
        self._most = self._room(settings.max_connections)

    def _room(self, wanted: int) -> int:
        """As many connections as were asked for, or as file descriptors allow: each needs two."""
        fit = room.pairs()
        if fit < wanted:
            log.warn(
                "tcp {name}: room for {fit} connections instead of max-connections = {wanted}: "
                "only {limit} files may be open (ulimit -n)",
                name=self.section,
                fit=fit,
                wanted=wanted,
                limit=room.soft_limit(),
            )
        return min(wanted, fit)

    def _open(self) -> None:
        if self.draining:
            return
        for listener in self._bound:
            owner = self._owners.setdefault(
                listener, partial(self._accepted, listener)
            )
            listener.accepted = owner
            listener.resume()
            listener.start()
        self._paused = False
        self._bound_connections()

    def _close(self) -> None:
        super()._close()
        self._tls.stop()

    def _not_shaken(self, client: Side, reason: str) -> None:
        client.not_made()

    def _accepted(self, listener: Listener, sock: socket.socket, peer: Any) -> None:
        terms = self._terms
        assert terms is not None
        source, port = peer[:2] if isinstance(peer, tuple) else ("unix", 0)
        reason = terms.limits.refusal(source, self.context.reactor.seconds())
        if reason:
            self.refused[reason] = self.refused.get(reason, 0) + 1
            sock.close()
            return
        self.connections_total += 1
        link = Link(terms, source, port)
        self.links.add(link)
        self._bound_connections()
        if listener in self._tls:
            self._tls.handshakes(listener).serve(sock, peer, link.client)
            return
        host = listener.address.sockaddr
        stream = self._stream(self.context.reactor, sock, link.client, host, peer)
        stream.start(listener.prompt)

    def _bound_connections(self) -> None:
        """Let further connections wait in the backlog while there are as many as may be."""
        full = len(self.links) >= self._most
        if full == self._paused or self.draining:
            return
        self._paused = full
        if full:
            self.pauses_total += 1
        for listener in self._bound:
            if full:
                listener.pause()
            else:
                listener.resume()

    def _ended(self, link: Link) -> None:
        """A link is over; it has left its server already."""
        self.links.discard(link)
        totals, now = self.totals, self.context.reactor.seconds()
        lasted = now - link.came_at
        totals.to_server += link.to_server
        totals.to_client += link.to_client
        totals.life_seconds.observe(lasted)
        totals.ended[link.how] = totals.ended.get(link.how, 0) + 1
        link.terms.limits.release(link.source)
        if self._log is not None:
            self._write(self._entry(link, lasted))
        if self._paused:
            self._bound_connections()
        self._tell_if_empty()

    def _entry(self, link: Link, lasted: float) -> Ended:
        return Ended(
            client=peer_text(link.source, link.source_port),
            at=time.time() - lasted,
            balancer=f"tcp/{self.section}",
            server=link.server_key,
            three=(
                milliseconds(link.waited),
                milliseconds(link.connected_in),
                milliseconds(lasted),
            ),
            to_server=link.to_server,
            to_client=link.to_client,
            how=link.how,
            left=len(self.links),
        )

    def _busy(self) -> bool:
        return bool(self.links)

    def _end_all(self) -> None:
        for link in tuple(self.links):
            link.kill()

    def _bytes(self) -> tuple[int, int]:
        links, totals = self.links, self.totals
        return (
            totals.to_server + sum(link.to_server for link in links),
            totals.to_client + sum(link.to_client for link in links),
        )

    def status(self) -> Mapping[str, Any]:
        """See `IBalancer`."""
        to_server, to_client = self._bytes()
        return {
            "kind": "tcp",
            "name": self.section,
            "listen": [str(each.address) for each in self._bound],
            "pool": "" if self.pool is None else self.pool.name,
            "connections": len(self.links),
            "max_connections": self._most,
            "paused": self._paused,
            "draining": self.draining,
            "connections_total": self.connections_total,
            "bytes_to_server": to_server,
            "bytes_to_client": to_client,
            "refused": dict(self.refused),
            "rate_forgotten": self.forgotten_total,
            "retries": self.totals.retries,
            "tls": self._tls.status(),
        }

    def metrics(self) -> Sequence[Metric]:
        """See `IBalancer`."""
        found, totals = Families("balancer_tcp_", self.section), self.totals
        to_server, to_client = self._bytes()
        found.one("gauge", "connections", "Connections relayed now.", len(self.links))
        found.one("counter", "accepted", "Connections taken on.", self.connections_total)
        found.by(
            "counter",
            "bytes",
            "Bytes received, by where they go.",
            "direction",
            {"to-server": to_server, "to-client": to_client},
        )
        found.by(
            "counter", "refused", "Connections closed by a limit.", "reason", self.refused
        )
        self._tell_of_rates(found)
        found.one(
            "counter",
            "pauses",
            "How often max-connections was reached: further ones waited in the backlog.",
            self.pauses_total,
        )
        found.one(
            "counter",
            "connect_failures",
            "Connections to servers that failed.",
            totals.connect_failures,
        )
        found.one("counter", "retries", "Tries on a further server.", totals.retries)
        found.by(
            "counter",
            "ended",
            "Connections that are over, by who ended them in which phase (see the access log).",
            "how",
            totals.ended,
        )
        if self._tls.status():
            self._tell_of_tls(found)
        found.histogram(
            "connect_seconds", "How long connecting to a server took.", totals.connect_seconds
        )
        found.histogram(
            "duration_seconds", "How long connections lasted.", totals.life_seconds
        )
        return found.found

    def _tell_of_tls(self, found: Families) -> None:
        tls = self._tls
        text = "TLS handshakes with clients that were completed."
        found.one("counter", "tls_handshakes", text, tls.done_total)
        text = "Those of them that an earlier session made short."
        found.one("counter", "tls_resumed", text, tls.resumed_total)
        text = "TLS handshakes with clients that failed."
        found.by("counter", "tls_failures", text, "reason", tls.failures)
