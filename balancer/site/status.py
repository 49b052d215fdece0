"""
The site at one moment: what `/api/status` and `/metrics` show.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.logger import Logger

from balancer import __version__
from balancer.admin.control_verbs import event_status
from balancer.config.slices import Slices, finish
from balancer.interfaces import Metric, Snapshot
from balancer.site.context import name_of
from balancer.site.metrics import site_metrics

if TYPE_CHECKING:
    from balancer.site.service import SiteService

log = Logger()

T = TypeVar("T")

SHOWN_EVENTS = 50
"""How many of the latest events the status has."""


def snapshot(site: SiteService) -> Snapshot:
    """All of it."""
    return Snapshot(finish(telling(site)), metrics(site))


def telling(site: SiteService) -> Slices[Mapping[str, Any]]:
    """The status, a slice of work for each pool."""
    live, registry = site.live, site.context.registry
    pools = {}
    for name in list(registry.pools):
        yield
        if name in registry.pools:  # a reload may have come between
            pools[name] = yield from _pool(site, name)
    yield
    return {
        "site": _site(site),
        "pools": pools,
        "balancers": {key: _balancer(site, key) for key in live.balancers},
        "events": [event_status(event) for event in list(registry.events)[-SHOWN_EVENTS:]],
    }


def telling_of(site: SiteService, key: str) -> Mapping[str, Any] | None:
    """What the status has of one balancer; None if there is none of that key."""
    return _balancer(site, key) if key in site.live.balancers else None


def _balancer(site: SiteService, key: str) -> Mapping[str, Any]:
    health = site.context.registry.health(key)
    return {"healthy": health, **_told(key, site.live.balancers[key].status, {})}


def metrics(site: SiteService) -> Iterator[Metric]:
    """The metrics of the site and its balancers, made as they are asked for."""
    listeners = site.context.listeners.all_tcp()
    context = site.context
    yield from site_metrics(context.registry.pools, listeners, context.logs, _long_turns(site))
    for key, balancer in list(site.live.balancers.items()):
        nothing: Sequence[Metric] = ()
        yield from _told(key, balancer.metrics, nothing)


def _told(key: str, ask: Callable[[], T], instead: T) -> T:
    """What a balancer tells of itself; `instead` if it raises: it may be a third party's, and the
    others' figures are none the worse."""
    try:
        return ask()
    except Exception:  # noqa: BLE001 - the edge to a third party's code: logged
        log.failure("{balancer} cannot tell its status", balancer=key)
        return instead


def _long_turns(site: SiteService) -> int:
    return int(getattr(site.context.reactor, "long_turns", 0))


def _site(site: SiteService) -> Mapping[str, Any]:
    return {
        "name": name_of(site.plan),
        "version": __version__,
        "pid": os.getpid(),
        "config": site.plan.path,
        "started": site.started,
        "state": "draining" if site.draining else "running",
        "healthy": site.healthy(),
        "long_turns": _long_turns(site),
        "unavailable": dict(site.live.makers.broken),
        "warnings": [*map(str, site.plan.warnings), *_troubles(site)],
    }


def _troubles(site: SiteService) -> Iterator[str]:
    """What does not work as the operator would want, though the site file is sound."""
    if site.memory.trouble:
        yield site.memory.trouble
    yield from site.overriding.problems


def _pool(site: SiteService, name: str) -> Slices[Mapping[str, Any]]:
    registry = site.context.registry
    status: dict[str, Any] = dict(registry.pools[name].status())
    status["healthy"] = registry.health(name)
    checks = site.live.checks.get(name)
    yield
    results = {} if checks is None else checks.status()
    yield
    status["servers"] = {
        server["name"]: {**server, "check": results.get(server["name"])}
        for server in status["servers"]
    }
    return status
