"""Pools for DNS tests: servers at literal addresses whose verdicts the test gives."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from balancer.pool.pool import Pool
from balancer.pool.settings import PoolSettings, ServerSettings
from balancer.wire.address import literal


def pool_of(
    servers: Mapping[str, str], lines: Mapping[str, Mapping[str, Any]] | None = None, **more: Any
) -> Pool:
    """The pool `web` of `servers` (name to address), with what `lines` says of some of them."""
    options: Mapping[str, Mapping[str, Any]] = lines or {}
    settings = PoolSettings(name="web", **{"interval": 2.0, **more})
    configured = [
        (ServerSettings(name=name, **options.get(name, {})), literal(host, 80))
        for name, host in servers.items()
    ]
    return Pool(settings, configured, 0.0, Random(1))


def judge(pool: Pool, **verdicts: bool) -> None:
    """Have checks turn the servers' verdicts, for good."""
    for name, ok in verdicts.items():
        for _ in range(10):
            pool.record(pool.server(name), ok, "as the test says", 1.0)


def all_up(pool: Pool) -> Pool:
    """Every server up."""
    judge(pool, **{server.name: True for server in pool.servers})
    return pool
