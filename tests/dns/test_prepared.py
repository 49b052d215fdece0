"""Answers that are kept: how they begin, and how many there are."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.dns.leftovers import Leftovers
from balancer.dns.prepared import HEADS, Entries, Entry, Variant
from balancer.dns.reply import Body, message
from tests.dns.serving import served

SERVED = served()


def entry() -> Entry:
    """Any."""
    return Entry(SERVED, b"a", b"", [0], [])


class VariantTests(SynchronousTestCase):
    """The bytes before a question."""

    def test_heads(self) -> None:
        """For each usual query they are what the long way would write."""
        for body in (Body(b"xy", (1, 2, 3), 0, True), Body(b"", (0, 0, 0), 3, False, True)):
            variant = Variant(body)
            for asked, has_more in HEADS.items():
                flags = int.from_bytes(asked[:2], "big")
                whole = message(7, flags, b"question", body, b"opt" if has_more else b"")
                self.assertEqual(variant.head(asked), whole[2:12])
                self.assertIs(variant.head(asked), variant.head(asked))


class EntriesTests(SynchronousTestCase):
    """A table with an end."""

    def setUp(self) -> None:
        self.entries: Entries[bytes] = Entries(Leftovers(), 10)

    def links(self) -> int:
        """How many there are, counted anew."""
        return sum(map(len, self.entries._followers.values()))

    def test_oldest_go(self) -> None:
        """When it is full the oldest goes; what is there already may be put there again."""
        for number in (*range(10), 3, *range(10, 15)):
            self.entries.keep(b"%d" % number, entry(), ())
        self.assertEqual([int(each) for each in self.entries.table], list(range(5, 15)))

    def test_drop(self) -> None:
        """What follows a name goes when it changes, and nothing else."""
        for question, follows in ((b"1", (b"a",)), (b"2", (b"a", b"b")), (b"3", (b"b",)),
                                  (b"4", ())):
            self.entries.keep(question, entry(), follows)
        self.entries.drop((b"a",))
        self.assertEqual(list(self.entries.table), [b"3", b"4"])
        self.entries.drop((b"nobody",))
        self.entries.drop((b"b",))
        self.assertEqual(list(self.entries.table), [b"4"])

    def test_links_are_counted(self) -> None:
        """Made anew again and again after one of its names changed, an answer takes no more."""
        for _ in range(100):
            self.entries.keep(b"1", entry(), (b"a", b"b"))
            self.entries.drop((b"a",))
        self.entries.keep(b"1", entry(), (b"a", b"b"))
        self.assertEqual((self.entries._links, self.links()), (2, 2))

    def test_links_are_bounded(self) -> None:
        """Questions that were pushed out stay linked for a while, but not without end."""
        for number in range(1000):
            self.entries.keep(b"%d" % number, entry(), (b"a", b"b", b"c"))
            self.assertLessEqual(self.links(), 20)
            self.assertEqual(self.entries._links, self.links())
            self.assertIn(b"%d" % number, self.entries.table)
