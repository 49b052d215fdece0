"""`[anycast NAME]` as text: what is read, what is refused with its line, and what comes of it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.schema import read
from balancer.config.values import Endpoint, Unreadable
from balancer.route.anycast.announcer import DRAINING, UP
from balancer.route.anycast.bfd import Timers
from balancer.route.anycast.configuration import Peer, configuration, helper, only
from balancer.route.anycast.damping import Damping
from balancer.route.anycast.lines import Route
from balancer.route.anycast.settings import SECTION, AnycastSettings
from balancer.route.anycast.values import NeighborLine, neighbor
from balancer.route.anycast.when import Condition, conditions, why_not

LEAST = {
    "prefixes": "192.0.2.53/32",
    "when": "pool:web",
    "neighbors": "10.9.0.2 as=65001",
    "local-as": "65010",
}


def text(**changes: str | None) -> str:
    """A section with the least options, and these."""
    options = {**LEAST, **{key.replace("_", "-"): value for key, value in changes.items()}}
    rows = [f"{key} = {value}" for key, value in options.items() if value is not None]
    return "[anycast web]\n" + "\n".join(rows) + "\n"


class SettingsTestCase(SynchronousTestCase):
    """Reads sections."""

    def settings(self, **changes: str | None) -> Any:
        """The settings of a sound section."""
        file = read(text(**changes), "x.ini", [SECTION])
        self.assertEqual([], [str(each) for each in file.problems])
        return file.sections[0].settings

    def refused(self, expected: str, **changes: str | None) -> None:
        """One problem, of which that is a part."""
        file = read(text(**changes), "x.ini", [SECTION])
        self.assertEqual(1, len(file.problems), [str(each) for each in file.problems])
        self.assertIn(expected, str(file.problems[0]))


class OptionTests(SettingsTestCase):
    """Options one by one."""

    def test_least(self) -> None:
        """Four options are needed; the rest is as the contract has it."""
        settings = self.settings()
        self.assertEqual(
            (10.0, 3.0, 5.0, "lo", "self", "spawn", Damping(3, 60.0), 0, 0, None, None, None),
            (settings.hold_down, settings.lease, settings.drain_wait, settings.vip_device,
             settings.next_hop, settings.exabgp, settings.damping, settings.prepend,
             settings.drain_prepend, settings.med, settings.community, settings.router_id),
        )
        for option in LEAST:
            self.refused("option missing", **{option.replace("-", "_"): None})

    def test_bfd(self) -> None:
        """Timers, of neighbors on the link."""
        self.assertEqual((None, Timers(3, 50)),
                         (self.settings().bfd, self.settings(bfd="3x50ms").bfd))
        self.assertEqual("255x10000ms", str(self.settings(bfd="255x10000ms").bfd))
        for bad in ("3x5ms", "3x10001ms", "256x50ms", "0x50ms", "50ms", "3x50", "3 x 50ms"):
            self.refused("such as 3x50ms", bfd=bad)
        for far in ("multihop=2", "ttl-security=2"):
            self.refused("on the link, for bfd", bfd="3x50ms", neighbors=f"10.9.0.2 as=1 {far}")
        self.settings(bfd="3x50ms", neighbors="10.9.0.2 as=1 ttl-security=1")

    def test_sites(self) -> None:
        """Other sites are admin addresses, each once, and stand where they are asked."""
        found = self.settings(last_site="keep",
                              sites="\n  http://192.0.2.9:9180/\n  http://[fd09:0::9]:80")
        self.assertEqual((Endpoint("192.0.2.9", 9180), Endpoint("fd09::9", 80)), found.sites)
        self.assertEqual(("off", ()), (self.settings().last_site, self.settings().sites))
        self.refused("last-site: expected the other sites in sites, got none", last_site="keep")
        self.refused("sites: expected last-site = keep", sites="http://192.0.2.9:80/")
        for bad in ("192.0.2.9:80", "http://site.example:80/", "http://192.0.2.9/", "https://x",
                    "http://192.0.2.9:0/", "http://0.0.0.0:80/", "http://192.0.2.9:80/api"):
            self.refused("sites: expected the admin address", last_site="keep", sites=bad)
        twice = "\n  http://192.0.2.9:80/" * 2
        self.refused("each site once", last_site="keep", sites=twice)
        many = "".join(f"\n  http://192.0.2.{n}:80/" for n in range(1, 18))
        self.refused("at most 16 sites", last_site="keep", sites=many)

    def test_prefixes(self) -> None:
        """Prefixes are unicast networks, each once, of families that a neighbor has."""
        found = self.settings(prefixes="192.0.2.53/32, 198.51.100.0/24 192.0.2.53").prefixes
        self.assertEqual(["192.0.2.53/32", "198.51.100.0/24"], [str(each) for each in found])
        for bad in ("192.0.2.1/24", "0.0.0.0/0", "127.0.0.0/8", "224.0.0.0/8", "x", ","):
            self.refused("prefixes: expected", prefixes=bad)
        many = " ".join(f"10.0.{n // 250}.{n % 250}" for n in range(300))
        self.refused("at most 256", prefixes=many)
        self.refused("expected an IPv6 neighbor", prefixes="192.0.2.53/32 2001:db8::/64")

    def test_neighbors(self) -> None:
        """A neighbor's line has its AS, and options that fit together."""
        self.assertEqual(
            NeighborLine("fd09::2", 65001, "/etc/x", 2, 0, 9),
            neighbor("fd09:0::2 as=65001 password-file=/etc/x multihop=2 hold-time=9s"),
        )
        self.assertEqual(3, neighbor("10.9.0.2 as=1 ttl-security=3").ttl_security)
        for bad in ("", "10.9.0.2", "router as=1", "10.9.0.2 as=0", "10.9.0.2 as=23456",
                    "10.9.0.2 as=1 hold-time=2s", "10.9.0.2 as=1 hold-time=3500ms",
                    "10.9.0.2 as=1 multihop=2 ttl-security=1", "10.9.0.2 as=1 multihop=1",
                    "10.9.0.2 as=1 as=2", "10.9.0.2 as=1 bfd"):
            self.assertRaises(Unreadable, neighbor, bad)
        self.refused("each neighbor once", neighbors="\n  10.9.0.2 as=1\n  10.9.0.2 as=1")
        self.refused("not in this version", neighbors="fe80::1%eth0 as=1")
        many = "".join(f"\n  10.9.0.{n} as=1" for n in range(17))
        self.refused("at most 16 neighbors", neighbors=many)

    def test_communities(self) -> None:
        """Communities are pairs, triples or names."""
        settings = self.settings(community="65010:1, 65010:1:4294967295 no-export 65010:1",
                                 drain_community="graceful-shutdown")
        self.assertEqual(("65010:1", "65010:1:4294967295", "65535:65281"), settings.community)
        self.assertEqual(("65535:0",), settings.drain_community)
        for bad in ("65536:1", "1", "1:2:3:4", "1:x", "no-exports", "1:2:4294967296"):
            self.refused("expected a community", community=bad)

    def test_others(self) -> None:
        """Values out of their bounds are refused with the option."""
        for option, bad in (
            ("router_id", "0.0.0.0"), ("router_id", "fd09::1"), ("next_hop", "me"),
            ("med", "-1"), ("prepend", "21"), ("damping", "3 per 1m"), ("damping", "0 in 1m"),
            ("vip_device", "a/b"), ("lease", "500ms"), ("lease", "2m"), ("exabgp", "spawned"),
            ("local_as", "65536.1"), ("hold_down", "2h"),
        ):
            self.refused(f"{option.replace('_', '-')}: expected", **{option: bad})
        self.assertIsNone(self.settings(damping="off", vip_device="off").vip_device)

    def test_families(self) -> None:
        """IPv6 alone needs a router-id, and a next hop is of the prefixes' family."""
        six = {"prefixes": "2001:db8::53/128", "neighbors": "fd09::2 as=65001"}
        self.refused("router-id: option missing", **six)
        self.settings(**six, router_id="192.0.2.1", next_hop="fd09::9")
        self.refused("next-hop", **six, router_id="192.0.2.1", next_hop="192.0.2.1")

    def test_together(self) -> None:
        """A neighbor is the same for all sections, a prefix is one section's."""
        def problems(**changes: str) -> list[str]:
            one, other = self.settings(), self.settings(**changes)
            found = SECTION.together({"a": one, "b": other})
            return [each[1][2] for each in found if each is not None]
        self.assertEqual([], problems(prefixes="192.0.2.54/32"))
        self.assertIn("router-id and bfd that it has in [anycast a]",
                      problems(prefixes="192.0.2.54/32", bfd="3x50ms")[0])
        one, other = self.settings(bfd="3x50ms"), self.settings(
            bfd="4x50ms", prefixes="192.0.2.54/32", neighbors="10.9.0.3 as=1")
        self.assertEqual(
            [("b", ("bfd", 0, "expected 3x50ms, as [anycast a] has it, or off, got 4x50ms"))],
            list(SECTION.together({"a": one, "b": other})))
        self.assertIn("of no other section", problems()[0])
        most = {"prefixes": " ".join(f"10.0.{n}.0/24" for n in range(256)),
                "neighbors": "".join(f"\n  10.9.0.{n} as=1" for n in range(16))}
        self.assertIn("at most 4096 routes", problems(**most)[0])
        for option, value in (("local_as", "65011"), ("router_id", "192.0.2.1"),
                              ("neighbors", "10.9.0.2 as=65002")):
            found = problems(prefixes="192.0.2.54/32", **{option: value})
            self.assertIn("that it has in [anycast a]", found[0])


