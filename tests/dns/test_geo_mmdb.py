"""Databases, sound and broken."""

from __future__ import annotations

from io import BytesIO
from ipaddress import ip_address
from random import Random

import maxminddb
from hypothesis import given, settings
from hypothesis import strategies as st
from maxminddb.reader import Reader
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.slices import finish
from balancer.dns.geo.mmdb import Broken
from balancer.dns.geo.records import Database, opening
from tests.dns.geo_samples import names, place, territory
from tests.dns.mmdb import MARKER, Pointer, Writer, assembled, encoded

PLACES = {"a": place(None, "NL"), "b": place(None, "DE")}


class _Named(BytesIO):
    """The library asks a file for its name."""

    name = "test"


def find(database: Database, address: str) -> object:
    """The record for an address, by the tree."""
    packed = ip_address(address).packed
    tree, bits = database.tree, int.from_bytes(packed, "big")
    record = tree.ipv4 if len(packed) == 4 else 0
    for shift in range(8 * len(packed) - 1, -1, -1):
        if record < tree.layout.nodes:
            record = tree.records[2 * record + (bits >> shift & 1)]
    return database.record(record)


def sample(record_size: int = 24, ip_version: int = 6) -> Writer:
    """A database with some records."""
    writer = Writer(ip_version, record_size)
    if ip_version == 6:
        writer.insert("::5.0.0.0/104", {"country_code": "NL"})
        writer.insert("::5.1.0.0/112", {"country": {"iso_code": "DE"}})
        writer.insert("2001:db8::/32", {"country_code": "DE", "latitude": 1.5})
    else:
        writer.insert("5.0.0.0/8", {"country_code": "NL"})
        writer.insert("5.1.0.0/16", {"country": {"iso_code": "DE"}})
    return writer


class SoundTests(SynchronousTestCase):
    """What the library reads, the tree reads."""

    def test_sizes(self) -> None:
        """Every record size and IP version gives what the library itself gives."""
        for size in (24, 28, 32):
            for version in (4, 6):
                file = sample(size, version).built()
                database = finish(opening(file))
                reader = maxminddb.open_database(_Named(file), maxminddb.MODE_FD)
                assert isinstance(reader, Reader)
                for address in ("5.0.0.1", "5.1.2.3", "5.2.0.0", "6.0.0.0", "2001:db8::1", "::1"):
                    if version == 6 or "." in address:
                        with self.subTest(size=size, version=version, address=address):
                            self.assertEqual(find(database, address), reader.get(address))

    def test_wide_records(self) -> None:
        """Records that need all of their 28 and 32 bits keep them."""
        for size, value in ((28, 0xABCDEF1), (32, 0xFEDCBA98)):
            with self.assertRaisesRegex(Broken, "points behind its end"):
                finish(opening(assembled([(1, value)], b"", record_size=size)))
        for left, right in ((1, 0xF000001), (0xF000001, 1)):
            with self.assertRaises(Broken):
                finish(opening(assembled([(left, right)], b"", record_size=28)))

    def test_about(self) -> None:
        """The type, the time of building and the number of nodes are told."""
        about = finish(opening(sample().built())).about
        self.assertEqual((about.type, about.build_epoch), ("Test", 1_700_000_000))
        self.assertGreater(about.nodes, 100)
        odd = finish(opening(sample().built(build_epoch=1 << 60, database_type=["x"]))).about
        self.assertEqual(odd.build_epoch, 0)

    def test_ipv4_subtree(self) -> None:
        """IPv4 is at ::/96; aliases of it, as of 6to4, make the tree a graph and are followed."""
        writer = sample()
        writer.insert("2002::/16", writer.node(96))
        found = territory(PLACES, writer.built())
        self.assertEqual(names(found, "5.0.0.1"), ("a", "b"))
        self.assertEqual(names(found, "2002:501::1"), ("b", "a"))
        self.assertEqual(names(found, "2002:500::1"), ("a", "b"))
        self.assertEqual(names(found, "::ffff:5.0.0.1"), ("a", "b"))

    def test_ipv4_without_a_node(self) -> None:
        """A record wider than ::/96 is that of all IPv4."""
        found = territory(PLACES, Writer().insert("::/8", {"country_code": "NL"}).built())
        self.assertEqual(names(found, "203.0.113.1"), ("a", "b"))

    def test_alias_before(self) -> None:
        """Nodes may point to nodes with lower numbers as long as that makes no circle."""
        record = 3 + 16
        file = assembled([(2, 2), (record, record), (1, 1)], encoded({"country_code": "NL"}))
        self.assertEqual(names(territory(PLACES, file), "1.2.3.4"), ("a", "b"))


