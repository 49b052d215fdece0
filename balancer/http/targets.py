"""
Where the routes of one balancer lead: pools with the connections to their servers, servers' names.

Knows routes and who lends pools; how a request gets to its target is `table`'s and `proxying`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from balancer.http.answers import response
from balancer.http.front import Front, Target
from balancer.http.keys import key_of
from balancer.http.links import LinkTable
from balancer.http.naming import Naming
from balancer.http.routes import (
    Action,
    Redirect,
    RedirectToHttps,
    Respond,
    Route,
    ToPool,
    ToSubdomains,
)
from balancer.http.settings import HttpSettings
from balancer.http.table import compile_routes
from balancer.interfaces import IContext, Published
from balancer.pool.events import Moved
from balancer.pool.server import Server


class Targets:
    """`pools` and `namings` are what the `routes` in force lead to, by name."""

    def __init__(self, front: Front, context: IContext) -> None:
        self.pools: dict[str, Target] = {}
        self.namings: dict[str, Naming] = {}
        self.routes: tuple[Route, ...] = ()
        self._front = front
        self._context = context

    def take(self, settings: HttpSettings) -> None:
        """Put the routes in force; where they lead no more, no connections are kept."""
        front = self._front
        targets = self.pools
        self.pools = {}
        for naming in self.namings.values():
            naming.let_go()
        self.namings = {}

        def resolve(action: Action) -> Target:
            if isinstance(action, ToPool):
                return self._pool_target(action.name, targets)
            if isinstance(action, ToSubdomains):
                return Target(naming=self._naming(action.name))
            if isinstance(action, Respond):
                return Target(answer=response(action))
            if isinstance(action, (Redirect, RedirectToHttps)):
                return Target(redirect=action)
            raise AssertionError(action)

        default = Target() if settings.pool is None else resolve(ToPool(settings.pool))
        front.table = front.tls_table = compile_routes(settings.routes, default, resolve)
        elsewhere = [r for r in settings.routes if not isinstance(r.action, RedirectToHttps)]
        if len(elsewhere) < len(settings.routes):
            front.tls_table = compile_routes(elsewhere, default, resolve)
        self.routes = settings.routes
        front.only = front.table.only
        for name, target in targets.items():
            if self.pools.get(name) is not target:
                for links in target.links.values():
                    links.drop()

    def _pool_target(self, name: str, old: Mapping[str, Target]) -> Target:
        if name not in self.pools:
            pool = self._context.pool(name)
            target = old.get(name)
            if target is None or target.pool is not pool:
                target = Target(pool, LinkTable(self._front))
            target.key_of = key_of(pool.needs_key)
            self.pools[name] = target
        return self.pools[name]

    def _naming(self, name: str) -> Naming:
        if name not in self.namings:
            named: Any = self._context.balancer(f"subdomains:{name}")
            self.namings[name] = Naming(named)
        return self.namings[name]

    def renew_links(self) -> None:
        """A server that is trusted otherwise by now keeps no connections of before."""
        for target in self.pools.values():
            for server, links in list(target.links.items()):
                if links.address is not server.address:
                    links.retire()
                    del target.links[server]

    def follow(self, published: Published) -> None:
        """A verdict changed: a server that is out keeps no connections, nor does one that is
        elsewhere now."""
        target, event = self.pools.get(published.pool), published.event
        if target is None:
            return
        for server, links in list(target.links.items()):
            if server.key != event.server:
                continue
            links.verdict_changed()
            if server.state == "removed" or isinstance(event, Moved):
                links.retire()
                del target.links[server]

    def stop(self) -> None:
        """Close all that is idle, and listen to no names any more."""
        for target in self.pools.values():
            for links in target.links.values():
                links.drop()
        for naming in self.namings.values():
            naming.let_go()

    def all_pools(self) -> tuple[str, ...]:
        """The names of the pools whose servers answer here, once each."""
        pools = [*self.pools, *(naming.pool.name for naming in self.namings.values())]
        return tuple(dict.fromkeys(pools))

    def idle(self) -> Iterator[tuple[str, Server, int]]:
        """For each server that has been asked: its pool's name, and how many connections wait."""
        for name, target in self.pools.items():
            for server, links in target.links.items():
                yield name, server, len(links.idle)