class RouteTests(SettingsTestCase):
    """Which routes settings make."""

    def test_states(self) -> None:
        """Draining changes MED and path, and adds communities."""
        settings = self.settings(med="10", drain_med="1000", community="65010:1",
                                 drain_community="65535:0", prepend="1", drain_prepend="2")
        key = ("10.9.0.2", "192.0.2.53/32")
        self.assertEqual(
            {key: Route(key[1], "self", 10, ("65010:1",), (65010,) * 2)}, settings.routes(UP)
        )
        self.assertEqual(
            {key: Route(key[1], "self", 1000, ("65010:1", "65535:0"), (65010,) * 4)},
            settings.routes(DRAINING),
        )

    def test_own_as(self) -> None:
        """Within our AS the path has the repeats and nothing else."""
        settings = self.settings(neighbors="10.9.0.2 as=65010", prepend="2")
        self.assertEqual([(65010, 65010)], [each.as_path for each in settings.routes(UP).values()])
        plain = self.settings(neighbors="10.9.0.2 as=65010")
        self.assertEqual([()], [each.as_path for each in plain.routes(UP).values()])

    def test_families(self) -> None:
        """Each neighbor gets the prefixes of its family."""
        settings = self.settings(prefixes="192.0.2.53/32 2001:db8::53/128",
                                 neighbors="\n  10.9.0.2 as=1\n  fd09::2 as=1\n  10.9.0.3 as=1")
        self.assertEqual(
            {("10.9.0.2", "192.0.2.53/32"), ("10.9.0.3", "192.0.2.53/32"),
             ("fd09::2", "2001:db8::53/128")}, set(settings.routes(UP)))


