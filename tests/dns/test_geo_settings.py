"""`[place NAME]`: what may stand in it, and what two places may not both list."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.config import schema
from balancer.config.sitefile import SiteFile
from balancer.dns.geo.countries import CONTINENTS, COUNTRIES
from balancer.dns.geo.settings import PLACE, Location, PlaceSettings, conflicts
from tests.dns.geo_samples import place


def read(text: str) -> SiteFile:
    """A site file of places."""
    return schema.read(text, "site.ini", [PLACE])


def problems(lines: str) -> list[str]:
    """What is wrong with a place of these lines."""
    return [str(problem) for problem in read(f"[place a]\n{lines}\n").problems]


class SettingsTests(SynchronousTestCase):
    """Options become values, or errors that say what was expected."""

    def test_all(self) -> None:
        """Every option is read: codes in any case, networks some on each line."""
        site = read(
            "[place ams]\nlocation = 52.4, -4.9\ncountries = nl BE,\n  de\ncontinents = EU\n"
            "networks = 192.0.2.0/24 2001:db8::/32\n  198.51.100.7\n"
        )
        self.assertEqual(site.problems, ())
        settings = site.sections[0].settings
        assert isinstance(settings, PlaceSettings)
        self.assertEqual(settings.location, Location(52.4, -4.9))
        self.assertEqual(settings.countries, ("NL", "BE", "DE"))
        self.assertEqual(settings.continents, ("EU",))
        self.assertEqual(list(map(str, settings.all_networks)),
                         ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32"])

    def test_nothing(self) -> None:
        """A place may list nothing, and has no location then."""
        settings = read("[place a]\n").sections[0].settings
        self.assertEqual(settings, place())
        self.assertEqual((settings.countries, settings.all_networks), ((), ()))

    def test_mapped(self) -> None:
        """Networks of IPv4-mapped addresses are IPv4; wider ones are IPv6."""
        site = read("[place a]\nnetworks = ::ffff:192.0.2.0/120 ::/0\n")
        self.assertEqual(list(map(str, site.sections[0].settings.all_networks)),
                         ["192.0.2.0/24", "::/0"])

    def test_refused(self) -> None:
        """What is no coordinate, code or network is an error of its line."""
        for line, told in (
            ("location = 52.4", "expected latitude,longitude in degrees"),
            ("location = 91,0", "at most 90 and 180"),
            ("location = 151.2,-33.9", "did you mean '-33.9,151.2'"),
            ("location = nan,0", "expected latitude,longitude"),
            ("countries = DE XX", "expected country codes (ISO 3166) such as DE NL, got 'XX'"),
            ("countries = UK", "did you mean 'GB'"),
            ("continents = EUROPE", "expected continents out of AF AN AS EU NA OC SA"),
            ("networks = 192.0.2.1/24", "did you mean '192.0.2.0/24'"),
            ("countries = DE NL DE", "got 'DE' again"),
            ("networks = 10.0.0.0/8\n  11.0.0.0/8 10.0.0.0/8", "got '10.0.0.0/8' again"),
        ):
            with self.subTest(line=line):
                found = problems(line)
                self.assertEqual(len(found), 1)
                self.assertIn(told, found[0])
        self.assertIn("site.ini:3:", problems("networks = 10.0.0.0/8\n  10.0.0.0/8")[0])

    def test_conflicts(self) -> None:
        """Two places that list the same are named; networks within another's are no conflict."""
        found = [each for each in conflicts({
            "a": place(None, "DE NL", "EU", "10.0.0.0/8"),
            "b": place(None, "NL", "EU", "10.1.0.0/16"),
            "c": place(None, "", "", "10.0.0.0/8"),
        }) if each is not None]
        self.assertEqual([(name, option) for name, (option, _, _) in found],
                         [("b", "countries"), ("b", "continents"), ("c", "networks")])
        self.assertEqual(
            found[2][1][2], "expected what no other place lists, got '10.0.0.0/8', which [place a] "
            "lists; take it out of one of them",
        )
        apart = conflicts({"a": place(None, "DE"), "b": place(None, "NL")})
        self.assertEqual([each for each in apart if each], [])


class CountryTests(SynchronousTestCase):
    """The built-in table."""

    def test_table(self) -> None:
        """There are 250 countries, each on a continent of its own and on the globe."""
        self.assertEqual(len(COUNTRIES), 250)
        for code, country in COUNTRIES.items():
            self.assertRegex(code, "^[A-Z]{2}$")
            self.assertIn(country.continent, CONTINENTS)
            self.assertLessEqual(abs(country.latitude), 90)
            self.assertLessEqual(abs(country.longitude), 180)
        self.assertEqual({each.continent for each in COUNTRIES.values()}, set(CONTINENTS))
