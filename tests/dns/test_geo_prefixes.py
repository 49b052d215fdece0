"""Rankings and scopes against brute force: every address of a small space is asked."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.slices import finish
from balancer.dns.geo import prefixes
from balancer.dns.geo.nodes import Nodes
from balancer.dns.geo.places import Facts, Places
from balancer.dns.geo.prefixes import Scopes, Territory, surveying
from balancer.dns.geo.settings import PlaceSettings
from tests.dns.geo_samples import AMSTERDAM, NEW_YORK, SYDNEY, names, place, territory
from tests.dns.mmdb import Writer

SEEDS = st.integers(0, 1 << 32).map(Random)

BITS = 6
"""Significant bits of the addresses of a world: enough for trees of every shape."""

RECORDS: Sequence[dict[str, object]] = (
    {}, {"country_code": "NL"}, {"country_code": "JP"}, {"country_code": "BR"},
    {"continent": "AF"}, {"lat": -30.0, "lng": 140.0}, {"lat": 50.0, "lng": 1.0},
)


class World:
    """Random networks with records, random places with networks, by brute force."""

    def __init__(self, random: Random, v6: bool) -> None:
        self.random = random
        self.width, self.base = (128, "2001:db8::") if v6 else (32, "203.0.112.0")
        # Where the bits that vary stand: anywhere, so that scopes are wide and narrow ones.
        self.low = random.randrange(self.width - BITS - (10 if v6 else 0))
        records = [(self.network(), random.choice(RECORDS)) for _ in range(random.randrange(9))]
        self.records = dict(sorted(records, key=lambda each: each[0][1]))
        self.places: dict[str, PlaceSettings] = {
            "ams": place(AMSTERDAM, "NL"), "syd": place(SYDNEY), "none": place(None, "", "AF"),
            "nyc": place(NEW_YORK, "BR"),
        }
        self.claims = {self.network(): random.choice([*self.places])
                       for _ in range(random.randrange(4))}
        for name in self.places:
            listed = " ".join(self.text(net) for net, owner in self.claims.items() if owner == name)
            old = self.places[name]
            self.places[name] = place(old.location, " ".join(old.countries),
                                      " ".join(old.continents), listed)

    def network(self) -> tuple[int, int]:
        """The bits of a random network, and how many of the significant ones it fixes."""
        length = self.random.randrange(BITS + 1)
        return self.random.getrandbits(length) << (BITS - length) if length else 0, length

    def number(self, bits: int) -> int:
        """The address with these significant bits."""
        return int(ip_address(self.base)) >> (self.low + BITS) << (self.low + BITS) \
            | bits << self.low

    def text(self, network: tuple[int, int]) -> str:
        """A network as a site file has it."""
        make = IPv6Address if self.width == 128 else IPv4Address
        return f"{make(self.number(network[0]))}/{self.width - self.low - BITS + network[1]}"

    def file(self) -> bytes:
        """The database."""
        writer = Writer(6 if self.width == 128 else 4, self.random.choice((24, 28, 32)))
        for network, record in self.records.items():
            writer.insert(self.text(network), record)
        return writer.built()

    def addresses(self) -> list[bytes]:
        """All addresses of the world."""
        return [self.number(bits).to_bytes(self.width // 8, "big") for bits in range(1 << BITS)]

    def expected(self, bits: int) -> tuple[str, ...]:
        """The ranking for an address, by trying every network."""
        def longest(networks: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
            held = [net for net in networks if (bits ^ net[0]) >> (BITS - net[1]) == 0]
            return max(held, key=lambda net: net[1], default=None)

        places = Places(self.places)
        found, claim = longest([*self.records]), longest([*self.claims])
        class_ = places.class_of(Facts.of(self.records[found] if found is not None else None))
        if claim is not None:
            class_ = places.claimed([*self.places].index(self.claims[claim]), class_)
        return places.rankings[places.ranking(class_)]


def uniform(found: Territory, address: bytes, length: int, answers: Sequence[Hashable]) -> bool:
    """Whether all leaves beneath a prefix lead to one answer, by walking over them."""
    width = 8 * len(address)
    node = found.v4 if width == 32 else found.v6
    bits = int.from_bytes(address, "big")
    for shift in range(width - 1, width - 1 - length, -1):
        if node >= 0:
            node = found.right[node] if bits >> shift & 1 else found.left[node]
    seen, stack = set(), [node]
    while stack:
        node = stack.pop()
        if node >= 0:
            stack += (found.left[node], found.right[node])
        else:
            seen.add(answers[~node])
    return len(seen) == 1


class BruteForceTests(SynchronousTestCase):
    """Random worlds."""

    @settings(max_examples=10, deadline=None)
    @given(SEEDS, st.booleans())
    def test_rankings(self, random: Random, v6: bool) -> None:
        """Every address has the ranking that trying all networks gives it."""
        world = World(random, v6)
        found = territory(world.places, world.file())
        for bits, address in enumerate(world.addresses()):
            self.assertEqual(found.rankings[found.ranking(address)], world.expected(bits))

    @settings(max_examples=10, deadline=None)
    @given(SEEDS, st.booleans(), st.integers(1, 3))
    def test_scopes(self, random: Random, v6: bool, count: int) -> None:
        """The scope's prefix gets one answer, the address's own, and a bit less does not."""
        world = World(random, v6)
        found = territory(world.places, world.file())
        answers = [random.randrange(count) for _ in found.rankings]
        scopes, own = Scopes(found, answers), found.ranking
        addresses = world.addresses()
        random.shuffle(addresses)
        for address in addresses:
            ranking, length = scopes.lookup(address)
            self.assertEqual(answers[ranking], answers[own(address)])
            self.assertTrue(uniform(found, address, length, answers))
            if length:
                self.assertFalse(uniform(found, address, length - 1, answers))
            self.assertEqual(scopes.lookup(address), (ranking, length))
            # The walk over leaves is itself held to the addresses of the world.
            inside = [other for other in addresses if length == 0 or (
                int.from_bytes(other, "big") ^ int.from_bytes(address, "big")
            ) >> (world.width - length) == 0]
            self.assertEqual({answers[own(other)] for other in inside}, {answers[ranking]})

    @settings(max_examples=5, deadline=None)
    @given(SEEDS)
    def test_large_sets(self, random: Random) -> None:
        """Sets of more rankings than one lists are as exact."""
        nodes = Nodes()
        row = [~random.randrange(300) for _ in range(512)]
        while len(row) > 1:
            row = [nodes.join(*row[at:at + 2]) for at in range(0, len(row), 2)]
        found = finish(surveying(tuple((str(at),) for at in range(300)), nodes, row[0], row[0]))
        self.assertGreater(max(map(len, found.parts)), 1)
        common = random.choice((300, 299, 150))
        answers = [0 if at < common else at for at in range(300)]
        scopes = Scopes(found, answers)
        for _ in range(20):
            address = random.randbytes(4)
            ranking, length = scopes.lookup(address)
            self.assertEqual(answers[ranking], answers[found.ranking(address)])
            self.assertTrue(uniform(found, address, length, answers))
            if length:
                self.assertFalse(uniform(found, address, length - 1, answers))


class TerritoryTests(SynchronousTestCase):
    """What a site's places alone decide."""

    def test_empty(self) -> None:
        """Without places and database everybody has the empty ranking, and the scope is 0."""
        found = territory({})
        self.assertEqual(found.rankings, ((),))
        for address in (bytes(4), b"\xff" * 4, bytes(16), b"\xff" * 16):
            self.assertEqual(found.scope(address, ["all"]), (0, 0))

    def test_only_networks(self) -> None:
        """Without a database the networks alone count, the longest first, in both families."""
        found = territory({
            "wide": place(None, "", "", "10.0.0.0/8 2001:db8::/32"),
            "narrow": place(None, "", "", "10.1.0.0/16 2001:db8:1::/48"),
        })
        for address, ranking in (
            ("10.0.0.1", ("wide", "narrow")), ("10.1.0.1", ("narrow", "wide")),
            ("11.0.0.1", ()), ("2001:db8::1", ("wide", "narrow")),
            ("2001:db8:1::1", ("narrow", "wide")), ("2001:db9::1", ()), ("10::1", ()),
        ):
            self.assertEqual(names(found, address), ranking)
        answers = list(range(len(found.rankings)))
        for address, length in (("10.0.0.1", 16), ("10.1.0.1", 16), ("10.128.0.1", 9),
                                ("192.0.2.1", 1), ("2001:db8:1::", 48), ("2001:db8:8000::", 33)):
            self.assertEqual(found.scope(ip_address(address).packed, answers)[1], length)

    def test_everything(self) -> None:
        """A place may list all of a family; the other family is not touched by that."""
        found = territory({"a": place(None, "", "", "0.0.0.0/0")})
        self.assertEqual(names(found, "203.0.113.1"), ("a",))
        self.assertEqual(names(found, "2001:db8::1"), ())
        self.assertEqual(found.scope(ip_address("203.0.113.1").packed, "xy")[1], 0)

    def test_mapped(self) -> None:
        """An IPv4-mapped client is an IPv4 one, whatever is said of the IPv6 around it."""
        found = territory({
            "four": place(None, "", "", "192.0.2.0/24"), "six": place(None, "", "", "::/0"),
        })
        self.assertEqual(names(found, "::ffff:192.0.2.1"), ("four", "six"))
        self.assertEqual(names(found, "::ffff:192.0.3.1"), ())
        self.assertEqual(names(found, "::fffe:192.0.2.1"), ("six", "four"))
        answers = list(range(len(found.rankings)))
        mapped = ip_address("::ffff:192.0.2.1").packed
        self.assertEqual(found.scope(mapped, answers)[1], 96 + 24)

    def test_networks_and_database(self) -> None:
        """Within a listed network the other places go by the database's coordinates."""
        writer = Writer(4).insert("10.0.0.0/8", {"lat": -30.0, "lng": 140.0})
        writer.insert("11.0.0.0/8", {"lat": 50.0, "lng": 1.0})
        found = territory({
            "own": place(None, "", "", "10.1.0.0/16 11.1.0.0/16 12.0.0.0/8"),
            "ams": place(AMSTERDAM), "syd": place(SYDNEY),
        }, writer.built())
        self.assertEqual(names(found, "10.1.0.1"), ("own", "syd", "ams"))
        self.assertEqual(names(found, "11.1.0.1"), ("own", "ams", "syd"))
        self.assertEqual(names(found, "12.1.0.1"), ("own", "ams", "syd"))
        self.assertEqual(names(found, "10.2.0.1"), ("syd", "ams", "own"))

    def test_ipv4_database(self) -> None:
        """A database of IPv4 says nothing of IPv6."""
        found = territory({"a": place(None, "NL")},
                          Writer(4).insert("0.0.0.0/0", {"country_code": "NL"}).built())
        self.assertEqual(names(found, "203.0.113.1"), ("a",))
        self.assertEqual(names(found, "::ffff:203.0.113.1"), ("a",))
        self.assertEqual(names(found, "2001:db8::1"), ())


