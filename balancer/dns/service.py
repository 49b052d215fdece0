"""
`[dns ZONE]` at work: takes on settings, and gives the zone to the addresses where it is served.

Knows the site's seams. Sockets and what several zones share are `edge`'s, answers `responder`'s.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.logger import Logger
from zope.interface import implementer

from balancer.config.slices import Slices, finish
from balancer.dns import explain, metrics, secrets
from balancer.dns.cookies import Cookies
from balancer.dns.edge import edge_of
from balancer.dns.geo.prefixes import Territory
from balancer.dns.keys import Key
from balancer.dns.loading import Loader, apex_of, forgetting
from balancer.dns.log import writer
from balancer.dns.names import to_text
from balancer.dns.naming import Naming
from balancer.dns.pools import PoolName
from balancer.dns.primary import Primary
from balancer.dns.ratelimit import RateLimit
from balancer.dns.serials import Written
from balancer.dns.served import Served
from balancer.dns.settings import DnsSettings, zone_key
from balancer.dns.zone import BadZone, Zone
from balancer.interfaces import (
    IContext,
    IExplains,
    IPrepared,
    IPreparedFromFiles,
    IPreparesInSlices,
    Metric,
    PrepareError,
)
from balancer.wire.keeping import Write
from balancer.wire.logfile import LogFile
from balancer.wire.slices import in_slices

log = Logger()


@implementer(IPreparedFromFiles)
@frozen
class Prepared:
    """Settings, and all that was opened and read for them."""

    balancer: DnsBalancer
    settings: DnsSettings
    zone: Zone
    written: Written
    names: Mapping[bytes, PoolName]
    territory: Territory
    cookies: Cookies | None
    keys: Mapping[bytes, Key]
    log_file: LogFile | None
    read_again: bool

    def changes(self) -> Sequence[str]:
        """See `IPreparedFromFiles`."""
        if not self.read_again:
            return ()
        return (f"~ dns {self.balancer.section}: the zone file was read again",)

    def commit(self) -> None:
        """Put them in force."""
        self.balancer.take(self)

    def abandon(self) -> None:
        """Nothing was opened that must be closed."""


@implementer(IPreparesInSlices, IExplains)
class DnsBalancer(Service):
    """One zone. `write` writes a file beside the reactor."""

    def __init__(self, name: str, context: IContext, write: Write | None = None) -> None:
        # Not Service.name: siblings of other kinds may bear the same name.
        self.section = name
        self._context = context
        self._write = write
        self._edge = edge_of(context)
        self._settings: DnsSettings | None = None
        self._loader: Loader | None = None
        self._primary: Primary | None = None
        self._served: Served | None = None
        self._naming = Naming(name, context)
        self._draining = False

    # -- settings

    def prepare(self, settings: DnsSettings) -> IPrepared:
        """See `IBalancer`."""
        return finish(self.preparing(settings))

    def preparing(self, settings: DnsSettings) -> Slices[IPrepared]:
        """See `IPreparesInSlices`. Raises `PrepareError` for what cannot be read, and for names
        that cannot stand beside the zone's records."""
        key = zone_key(self.section)
        if self._loader is None:
            self._loader = Loader(self.section, key)
            self._primary = Primary(self.section, key, self._context, self._write)
        keys = secrets.keys(self.section, settings)
        cookies = secrets.cookies(self.section, self._context.state, settings.cookie_secret_file)
        log_file = self._log_file(settings)
        tree, fresh = yield from self._loader.loading(settings.zone, apex_of(settings, key))
        for warning in self._loader.warnings[:SHOWN_WARNINGS] if fresh else ():
            log.warn("[dns {zone}] zone: {problem}", zone=self.section, problem=warning)
        names = yield from self._naming.naming(settings)
        try:
            zone = yield from Zone.making(tree, names)
        except BadZone as error:
            problems = "\n".join(f"[dns {self.section}] answers: {e}" for e in error.problems)
            raise PrepareError(problems) from error
        territory = yield from self._edge.atlas.preparing(
            self._context.sections("place"), self._context.geo
        )
        written = self._loader.written
        return Prepared(
            self, settings, zone, written, names, territory, cookies, keys, log_file,
            fresh and settings.zone is not None and self._served is not None,
        )

    def _log_file(self, settings: DnsSettings) -> LogFile | None:
        path = settings.access_log
        if path is None:
            return None
        try:
            return self._context.log_file(path)
        except OSError as error:
            reason = error.strerror or str(error)
            msg = f"[dns {self.section}] access-log: cannot open {path}: {reason}"
            raise PrepareError(msg) from error

    def take(self, prepared: Prepared) -> None:
        """Put prepared settings in force; for `Prepared.commit` alone."""
        settings = self._settings = prepared.settings
        served, zone = self._served, prepared.zone
        if served is None:
            served = self._served = Served(zone.origin, zone)
        elif self.running:
            # That of the new content comes as soon as that is looked at.
            zone = zone.with_serial(served.zone.serial)
        served.keys = prepared.keys
        served.territory = prepared.territory
        served.watch(_limit(settings, served.limit), self._log_line(prepared.log_file))
        before = served.zone.tree
        self._naming.refresh(prepared.names)
        served.renew(zone, prepared.names)
        assert self._primary is not None  # made when they were prepared
        self._primary.take(served, settings, prepared.written)
        if before is not zone.tree and before.size > FREED_AT_ONCE:
            # At once a million names take 0.4 s.
            in_slices(self._context.reactor, forgetting(before))
        self._edge.atlas.commit(prepared.territory)
        self._edge.join(served, ((each.host, each.port) for each in settings.listen))
        self._edge.secure(served, prepared.cookies, settings.cookie_secret_file is not None)
        self._naming.follow(settings, served)
        if self.running and not self._draining:
            self._edge.start(served)
        if self.running:
            self._naming.look_again()

    def _log_line(self, log_file: LogFile | None) -> Any:
        return None if log_file is None else writer(self.section, log_file.write, time.time)

    # -- life

    def startService(self) -> None:
        """Begin to answer."""
        super().startService()
        if self._served is not None and self._primary is not None:
            self._edge.start(self._served)
            self._primary.start()

    def drain(self) -> Deferred[None]:
        """Take no new connections where all zones drain, and fire when none is left.
        Datagrams are answered until the service stops."""
        served = self._served
        if served is None:
            return succeed(None)
        self._draining = True
        drained: Deferred[None] = DeferredList(
            [front.drain() for front in self._edge.drain(served)]
        ).addCallback(lambda _: None)
        return drained

    def stopService(self) -> Deferred[None]:
        """Answer no more; fires when what must survive is written."""
        super().stopService()
        self._naming.leave()
        if self._served is not None:
            self._edge.leave(self._served)
        return succeed(None) if self._primary is None else self._primary.stop()

    # -- what it tells

    def explain(self, question: Mapping[str, str]) -> Mapping[str, Any]:
        """See `IExplains`."""
        served = self._served
        assert served is not None  # asked of what is in force
        scope = partial(_scope, self._edge.of(served), served)
        return explain.explain(served, question, scope)

    def status(self) -> Mapping[str, Any]:
        """For `/api/status`."""
        served, loader, primary = self._served, self._loader, self._primary
        if served is None or loader is None or primary is None:
            return {"kind": "dns"}
        return {
            "kind": "dns",
            "zone": to_text(served.key),
            "serial": served.zone.serial,
            "draining": self._draining,
            "names": _told(served.names),
            "warnings": list(loader.warnings[:SHOWN_WARNINGS]),
            "places": self._edge.atlas.status(),
            **primary.status(),
            **metrics.status(served.figures, self._edge.of(served)),
        }

    def metrics(self) -> Sequence[Metric]:
        """For `/metrics`."""
        served, primary = self._served, self._primary
        if served is None or primary is None:
            return ()
        found = metrics.metrics(self.section, served.figures, self._edge.of(served))
        of_database = metrics.database_metrics(self.section, self._edge.atlas.status())
        return (*found, *primary.metrics(), *of_database)


