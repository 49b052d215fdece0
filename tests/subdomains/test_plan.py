"""`[subdomains NAME]` among the other sections of a site file."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.http.maker import maker as http
from balancer.site.plan import BadSite, Makers, Plan
from balancer.site.reading import read
from balancer.subdomains.maker import maker
from tests.site.test_plan import WordCheck
from tests.site.test_seams import LinkMaker

SITE = """
[pool web]
servers = a 127.0.0.1:80
[http front]
listen = 127.0.0.1:8080
routes = -> subdomains www
[subdomains www]
zone = example.test
pool = web
[dns example.test]
"""


def plan(text: str) -> Plan:
    """The plan of `text`; the zone is a stand-in."""
    makers: dict[str, Any] = {"http": http, "subdomains": maker, "dns": LinkMaker("dns")}
    return read(text, "s.ini", Makers(makers, {"tcp": WordCheck()}))


class PlanTests(SynchronousTestCase):
    """What it needs, and who needs it."""

    def test_order(self) -> None:
        """The zone is made ready first, then the names, then who redirects to them."""
        self.assertEqual(
            [each.key for each in plan(SITE).in_order()],
            ["dns:example.test", "subdomains:www", "http:front"],
        )

    def test_health(self) -> None:
        """A balancer that redirects to names is as healthy as their pool."""
        found = {each.key: each.pools for each in plan(SITE).balancers}
        self.assertEqual(
            found, {"http:front": ("web",), "subdomains:www": ("web",), "dns:example.test": ()}
        )

    def test_unknown(self) -> None:
        """A route to names that are not there, and names in a zone that is not, are errors with
        their lines."""
        bad = self.assertRaises(BadSite, plan, SITE.replace("[dns example", "[dns xample"))
        self.assertIn("s.ini:8: [subdomains www] zone: expected the name of a [dns NAME]", str(bad))
        self.assertIn("did you mean 'xample.test'?", str(bad))
        bad = self.assertRaises(BadSite, plan, SITE.replace("-> subdomains www", "-> subdomains w"))
        self.assertIn("s.ini:6: [http front] routes: expected the name of a [subdomains", str(bad))

    def test_ports(self) -> None:
        """Servers with names need ports: they are checked."""
        bad = self.assertRaises(BadSite, plan, SITE.replace("127.0.0.1:80\n", "127.0.0.1\n"))
        self.assertIn("since a [subdomains] section uses this pool", str(bad))
