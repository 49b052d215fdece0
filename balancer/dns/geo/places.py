"""
What a database says of a client -> the places for it, best first.

Knows the places of a site file and how records of the usual databases are laid out; no address, no
prefix and no tree. What clients have in common that matters is a *class*, a small number; each
class leads to one *ranking*, another small number.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, radians, sin
from typing import Any, Final, TypeAlias

from attrs import frozen

from balancer.dns.geo.countries import CONTINENTS, COUNTRIES
from balancer.dns.geo.settings import Location, PlaceSettings

MAX_PLACES: Final = 254
"""Places of a site: as many as gdnsd's datacenters."""

NOBODY: Final = 0
"""The class of clients of whom nothing is known, and the empty ranking, which is theirs."""

_CHORD_DIGITS: Final = 9
"""Decimals of a chord of the unit sphere that count: 6 mm on the earth. What is nearer than that is
as near, so that ties go by the file and not by how a sine was rounded."""

Point: TypeAlias = tuple[float, float, float]


@frozen
class Facts:
    """What a record says, as far as it matters: codes in upper case, '' for unknown."""

    country: str = ""
    continent: str = ""
    location: Location | None = None

    @classmethod
    def of(cls, record: object) -> Facts:
        """
        Reads the records of GeoIP2, GeoLite2 and DB-IP (`country.iso_code`, `location.latitude`),
        of ip-location-db (`country_code`, `latitude`) and of IPinfo (`country`, `lat`). What is
        missing or strange is unknown; a country that is known brings its continent and, when there
        are no coordinates, its centroid.
        """
        if not isinstance(record, Mapping):
            return cls()
        country = _code(record, "country", "registered_country")
        known = COUNTRIES.get(country)
        continent = _code(record, "continent")
        if continent not in CONTINENTS:
            continent = known.continent if known else ""
        location = _coordinates(record.get("location")) or _coordinates(record)
        if location is None and known is not None:
            location = Location(known.latitude, known.longitude)
        return cls(country, continent, location)


def _code(record: Mapping[str, Any], *keys: str) -> str:
    """The code that stands under the first of `keys`, in one of the ways to write it."""
    for key in keys:
        inner = record.get(key)
        found = [record.get(key + "_code"), inner]
        if isinstance(inner, Mapping):
            found += [inner.get("iso_code"), inner.get("code")]
        for text in found:
            if isinstance(text, str) and len(text) == 2:
                return text.upper()
    return ""


def _coordinates(record: object) -> Location | None:
    if not isinstance(record, Mapping):
        return None
    latitude = _degrees(record.get("latitude", record.get("lat")), 90)
    longitude = _degrees(record.get("longitude", record.get("lng")), 180)
    return None if latitude is None or longitude is None else Location(latitude, longitude)


def _degrees(value: object, most: int) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        degrees = float(value)
    except (ValueError, OverflowError):
        return None
    return degrees if abs(degrees) <= most else None  # a NaN is not


def point(location: Location) -> Point:
    """Where it is on the unit sphere: the order of chords is that of great-circle distances."""
    latitude, longitude = radians(location.latitude), radians(location.longitude)
    return cos(latitude) * cos(longitude), cos(latitude) * sin(longitude), sin(latitude)


class Places:
    """
    The places of a site, in the order of its file, and the classes and rankings met so far.

    `rankings[n]` are the names of all places, best first; `rankings[NOBODY]` is empty.
    """

    def __init__(self, places: Mapping[str, PlaceSettings]) -> None:
        self.names = tuple(places)
        self.rankings: list[tuple[str, ...]] = [()]
        self._ranking_ids: dict[tuple[str, ...], int] = {(): NOBODY}
        self._countries: dict[str, int] = {}
        self._continents: dict[str, int] = {}
        self._locations = [settings.location for settings in places.values()]
        for at, settings in enumerate(places.values()):
            self._countries.update(dict.fromkeys(settings.countries, at))
            self._continents.update(dict.fromkeys(settings.continents, at))
        located = [(at, each) for at, each in enumerate(self._locations) if each is not None]
        self._located = [(at, point(each)) for at, each in located]
        self._unlocated = bytes(at for at, each in enumerate(self._locations) if each is None)
        self._rankings_of: dict[int, int] = {}
        self._orders: dict[Location, bytes] = {}
        self._classes: list[tuple[int | None, bytes | None]] = [(None, None)]
        self._class_ids: dict[tuple[int | None, bytes | None], int] = {(None, None): NOBODY}

    def class_of(self, facts: Facts) -> int:
        """The class of clients of whom no more than `facts` is known."""
        order = None if facts.location is None else self._order(facts.location)
        own = self._countries.get(facts.country)
        if own is None:
            own = self._continents.get(facts.continent)
        if own is None and order and self._located:
            own = order[0]
        return self._class(own, order)

    def claimed(self, place: int, class_: int) -> int:
        """The class of clients of `class_` whose network the place number `place` lists."""
        return self._class(place, self._classes[class_][1])

    def ranking(self, class_: int) -> int:
        """The number of the ranking for clients of a class."""
        known = self._rankings_of.get(class_)
        if known is None:
            known = self._rankings_of[class_] = self._ranking(class_)
        return known

    def _ranking(self, class_: int) -> int:
        own, order = self._classes[class_]
        if own is None:
            return NOBODY
        if order is None:
            order = self._order(self._locations[own])
        ranking = tuple(self.names[at] for at in (own, *(each for each in order if each != own)))
        known = self._ranking_ids.setdefault(ranking, len(self.rankings))
        if known == len(self.rankings):
            self.rankings.append(ranking)
        return known

    def _class(self, own: int | None, order: bytes | None) -> int:
        key = own, order
        known = self._class_ids.setdefault(key, len(self._classes))
        if known == len(self._classes):
            self._classes.append(key)
        return known

    def _order(self, origin: Location | None) -> bytes:
        """All places by their distance from `origin`; those without a location come last."""
        if origin is None:
            return bytes(at for at, _ in self._located) + self._unlocated
        known = self._orders.get(origin)
        if known is None:
            here = point(origin)
            known = self._orders[origin] = self._nearest(here) + self._unlocated
        return known

    def _nearest(self, here: Point) -> bytes:
        x, y, z = here
        away = sorted(
            (round(((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) ** 0.5, _CHORD_DIGITS), at)
            for at, (a, b, c) in self._located
        )
        return bytes(at for _, at in away)
