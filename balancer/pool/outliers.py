"""
Passive ejection: servers that fail too often at real work. Decides; the pool acts.

Envoy's outlier detection is the precedent, with a plain count in a window instead of its
consecutive errors, since one good answer between bad ones should not hide them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from balancer.pool.server import Server
from balancer.pool.settings import Ejection


def too_many(server: Server, ejection: Ejection, now: float) -> bool:
    """Note a failure of `server` at `now`; whether that makes `ejection.failures` of them within
    the window. At most that many times are remembered."""
    times = server.recent_failures
    times.append(now)
    while len(times) > ejection.failures:
        times.popleft()
    return len(times) == ejection.failures and now - times[0] <= ejection.window


def may_eject(server: Server, servers: Iterable[Server]) -> bool:
    """Whether ejecting `server` leaves a usable one and at most half of the pool's servers (those
    not in maintenance) ejected."""
    others = [other for other in servers if other is not server and other.admin != "maint"]
    ejected = sum(other.ejected_until is not None for other in others)
    return any(other.usable for other in others) and (ejected + 1) * 2 <= len(others) + 1


def due(servers: Sequence[Server], now: float) -> list[Server]:
    """Those whose ejection is over."""
    return [s for s in servers if s.ejected_until is not None and s.ejected_until <= now]
