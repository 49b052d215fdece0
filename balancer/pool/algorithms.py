"""The algorithms by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from hashlib import blake2b
from random import Random

from balancer.pool.drawn import BetterOfTwo, Drawn
from balancer.pool.ewma import PeakEwma
from balancer.pool.jhash import flow_slot, seed_of, source_slot
from balancer.pool.keyed import Keyed
from balancer.pool.leastconn import LeastConnections
from balancer.pool.maglev import SLOTS
from balancer.pool.roundrobin import RoundRobin
from balancer.pool.schedulers import First, Scheduler
from balancer.pool.server import Server
from balancer.pool.settings import PoolSettings


def scheduler(settings: PoolSettings, servers: Sequence[Server], random: Random) -> Scheduler:
    """The scheduler that `settings` ask for. `servers` are all of the pool's.
    ValueError: there is no algorithm of that name."""
    seed = settings.seed or settings.name
    match settings.algorithm.name:
        case "round-robin":
            return RoundRobin()
        case "least-connections":
            return LeastConnections()
        case "first":
            return First()
        case "random":
            return Drawn(random)
        case "p2c":
            return BetterOfTwo(random)
        case "ewma":
            return PeakEwma(random)
        case "maglev":
            return Keyed(servers, seed, partial(flow_slot, seed=seed_of(seed), modulus=SLOTS))
        case "source":
            return Keyed(servers, seed, partial(source_slot, seed=seed_of(seed), modulus=SLOTS))
        case "uri" | "header" | "cookie" | "query":
            return Keyed(servers, seed, text_slot)
        case unknown:
            raise ValueError(f"expected the name of an algorithm, got {unknown!r}")


def sort_of(settings: PoolSettings) -> tuple[str, str]:
    """What of `settings` makes another scheduler necessary when it changes. Those of the algorithms
    that hash text differ in where the key comes from, which is not a scheduler's concern."""
    match settings.algorithm.name:
        case "maglev" | "source" as name:
            return name, settings.seed or settings.name
        case "uri" | "header" | "cookie" | "query":
            return "text", settings.seed or settings.name
        case name:
            return name, ""


def text_slot(key: bytes) -> int:
    """A slot for a key of any length: its 64-bit blake2b, big endian, modulo SLOTS."""
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big") % SLOTS
