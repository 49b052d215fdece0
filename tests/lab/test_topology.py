"""Who is where in the lab, and what makes it so."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from twisted.trial.unittest import SynchronousTestCase

from lab import wiring
from lab.topology import BALANCER, CLIENT, MAP, RESOLVER, ROUTER, SERVER, small_internet

LAB = small_internet()


class TopologyTests(SynchronousTestCase):
    """The data."""

    def test_who(self) -> None:
        """Clients in three places, two routers, two balancers and three servers a site, a resolver.
        """
        self.assertEqual(len({each.network for each in LAB.of_role(CLIENT)}), 3)
        self.assertEqual(len(LAB.routers), 2)
        self.assertEqual(len(list(LAB.of_role(RESOLVER))), 1)
        for site in LAB.sites:
            self.assertEqual(len(list(LAB.of_role(BALANCER, site.name))), 2)
            self.assertEqual(len(list(LAB.of_role(SERVER, site.name))), 3)

    def test_addresses(self) -> None:
        """Each host has an address of its own, in its network, that is not the router's."""
        seen = set()
        for host in LAB.hosts:
            network = LAB.network(host.network)
            self.assertIn(ip_address(host.address), ip_network(network.prefix))
            self.assertNotEqual(host.address, network.gateway)
            seen.add(host.address)
        self.assertEqual(len(seen), len(LAB.hosts))

    def test_names(self) -> None:
        """Names differ, and serve as names of links, which have 15 bytes at most."""
        self.assertEqual(len(set(LAB.names)), len(LAB.names))
        for name in (*LAB.names, *map(wiring.switch, LAB.networks)):
            self.assertLessEqual(len(name), 15)

    def test_map(self) -> None:
        """The map shows every machine and every network's address."""
        for name in LAB.names:
            self.assertIn(f" {name} ", MAP)
        for host in LAB.hosts:
            network, _, last = host.address.rpartition(".")
            self.assertTrue(host.address in MAP or f"{host.name} .{last} " in " ".join(MAP.split()))
            self.assertIn(network, MAP)
        for site in LAB.sites:
            self.assertIn(site.service, MAP)
            self.assertIn(f"AS {site.asn}", MAP)


class WiringTests(SynchronousTestCase):
    """The lines for `ip -batch`."""

    def test_links(self) -> None:
        """Each host has one link, to its network's router, where the link has the host's name."""
        pids = {name: number for number, name in enumerate(LAB.names, 100)}
        lines = list(wiring.links(LAB, pids))
        self.assertEqual(lines[0],
                         "link add core netns 100 type veth peer name core netns 101")
        self.assertEqual(len(lines), 1 + len(LAB.hosts))
        self.assertIn(f"link add eth0 netns {pids['bob']} type veth "
                      f"peer name bob netns {pids['r2']}", lines)

    def test_host(self) -> None:
        """A host has its address and a way out; a server answers to its site's prefix too."""
        self.assertEqual(wiring.lines(LAB, "east-a"), [
            "link set lo up",
            "address add 10.1.0.11/24 dev eth0",
            "link set eth0 up",
            "route add default via 10.1.0.1",
            "route add local 198.51.100.0/25 dev lo",
        ])
        self.assertNotIn("local", " ".join(wiring.lines(LAB, "east1")))

    def test_router(self) -> None:
        """A router has a switch with an address for each of its networks, and a port for each
        host."""
        lines = wiring.lines(LAB, "r1")
        self.assertIn("address add 10.0.0.1/24 dev core", lines)
        self.assertIn("address add 10.1.0.1/24 dev lan-east", lines)
        ports = [line for line in lines if " master " in line]
        self.assertEqual(len(ports), 6)
        self.assertIn("link set east-c master lan-east up", ports)
        self.assertLess(lines.index("link add lan-east type bridge forward_delay 0"),
                        lines.index("link set east1 master lan-east up"))

    def test_settings(self) -> None:
        """Routers and balancers pass packets on, by ports too; others do not."""
        for role in (ROUTER, BALANCER):
            self.assertEqual(wiring.settings(role)["net/ipv4/ip_forward"], "1")
            self.assertEqual(wiring.settings(role)["net/ipv4/fib_multipath_hash_policy"], "1")
        for role in (CLIENT, SERVER, RESOLVER):
            self.assertNotIn("net/ipv4/ip_forward", wiring.settings(role))
            self.assertEqual(wiring.settings(role)["net/ipv4/conf/all/rp_filter"], "0")
