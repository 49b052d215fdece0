"""
A zone as it is served: its records, its names that follow pools, its limits and its figures.

Pure. Who changes it (settings, pools, places) does so through here, and is told which names'
answers are outdated by it; who has made answers of it (`prepared`) drops those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from balancer.config.slices import Slices
from balancer.dns.figures import Figures
from balancer.dns.keys import Key
from balancer.dns.pools import PoolName
from balancer.dns.ratelimit import RateLimit
from balancer.dns.survey import Survey
from balancer.dns.transfer import Access
from balancer.dns.zone import NAMES_A_SLICE, Zone
from balancer.pool.pool import Pool

if TYPE_CHECKING:
    from balancer.dns.geo.prefixes import Territory

LogLine = Callable[[str, bytes, str], None]
"""Takes the client's address, the answer, and `udp` or `tcp`."""


SERIAL: Final = b""
"""Stands among the keys of names that an answer follows for the zone's serial, which is in it."""


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
                 "territory", "transfer", "watched", "watchers", "zone")

    def __init__(self, key: bytes, zone: Zone) -> None:
        self.key = key
        self.zone = zone
        self.names: Mapping[bytes, PoolName] = {}
        self.pools: dict[str, list[bytes]] = {}
        self.territory: Territory | None = None
        self.limit: RateLimit | None = None
        self.log: LogLine | None = None
        self.transfer: Access | None = None
        self.keys: Mapping[bytes, Key] = {}
        self.watched = False
        self.grows = False
        self.figures = Figures()
        self.watchers: list[Watcher] = []

    def renew(self, zone: Zone, names: Mapping[bytes, PoolName]) -> None:
        """These are its records and its names that follow pools from now on."""
        self.zone, self.names = zone, names
        self.pools = {}
        surveys: dict[Pool, Survey] = {}
        for key, name in names.items():
            if not name.is_settled:
                if name.pool not in surveys:
                    surveys[name.pool] = name.survey()
                name.settle(surveys[name.pool])
            self.pools.setdefault(name.pool.name, []).append(key)
        for watcher in self.watchers:
            watcher.renewed()

    def number(self, serial: int) -> None:
        """This is its serial from now on."""
        self.zone = self.zone.with_serial(serial)
        self._outdate((SERIAL,))

    def watch(self, limit: RateLimit | None, log: LogLine | None) -> None:
        """Limit and log what goes out."""
        self.limit, self.log = limit, log
        self.watched = limit is not None or log is not None

    def settle(self, pool: str) -> tuple[bytes, ...]:
        """Something may have changed in that pool: the names whose answers are others now."""
        keys = self.pools.get(pool, ())
        survey = self.names[keys[0]].survey() if keys else None
        changed = tuple(key for key in keys if self.names[key].settle(survey))
        self._outdate(changed)
        return changed

    def inhabit(self, territory: Territory | None) -> None:
        """This is who lives where from now on."""
        self.territory = territory
        self._outdate(tuple(key for key, name in self.names.items() if name.by_client))

    def _outdate(self, names: tuple[bytes, ...]) -> None:
        if names:
            for watcher in self.watchers:
                watcher.outdated(names)


def settling(names: Iterable[PoolName]) -> Slices[None]:
    """Have names look at their pools before a zone gets them, so that it costs less then."""
    surveys: dict[Pool, Survey] = {}
    for at, name in enumerate(names):
        survey = surveys.get(name.pool)
        if survey is None or survey.revision != name.pool.revision:
            survey = surveys[name.pool] = name.survey()
        name.settle(survey)
        if at % NAMES_A_SLICE == 0:
            yield
