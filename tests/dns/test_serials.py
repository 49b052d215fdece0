"""Which serial a zone has."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns.pools import PoolName
from balancer.dns.serials import Kept, Said, digest_of, following, is_newer, serial_of
from balancer.dns.values import answer_line
from tests.dns.world import all_up, judge, pool_of

UNIX = 1_700_000_000
serials = st.integers(0, 2**32 - 1)


class ArithmeticTests(SynchronousTestCase):
    """RFC 1982 3."""

    def test_newer(self) -> None:
        """Newer is what is less than half of the circle ahead; opposite points are not."""
        for serial, than, newer in (
            (2, 1, True), (1, 2, False), (1, 1, False), (0, 2**32 - 1, True),
            (2**31 - 1, 0, True), (2**31, 0, False), (0, 2**31, False), (5, 2**32 - 5, True),
        ):
            self.assertEqual(is_newer(serial, than), newer, (serial, than))

    @settings(max_examples=10, deadline=None, database=None)
    @given(serials)
    def test_following(self, serial: int) -> None:
        """The next one is newer, and never 0."""
        self.assertTrue(is_newer(following(serial), serial))
        self.assertNotEqual(following(serial), 0)


class SerialTests(SynchronousTestCase):
    """What is kept, what is in the file, and what has changed."""

    def test_nothing_kept(self) -> None:
        """A zone begins with the file's serial, or the time."""
        self.assertEqual(serial_of(2024010101, "x", None, UNIX), 2024010101)
        self.assertEqual(serial_of(0, "x", None, UNIX), 0)
        self.assertEqual(serial_of(None, "x", None, UNIX), UNIX)
        self.assertEqual(serial_of(None, "x", None, 2**32 + 5), 5)

    def test_same_content(self) -> None:
        """The same content has the same serial, whenever it is looked at."""
        kept = Kept(7, "x")
        for own in (None, 1, 7):
            self.assertEqual(serial_of(own, "x", kept, UNIX), 7)

    def test_other_content(self) -> None:
        """Another content has the file's serial if that is newer, else the next one: never one
        that a secondary takes for older."""
        kept = Kept(7, "x")
        for own, serial in ((None, 8), (1, 8), (7, 8), (8, 8), (9, 9), (2**32 - 1, 8)):
            self.assertEqual(serial_of(own, "y", kept, UNIX), serial)
        self.assertEqual(serial_of(8, "x", kept, UNIX), 8)

    @settings(max_examples=15, deadline=None, database=None)
    @given(st.lists(st.tuples(st.none() | serials, st.sampled_from("abc")), max_size=20))
    def test_grows(self, steps: list[tuple[int | None, str]]) -> None:
        """Whatever comes, two contents in a row never have one serial, and it never shrinks."""
        kept = Kept(1, "a")
        for own, digest in steps:
            serial = serial_of(own, digest, kept, UNIX)
            self.assertTrue(is_newer(serial, kept.serial)
                            or (serial, digest) == (kept.serial, kept.digest))
            kept = Kept(serial, digest)


class KeptTests(SynchronousTestCase):
    """What survives a restart."""

    def test_there_and_back(self) -> None:
        """What was kept is read as it was."""
        for kept in (Kept(0, ""), Kept(2**32 - 1, "abc")):
            self.assertEqual(Kept.from_json(kept.to_json()), kept)

    def test_faults(self) -> None:
        """Anything else is a ValueError that says what was expected."""
        whole = Kept(12, "ab").to_json()
        for data in (b"", b"[]", b"{}", b"7", b'{"serial": "1", "digest": ""}', b"\xff",
                     b'{"serial": true, "digest": ""}', b'{"serial": -1, "digest": ""}',
                     b'{"serial": 4294967296, "digest": ""}', b'{"serial": 1, "digest": 2}',
                     *(whole[:size] for size in range(len(whole) - 1))):
            self.assertRaises(ValueError, Kept.from_json, data)


class SaidTests(SynchronousTestCase):
    """What names that follow pools answer."""

    def setUp(self) -> None:
        """Two names of one pool."""
        self.pool = all_up(pool_of({"a": "192.0.2.1", "b": "192.0.2.2", "c": "2001:db8::1"},
                                   interval=10.0, slow_start=0.0))
        self.names = {key: PoolName(answer_line(line), self.pool, 30)
                      for key, line in ((b"\1x\0", "x pool=web"),
                                        (b"\1y\0", "y pool=web policy=failover"))}
        self.settle()
        self.said = Said(self.names)

    def settle(self) -> None:
        """Have the names look."""
        for name in self.names.values():
            name.settle()

    def look(self, *keys: bytes) -> bytes:
        """The digest once these were looked at."""
        self.settle()
        self.said.look(self.names, keys)
        return self.said.digest

    def test_changes(self) -> None:
        """It is another one while a server is down, and then the one of before."""
        before = self.said.digest
        judge(self.pool, b=False)
        down = self.look(b"\1x\0")
        self.assertNotEqual(before, down)
        self.assertEqual(Said(self.names).digest, down)  # `y` answers `a` as before
        judge(self.pool, b=True)
        self.assertEqual(self.look(b"\1x\0", b"\1y\0"), before)

    def test_times(self) -> None:
        """A verdict that is pending shortens the TTL, and is nothing to transfer a zone for."""
        before = self.said.digest
        self.pool.record(self.pool.server("b"), False, "one failure", 1.0)
        self.assertEqual(self.look(b"\1x\0"), before)
        self.assertLess(self.names[b"\1x\0"].ttl, 30)

    def test_options(self) -> None:
        """A TTL that an option says is part of it, as is the name."""
        digests = {Said({key: PoolName(answer_line(line), self.pool, 30)}).digest
                   for key, line in ((b"\1x\0", "x pool=web"), (b"\1z\0", "x pool=web"),
                                     (b"\1x\0", "x pool=web ttl=7s"))}
        self.assertEqual(len(digests), 3)

    def test_digest_of_several(self) -> None:
        """Where one part ends and the next begins matters."""
        self.assertNotEqual(digest_of(b"ab", b"c"), digest_of(b"a", b"bc"))
        self.assertEqual(digest_of(b"ab", b"c"), digest_of(b"ab", b"c"))
