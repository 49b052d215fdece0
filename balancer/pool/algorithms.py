"""The algorithms by name."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from balancer.pool.roundrobin import RoundRobin
from balancer.pool.schedulers import First, Scheduler
from balancer.pool.server import Server
from balancer.pool.settings import PoolSettings


def scheduler(settings: PoolSettings, servers: Sequence[Server], random: Random) -> Scheduler:
    """The scheduler that `settings` ask for. `servers` are all of the pool's."""
    if settings.algorithm.name == "first":
        return First()
    return RoundRobin()
