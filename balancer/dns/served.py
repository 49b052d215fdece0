"""
A zone as it is served: its records, its names that follow pools, its limits and its figures.

Pure. Who changes it (settings, pools, places) does so through here, and is told which names'
answers are outdated by it; who has made answers of it (`prepared`) drops those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from balancer.config.slices import Slices, finish
from balancer.dns.figures import Figures
from balancer.dns.keys import Key
from balancer.dns.pools import PoolName
from balancer.dns.ratelimit import RateLimit
from balancer.dns.survey import Survey
from balancer.dns.transfer import Access
from balancer.dns.zone import Zone

if TYPE_CHECKING:
    from balancer.dns.geo.prefixes import Territory

LogLine = Callable[[str, bytes, str], None]
"""Takes the client's address, the answer, and `udp` or `tcp`."""


SETTLED_A_SLICE: Final = 200
"""Names that look at their pool in one slice: some 2 ms."""

SERIAL: Final = b""
"""Stands among the keys of names that an answer follows for the zone's serial, which is in it."""


MAX_VARIED: Final = 64 * 1024 * 1024
"""Bytes of variants of answers, but for the first of each, made since all were forgotten. A
wildcard that follows a pool of thousands has as many for each length of a name, and strangers
choose names."""

VARIANT_SIZE: Final = 1024
"""Bytes of a variant besides its records."""


class Watcher(Protocol):
    """Who keeps answers of a zone."""

    def outdated(self, keys: Iterable[bytes]) -> None:
        """Answers that follow the names of these keys, or `SERIAL`, hold no more."""

    def renewed(self) -> None:
        """No answer of before holds."""


class Served:
    """The zone `key` (its apex, in lower case). `grows`: its serial may change without anything
    else, so that answers which bear it follow `SERIAL`."""

    __slots__ = ("__weakref__", "figures", "grows", "key", "keys", "limit", "log", "names", "pools",
                 "surveys", "territory", "transfer", "varied", "watched", "watchers", "zone")

    def __init__(self, key: bytes, zone: Zone) -> None:
        self.key = key
        self.zone = zone
        self.names: Mapping[bytes, PoolName] = {}
        self.pools: dict[str, list[bytes]] = {}
        self.surveys: dict[str, Survey] = {}
        self.territory: Territory | None = None
        self.limit: RateLimit | None = None
        self.log: LogLine | None = None
        self.transfer: Access | None = None
        self.keys: Mapping[bytes, Key] = {}
        self.varied = 0
        self.watched = False
        self.grows = False
        self.figures = Figures()
        self.watchers: list[Watcher] = []

    def renew(self, zone: Zone, names: Mapping[bytes, PoolName]) -> None:
        """These are its records and its names that follow pools from now on."""
        self.zone, self.names = zone, names
        self.pools, self.surveys = {}, {}
        for key, name in names.items():
            pool = name.pool.name
            if name.revision != name.pool.revision:
                if pool not in self.surveys:
                    self.surveys[pool] = name.survey()
                name.settle(self.surveys[pool])
            self.pools.setdefault(pool, []).append(key)
        for watcher in self.watchers:
            watcher.renewed()

    def vary(self, size: int) -> None:
        """A variant was made with records of that many bytes. When there may be too many of them,
        all are forgotten, and come again as they are asked for."""
        self.varied += VARIANT_SIZE + size
        if self.varied > MAX_VARIED:
            self.varied = 0
            self._outdate(tuple(self.names))

    def number(self, serial: int) -> None:
        """This is its serial from now on."""
        self.zone = self.zone.with_serial(serial)
        self._outdate((SERIAL,))

    def watch(self, limit: RateLimit | None, log: LogLine | None) -> None:
        """Limit and log what goes out."""
        self.limit, self.log = limit, log
        self.watched = limit is not None or log is not None

    def settle(self, pool: str) -> None:
        """Something may have changed in that pool: have its names look, and tell whose answers are
        others now."""
        finish(self.settling(pool))

    def settling(self, pool: str) -> Slices[None]:
        """The same in slices: 5000 names take 30 ms, and twice that on a busy machine."""
        names, keys = self.names, self.pools.get(pool, [])
        for at in range(0, len(keys), SETTLED_A_SLICE):
            if self.names is not names:
                return  # others, which have looked
            survey = self.surveys.get(pool)
            first = names[keys[0]]
            if not at or survey is None or survey.revision != first.pool.revision:
                survey = self.surveys[pool] = first.survey(survey)
            some = keys[at : at + SETTLED_A_SLICE]
            self._outdate(tuple(key for key in some if names[key].settle(survey)))
            yield

    def inhabit(self, territory: Territory | None) -> None:
        """This is who lives where from now on."""
        self.territory = territory
        self._outdate(tuple(key for key, name in self.names.items() if name.by_client))

    def _outdate(self, names: tuple[bytes, ...]) -> None:
        if names:
            for watcher in self.watchers:
                watcher.outdated(names)
