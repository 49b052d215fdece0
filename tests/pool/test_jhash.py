"""The kernel's hash."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.pool.jhash import flow_slot, jhash, seed_of, slot, source_slot

SPEECH = b"Four score and seven years ago"
PINNED = {
    "seed": 1350568292,
    "flow4": 47169,
    "flow6": 59686,
    "source4": 29393,
    "source6": 22758,
}


class JhashTests(SynchronousTestCase):
    """Known answers."""

    def test_published(self) -> None:
        """The answers in the comments of Bob Jenkins' lookup3.c."""
        self.assertEqual(jhash(b"", 0), 0xDEADBEEF)
        self.assertEqual(jhash(b"", 0xDEADBEEF), 0xBD5B7DDE)
        self.assertEqual(jhash(SPEECH, 0), 0x17770551)
        self.assertEqual(jhash(SPEECH, 1), 0xCD628161)

    def test_pinned(self) -> None:
        """Slots of flows, as compared with a kernel in tests/live/test_jhash_nft.py."""
        seed = seed_of("web")
        v4, v6 = ip_address("192.0.2.7").packed, ip_address("2001:db8::7").packed
        port = (40000).to_bytes(2, "big")
        self.assertEqual(seed, PINNED["seed"])
        self.assertEqual(flow_slot(v4 + port, seed, 65537), PINNED["flow4"])
        self.assertEqual(flow_slot(v6 + port, seed, 65537), PINNED["flow6"])
        self.assertEqual(source_slot(v4, seed, 65537), PINNED["source4"])
        self.assertEqual(source_slot(v6, seed, 65537), PINNED["source6"])

    @settings(deadline=None, database=None, max_examples=15)
    @given(st.binary(max_size=40), st.integers(0, 2**32 - 1), st.integers(1, 2**32 - 1))
    def test_slots_are_below_the_modulus(self, data: bytes, seed: int, modulus: int) -> None:
        """A hash has 32 bits and a slot is in range, for data of any length."""
        value = jhash(data, seed)
        self.assertTrue(0 <= value < 2**32)
        self.assertTrue(0 <= slot(value, modulus) < modulus)

    def test_seeds_differ(self) -> None:
        """Pools of different names hash differently, and no seed is 0."""
        seeds = {seed_of(f"pool{n}") for n in range(100)}
        self.assertEqual(len(seeds), 100)
        self.assertNotIn(0, seeds)
