"""
`lbctl status`: the site in a line, its balancers, and each pool's servers. Pure.

What a key is called differs by kind; the status of a kind that this does not know still has a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from balancer.lbctl.table import Column, table
from balancer.lbctl.words import NOTHING, age, count, duration, moment, plain, shorten

if TYPE_CHECKING:
    from typing import Any

# The first of these that a balancer's status has is what the column shows.
LISTEN = ("listeners", "listen")
CONNECTIONS = ("connections", "flows")
REQUESTS = ("requests_total", "connections_total", "flows_total", "answers_total")

BALANCERS = (
    Column("balancer", shrinks=True),
    Column("listen", shrinks=True),
    Column("healthy"),
    Column("connections", right=True),
    Column("requests", right=True),
)

SERVERS = (
    Column("server", shrinks=True),
    Column("state"),
    Column("since", right=True),
    Column("weight", right=True),
    Column("in flight", right=True),
    Column("requests", right=True),
    Column("failures", right=True),
    Column("last check", shrinks=True),
)


def status(result: Mapping[str, Any], width: int) -> list[str]:
    """The lines of the status `result`."""
    lines = list(_site(result.get("site") or {}, width))
    balancers = result.get("balancers") or {}
    if balancers:
        rows = [row for name, each in balancers.items() for row in _balancer(name, each)]
        lines += ["", *table(BALANCERS, rows, width)]
    for name, pool in (result.get("pools") or {}).items():
        lines += ["", *_pool(name, pool, result.get("now"), width)]
    return lines


def _site(site: Mapping[str, Any], width: int) -> Iterator[str]:
    health = "healthy" if site.get("healthy") else "not healthy"
    what = f"site {plain(site.get('name'))}: {plain(site.get('state'))}, {health}"
    yield shorten(f"{what}, since {moment(site.get('started'))}", width)
    version = f"version {plain(site.get('version'))}, pid {plain(site.get('pid'))}"
    yield shorten(f"{version}, {plain(site.get('config'))}", width)
    for what, why in (site.get("unavailable") or {}).items():
        yield f"not available: {plain(what)}: {plain(why)}"
    for warning in site.get("warnings") or ():
        yield plain(warning)


def _balancer(name: str, status: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    """A row, and one more for each further listener."""
    first, *more = list(_listeners(status)) or [NOTHING]
    yield (
        name,
        first,
        bool(status.get("healthy")),
        count(_first(status, CONNECTIONS)),
        count(_first(status, REQUESTS)),
    )
    for each in more:
        yield "", each, "", "", ""


def _listeners(status: Mapping[str, Any]) -> Iterable[object]:
    found = _first(status, LISTEN)
    if isinstance(found, (list, Mapping)):  # that of `dns` has figures by listener
        return found
    # A demo server has a list for each protocol.
    return [
        f"{protocol} {each}"
        for protocol in ("http", "tcp", "udp")
        if isinstance(status.get(protocol), list)
        for each in status[protocol]
    ]


def _first(status: Mapping[str, Any], names: Iterable[str]) -> object:
    return next((status[name] for name in names if name in status), None)


def _pool(name: str, pool: Mapping[str, Any], now: object, width: int) -> Iterator[str]:
    servers = list((pool.get("servers") or {}).values())
    up = sum(server.get("state") == "up" for server in servers)
    facts = [f"pool {plain(name)}: {plain(pool.get('algorithm'))}", f"{up} of {len(servers)} up"]
    if not pool.get("healthy", True):
        facts.append("nobody available")
    if pool.get("panicking"):
        facts.append("panicking: servers that are down are used, too")
    if pool.get("queue_length"):
        facts.append(f"{count(pool['queue_length'])} waiting")
    yield shorten(", ".join(facts), width)
    rows = [_server(server, now) for server in servers]
    rows += [_server({**server, "state": "leaving"}, now) for server in pool.get("leaving") or ()]
    if rows:
        yield from table(SERVERS, rows, width)


def _server(server: Mapping[str, Any], now: object) -> tuple[object, ...]:
    return (
        server.get("name"),
        server.get("state"),
        _since(server.get("changed_at"), now),
        count(server.get("weight")),
        count(server.get("in_flight")),
        count(server.get("requests_total")),
        count(server.get("failures_total")),
        _check(server),
    )


def _since(changed: object, now: object) -> str:
    """How long ago, by the clock of the pools."""
    if isinstance(changed, (int, float)) and isinstance(now, (int, float)):
        return age(now - changed)
    return NOTHING


def _check(server: Mapping[str, Any]) -> str:
    if server.get("state") in ("drain", "maint") and server.get("reason"):
        return plain(server["reason"])
    check = server.get("check")
    if not isinstance(check, Mapping):
        return NOTHING
    reason, seconds = plain(check.get("reason")), check.get("seconds")
    if check.get("last") == "up" and isinstance(seconds, (int, float)):
        return f"{reason}, {duration(seconds)}"
    return reason
