"""What the lab's routers, resolver and balancers are told fits what is where."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.slices import finish
from balancer.site.plan import BadSite, Plan
from balancer.site.reading import reading
from balancer.tap import makers
from lab import resolving, routing
from lab.hosts import ROOT
from lab.topology import ANYCAST, BALANCER, RESOLVER, SERVER, small_internet

LAB = small_internet()


class RouterTests(SynchronousTestCase):
    """BIRD's and FRR's configurations."""

    def test_neighbors(self) -> None:
        """Both speak with the other router and with each balancer behind them, by its AS."""
        for router in LAB.routers:
            wanted = {(each.address, asn) for each, asn in routing.balancers_of(LAB, router)}
            wanted.add((routing.other(LAB, router).core, routing.other(LAB, router).asn))
            self.assertEqual(len(wanted), 3)
            bird = re.findall(r"neighbor (\S+) as (\d+);", routing.bird(LAB, router))
            frr = re.findall(r"neighbor (\S+) remote-as (\d+)", routing.frr(LAB, router))
            for found in (bird, frr):
                self.assertEqual({(address, int(asn)) for address, asn in found}, wanted)

    def test_filters(self) -> None:
        """Balancers are taken at their word for the lab's prefixes and nothing else."""
        router = LAB.routers[0]
        self.assertEqual(routing.bird(LAB, router).count("import filter from_balancers"), 2)
        self.assertIn("[ 192.0.2.0/24+, 198.51.100.0/24+ ]", routing.bird(LAB, router))
        self.assertEqual(routing.frr(LAB, router).count("prefix-list from-balancers in"), 2)

    def test_bfd(self) -> None:
        """Sessions follow BFD when that is asked for."""
        router = LAB.routers[0]
        self.assertNotIn("bfd", routing.bird(LAB, router))
        text = routing.bird(LAB, router, "interval 50 ms; multiplier 3;")
        self.assertEqual(text.count("bfd on;"), 2)
        self.assertIn('protocol bfd { interface "lan-*" { interval 50 ms; multiplier 3; }; }', text)

    def test_braces(self) -> None:
        """BIRD's blocks are closed."""
        for bfd in ("", "interval 50 ms;"):
            text = routing.bird(LAB, LAB.routers[1], bfd)
            self.assertEqual(text.count("{"), text.count("}"))


class ResolverTests(SynchronousTestCase):
    """unbound's configuration."""

    def test_zones(self) -> None:
        """The zone of all is asked at the anycast address, each site's at its balancers."""
        zones = resolving.name_servers(LAB)
        self.assertEqual(zones["lab.test"], (ANYCAST,))
        self.assertEqual(zones["west.lab.test"], ("10.2.0.2", "10.2.0.3"))
        text = resolving.unbound(LAB, next(LAB.of_role(RESOLVER)))
        for zone, addresses in zones.items():
            self.assertIn(f'name: "{zone}"', text)
            for address in addresses:
                self.assertIn(f"stub-addr: {address}\n", text)
                self.assertIn(f"send-client-subnet: {address}\n", text)


class SiteFileTests(SynchronousTestCase):
    """conf/lab/*.ini."""

    def plan(self, site: str) -> tuple[str, Plan]:
        """A site's file, read as `--check` does."""
        text = (ROOT / "conf" / "lab" / f"{site}.ini").read_text()
        try:
            return text, finish(reading(text, f"{site}.ini", makers()))
        except BadSite as bad:
            self.fail("\n".join(map(str, bad.problems)))

    def test_sound(self) -> None:
        """They have no problems, and a section of each kind that works on lines and names."""
        for site in LAB.sites:
            plan = self.plan(site.name)[1]
            self.assertEqual((), tuple(plan.warnings))
            self.assertEqual({each.kind for each in plan.balancers},
                             {"http", "tcp", "udp", "ecmp", "dns", "subdomains", "anycast"})

    def test_fits(self) -> None:
        """Their servers, router and prefixes are where the topology has them."""
        for site in LAB.sites:
            text = self.plan(site.name)[0]
            for server in LAB.of_role(SERVER, site.name):
                self.assertIn(f" {server.address}:80\n", text)
            network = LAB.network(site.name)
            router = next(each for each in LAB.routers if each.name == network.router)
            self.assertIn(f"{network.gateway} as={router.asn} ", text)
            self.assertIn(f"local-as = {site.asn}\n", text)
            self.assertIn(f"prefix = {site.service}\n", text)
            self.assertIn(f"prefixes = {ANYCAST}/32\n", text)
            for host in LAB.of_role(BALANCER, site.name):
                self.assertNotIn(host.address, text)

    def test_alike(self) -> None:
        """The sites differ in their names and numbers only."""
        east, west = (self.plan(each.name)[0] for each in LAB.sites)
        for ours, theirs in (("east", "west"), ("10.1.0", "10.2.0"), ("64501", "64502"),
                             ("65001", "65002"), ("198.51.100.0/25", "198.51.100.128/25")):
            east, west = east.replace(ours, theirs), west.replace(ours, theirs)
        # What names both sites stands in both.
        for mark in ("[place ", "networks = ", "    east ", "    west "):
            east, west = (re.sub(rf"^{re.escape(mark)}.*\n", "", text, flags=re.MULTILINE)
                          for text in (east, west))
        self.assertEqual(east, west)
