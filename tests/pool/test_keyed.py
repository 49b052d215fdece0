"""The same key to the same server."""

from __future__ import annotations

import hashlib
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.pool.settings import ServerSettings
from tests.pool.world import chosen, down, few_slots, named, servers, up_pool

PINNED = "9e2727c68aee57e7"
KEYED = ("source", "uri", "maglev")  # header, cookie and query differ from uri by name only
KEYS = [n.to_bytes(4, "big") + b"\x9c\x40" for n in range(0xC0000200, 0xC0000200 + 300)]


def owners(pool: Pool) -> list[Server | None]:
    """Whom each of KEYS is given to."""
    return [pool.choose(key) for key in KEYS]


class PinnedTests(SynchronousTestCase):
    """A table of the real size."""

    def test_pinned(self) -> None:
        """Choices are the same on every machine and Python version."""
        text = "".join(s.name for s in owners(up_pool(servers(1, 2, 3), "maglev")) if s)
        self.assertEqual(hashlib.sha256(text.encode()).hexdigest()[:16], PINNED)


class KeyedTests(SynchronousTestCase):
    """Keyed algorithms in a pool."""

    def setUp(self) -> None:
        """Many tables are built."""
        few_slots(self)

    def test_sticks(self) -> None:
        """A key's server stays, keys spread over all servers, and the order of lines is nothing."""
        for algorithm in KEYED:
            pool = up_pool(servers(1, 1, 1), algorithm)
            first = owners(pool)
            self.assertEqual(owners(pool), first)
            self.assertEqual(set(first), set(pool.servers))
            other = up_pool(servers(1, 1, 1)[::-1], algorithm)
            self.assertEqual([s and s.name for s in owners(other)], [s and s.name for s in first])

    def test_down_moves_nobody_else(self) -> None:
        """When a server goes down its keys alone move, over all others, and then come back."""
        pool = up_pool([ServerSettings(f"s{n}") for n in range(6)], "maglev")
        before = owners(pool)
        down(pool, "s2")
        after = owners(pool)
        gone = named(pool, "s2")
        for old, new in zip(before, after, strict=True):
            self.assertTrue(new is old or (old is gone and new is not gone))
        moved = {new for old, new in zip(before, after, strict=True) if old is gone}
        self.assertEqual(len(moved), 5)
        pool.record(gone, True, "", 1.0)
        pool.record(gone, True, "", 1.0)
        self.assertEqual(owners(pool), before)

    def test_absent_key(self) -> None:
        """Without a key, servers take turns."""
        self.assertEqual(chosen(up_pool(servers(2, 1), "cookie"), 6), "abaaba")

    def test_weight_changes_in_slices(self) -> None:
        """A new weight comes into force when its table is built; until then the old one serves."""
        pool = up_pool(servers(1, 1), "maglev")
        before = owners(pool)
        pool.set_weight(named(pool, "b"), 3)
        self.assertEqual(owners(pool), before)
        ticks = 0
        while pool.advance():
            ticks += 1
            self.assertEqual(owners(pool), before)
        self.assertTrue(ticks > 10)
        self.assertTrue(Counter(owners(pool))[named(pool, "b")] > 200)

    def test_ticks_build(self) -> None:
        """Ticks alone bring a new table into force within two seconds of ten ticks each."""
        pool = up_pool(servers(1, 1), "maglev")
        before = owners(pool)
        pool.set_weight(named(pool, "b"), 3)
        for n in range(20):
            pool.tick(n / 10)
        self.assertNotEqual(owners(pool), before)

    def test_weight_taken_back(self) -> None:
        """A weight that is taken back before its table was built leaves the old one in force."""
        pool = up_pool(servers(1, 1), "maglev")
        before = owners(pool)
        pool.set_weight(named(pool, "b"), 3)
        pool.advance()
        pool.set_weight(named(pool, "b"), 1)
        pool.build()
        self.assertEqual(owners(pool), before)

    def test_weight_zero(self) -> None:
        """Weight 0 takes effect at once."""
        pool = up_pool(servers(1, 1), "maglev")
        pool.build()
        pool.set_weight(named(pool, "b"), 0)
        self.assertEqual(set(owners(pool)), {named(pool, "a")})
        pool.build()
        self.assertEqual(set(owners(pool)), {named(pool, "a")})
        pool.set_weight(named(pool, "a"), 0)
        pool.build()
        self.assertEqual(set(owners(pool)), {None})
        pool.set_weight(named(pool, "a"), 1)
        self.assertEqual(set(owners(pool)), {named(pool, "a")})

    def test_backups(self) -> None:
        """Backups have a table of their own, for when nobody else is left."""
        lines = [*servers(1, 1), *(ServerSettings(name, backup=True) for name in "xy")]
        pool = up_pool(lines, "maglev")
        self.assertEqual({s.name for s in owners(pool) if s}, {"a", "b"})
        down(pool, "a")
        down(pool, "b")
        self.assertEqual({s.name for s in owners(pool) if s}, {"x", "y"})

    def test_slots(self) -> None:
        """The slots for a kernel's map are those of `choose`, with servers down as well."""
        pool = up_pool([ServerSettings(f"s{n}") for n in range(40)], "source")
        for n in range(39):
            down(pool, f"s{n}") if n != 7 else None
        slots = pool.slots()
        slot_of = pool._succession.present._slot_of  # type: ignore[attr-defined]
        for key in KEYS:
            self.assertIs(slots[slot_of(key[:4])], pool.choose(key[:4]))

    def test_slots_without_servers(self) -> None:
        """Nobody to give work to: no slots; and no table for other algorithms."""
        pool = up_pool(servers(1), "maglev")
        pool.maintain(pool.servers[0])
        self.assertEqual(pool.slots(), [])
        self.assertEqual(up_pool(servers(1)).slots(), [])