class BrokenTests(SynchronousTestCase):
    """One exception for all that can be wrong."""

    def refused(self, file: bytes) -> str:
        """Why the file is refused."""
        with self.assertRaises(Broken) as caught:
            territory(PLACES, file)
        return str(caught.exception)

    def test_no_database(self) -> None:
        """Files that are none are refused, empty ones too."""
        for file in (b"", b"x" * 1000, MARKER, MARKER + encoded("text"), MARKER + encoded({})):
            self.refused(file)
        padded = sample().built() + bytes(200_000)
        self.assertIn("metadata in the last 128 KiB", self.refused(padded))

    def test_metadata(self) -> None:
        """Numbers that the format does not know are refused by name."""
        for key, value in (("record_size", 20), ("ip_version", 5), ("node_count", 0),
                           ("node_count", 1 << 40), ("binary_format_major_version", 3),
                           ("record_size", "24"), ("ip_version", True)):
            with self.subTest(key=key, value=value):
                self.assertIn(key, self.refused(sample().built(b"", **{key: value})))
        self.assertIn("bytes of tree", self.refused(sample().built(node_count=100_000)))

    def test_circles(self) -> None:
        """A tree that leads back into itself, or deeper than an address, is refused."""
        self.assertIn("deep", self.refused(assembled([(0, 0)], b"")))
        self.assertIn("deep", self.refused(assembled([(1, 2), (2, 2), (1, 1)], b"")))
        chain = [(at + 1, at + 1) for at in range(33)]
        self.assertIn("32 bits deep", self.refused(assembled(chain, b"")))
        fits = [(at + 1, at + 1) for at in range(32)]
        self.assertEqual(names(territory(PLACES, assembled(fits, b"")), "1.2.3.4"), ())

    def test_depth_by_another_way(self) -> None:
        """A way that is too long is found even if its nodes were met on a shorter one before."""
        pairs = [(20, 1), *((at + 1, at + 1) for at in range(1, 39)), (40, 40)]
        self.assertIn("deep", self.refused(assembled(pairs, b"")))

    def test_records(self) -> None:
        """Records that point into the separator, or to what cannot be decoded, are refused."""
        self.assertIn("before them", self.refused(assembled([(2, 1)], b"x" * 50)))
        for data in (b"\xff" * 40, encoded("x" * 50)[:5] + b"\xff" * 60, b"\xe1" + bytes(40)):
            self.assertIn("decoded", self.refused(assembled([(17, 1)], data)))

    def test_bombs(self) -> None:
        """Pointers in circles, and to ever more of the same, are refused at once."""
        self.assertIn("decoded", self.refused(assembled([(17, 1)], encoded(Pointer(0)))))
        data = encoded([Pointer(0)])
        self.assertIn("decoded", self.refused(assembled([(17, 1)], data)))
        data, last = encoded("boom"), 0
        for _ in range(40):
            data, last = data + encoded([Pointer(last)] * 4), len(data)
        self.assertIn("decoded", self.refused(assembled([(17 + last, 1)], data)))
        self.assertIn("decoded", self.refused(assembled([(17, 1)], b"\x01\x04" * 20_000)))

    def test_truncated(self) -> None:
        """A file that was cut is refused wherever that was."""
        file = sample().built()
        for end in Random(1).sample(range(len(file)), 60):
            self.refused(file[:end])

    @settings(max_examples=15, deadline=None)
    @given(st.integers(0, 1 << 32).map(Random), st.sampled_from((24, 28, 32)))
    def test_fuzzed(self, random: Random, size: int) -> None:
        """A mutated file is refused, or read to its end: nothing else is raised, and it ends."""
        writer = Writer(4, size).insert("4.0.0.0/6", {"country_code": "NL", "lat": 1.5, "x": [1]})
        file = bytearray(writer.insert("7.0.0.0/9", {"country": {"iso_code": "DE"}}).built())
        for _ in range(random.randrange(1, 6)):
            file[random.randrange(len(file))] = random.randrange(256)
        try:
            found = territory(PLACES, bytes(file))
        except Broken:
            return
        for _ in range(8):
            self.assertLess(found.ranking(random.randbytes(4)), len(found.rankings))
