"""
A plan becomes pools: the values of the site file are handed to the rooms that work with them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from attrs import frozen

from balancer.check.service import CheckService, Timing
from balancer.config.values import Endpoint
from balancer.interfaces import IContext
from balancer.pool.pool import Pool
from balancer.pool.settings import PoolSettings, ServerSettings
from balancer.site.names import UNRESOLVED, Named, look_up
from balancer.site.plan import PoolPlan
from balancer.site.sections import PoolSection, ServerLine
from balancer.wire.address import Address, literal


@frozen
class BuiltPool:
    """A pool, and which of its servers have DNS names."""

    pool: Pool
    named: tuple[Named, ...]


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
    )


def server_settings(line: ServerLine) -> ServerSettings:
    """What the pool room wants to know of a line of `servers`."""
    return ServerSettings(
        name=line.name,
        weight=line.weight,
        backup=line.backup,
        max_connections=line.max_connections,
        disabled=line.disabled,
    )


def build_pool(plan: PoolPlan, now: float) -> BuiltPool:
    """The pool of `plan` at `now` (monotonic). DNS names are looked up, which may block."""
    lines: Sequence[ServerLine] = plan.settings.servers
    servers = [(server_settings(line), _address(line.endpoint)) for line in lines]
    pool = Pool(pool_settings(plan), servers, now, random.Random())
    if plan.check is None:
        pool.trust_all(now)
    named = tuple(
        Named(server, line.endpoint.host, line.endpoint.port)
        for line, server in zip(lines, pool.servers, strict=True)
        if not line.endpoint.is_literal
    )
    return BuiltPool(pool, named)


def _address(endpoint: Endpoint) -> Address:
    if endpoint.is_literal:
        return literal(endpoint.host, endpoint.port)
    try:
        return look_up(endpoint.host, endpoint.port)
    except OSError:
        return UNRESOLVED


def build_checks(plan: PoolPlan, pool: Pool, context: IContext) -> CheckService | None:
    """The service that checks the servers of `pool`; None where they are trusted."""
    if plan.check is None:
        return None
    section = plan.settings
    timing = Timing(
        interval=section.interval,
        timeout=section.timeout,
        fast_interval=section.interval if section.fast_interval is None else section.fast_interval,
        port=None if section.check is None else section.check.port,
    )
    return CheckService(
        context.reactor, pool, plan.check(context), timing, context.publish, random.Random()
    )
