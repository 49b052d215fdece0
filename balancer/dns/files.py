"""
The files that `[dns ZONE]` sections name, and the database of places: read as by a start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from balancer.dns import secrets
from balancer.dns.geo.service import check, surveying
from balancer.dns.loading import Loader, apex_of
from balancer.dns.names import BadName, is_within
from balancer.dns.pools import types_of
from balancer.dns.settings import DnsSettings, zone_key
from balancer.dns.tree import Tree
from balancer.dns.zone import clashes
from balancer.interfaces import BadFiles, Flaw, ISections, PrepareError
from balancer.wire.stamps import stamps


def reading(sections: Mapping[str, DnsSettings], around: ISections) -> Iterator[Flaw | None]:
    """See `IReadsFiles`."""
    yield from _database(around)
    for name, settings in sections.items():
        yield from _secrets(name, settings)
        yield from _zone(name, settings)
        yield None


def _database(around: ISections) -> Iterator[Flaw | None]:
    """All zones share it; without one nobody reads it."""
    places = around.sections("place")
    try:
        check(places)
        if around.geo is not None:
            yield from surveying(places, around.geo, stamps([around.geo]))
    except BadFiles as bad:
        for finding in bad.findings:
            yield Flaw("site:", *finding)
    except PrepareError as error:
        yield Flaw(f"place:{list(places)[-1]}", "", 0, str(error))


def _secrets(name: str, settings: DnsSettings) -> Iterator[Flaw | None]:
    try:
        secrets.keys(name, settings)
    except BadFiles as bad:
        yield from _told(name, bad)
    if settings.cookie_secret_file is not None:
        try:
            secrets.given_cookies(name, settings.cookie_secret_file)
        except BadFiles as bad:
            yield from _told(name, bad)


def _zone(name: str, settings: DnsSettings) -> Iterator[Flaw | None]:
    if settings.zone is None:
        return
    try:
        key = zone_key(name)
    except BadName:
        return  # the site file's own fault
    loader = Loader(name, key)
    try:
        tree, _ = yield from loader.loading(settings.zone, apex_of(settings, key))
    except BadFiles as bad:
        yield from _told(name, bad)
        return
    for warning in loader.warnings:
        yield Flaw(f"dns:{name}", "zone", 0, warning, doubt=True)
    yield from _answers(name, settings, key, tree)


def _answers(name: str, settings: DnsSettings, key: bytes, tree: Tree) -> Iterator[Flaw | None]:
    """Names that follow pools beside the file's records."""
    for index, line in enumerate(settings.answers):
        try:
            answered = line.key(key)
        except BadName:
            continue
        if is_within(answered, key):
            for text in clashes(tree, answered, types_of(line)):
                yield Flaw(f"dns:{name}", "answers", index, text)


def _told(name: str, bad: BadFiles) -> Iterator[Flaw]:
    for finding in bad.findings:
        yield Flaw(f"dns:{name}", *finding)
