"""
What an http balancer shows of itself in `/api/status`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from balancer.http.arrivals import Arrivals
from balancer.http.exchange import NAMES
from balancer.http.front import Front
from balancer.http.targets import Targets


def status(front: Front, targets: Targets, arrivals: Arrivals) -> Mapping[str, Any]:
    """All of it, ready for JSON."""
    figures = front.figures
    phases = dict.fromkeys(NAMES, 0)
    for connection in front.connections:
        phases[NAMES[connection.phase]] += 1
    return {
        "kind": "http",
        "listeners": [str(listener.address) for listener in arrivals.listeners],
        "pools": sorted(targets.pools),
        "subdomains": sorted(targets.namings),
        "draining": front.draining,
        "connections": len(front.connections),
        "max_connections": arrivals.most,
        "phases": phases,
        "connections_total": figures.connections_total,
        "requests_total": figures.requests,
        "codes": {str(code): count for code, count in figures.by_code()},
        "retries_total": figures.retries,
        "refused_total": dict(figures.refused),
        "bytes_in": figures.bytes_in,
        "bytes_out": figures.bytes_out,
        "tls": arrivals.tls.status(),
        "idle_server_connections": {server.key: idle for _, server, idle in targets.idle()},
    }
