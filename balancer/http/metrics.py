"""
The figures of a balancer as metric families.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from balancer.http.figures import Figures
from balancer.interfaces import Metric, Sample
from balancer.wire.terminations import Terminations


def metrics(
    balancer: str, figures: Figures, connections: int, idle: Mapping[tuple[str, str], int]
) -> Sequence[Metric]:
    """All families. `idle` counts kept-alive connections by pool and server."""
    ours = {"balancer": balancer}

    def one(name: str, text: str, kind: str, value: float) -> Metric:
        return Metric(f"balancer_http_{name}", text, kind, (Sample(ours, value),))

    return (
        Metric(
            "balancer_http_requests_total",
            "Requests that are over, by the status that the client got; 0: none.",
            "counter",
            tuple(Sample({**ours, "code": str(c)}, n) for c, n in figures.by_code()),
        ),
        _histogram(ours, figures),
        one("connections", "Clients' connections now.", "gauge", connections),
        one(
            "connections_total",
            "Clients' connections accepted.",
            "counter",
            figures.connections_total,
        ),
        one("retries_total", "Requests sent to another server.", "counter", figures.retries),
        one(
            "received_bytes_total", "Bytes of requests from clients.", "counter", figures.bytes_in
        ),
        one("sent_bytes_total", "Bytes of answers to clients.", "counter", figures.bytes_out),
        Metric(
            "balancer_http_refused_total",
            "Requests and connections that a limit or a rule refused.",
            "counter",
            tuple(Sample({**ours, "reason": why}, n) for why, n in figures.refused.items()),
        ),
        Metric(
            "balancer_http_idle_server_connections",
            "Kept-alive connections to servers that wait for a request.",
            "gauge",
            tuple(
                Sample({**ours, "pool": pool, "server": server}, count)
                for (pool, server), count in idle.items()
            ),
        ),
    )


def tls_metrics(balancer: str, tls: Terminations) -> Sequence[Metric]:
    """What is counted of TLS handshakes; nothing where there was none."""
    if not tls.status():
        return ()
    ours = {"balancer": balancer}
    return (
        Metric(
            "balancer_http_tls_handshakes_total",
            "TLS handshakes with clients that were completed.",
            "counter",
            (Sample(ours, tls.done_total),),
        ),
        Metric(
            "balancer_http_tls_resumed_total",
            "Those of them that an earlier session made short.",
            "counter",
            (Sample(ours, tls.resumed_total),),
        ),
        Metric(
            "balancer_http_tls_failures_total",
            "TLS handshakes with clients that failed.",
            "counter",
            tuple(Sample({**ours, "reason": why}, n) for why, n in tls.failures.items()),
        ),
    )


def _histogram(ours: Mapping[str, str], figures: Figures) -> Metric:
    samples = [Sample({**ours, "le": le}, count, "_bucket") for le, count in figures.seconds()]
    count = samples[-1].value
    samples.append(Sample(ours, figures.microseconds / 1e6, "_sum"))
    samples.append(Sample(ours, count, "_count"))
    return Metric(
        "balancer_http_request_seconds",
        "From the end of a request's head to the end of its answer.",
        "histogram",
        tuple(samples),
    )