class ScopesTests(SynchronousTestCase):
    """What is remembered between queries, and what a query may cost."""

    def test_narrow(self) -> None:
        """A scope within a /24 or /56 is not taken for its neighbours'."""
        found = territory({"a": place(None, "", "", "192.0.2.128/25 2001:db8:0:80::/57")})
        scopes = Scopes(found, ["none", "a"])
        for addresses in (("192.0.2.200", "192.0.2.1"), ("2001:db8:0:80::1", "2001:db8:0:f0::1")):
            for address in addresses * 2:
                packed = ip_address(address).packed
                self.assertEqual(scopes.lookup(packed)[0], found.ranking(packed))

    def test_bound(self) -> None:
        """However many networks ask, few are remembered."""
        self.patch(prefixes, "MAX_REMEMBERED", 16)
        found = territory({"a": place(None, "", "", "192.0.2.0/25")})
        scopes = Scopes(found, ["none", "a"])
        for number in range(100):
            scopes.lookup(bytes((192, 0, number, 1)))
            scopes.lookup(bytes((192, 0, 2, number)))
            self.assertLessEqual(len(scopes._remembered), 16)

    def test_answers_are_asked_for_once(self) -> None:
        """An answer is made when it is first needed, and never twice."""
        asked = []

        class Answers:
            """Made on the way."""

            def __getitem__(self, ranking: int, /) -> Hashable:
                asked.append(ranking)
                return ranking

        found = territory({"a": place(None, "", "", "192.0.2.0/24"),
                           "b": place(None, "", "", "2001:db8::/32")})
        scopes = Scopes(found, Answers())
        self.assertEqual(asked, [])
        for _ in range(3):
            scopes.lookup(ip_address("192.0.2.1").packed)
            scopes.lookup(ip_address("192.0.3.1").packed)
        self.assertEqual(sorted(asked), sorted({found.ranking(b"\xc0\0\2\1"), 0}))

    def test_steps(self) -> None:
        """A query that would cost too much gets a right but narrower scope; later ones get all."""
        self.patch(prefixes, "MAX_STEPS", 64)
        nodes = Nodes()
        row = [~at for at in range(1024)]
        while len(row) > 1:
            row = [nodes.join(*row[at:at + 2]) for at in range(0, len(row), 2)]
        found = finish(surveying(tuple((str(at),) for at in range(1024)), nodes, row[0], row[0]))
        scopes = Scopes(found, [0] * 1024)
        lengths = [scopes.lookup(bytes((192, 0, 2, 1)))[1] for _ in range(60)]
        self.assertGreater(lengths[0], 0)
        self.assertEqual(lengths, sorted(lengths, reverse=True))
        self.assertEqual(lengths[-1], 0)


class NodesTests(SynchronousTestCase):
    """Trees of prefixes."""

    def test_joined(self) -> None:
        """Equal siblings are their parent, equal subtrees are one."""
        nodes = Nodes()
        self.assertEqual(nodes.join(~1, ~1), ~1)
        self.assertEqual(nodes.join(~1, ~2), nodes.join(~1, ~2))
        self.assertNotEqual(nodes.join(~1, ~2), nodes.join(~2, ~1))
        self.assertEqual(len(nodes), 2)

    @settings(max_examples=15)
    @given(st.lists(st.tuples(st.integers(0, 63), st.integers(0, 6)), max_size=8))
    def test_grafts(self, grafts: list[tuple[int, int]]) -> None:
        """Grafts change the addresses of their prefix and no others."""
        nodes, root = Nodes(), ~0
        plain = [0] * 64
        for value, (bits, length) in enumerate(grafts, 1):
            root = nodes.graft(root, (bits >> (6 - length), length), ~value)
            for at in range(64):
                if (at ^ bits) >> (6 - length) == 0:
                    plain[at] = value
        self.assertEqual([~nodes.at(root, (at, 6)) for at in range(64)], plain)
