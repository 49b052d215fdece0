"""The options of `[subdomains NAME]`, and the names that they make."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.schema import read
from balancer.config.values import Unreadable
from balancer.subdomains.numbers import MAX_DIGITS
from balancer.subdomains.settings import MAX_HOST, SECTION, SubdomainsSettings, pattern


class SettingsTests(SynchronousTestCase):
    """What may be said."""

    def read(self, text: str) -> tuple[list[SubdomainsSettings], list[str]]:
        """The settings of a section with `text`, and its problems."""
        file = read(f"[subdomains www]\n{text}", "s.ini", [SECTION])
        return [each.settings for each in file.sections], [str(each) for each in file.problems]

    def test_defaults(self) -> None:
        """A zone and a pool are enough; both are references."""
        (settings,), problems = self.read("zone = Example.test\npool = web\n")
        self.assertEqual(problems, [])
        self.assertEqual((settings.scheme, settings.port, settings.ttl), (None, None, 30.0))
        self.assertEqual(settings.host(12), "www12.example.test")
        self.assertEqual(
            [(each.kind, each.name, each.option) for each in SECTION.references(settings)],
            [("dns", "Example.test", "zone"), ("pool", "web", "pool")],
        )

    def test_pattern(self) -> None:
        """A pattern is a label with {n} once, kept in lower case."""
        for good in ("www{n}", "{n}", "W{n}-eu", "a-{n}", "{n}b", "x" * 56 + "{n}"):
            self.assertEqual(pattern(good), good.lower())
        for bad in ("", "www", "{n}{n}", "-{n}", "{n}-", "a.{n}", "a_{n}", "{N}", "ä{n}", "{n} ",
                    "{n}\r\n", "x" * 57 + "{n}"):
            self.assertRaises(Unreadable, pattern, bad)

    def test_refused(self) -> None:
        """What is missing or wrong is told with its line."""
        _, problems = self.read("pool = web\nscheme = ftp\nport = 0\nttl = 0\npattern = w\n")
        self.assertEqual([each.split(":")[1] for each in problems], ["1", "3", "4", "5", "6"])

    def test_long_zone(self) -> None:
        """A zone whose names would be longer than a host name may be is refused."""
        room = MAX_HOST - len("www.") - MAX_DIGITS
        zone = "a" * 60 + ".b" * ((room - 60) // 2) + "c" * ((room - 60) % 2)
        self.assertEqual(self.read(f"zone = {zone}\npool = web\n")[1], [])
        self.assertIn("s.ini:2: [subdomains www] zone: expected names of at most 253",
                      self.read(f"zone = {zone}c\npool = web\n")[1][0])
