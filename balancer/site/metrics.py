"""
What the site itself counts: servers, pools and listeners. Balancers bring their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from balancer import __version__
from balancer.interfaces import Metric, Sample
from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.wire.listener import Listener
from balancer.wire.logfile import LogFile

_SERVER: tuple[tuple[str, str, str, Callable[[Server], float]], ...] = (
    (
        "balancer_server_up",
        "gauge",
        "Whether the server may get new work: 1 or 0.",
        lambda server: float(server.usable),
    ),
    (
        "balancer_server_in_flight",
        "gauge",
        "Requests, connections or flows that the server has now.",
        lambda server: server.in_flight,
    ),
    (
        "balancer_server_weight",
        "gauge",
        "The server's weight.",
        lambda server: server.weight,
    ),
    (
        "balancer_server_requests",
        "counter",
        "Requests, connections or flows that were given to the server.",
        lambda server: server.requests_total,
    ),
    (
        "balancer_server_failures",
        "counter",
        "How many of them failed by the server's fault.",
        lambda server: server.failures_total,
    ),
)

SERVERS_A_SLICE: Final = 200
"""Servers whose samples are made at once: with five samples each some 2 ms."""


def _slices(servers: Sequence[Server]) -> Iterator[Sequence[Server]]:
    # Once for a pool without any, too: its metrics have their names all the same.
    for start in range(0, len(servers) or 1, SERVERS_A_SLICE):
        yield servers[start : start + SERVERS_A_SLICE]


def _servers(pool: str, servers: Sequence[Server]) -> Iterator[Metric]:
    for name, kind, text, value in _SERVER:
        samples = tuple(
            Sample({"pool": pool, "server": server.name}, float(value(server)))
            for server in servers
        )
        yield Metric(name, text, kind, samples)


def site_metrics(
    pools: Mapping[str, Pool],
    listeners: Iterable[Listener],
    logs: Mapping[str, LogFile],
    long_turns: int,
) -> Iterable[Metric]:
    """The metrics of the site, with the labels `pool`, `server` and `listener`. A family comes in
    several parts, each a slice of work."""
    for pool in list(pools.values()):
        for servers in _slices(pool.servers):
            yield from _servers(pool.name, servers)
    yield Metric(
        "balancer_pool_available",
        "Whether the pool has a server that may get work: 1 or 0.",
        "gauge",
        tuple(Sample({"pool": name}, float(pool.available)) for name, pool in pools.items()),
    )
    yield Metric(
        "balancer_pool_queue",
        "Requests that wait for a server with room.",
        "gauge",
        tuple(Sample({"pool": name}, float(pool.queue_length)) for name, pool in pools.items()),
    )
    bound = tuple(listeners)
    yield Metric(
        "balancer_listener_accepted",
        "Connections accepted.",
        "counter",
        tuple(Sample({"listener": str(each.address)}, each.accepted_total) for each in bound),
    )
    yield Metric(
        "balancer_listener_refused",
        "Connections closed unserved because the process had no file descriptor left.",
        "counter",
        tuple(Sample({"listener": str(each.address)}, each.refused_total) for each in bound),
    )
    yield Metric(
        "balancer_log_dropped",
        "Lines that an access log lost, since it could not be written for too long.",
        "counter",
        tuple(Sample({"log": path}, float(each.dropped)) for path, each in logs.items()),
    )
    yield Metric(
        "balancer_long_turns",
        "Reactor turns that lasted over 50 ms.",
        "counter",
        (Sample({}, float(long_turns)),),
    )
    yield Metric(
        "balancer_build_info",
        "The version, as a label; always 1.",
        "gauge",
        (Sample({"version": __version__}, 1.0),),
    )
