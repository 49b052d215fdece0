"""Who claims a client, and who comes next."""

from __future__ import annotations

from itertools import pairwise
from math import acos, cos, radians, sin

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns.geo.places import NOBODY, Facts, Places
from balancer.dns.geo.settings import Location
from tests.dns.geo_samples import AMSTERDAM, NEW_YORK, SYDNEY, place

LOCATIONS = st.builds(
    Location, st.integers(-90, 90).map(float), st.integers(-180, 180).map(float)
)


def great_circle(one: Location, other: Location) -> float:
    """The angle between two locations, by the spherical law of cosines."""
    a, b = radians(one.latitude), radians(other.latitude)
    away = radians(one.longitude - other.longitude)
    return acos(max(-1, min(1, sin(a) * sin(b) + cos(a) * cos(b) * cos(away))))


class FactsTests(SynchronousTestCase):
    """Records of the usual databases."""

    def test_layouts(self) -> None:
        """The layouts of GeoIP2, ip-location-db and IPinfo are read."""
        geoip = {"continent": {"code": "EU"}, "country": {"iso_code": "NL"},
                 "location": {"latitude": 52.5, "longitude": 5.75}}
        self.assertEqual(Facts.of(geoip), Facts("NL", "EU", Location(52.5, 5.75)))
        flat = {"country_code": "nl", "latitude": 52.5, "longitude": 5.75}
        self.assertEqual(Facts.of(flat), Facts("NL", "EU", Location(52.5, 5.75)))
        texts = {"country": "NL", "continent": "EU", "lat": "52.5", "lng": "5.75"}
        self.assertEqual(Facts.of(texts), Facts("NL", "EU", Location(52.5, 5.75)))

    def test_country_alone(self) -> None:
        """A country brings its continent and its centroid."""
        self.assertEqual(Facts.of({"country_code": "JP"}),
                         Facts("JP", "AS", Location(37.6, 138.0)))

    def test_registered(self) -> None:
        """Where it is registered counts when a client's country is not known."""
        record = {"registered_country": {"iso_code": "JP"}}
        self.assertEqual(Facts.of(record).country, "JP")
        self.assertEqual(Facts.of({**record, "country": {"iso_code": "NL"}}).country, "NL")

    def test_strange(self) -> None:
        """What is missing or strange is unknown, and raises nothing."""
        records: tuple[object, ...] = (
            None, 7, "x", [], {}, {"country": 7}, {"country": {"iso_code": 7}},
            {"country": "Netherlands"}, {"latitude": 91.0, "longitude": 0.0},
            {"latitude": float("nan"), "longitude": 0.0}, {"latitude": 5.0},
            {"latitude": True, "longitude": False}, {"location": "52,5"},
            {"lat": "north", "lng": "1"}, {"lat": 10 ** 400, "lng": 1},
        )
        for record in records:
            with self.subTest(record=record):
                self.assertEqual(Facts.of(record), Facts())
        self.assertEqual(Facts.of({"country_code": "ZZ"}), Facts("ZZ"))


class RankingTests(SynchronousTestCase):
    """Claims in their order, then distance."""

    def rank(self, places: Places, facts: Facts, claimed: int | None = None) -> tuple[str, ...]:
        """The names for a client."""
        class_ = places.class_of(facts)
        if claimed is not None:
            class_ = places.claimed(claimed, class_)
        return places.rankings[places.ranking(class_)]

    def test_order_of_claims(self) -> None:
        """A network beats a country, that a continent, and that the nearest place."""
        places = Places({
            "near": place(AMSTERDAM), "country": place(SYDNEY, "NL"),
            "continent": place(NEW_YORK, "", "EU"), "network": place(),
        })
        here = Facts("NL", "EU", AMSTERDAM)
        self.assertEqual(self.rank(places, here, 3), ("network", "near", "continent", "country"))
        self.assertEqual(self.rank(places, here), ("country", "near", "continent", "network"))
        self.assertEqual(self.rank(places, Facts("DE", "EU", AMSTERDAM))[0], "continent")
        self.assertEqual(self.rank(places, Facts("", "", AMSTERDAM))[0], "near")

    def test_nobody(self) -> None:
        """Without any claim, and with coordinates but no place that has some, it is nobody's."""
        self.assertEqual(self.rank(Places({"a": place(AMSTERDAM)}), Facts("DE", "EU")), ())
        self.assertEqual(self.rank(Places({"a": place()}), Facts("DE", "EU", AMSTERDAM)), ())
        self.assertEqual(self.rank(Places({}), Facts("DE", "EU", AMSTERDAM)), ())
        self.assertEqual(Places({"a": place(AMSTERDAM)}).class_of(Facts()), NOBODY)

    def test_without_coordinates(self) -> None:
        """The others are ordered by their distance from the own place, then by the file."""
        places = Places({"x": place(), "syd": place(SYDNEY), "nyc": place(NEW_YORK),
                         "ams": place(AMSTERDAM, "ZZ"), "w": place()})
        self.assertEqual(self.rank(places, Facts("ZZ")), ("ams", "nyc", "syd", "x", "w"))
        self.assertEqual(self.rank(places, Facts(), 4), ("w", "syd", "nyc", "ams", "x"))

    def test_ties(self) -> None:
        """Of places that are as near the first in the file comes first."""
        client = Facts("", "", Location(0.0, 10.0))
        both = {"east": place(Location(0.0, 20.0)), "west": place(Location(0.0, 0.0))}
        self.assertEqual(self.rank(Places(both), client), ("east", "west"))
        turned = {"west": both["west"], "east": both["east"]}
        self.assertEqual(self.rank(Places(turned), client), ("west", "east"))

    def test_once(self) -> None:
        """Clients with the same ranking share its number."""
        places = Places({"ams": place(AMSTERDAM), "syd": place(SYDNEY)})
        numbers = {places.ranking(places.class_of(Facts("", "", Location(float(north), 5.0))))
                   for north in range(40, 60)}
        self.assertEqual(len(numbers), 1)
        self.assertEqual(len(places.rankings), 2)

    @settings(max_examples=15)
    @given(st.lists(LOCATIONS, min_size=1, max_size=6), LOCATIONS)
    def test_distances(self, locations: list[Location], client: Location) -> None:
        """Without other claims, places are ordered by great-circle distance."""
        places = Places({str(at): place(each) for at, each in enumerate(locations)})
        ranking = self.rank(places, Facts("", "", client))
        away = [great_circle(client, locations[int(name)]) for name in ranking]
        self.assertEqual(len(away), len(locations))
        for nearer, farther in pairwise(away):
            self.assertLessEqual(nearer, farther + 1e-6)
