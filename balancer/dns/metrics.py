"""
What a zone counts, for `/metrics` and `/api/status`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from balancer.dns.codes import RCODES
from balancer.dns.figures import Figures
from balancer.dns.front import Front
from balancer.interfaces import Metric, Sample

_COUNTERS = (
    ("truncated", "Answers over UDP that did not fit and said so."),
    ("tcp", "Answers over TCP."),
    ("dropped", "Answers that the rate limit kept back."),
    ("slipped", "Answers that the rate limit sent empty and truncated."),
    ("transfers", "Zone transfers that were begun."),
)


def metrics(balancer: str, figures: Figures, fronts: Iterable[Front]) -> Sequence[Metric]:
    """The families of one zone; what its listeners count is all zones' there together."""
    labels = {"balancer": balancer}
    answers = tuple(
        Sample({**labels, "type": word, "code": code}, count)
        for word, code, count in figures.answers()
    )
    text = "Answers by type of the question and rcode."
    found = [Metric("balancer_dns_answers_total", text, "counter", answers)]
    for name, text in _COUNTERS:
        value = Sample(labels, getattr(figures, name))
        found.append(Metric(f"balancer_dns_{name}_total", text, "counter", (value,)))
    found += _of_fronts(labels, list(fronts))
    return tuple(found)


def _of_fronts(labels: Mapping[str, str], fronts: Sequence[Front]) -> Iterable[Metric]:
    def samples(values: Mapping[str, float]) -> tuple[Sample, ...]:
        return tuple(Sample({**labels, "listener": at}, value) for at, value in values.items())

    where = {str(front.listener.address): front for front in fronts}
    yield Metric(
        "balancer_dns_connections", "Clients connected over TCP.", "gauge",
        samples({at: len(front.connections) for at, front in where.items()}),
    )
    yield Metric(
        "balancer_dns_ignored_total", "Packets that were no queries, and got no answer.",
        "counter", samples({at: each.responder.counts.ignored for at, each in where.items()}),
    )
    yield Metric(
        "balancer_dns_refused_connections_total", "TCP connections over a bound.", "counter",
        samples({at: front.refused_total for at, front in where.items()}),
    )
    bare = tuple(
        Sample({**labels, "listener": at, "code": RCODES.get(rcode, str(rcode))}, count)
        for at, front in where.items()
        for rcode, count in sorted(front.responder.counts.bare_answers.items())
    )
    yield Metric(
        "balancer_dns_bare_answers_total", "Answers that belong to no zone, by rcode.",
        "counter", bare,
    )


def database_metrics(balancer: str, told: Mapping[str, Any]) -> Sequence[Metric]:
    """What became of databases of places; all sections of a site tell the same."""
    labels = {"balancer": balancer}
    family = "balancer_dns_database_"
    return tuple(
        Metric(f"{family}{name}_total", text, "counter", (Sample(labels, told[name]),))
        for name, text in (
            ("swaps", "Databases of places that took the place of another."),
            ("refused", "Files that were no sound database; the last one stayed in force."),
        )
    )


def status(figures: Figures, fronts: Iterable[Front]) -> Mapping[str, Any]:
    """The figures for `/api/status`."""
    by_code: dict[str, int] = {}
    for _, code, count in figures.answers():
        by_code[code] = by_code.get(code, 0) + count
    return {
        "answers_total": figures.total,
        "codes": by_code,
        **{f"{name}_total": getattr(figures, name) for name, _ in _COUNTERS},
        "listeners": {
            str(front.listener.address): {
                "connections": len(front.connections),
                "connections_total": front.connections_total,
                "refused_connections_total": front.refused_total,
                "datagrams_total": front.datagrams.received_total,
                "parsed_total": front.responder.counts.packets,
                "ignored_total": front.responder.counts.ignored,
            }
            for front in fronts
        },
    }
