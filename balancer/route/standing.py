"""
Which servers of a pool are next hops now, and why the others are not. Pure.

A route stays when the balancer ends, and a new balancer takes it over. So a server that is not yet
checked keeps its place in the route, and gets none that it did not have: no packet goes to where
nobody has looked, and none is moved before anybody has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from ipaddress import ip_address

from attrs import frozen

from balancer.pool.server import Server


@frozen
class Standing:
    """`chosen` should be next hops, the best the pool has. `reasons` says by their names why the
    others are not."""

    chosen: tuple[Server, ...]
    reasons: Mapping[str, str]


def stand(
    servers: Sequence[Server], version: int, panicking: bool, trusted: Collection[str]
) -> Standing:
    """
    Servers that are up, or not checked yet and among `trusted` (addresses that are next hops
    already, names that were up before the start); if there are none, backups likewise. In a pool
    that panics, all that the operator has not taken out.
    """
    reasons = {server.name: _why_not(server, version, panicking, trusted) for server in servers}
    sound = [server for server in servers if not reasons[server.name]]
    chosen = tuple(server for server in sound if not server.backup or panicking) or tuple(sound)
    for server in sound:
        if server not in chosen:
            reasons[server.name] = "backup, and others are up"
    return Standing(chosen, {name: why for name, why in reasons.items() if why})


def gateway(server: Server) -> str:
    """Its IP address in the shortest form; '' if it has none, or none yet."""
    try:
        address = ip_address(str(server.address.host).partition("%")[0])
    except ValueError:
        return ""
    return "" if address.is_unspecified else str(address)


def weighed(servers: Sequence[Server]) -> Mapping[str, int]:
    """Addresses with weights: a machine that is several servers has the weight of all of them."""
    weights: dict[str, int] = {}
    for server in servers:
        address = gateway(server)
        weights[address] = weights.get(address, 0) + max(1, server.effective_weight)
    return weights


def is_link_local(address: str) -> bool:
    """Whether it means nothing without a device (RFC 4291 2.5.6, RFC 3927)."""
    return ip_address(address).is_link_local


def _why_not(server: Server, version: int, panicking: bool, trusted: Collection[str]) -> str:
    address = gateway(server)
    if not address:
        return "has no IP address"
    if ip_address(address).version != version:
        return f"has no IPv{version} address, and the prefix is one"
    return _taken_out(server) or ("" if panicking else _unsound(server, address, trusted))


def _taken_out(server: Server) -> str:
    """The operator's word, which panic respects."""
    if server.admin in ("maint", "removed"):
        return "in maintenance" if server.admin == "maint" else "removed"
    if server.admin == "drain":
        return "draining"
    return "" if server.weight else "weight is 0"


def _unsound(server: Server, address: str, trusted: Collection[str]) -> str:
    if server.verdict == "down":
        return f"down: {server.reason}" if server.reason else "down"
    if server.ejected_until is not None:
        return f"ejected: {server.reason}"
    if server.verdict == "unknown" and not {address, server.name} & set(trusted):
        return "not checked yet, and was no next hop before"
    return ""
