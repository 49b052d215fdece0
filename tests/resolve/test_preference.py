"""Which address of several is taken."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from balancer.resolve.preference import best

FOUR, SIX = "192.0.2.1", "2001:db8::1"


def choose(
    *addresses: str, present: str | None = None, sources: Mapping[str, str] | None = None
) -> str:
    """The best one, if they are reached from `sources`."""
    return best(addresses, present, (sources or {}).get)


class PreferenceTests(SynchronousTestCase):
    """RFC 6724, and what it leaves open."""

    def test_families(self) -> None:
        """IPv6 goes before IPv4 where both are reached."""
        both = {FOUR: "192.0.2.9", SIX: "2001:db8::9"}
        self.assertEqual(choose(FOUR, SIX, sources=both), SIX)

    def test_no_way(self) -> None:
        """A family to which there is no way is passed over."""
        self.assertEqual(choose(SIX, FOUR, sources={FOUR: "192.0.2.9"}), FOUR)
        self.assertEqual(choose(FOUR, SIX, sources={SIX: "2001:db8::9"}), SIX)

    def test_local_prefix(self) -> None:
        """A local IPv6 prefix does not lead to the world: IPv4 does, with a label that matches."""
        local = {FOUR: "192.0.2.9", SIX: "fd00::9"}
        self.assertEqual(choose(SIX, FOUR, sources=local), FOUR)

    def test_scope(self) -> None:
        """An address is not reached from one of a lesser scope if another way is left."""
        linked = {FOUR: "192.0.2.9", SIX: "fe80::9%eth0"}
        self.assertEqual(choose(SIX, FOUR, sources=linked), FOUR)

    def test_loopback(self) -> None:
        """Of the two addresses of localhost, IPv6's is taken, as the table says."""
        self.assertEqual(choose("127.0.0.1", "::1",
                                sources={"127.0.0.1": "127.0.0.1", "::1": "::1"}), "::1")

    def test_only_one(self) -> None:
        """Where there is but one family nobody asks for ways."""
        def never(address: str) -> str | None:
            raise AssertionError(address)

        self.assertEqual(best([SIX, "2001:db8::2"], None, never), SIX)

    def test_present(self) -> None:
        """The address in use stays while it is among the best: a shuffled answer moves nobody."""
        self.assertEqual(choose("192.0.2.2", FOUR, present=FOUR), FOUR)
        self.assertEqual(choose("192.0.2.2", "192.0.2.3", present=FOUR), "192.0.2.2")
        both = {FOUR: "192.0.2.9", SIX: "2001:db8::9"}
        self.assertEqual(choose(FOUR, SIX, present=FOUR, sources=both), SIX)
