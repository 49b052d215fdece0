"""Which servers of a pool may get work now, and why the others may not. Decides by state alone."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from balancer.pool.server import Server


@frozen
class Standing:
    """`candidates` may get work. `available`: one of them is not known to be failing.
    `panicking`: too few are usable, so servers that are down get work as well."""

    candidates: tuple[Server, ...]
    available: bool
    panicking: bool


def stand(servers: Sequence[Server], panic: float) -> Standing:
    """
    The first of these that has anyone in it: servers that are up, backups that are up, servers not
    yet checked, backups not yet checked.

    Panic comes first: when fewer servers are usable than `panic` (0 to 1) of those that the pool
    normally works with (its willing servers without backups; a usable backup stands in for one),
    then all willing servers get work. Maintenance, drain and weight 0 are the operator's word, and
    panic respects them.
    """
    usable = [server for server in servers if server.usable]
    if panic and _too_few(servers, usable, panic):
        willing = tuple(server for server in servers if server.willing)
        return Standing(willing, bool(usable), True)
    for verdict in ("up", "unknown"):
        for backup in (False, True):
            tier = tuple(s for s in usable if s.verdict == verdict and s.backup is backup)
            if tier:
                return Standing(tier, True, False)
    return Standing((), False, False)


def why_not(server: Server, now: float) -> str:
    """Why the server gets no new work, in words for the operator; '' if it may get some."""
    if server.admin == "maint":
        return "in maintenance"
    if server.verdict == "down" and not server.candidate:
        return f"down: {server.reason}" if server.reason else "down"
    if server.admin == "drain":
        return "draining"
    if not server.weight:
        return "weight is 0"
    if server.ejected_until is not None and not server.candidate:
        return f"ejected for another {max(server.ejected_until - now, 0):.1f} s: {server.reason}"
    if not server.candidate:
        return _overshadowed(server)
    if server.in_flight >= server.limit:
        return f"full: {server.in_flight} of {server.max_connections} connections"
    return ""


def _overshadowed(server: Server) -> str:
    if server.verdict == "unknown":
        return "not checked yet, and others are known to be up"
    return "backup, and others are usable"


def _too_few(servers: Sequence[Server], usable: Sequence[Server], panic: float) -> bool:
    normal = [server for server in servers if server.willing and not server.backup]
    return len(usable) < panic * len(normal)
