"""
The one atlas of a site: its territory in force, and the database's file, which it looks after.

The file is read whole into memory and given up once the territory is built. It is not mapped: an
operator may overwrite it in place, and a page of a file that was cut short ends the process
(SIGBUS). For the same reason a file is read only when it has rested between two looks, and what
was read counts only if the file was the same before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.config.slices import Slices, finish
from balancer.dns.geo.building import Source, building
from balancer.dns.geo.mmdb import Broken
from balancer.dns.geo.places import MAX_PLACES, Facts
from balancer.dns.geo.prefixes import Territory
from balancer.dns.geo.records import About, Database, opening
from balancer.dns.geo.settings import PlaceSettings
from balancer.interfaces import BadFiles, PrepareError
from balancer.wire.regular import open_regular
from balancer.wire.slices import in_slices
from balancer.wire.stamps import Stamps, stamps

LOOK_SECONDS: Final = 3.0
"""Between two looks at the file. A new one is in force after two looks and its building."""

MAX_BYTES: Final = 1 << 30
"""Bytes of a database: some eight times the largest ones of cities."""

MAX_NETWORKS: Final = 100_000
"""Networks that all places list together; each costs some 30 us when the territory is built."""

_PIECE_BYTES: Final = 1 << 20
"""Read in one slice: some 0.3 ms."""


@frozen(eq=False)
class Edition:
    """What a territory was made of."""

    places: Mapping[str, PlaceSettings]
    path: str | None
    stamps: Stamps
    about: About | None = None

    def told(self) -> dict[str, Any]:
        """The database for `/api/status`."""
        if self.about is None:
            return {"database": None}
        built = datetime.fromtimestamp(self.about.build_epoch, UTC)
        return {
            "database": self.path,
            "type": self.about.type,
            "built": f"{built:%Y-%m-%dT%H:%M:%SZ}",
            "nodes": self.about.nodes,
        }


class Atlas:
    """
    Shared by all zones of a site. Begins with a territory in which no place claims anybody.
    """

    log = Logger()

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self.territory = self._latest = finish(building({}, None))
        self._changed: list[Callable[[], None]] = []
        self._editions: WeakKeyDictionary[Territory, Edition] = WeakKeyDictionary()
        self._editions[self.territory] = Edition({}, None, ())
        self._users = 0
        self._next_look: IDelayedCall | None = None
        self._seen: Stamps | None = None
        self._tried: Stamps | None = None
        self._building: Deferred[Territory] | None = None
        self._swaps = self._refused = 0
        self._refusal = ""

    def preparing(
        self, places: Mapping[str, PlaceSettings], database_path: str | None
    ) -> Slices[Territory]:
        """
        The territory of these places and this database, for `commit`; the last one that was made
        if nothing has changed since, so that every zone may ask; the one in force if nothing has
        but that the database's file is broken now. Raises `PrepareError`.
        """
        now = stamps([database_path])
        for known in (self.territory, self._latest):
            edition = self._editions[known]
            if (edition.path, edition.stamps) == (database_path, now) \
                    and list(edition.places.items()) == list(places.items()):
                return known
        check(places)
        present = self._editions[self.territory]
        same = (present.path, list(present.places.items())) == (database_path, list(places.items()))
        if same and now == self._tried:
            return self.territory
        try:
            return (yield from self._surveying(Edition(dict(places), database_path, now)))
        except PrepareError as error:
            if present.about is None or not same:
                raise
            # A broken successor of the database is no reason to refuse what else is reloaded.
            self._refuse(str(error), now)
            return self.territory

    def _refuse(self, why: str, now: Stamps) -> None:
        """The file of these stamps is not tried again."""
        self._refused += 1
        self._refusal, self._tried = why, now
        self.log.error("{why}; the last one stays in force", why=why)

    def _surveying(self, edition: Edition) -> Slices[Territory]:
        """The territory of an edition whose database is still to be read."""
        territory, about = yield from surveying(edition.places, edition.path, edition.stamps)
        self._editions[territory] = evolve(edition, about=about)
        self._latest = territory
        return territory

    def commit(self, territory: Territory) -> None:
        """Put in force what `preparing` returned."""
        if self._building is not None:
            self._building.cancel()
        if territory is not self.territory:
            self._tried, self._refusal = None, ""
            self.territory = territory
            for changed in tuple(self._changed):
                changed()

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever another territory is in force. It must not raise."""
        self._changed.append(changed)

    def unsubscribe(self, changed: Callable[[], None]) -> None:
        """Call it no more."""
        self._changed.remove(changed)

    def start(self) -> None:
        """Look after the file, until `stop` was called as often as this."""
        self._users += 1
        if self._users == 1:
            self._next_look = self._reactor.callLater(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """One user less; without any, the file is looked at no more."""
        self._users -= 1
        if self._users == 0:
            if self._next_look is not None:
                self._next_look.cancel()
                self._next_look = None
            if self._building is not None:
                self._building.cancel()

    def status(self) -> dict[str, Any]:
        """For `/api/status`: the database in force, and what became of its successors."""
        return {
            **self._editions[self.territory].told(),
            "rankings": len(self.territory.rankings),
            "swaps": self._swaps,
            "refused": self._refused,
            "refusal": self._refusal or None,
        }

    def _look(self) -> None:
        self._next_look = self._reactor.callLater(LOOK_SECONDS, self._look)
        edition = self._editions[self.territory]
        if edition.path is None or self._building is not None:
            return
        now = stamps([edition.path])
        rests, self._seen = now == self._seen, now
        if rests and now not in (edition.stamps, self._tried):
            self._tried = now
            self._swap(evolve(edition, stamps=now))

    def _swap(self, edition: Edition) -> None:
        """Build another edition beside the one in force, and put it in force if it is sound."""

        def swap(territory: Territory) -> None:
            self._swaps += 1
            self._building = None
            self.commit(territory)
            told = self._editions[territory].told()
            self.log.info("geo: {database} of {built} is in force", **told)

        def refuse(failure: Failure) -> None:
            self._building = None
            if failure.check(CancelledError):
                return
            if failure.check(PrepareError):
                self._refuse(failure.getErrorMessage(), edition.stamps)
            else:
                self._refused += 1
                self._refusal = failure.getErrorMessage()
                self.log.failure("geo: the last database stays in force", failure)

        building = in_slices(self._reactor, self._surveying(edition))
        if not building.called:
            self._building = building
        building.addCallbacks(swap, refuse)


def surveying(
    places: Mapping[str, PlaceSettings], path: str | None, before: Stamps
) -> Slices[tuple[Territory, About | None]]:
    """The territory of these places and the database at `path`, whose stamps were `before`. Raises
    `BadFiles`."""
    if path is None:
        return (yield from building(places, None)), None
    try:
        database = yield from _opening(path, before)
        source = Source(database.tree, _facts(database))
        return (yield from building(places, source)), database.about
    except (Broken, OSError) as error:
        raise BadFiles("site", [("geo", 0, _refusal(path, error))]) from error


def check(places: Mapping[str, PlaceSettings]) -> None:
    """Raise `PrepareError` for more than there may be."""
    networks = sum(len(line) for settings in places.values() for line in settings.networks)
    for count, most, things in (
        (len(places), MAX_PLACES, "places"), (networks, MAX_NETWORKS, "networks of all places")
    ):
        if count > most:
            raise PrepareError(f"[place]: expected at most {most} {things}, got {count}; list less")


def _facts(database: Database) -> Callable[[int], Facts]:
    return lambda record: Facts.of(database.record(record))


def _opening(path: str, before: Stamps) -> Slices[Database]:
    """The database at `path`, if that is the same file from beginning to end."""
    data = bytearray()
    with open_regular(path) as file:
        while piece := file.read(_PIECE_BYTES):
            data += piece
            if len(data) > MAX_BYTES:
                raise Broken(f"of at most {MAX_BYTES} bytes, got more")
            yield
    if stamps([path]) != before:
        raise Broken("that stays as it is while it is read, got one that changed")
    return (yield from opening(data))


def _refusal(path: str, error: Broken | OSError) -> str:
    """Why the database at `path` cannot be used, for the operator."""
    if isinstance(error, OSError):
        text = f"expected a MaxMind DB file that can be read, got {error.strerror or error}"
    else:
        text = f"expected a MaxMind DB file {error}"
    return f"{path}: {text}; put a sound one in its place"
