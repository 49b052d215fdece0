"""Which word was meant."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.schema import nearest


class NearestTests(SynchronousTestCase):
    """`nearest` offers a word only when it is likely the one that was meant."""

    known = ("listen", "pool", "idle-timeout", "head-timeout", "up")

    def test_one_slip(self) -> None:
        """A letter left out, added, changed or swapped is seen through."""
        for word in ("lisen", "listten", "lisfen", "lisetn"):
            self.assertEqual(nearest(word, self.known), "listen")

    def test_case_and_underscore(self) -> None:
        """Case costs nothing, and an underscore for a hyphen is one slip."""
        self.assertEqual(nearest("LISTEN", self.known), "listen")
        self.assertEqual(nearest("Idle_Timeout", self.known), "idle-timeout")

    def test_nothing_near(self) -> None:
        """Nothing is offered for a word that is like none."""
        for word in ("", "x", "backend", "listen-somewhere", "l" * 5000):
            self.assertIsNone(nearest(word, self.known))

    def test_itself(self) -> None:
        """The word itself is never offered."""
        self.assertIsNone(nearest("pool", ("pool",)))

    def test_closest_wins(self) -> None:
        """The nearest is offered, and of two as near the first in the alphabet, in any order."""
        self.assertEqual(nearest("head-timeut", ("heed-timeout", "head-timeout")), "head-timeout")
        self.assertEqual(nearest("web3", ("web2", "web1")), "web1")
        self.assertEqual(nearest("web3", ("web1", "web2")), "web1")