FREED_AT_ONCE = 1000
"""Names of a tree that just goes: slices take 1 ms, which hundreds of small zones have no use for.
"""

SHOWN_SERVERS = 100
"""Servers of one name in the status: 5000 names that follow 5000 servers would take 200 MB."""


def _told(names: Mapping[bytes, PoolName]) -> Mapping[str, Any]:
    # Names of one pool mostly have the same servers: they share the list.
    lists: dict[int, Sequence[str]] = {}
    told = {}
    for key, name in names.items():
        servers = name.servers
        shown = lists.get(id(servers))
        if shown is None:
            shown = [server.name for server in servers[:SHOWN_SERVERS]]
            if servers is name.standing.servers:
                lists[id(servers)] = shown
        told[to_text(key)] = {
            "pool": name.pool.name,
            "policy": name.line.policy,
            "servers": shown,
            "ttl": name.ttl,
            "fault": None if name.fault is None else name.fault[1],
        }
    return told


SHOWN_WARNINGS = 20
"""Warnings about the zone's file in the status, and in the log when it is read."""


def _scope(fronts: Sequence[Any], served: Served, key: bytes, qtype: int, address: bytes) -> int:
    """For how long a prefix the answer holds, as the wire would say."""
    for front in fronts:
        entry = front.responder.entry(served, key, qtype)
        if entry.clients is not None:
            return int(entry.clients.choose(address)[1])
    return 0


def _limit(settings: DnsSettings, before: RateLimit | None) -> RateLimit | None:
    if settings.rate_limit is None:
        return None
    made_of = (settings.rate_limit, settings.rate_limit_slip, settings.rate_limit_exempt)
    if before is not None and before.made_of == made_of:
        return before
    return RateLimit(*made_of)
