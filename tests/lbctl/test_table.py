"""Tables fit their width, whatever is in them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.lbctl.table import Column, table

COLUMNS = (Column("name", shrinks=True), Column("n", right=True), Column("why", fold=True))


class Tables(SynchronousTestCase):
    """Columns of each manner."""

    def test_natural(self) -> None:
        """Columns are as wide as their content; numbers stand to the right."""
        self.assertEqual(
            table(COLUMNS, [("a", 1, "because"), ("bbbbbb", 22, "")], 80),
            ["name     n  why", "a        1  because", "bbbbbb  22"],
        )

    def test_shrinks(self) -> None:
        """Names lose their middle, and only as much as has to be."""
        self.assertEqual(
            table(COLUMNS[:2], [("abcdefghijklmnop", 1), ("short", 2)], 15),
            ["name          n", "abcde..lmnop  1", "short         2"],
        )

    def test_folds(self) -> None:
        """The last column may go on in the next line."""
        self.assertEqual(
            table(COLUMNS, [("a", 1, "one two three four")], 20),
            ["name  n  why", "a     1  one two", "         three four"],
        )

    def test_widest_first(self) -> None:
        """A column that is short keeps its text while a longer one shrinks."""
        columns = (Column("x", shrinks=True), Column("y", shrinks=True))
        row = table(columns, [("a" * 10, "b" * 40)], 32)[1]
        self.assertEqual(row, f"{'a' * 10}  {'b' * 9}..{'b' * 9}")

    def test_empty(self) -> None:
        """A table without rows is its heads."""
        self.assertEqual(table(COLUMNS, [], 80), ["name  n  why"])

    @settings(deadline=None, database=None, max_examples=25)
    @given(st.lists(st.tuples(st.text(max_size=120), st.integers(0, 10**6), st.text(max_size=200))))
    def test_fits(self, rows: list[tuple[str, int, str]]) -> None:
        """No line is wider than 80 characters, and none breaks."""
        for line in table(COLUMNS, rows):
            self.assertLessEqual(len(line), 80)
            self.assertTrue(line.isprintable())
