"""
Peak EWMA: the server whose answers are expected soonest.

Sources: Finagle's `PeakEwma` load metric and Envoy's peak EWMA policy. A latency above the average
replaces it at once (the peak), one below pulls it down over DECAY seconds.
"""

from __future__ import annotations

from math import exp

from balancer.pool.drawn import BetterOfTwo
from balancer.pool.schedulers import Observed
from balancer.pool.server import Server

DECAY = 10.0
"""Seconds in which an old figure fades to 1/e (Finagle's default)."""

_STEEPEST = 300.0
"""Bounds the exponent: after 300 x DECAY without an answer all are equally forgotten."""


class PeakEwma(BetterOfTwo):
    """
    Of two weighted draws, the lesser `latency x (in_flight + 1) / weight`.

    An average fades while no answers come, so that a server that was slow is tried again. One
    without any figure is tried with a single piece of work at a time.
    """

    @property
    def observed(self) -> Observed | None:
        """Latency is what decides."""
        return observe

    def _better(self, two: Server, one: Server) -> bool:
        if not two.latency or not one.latency:
            return _rank(two) < _rank(one)
        # Both faded to the same moment; which one does not matter to the comparison.
        apart = max(-_STEEPEST, min(_STEEPEST, (two.latency_at - one.latency_at) / DECAY))
        mine = two.latency * exp(apart) * (two.in_flight + 1) * one.effective_weight
        return mine < one.latency * (one.in_flight + 1) * two.effective_weight


def observe(server: Server, latency: float, now: float) -> None:
    """Take in one answer's latency, in seconds."""
    if latency >= server.latency:
        server.latency = latency
    else:
        kept = exp((server.latency_at - now) / DECAY) if now > server.latency_at else 1.0
        server.latency = server.latency * kept + latency * (1 - kept)
    server.latency_at = now


def _rank(server: Server) -> tuple[int, float]:
    """Unknown and idle before measured before unknown and busy."""
    if server.latency:
        return 1, 0.0
    return (2 if server.in_flight else 0), server.in_flight / server.effective_weight
