"""
Every socket that the site listens on, bound once and owned here.

Kinds borrow them by address. That is what lets ownership move at a reload without binding again.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from balancer.config.schema import Claim
from balancer.wire.address import literal
from balancer.wire.bind import bind_udp
from balancer.wire.datagrams import DatagramPort
from balancer.wire.listener import Listener, bind_tcp
from balancer.wire.reactor import IWireReactor


@define(eq=False)
class Listeners:
    """The bound sockets of a site, by protocol, host and port as the site file has them."""

    _reactor: IWireReactor
    _tcp: dict[tuple[str, int], Listener] = field(factory=dict, init=False)
    _udp: dict[tuple[str, int], DatagramPort] = field(factory=dict, init=False)

    def bind(self, claims: Iterable[Claim]) -> tuple[Claim, ...]:
        """
        Bind what `claims` name and is not bound yet; the claims that were new.

        Raises `wire.listener.CannotBind` for the first that fails; what this call bound before it
        is closed again, so a failed reload leaves no trace.
        """
        new: list[Claim] = []
        try:
            for claim in claims:
                if self._bind(claim):
                    new.append(claim)
        except Exception:
            self.release(new)
            raise
        return tuple(new)

    def release(self, claims: Iterable[Claim]) -> None:
        """Close what `claims` name."""
        for claim in claims:
            self._close(claim)

    def keep(self, claims: Iterable[Claim]) -> None:
        """
        Close all that `claims` do not name. Who is connected to a closed listener already has been
        accepted by its owner, or is refused by the kernel.
        """
        wanted = [(claim.protocol, claim.host, claim.port) for claim in claims]
        for host, port in [key for key in self._tcp if ("tcp", *key) not in wanted]:
            self._tcp.pop((host, port)).stop()
        for host, port in [key for key in self._udp if ("udp", *key) not in wanted]:
            self._udp.pop((host, port)).stop()

    def _bind(self, claim: Claim) -> bool:
        key = (claim.host, claim.port)
        address = literal(claim.host, claim.port)
        if claim.protocol == "tcp" and key not in self._tcp:
            self._tcp[key] = Listener(self._reactor, bind_tcp(address), address)
            return True
        if claim.protocol == "udp" and key not in self._udp:
            self._udp[key] = DatagramPort(self._reactor, bind_udp(address), address)
            return True
        return False

    def _close(self, claim: Claim) -> None:
        bound = self._tcp if claim.protocol == "tcp" else self._udp
        bound.pop((claim.host, claim.port)).stop()

    def tcp(self, host: str, port: int) -> Listener:
        """The TCP listener there; KeyError if no section claimed it."""
        return self._tcp[host, port]

    def udp(self, host: str, port: int) -> DatagramPort:
        """The UDP socket there; KeyError if no section claimed it."""
        return self._udp[host, port]

    def all_tcp(self) -> tuple[Listener, ...]:
        """Every TCP listener."""
        return tuple(self._tcp.values())

    def accept_waiting(self) -> None:
        """Accept who is connected already: closing the listener would reset those connections. Take
        the datagrams that are there as well: closing the socket would lose them."""
        for listener in self._tcp.values():
            listener.doRead()
        for port in self._udp.values():
            port.doRead()

    def close_unowned(self) -> None:
        """Close the TCP listeners that nobody accepts from, so that new clients are refused at once
        and do not wait in the backlog of somebody who leaves. UDP sockets still send answers."""
        for key, listener in list(self._tcp.items()):
            if listener.accepted is None:
                del self._tcp[key]
                listener.stop()

    def close(self) -> None:
        """Close all of them."""
        for listener in self._tcp.values():
            listener.stop()
        for port in self._udp.values():
            port.stop()
        self._tcp.clear()
        self._udp.clear()
