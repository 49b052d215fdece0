"""What the sections of one kind must be to each other, told with the line of each."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer import plugins
from balancer.site.plan import BadSite, Makers
from balancer.site.reading import read

LONG = ".".join(["a" * 60] * 4)


class TogetherTests(SynchronousTestCase):
    """Zones and places of one site file."""

    def problems(self, text: str) -> list[str]:
        """Every error of the site file."""
        found = plugins.find()
        try:
            read(text, "site.ini", Makers(found.balancers, found.checks, found.broken))
        except BadSite as bad:
            return [str(each) for each in bad.problems if each.severity == "error"]
        return []

    def test_zone_twice(self) -> None:
        """A zone is one section's, however it is spelled."""
        self.assertEqual(self.problems(
            "[dns example.test]\nlisten = 127.0.0.1:5300\n"
            "[dns Example.TEST.]\nlisten = 127.0.0.1:5301\n"
        ), ["site.ini:3: [dns Example.TEST.]: expected each zone once, got that of "
            "[dns example.test] again"])

    def test_zone_name(self) -> None:
        """A section's name must be a domain name."""
        (problem,) = self.problems("[dns a..b]\nlisten = 127.0.0.1:5300\n")
        self.assertIn("site.ini:1: [dns a..b]: expected labels of 1 to 63 bytes", problem)

    def test_answers(self) -> None:
        """Names are within their zone, once each, and not too long there; each has its line."""
        problems = self.problems(
            "[pool web]\nservers = a 127.0.0.1:80\ncheck = none\n"
            "[dns example.test]\nlisten = 127.0.0.1:5300\nanswers =\n"
            "    www pool=web\n    WWW.example.test. pool=web\n"
            f"    elsewhere.org. pool=web\n    {LONG} pool=web\n"
        )
        self.assertEqual([each.split(": ")[0] for each in problems],
                         ["site.ini:8", "site.ini:9", "site.ini:10"])
        self.assertIn("which is 'www'", problems[0])
        self.assertIn("expected a name within example.test., got 'elsewhere.org.'", problems[1])
        self.assertIn("at most 255 bytes", problems[2])

    def test_cookies(self) -> None:
        """Zones at one address have one secret of cookies."""
        section = "[dns {0}.test]\nlisten = 127.0.0.1:5300\ncookie-secret-file = {0}\n"
        (problem,) = self.problems(section.format("a") + section.format("b"))
        self.assertIn("site.ini:6: [dns b.test] cookie-secret-file: expected the file of "
                      "[dns a.test], which listens at 127.0.0.1:5300 too, got 'b'", problem)

    def test_places(self) -> None:
        """What two places list is told with the line of the second."""
        (problem,) = self.problems(
            "[place a]\ncountries = DE NL\n[place b]\nnetworks = 192.0.2.0/24\ncountries = NL\n"
        )
        self.assertIn("site.ini:5: [place b] countries: expected what no other place lists, got "
                      "'NL', which [place a] lists", problem)
