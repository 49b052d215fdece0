"""
Which names of a zone follow pools: those of `answers`, and those that servers have of their own.

Knows the site's seams: who else has a say in it, and tells when. What a name answers is `pools`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.config.slices import Slices
from balancer.dns.names import from_text
from balancer.dns.pools import PoolName
from balancer.dns.served import Served
from balancer.dns.settings import DnsSettings, zone_key
from balancer.dns.survey import Survey
from balancer.dns.svcb import Service
from balancer.dns.tree import Tree
from balancer.dns.values import AnswerLine
from balancer.dns.zone import Zone, clashes
from balancer.interfaces import IContext, IEndpoints, INamedServers
from balancer.pool.pool import Pool
from balancer.wire.slices import in_slices

NAMES_A_SLICE: Final = 200
"""Names made before others have their turn: some 3 ms."""

Names = Mapping[bytes, PoolName]

log = Logger()


class Naming:
    """The names of one section."""

    def __init__(self, section: str, context: IContext) -> None:
        self._section = section
        self._context = context
        self._told_by: list[INamedServers | IEndpoints] = []
        self._settings: DnsSettings | None = None
        self._served: Served | None = None
        self._again = False
        self._renaming: Deferred[None] | None = None

    def naming(self, settings: DnsSettings) -> Slices[Names]:
        """All names by their keys, settled."""
        makes = _Making(self._context, settings)
        found: dict[bytes, PoolName] = {}
        key = zone_key(self._section)
        for line in settings.answers:
            if len(found) % NAMES_A_SLICE == 0:
                yield
            found[line.key(key)] = makes.name(line, self._context.pool(line.pool))
        for each in self._context.balancers("subdomains").values():
            named: INamedServers = INamedServers(each)
            if zone_key(named.zone or ".") != key:
                continue
            for server, text in named.names().items():
                if len(found) % NAMES_A_SLICE == 0:
                    yield
                own = from_text(text + ".").lower()
                if own in found:
                    log.error("{name} is in answers already", name=text)
                    continue
                line = AnswerLine(text + ".", named.pool.name, ttl=int(named.ttl))
                found[own] = makes.name(line, named.pool, server)
        return found

    def refresh(self, names: Names) -> None:
        """What http serves may have changed since they were made: it may have come into force
        before their section."""
        for name in names.values():
            if not name.line.https:
                continue
            name.serve(services(self._context, name.line))
            if not name.services:
                log.warn(
                    "[dns {zone}] answers: {name} has no HTTPS records: no listener of [{http}] "
                    "has tls",
                    zone=self._section, name=name.line.name,
                    http=name.line.https.replace(":", " "),
                )

    # Others have a say in it

    def follow(self, settings: DnsSettings, served: Served) -> None:
        """Hear of what names are made of: what http serves, and which servers have names. When that
        changes, `served` is renewed."""
        self._settings, self._served = settings, served
        wanted: list[Any] = list(self._context.balancers("subdomains").values())
        for line in settings.answers:
            if line.https:
                wanted.append(self._context.balancer(line.https))
        for each in self._told_by:
            if each not in wanted:
                each.unchanged(self._changed)
        for each in wanted:
            if each not in self._told_by:
                each.changed(self._changed)
        self._told_by = wanted

    def look_again(self) -> None:
        """Others may have changed since the names in force were made, which took some turns."""
        if self._told_by:
            self._changed()

    def leave(self) -> None:
        """Hear of nothing any more."""
        for each in self._told_by:
            each.unchanged(self._changed)
        self._told_by = []
        if self._renaming is not None:
            self._renaming.cancel()

    def _changed(self) -> None:
        """Make the names anew beside other work: a pool may have thousands."""
        self._again = True
        if self._renaming is None:
            renaming = in_slices(self._context.reactor, self._making_anew())
            if not renaming.called:
                self._renaming = renaming
            renaming.addBoth(self._made)

    def _making_anew(self) -> Slices[None]:
        while self._again:
            self._again = False
            settings, served = self._settings, self._served
            assert settings is not None and served is not None
            names = yield from self.naming(settings)
            yield
            tree = served.zone.tree
            names = yield from self._fitting(names, tree)
            zone = yield from Zone.making(tree, names)
            if not self._again and settings is self._settings and tree is served.zone.tree:
                served.renew(zone.with_serial(served.zone.serial), names)

    def _fitting(self, names: Names, tree: Tree) -> Slices[Names]:
        """Those that go with the zone's records: who gives names to servers knows none of them."""
        found = {}
        for at, (key, name) in enumerate(names.items()):
            if at % NAMES_A_SLICE == 0:
                yield
            problems = list(clashes(tree, key, name.types))
            if not problems:
                found[key] = name
            for problem in problems:
                log.error("[dns {zone}] left out {problem}", zone=self._section, problem=problem)
        return found

    def _made(self, result: object) -> None:
        self._renaming = None
        if isinstance(result, Failure) and self._told_by:
            log.failure("[dns {zone}] names could not be made anew", result, zone=self._section)


class _Making:
    """What is looked up but once for many names."""

    def __init__(self, context: IContext, settings: DnsSettings) -> None:
        self._context = context
        self._settings = settings
        self._surveys: dict[str, Survey] = {}

    def name(self, line: AnswerLine, pool: Pool, own: str = "") -> PoolName:
        """A name that follows the pool, settled."""
        survey = self._surveys.get(pool.name)
        if survey is None:
            survey = Survey(pool, self._context.remembered(pool.name))
            self._surveys[pool.name] = survey
        name = PoolName(line, pool, self._settings.ttl, survey.remembered, own)
        name.serve(services(self._context, line))
        name.settle(survey)
        return name


def services(context: IContext, line: AnswerLine) -> tuple[Service, ...]:
    """What the http balancer of `https=` serves under TLS."""
    if not line.https:
        return ()
    endpoints = IEndpoints(context.balancer(line.https)).endpoints()
    found = [Service(each.port, tuple(each.alpn)) for each in endpoints if each.tls]
    return tuple(dict.fromkeys(found))
