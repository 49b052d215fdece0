"""
A plan's pools: the values of the site file are handed to the rooms that work with them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final

from attrs import frozen

from balancer.check.service import Timing
from balancer.config.slices import Slices
from balancer.config.values import Endpoint
from balancer.pool.lineup import Configured
from balancer.pool.pool import Pool
from balancer.pool.settings import PoolSettings, ServerSettings
from balancer.site.names import Named
from balancer.site.plan import PoolPlan
from balancer.site.pool_section import PoolSection
from balancer.site.values import ServerLine
from balancer.wire.address import Address, literal
from balancer.wire.connect_tls import ClientContext, Secured, Trust, secured

LINES_A_SLICE: Final = 200
"""Lines of `servers` in one slice: some 3 ms."""


@frozen
class Lines:
    """The lines of `servers` with their addresses; `names` are the places of those whose address
    is that of a DNS name."""

    servers: Configured
    names: tuple[int, ...]


def pool_settings(plan: PoolPlan) -> PoolSettings:
    """What the pool room wants to know of a `[pool]` section."""
    section: PoolSection = plan.settings
    return PoolSettings(
        name=plan.name,
        algorithm=section.algorithm,
        rise=section.rise,
        fall=section.fall,
        queue=section.queue,
        queue_timeout=section.queue_timeout,
        slow_start=section.slow_start,
        panic=section.panic,
        eject=section.eject,
        retries=section.retries,
        connect_timeout=section.connect_timeout,
        seed=plan.name if section.seed is None else section.seed,
        interval=0.0 if plan.check is None else timing(plan).fast_interval,
    )


def server_settings(line: ServerLine) -> ServerSettings:
    """What the pool room wants to know of a line of `servers`."""
    return ServerSettings(
        name=line.name,
        weight=line.weight,
        backup=line.backup,
        max_connections=line.max_connections,
        disabled=line.disabled,
        place=line.place,
    )


def timing(plan: PoolPlan) -> Timing:
    """What the check room wants to know of a `[pool]` section."""
    section: PoolSection = plan.settings
    return Timing(
        interval=section.interval,
        timeout=section.timeout,
        fast_interval=section.interval if section.fast_interval is None else section.fast_interval,
        port=None if section.check is None else section.check.port,
    )


def configuring(
    plan: PoolPlan, address_of: Callable[[Endpoint], Address], context: ClientContext | None = None
) -> Slices[Lines]:
    """The lines of `servers`, each with its address: `address_of` gives those of DNS names, and
    `context` is what servers with TLS are connected to with."""
    found, names = [], []
    for at, line in enumerate(plan.settings.servers):
        if at % LINES_A_SLICE == 0:
            yield
        endpoint = line.endpoint
        if endpoint.is_literal:
            address = literal(endpoint.host, endpoint.port)
        else:
            address = address_of(endpoint)
            names.append(at)
        if line.tls and context is not None:
            address = secured(address, Trust(context, line.certified))
        found.append((server_settings(line), address))
    return Lines(found, tuple(names))


def build_pool(plan: PoolPlan, servers: Configured, now: float) -> Pool:
    """The pool of `plan` at `now` (monotonic)."""
    return Pool(pool_settings(plan), servers, now, random.Random())


def trust_anew(pool: Pool, servers: Configured) -> None:
    """
    Have the servers that stay where they are, under TLS, be trusted as `servers` says: for their
    new connections, by other files or another name. That makes no new server of them.
    """
    present = {server.name: server for server in pool.servers}
    for line, address in servers:
        server = present.get(line.name) if isinstance(address, Secured) else None
        if server is None or server.address == address:
            continue
        before = server.address
        if isinstance(before, Secured) and before.at(address) == before:
            server.address = address


def named(plan: PoolPlan, lines: Lines, pool: Pool) -> Iterator[Named]:
    """The servers of `pool` that have DNS names."""
    for at in lines.names:
        yield Named(pool.servers[at], plan.settings.servers[at].endpoint)
