"""The order in which sections are made ready."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.site.order import Circle, arranged

NEEDS = st.dictionaries(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=3), max_size=10)


class Order(SynchronousTestCase):
    """Each comes after those that it needs."""

    def test_as_they_come(self) -> None:
        """Who needs nobody stays where it is."""
        self.assertEqual(arranged({"a": (), "b": (), "c": ()}), ("a", "b", "c"))

    def test_after_what_it_needs(self) -> None:
        """Who is needed goes first, and the rest stays as it comes."""
        self.assertEqual(arranged({"a": ["c"], "b": (), "c": ["d"], "d": ()}), tuple("dcab"))

    def test_strangers(self) -> None:
        """Who is needed and is not there holds nobody up."""
        self.assertEqual(arranged({"a": ["x"]}), ("a",))

    def test_circle(self) -> None:
        """A circle is told without those that merely lead to it, and one may need itself."""
        error = self.assertRaises(Circle, arranged, {"a": ["b"], "b": ["c"], "c": ["b"]})
        self.assertEqual((error.names, str(error)), (("b", "c"), "b -> c -> b"))
        self.assertEqual(self.assertRaises(Circle, arranged, {"a": ["a"]}).names, ("a",))

    def test_long_chain(self) -> None:
        """A chain of any length is no recursion."""
        needs = {str(at): [str(at + 1)] for at in range(3000)}
        self.assertEqual(arranged(needs)[0], "2999")

    @settings(max_examples=12, deadline=None, database=None)
    @given(NEEDS)
    def test_any(self, numbers: dict[int, list[int]]) -> None:
        """All come once and after what they need; or there is a circle of real needs."""
        needs = {str(key): [str(each) for each in value] for key, value in numbers.items()}
        try:
            order = arranged(needs)
        except Circle as circle:
            after = (*circle.names[1:], circle.names[0])
            for name, needed in zip(circle.names, after, strict=True):
                self.assertIn(needed, needs[name])
            return
        self.assertEqual(sorted(order), sorted(needs))
        for at, name in enumerate(order):
            self.assertLessEqual(set(needs[name]) & needs.keys(), set(order[:at]))
