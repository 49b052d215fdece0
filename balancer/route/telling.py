"""
What a section shows: status, metrics, and its answer to `lbctl explain`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, frozen

from balancer.interfaces import Metric, Sample
from balancer.pool.pool import Pool
from balancer.route.contest import Contest
from balancer.route.ecmp import Target
from balancer.route.installed import name_of
from balancer.route.settings import EcmpSettings
from balancer.route.standing import gateway


@define
class Figures:
    """What is counted; `error` is what the last attempt failed with, '' if it did not."""

    changes_total: int = 0
    errors_total: int = 0
    overruns_total: int = 0
    error: str = ""


@frozen
class Seen:
    """A section at one moment: the next hops in use, why servers are none, and why the kernel
    did not take addresses."""

    used: Sequence[Target]
    reasons: Mapping[str, str]
    refused: Mapping[str, str]
    contest: Contest


def state(seen: Seen, figures: Figures) -> str:
    """One word or a few for the operator."""
    if figures.error:
        return f"failing: {figures.error}"
    if seen.used:
        return "in force"
    fought = seen.contest.is_fought
    return "removed by others; restored later" if fought else "withdrawn: no next hop"


def status(settings: EcmpSettings, seen: Seen, figures: Figures) -> Mapping[str, Any]:
    """For JSON."""
    return {
        "kind": "ecmp",
        "prefix": str(settings.prefix),
        "table": settings.table,
        "pool": settings.pool,
        "state": state(seen, figures),
        "next_hops": [
            {"address": each.gateway, "device": name_of(each.device), "weight": each.weight}
            for each in seen.used
        ],
        "left_out": {**seen.reasons, **seen.refused},
        "changes_total": figures.changes_total,
        "errors_total": figures.errors_total,
        "overruns_total": figures.overruns_total,
        "lost_total": seen.contest.lost_total,
    }


def explanation(settings: EcmpSettings, pool: Pool, seen: Seen) -> Mapping[str, Any]:
    """The answer of `IExplains`."""
    weights = {each.gateway: each.weight for each in seen.used}
    candidates = []
    for server in pool.servers:
        address = gateway(server)
        why = seen.reasons.get(server.name) or seen.refused.get(address, "")
        usable = address in weights
        if usable and why:
            why = f"kept, being the last: {why}"
        candidates.append({"server": server.name, "usable": usable, "why": why})
    kept = "resilient" if settings.resilient else "by hash alone"
    return {
        "rule": f"{settings.prefix} in table {settings.table}, {kept}",
        "pool": settings.pool,
        "candidates": candidates,
        "answer": ", ".join(f"{each} weight {weight}" for each, weight in weights.items())
        or "no route",
    }


def metrics(section: str, seen: Seen, figures: Figures) -> Sequence[Metric]:
    """See `IBalancer`."""
    labels = {"balancer": section}
    rows = (
        ("next_hops", "gauge", "Next hops of the route; 0: there is none.", len(seen.used)),
        ("changes_total", "counter", "Changes made in the kernel.", figures.changes_total),
        ("errors_total", "counter", "Attempts that the kernel refused.", figures.errors_total),
        ("lost_total", "counter", "Times that others took it away.", seen.contest.lost_total),
        ("overruns_total", "counter", "Times that news were lost.", figures.overruns_total),
    )
    return [
        Metric(f"balancer_ecmp_{name}", text, kind, (Sample(labels, float(value)),))
        for name, kind, text, value in rows
    ]
