"""
The options of `[place NAME]`, declared. Pure: texts become values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from attrs import frozen

from balancer.config.schema import Finding, Section, Unreadable, option
from balancer.config.values import Network, networks
from balancer.dns.geo.countries import CONTINENTS, COUNTRIES

_DEGREES: Final = re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]{1,9})?")
_LOCATION: Final = "latitude,longitude in degrees such as 52.4,4.9 or -33.9,151.2"
_MAPPED: Final = IPv6Network("::ffff:0:0/96")

_CLAIMS_A_SLICE: Final = 1000
"""Some 2 ms."""

_MEANT: Final = {"UK": "GB", "EL": "GR"}
"""What people write for countries, and their codes."""


@frozen
class Location:
    """Degrees, north and east positive."""

    latitude: float
    longitude: float


def location(text: str) -> Location:
    """`LATITUDE,LONGITUDE` in degrees; south and west are negative."""
    words = [word.strip() for word in text.split(",")]
    if len(words) != 2 or not all(_DEGREES.fullmatch(word) for word in words):
        raise Unreadable(_LOCATION)
    latitude, longitude = map(float, words)
    if abs(latitude) > 90 or abs(longitude) > 180:
        meant = f"{words[1]},{words[0]}" if abs(longitude) <= 90 and abs(latitude) <= 180 else None
        raise Unreadable(f"{_LOCATION}, at most 90 and 180", meant=meant)
    return Location(latitude, longitude)


def _codes(text: str, known: Iterable[str], expected: str) -> tuple[str, ...]:
    """Words of `known`, in any case, with spaces or commas between them; `none` for none."""
    if text == "none":
        return ()
    words = text.replace(",", " ").split()
    if not words:
        raise Unreadable(expected)
    for word in words:
        if word.upper() in _MEANT:
            raise Unreadable(expected, word, _MEANT[word.upper()])
        if word.upper() not in known:
            raise Unreadable(expected, word)
    return tuple(word.upper() for word in words)


def countries(text: str) -> tuple[str, ...]:
    """ISO 3166-1 alpha-2 codes."""
    return _codes(text, COUNTRIES, "country codes (ISO 3166) such as DE NL")


def continents(text: str) -> tuple[str, ...]:
    """Codes of continents."""
    return _codes(text, CONTINENTS, f"continents out of {' '.join(CONTINENTS)}")


def clients(text: str) -> tuple[Network, ...]:
    """CIDRs of clients. Those within ::ffff:0:0/96 are IPv4 (RFC 4291 2.5.5.2)."""
    return tuple(_unmapped(network) for network in networks(text))


def _unmapped(network: Network) -> Network:
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        return IPv4Network((int(mapped or 0), network.prefixlen - 96))
    return network


@frozen
class PlaceSettings:
    """`[place NAME]`: whose clients it takes."""

    location: Location | None = option(
        location,
        help="`LATITUDE,LONGITUDE` in degrees. Clients that no place names go to the nearest one, "
        "and from there to the next nearest when it has no server that is up.",
    )
    countries: tuple[str, ...] = option(
        countries,
        default="none",
        help="Countries whose clients belong here, by ISO 3166 codes: `DE NL`.",
    )
    continents: tuple[str, ...] = option(
        continents,
        default="none",
        help="Continents whose clients belong here unless a place lists their country: AF AN AS "
        "EU NA OC SA.",
    )
    networks: tuple[tuple[Network, ...], ...] = option(
        clients,
        lines=True,
        help="Networks whose clients belong here, whatever the database says: CIDRs, some on each "
        "line. The longest that holds a client counts.",
    )

    @property
    def all_networks(self) -> tuple[Network, ...]:
        """The networks of all lines."""
        return tuple(network for line in self.networks for network in line)

    def claims(self) -> Iterable[tuple[str, int, str | Network]]:
        """What it lists: the option, the line of its value, and the code or network."""
        yield from (("countries", 0, code) for code in self.countries)
        yield from (("continents", 0, code) for code in self.continents)
        for index, line in enumerate(self.networks):
            yield from (("networks", index, network) for network in line)


def _relations(settings: PlaceSettings) -> Iterable[Finding]:
    seen: set[tuple[str, str | Network]] = set()
    for option_, index, claim in settings.claims():
        if (option_, claim) in seen:
            yield option_, index, f"expected each but once, got '{claim}' again"
        seen.add((option_, claim))


def conflicts(
    settings_by_name: Mapping[str, PlaceSettings],
) -> Iterator[tuple[str, Finding] | None]:
    """What two places claim alike: a client can belong to one place only. See
    `Section.together`."""
    owners: dict[tuple[str, str | Network], str] = {}
    for name, settings in settings_by_name.items():
        for at, (option_, index, claim) in enumerate(settings.claims()):
            if at % _CLAIMS_A_SLICE == 0:
                yield None
            owner = owners.setdefault((option_, claim), name)
            if owner != name:
                text = (
                    f"expected what no other place lists, got '{claim}', which [place {owner}] "
                    "lists; take it out of one of them"
                )
                yield name, (option_, index, text)


PLACE: Final = Section(
    kind="place",
    settings=PlaceSettings,
    help="A place where servers are, and which clients belong to it: those of the networks it "
    "lists, else of its countries, else of its continents, else those to whom it is the nearest. "
    "Answers with `policy=geo` send each client to its place.",
    check=_relations,
    together=conflicts,
    inert=True,
)