class WhenTests(SettingsTestCase):
    """The option `when`."""

    def test_read(self) -> None:
        """Conditions stand on one line or several; each is a reference with its line."""
        settings = self.settings(when="http:www, pool:web>=2\n  dns:example.test")
        self.assertEqual(
            [Condition("http", "www"), Condition("pool", "web", 2),
             Condition("dns", "example.test")], list(settings.conditions))
        self.assertEqual(
            [("http", "www", 0, True), ("pool", "web", 0, False), ("dns", "example.test", 1, True)],
            [(each.kind, each.name, each.index, each.through)
             for each in SECTION.references(settings)])
        self.assertEqual("pool:web>=2", str(settings.conditions[1]))

    def test_refused(self) -> None:
        """What is no condition is refused; a number of servers is for pools."""
        for bad in ("www", "http:", ":www", "http:www>=2", "pool:web>=0", "pool:web>=x", "pool:a=b",
                    "site:x", "place:x", "pool:web>=999999", "pool:web>2", "", ",", "pool:-x"):
            self.assertRaises(Unreadable, conditions, bad)

    def test_why_not(self) -> None:
        """The first condition that does not hold is told; all must hold."""
        wanted = conditions("pool:a pool:b>=2 http:www")

        def ask(a: int, b: int, www: bool) -> str:
            return why_not(wanted, {"a": a, "b": b}.__getitem__, {"http:www": www}.__getitem__)
        self.assertEqual("", ask(1, 2, True))
        self.assertEqual("pool:a has no server up", ask(0, 0, False))
        self.assertEqual("pool:b has 1 of 2 servers up", ask(1, 1, False))
        self.assertEqual("http:www is not healthy", ask(9, 9, False))


class ConfigurationTests(SynchronousTestCase):
    """ExaBGP's configuration. That both versions take it is proved by the live tests."""

    def test_neighbor(self) -> None:
        """Each neighbor has what its line says; a password cannot break out of its quotes."""
        line = NeighborLine("10.9.0.2", 65001, "x", 0, 2, 9)
        command = helper("/usr/bin/python3", "@here", 1.5, [0, 5]) + only([])
        found = configuration(command, [Peer(line, 65010, "1.1.1.1", "10.9.0.1", b'a";}\xff')])
        for row in ("run /usr/bin/python3 -m balancer.route.anycast.shim --socket @here --lease 1.5"
                    " --uid 0 --uid 5;", "router-id 1.1.1.1;", "local-address 10.9.0.1;",
                    "hold-time 9;", "peer-as 65001;", "outgoing-ttl 255;", "incoming-ttl 254;",
                    'md5-password "YSI7ff8=";', "md5-base64 true;", "manual-eor true;",
                    "ipv4 unicast;", "graceful-restart 5;", "neighbor-changes;"):
            self.assertIn(f" {row}\n", found)
        self.assertEqual(found.count("{"), found.count("}"))

    def test_plain(self) -> None:
        """What is not given is not written."""
        found = configuration(["x"], [Peer(NeighborLine("fd09::2", 1), 2, "1.1.1.1", "fd09::1")])
        self.assertNotIn("md5", found)
        self.assertNotIn("ttl", found)
        self.assertIn("ipv6 unicast;", found)

    def test_defaults(self) -> None:
        """Defaults of settings are those of the declaration."""
        self.assertEqual(3.0, AnycastSettings(prefixes=(), when=(), neighbors=(), local_as=1).lease)
