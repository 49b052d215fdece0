"""Pools and waiters for tests, in one line each."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from attrs import define, evolve
from twisted.trial.unittest import SynchronousTestCase

from balancer.pool import algorithms, keyed, maglev
from balancer.pool.events import Event
from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.pool.settings import Algorithm, PoolSettings, ServerSettings

FEW_SLOTS = 4093
"""A prime, as Maglev wants."""


def few_slots(test: SynchronousTestCase) -> None:
    """Have tables of 4093 slots until the test is over, built in a sixteenth of the time. For tests
    of who moves and who stays; what the real size is good for is `test_maglev`'s to say."""
    for module in (algorithms, keyed, maglev):
        test.patch(module, "SLOTS", FEW_SLOTS)


@define(eq=False)
class Waiting:
    """A waiter."""

    deadline: float
    key: bytes | None = None
    tried: tuple[Server, ...] = ()

    def admitted(self, server: Server, now: float) -> None:
        """Its server is read from what `finish` and `admit` return."""


def servers(*weights: int, **options: object) -> list[ServerSettings]:
    """Servers a, b, c, ... of these weights."""
    names = "abcdefghijklmnopqrstuvwxyz"
    return [
        ServerSettings(name, weight, **options)  # type: ignore[arg-type]  # options vary by test
        for name, weight in zip(names, weights, strict=False)
    ]


def pool_of(
    lines: Sequence[ServerSettings], algorithm: str = "round-robin", **options: object
) -> Pool:
    """A pool `p` at time 0 whose servers are not yet known."""
    settings = PoolSettings(
        "p",
        algorithm=Algorithm(algorithm),
        **options,  # type: ignore[arg-type]  # options vary by test
    )
    return Pool(settings, [(line, f"at {line.name}") for line in lines], 0.0, Random(7))


def up_pool(
    lines: Sequence[ServerSettings], algorithm: str = "round-robin", **options: object
) -> Pool:
    """The same with all servers up."""
    pool = pool_of(lines, algorithm, **options)
    pool.trust_all(0.0)
    return pool


def named(pool: Pool, name: str) -> Server:
    """The server of that name."""
    return next(server for server in pool.servers if server.name == name)


def down(pool: Pool, name: str, now: float = 0.0) -> None:
    """Let checks of that server fail until it is down."""
    for _ in range(pool.settings.fall):
        pool.record(named(pool, name), False, "refused", now)


def chosen(pool: Pool, count: int, key: bytes | None = None) -> str:
    """The names of the next choices, one letter each; nothing begins."""
    names = []
    for _ in range(count):
        server = pool.choose(key)
        names.append(server.name if server else "-")
    return "".join(names)


def reconfigured(
    pool: Pool,
    lines: Sequence[ServerSettings],
    now: float = 1.0,
    moved: str = "",
    **options: Any,
) -> Sequence[Event]:
    """The site file has these lines now; the servers named in `moved` are at a new address. What
    `options` leave out stays as it is."""
    settings = evolve(pool.settings, **options)
    addresses = [f"now {line.name}" if line.name in moved else f"at {line.name}" for line in lines]
    return pool.reconfigure(settings, list(zip(lines, addresses, strict=True)), now)
