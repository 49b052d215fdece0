"""Slow start: a server that came back gets a growing share of its weight. Knows one server."""

from __future__ import annotations

from balancer.pool.server import STEPS, Server


def start(server: Server, now: float) -> None:
    """Begin at a tenth of the weight."""
    server.warming_since = now
    server.effective_weight = server.weight


def stop(server: Server) -> None:
    """The full weight at once."""
    server.warming_since = None
    server.effective_weight = server.weight * STEPS


def proceed(server: Server, slow_start: float, now: float) -> bool:
    """Take the share that is due at `now`: 10 % at the start, 20 % after a tenth of `slow_start`
    seconds, 100 % at nine tenths. Whether it changed."""
    if server.warming_since is None:
        return False
    step = 1 + int((now - server.warming_since) * STEPS / slow_start)
    if step >= STEPS:
        stop(server)
        return True
    before = server.effective_weight
    server.effective_weight = server.weight * step
    return server.effective_weight != before


def reweigh(server: Server, weight: int) -> None:
    """A new weight, at the share that the server has reached."""
    server.weight, before = weight, server.weight
    if server.warming_since is None or not before:
        stop(server)
    else:
        server.effective_weight = weight * (server.effective_weight // before)
