"""Places and databases for the tests of geo."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from balancer.config.slices import finish
from balancer.dns.geo.building import Source, building
from balancer.dns.geo.places import Facts
from balancer.dns.geo.prefixes import Territory
from balancer.dns.geo.records import opening
from balancer.dns.geo.settings import Location, PlaceSettings

AMSTERDAM = Location(52.4, 4.9)
SYDNEY = Location(-33.9, 151.2)
NEW_YORK = Location(40.7, -74.0)


def place(
    location: Location | None = None, countries: str = "", continents: str = "", networks: str = ""
) -> PlaceSettings:
    """A place, its lists as words."""
    return PlaceSettings(
        location=location,
        countries=tuple(countries.split()),
        continents=tuple(continents.split()),
        networks=tuple((ip_network(word),) for word in networks.split()),
    )


def territory(places: Mapping[str, PlaceSettings], file: bytes | None = None) -> Territory:
    """The territory of `places` with the database that `file` is."""
    if file is None:
        return finish(building(places, None))
    database = finish(opening(file))
    source = Source(database.tree, lambda record: Facts.of(database.record(record)))
    return finish(building(places, source))


def names(found: Territory, address: str) -> tuple[str, ...]:
    """The ranking for an address."""
    return found.rankings[found.ranking(ip_address(address).packed)]
