"""
Tables that nobody asks any more, freed a little at a time. Pure.

A table that is let go is freed at once: 65,536 answers take 60 to 120 ms, longer than a turn of the
reactor may. Knows tables; what was in them is nobody's business any more.
"""

from __future__ import annotations

from typing import Any


class Leftovers:
    """
    Takes tables, and frees their items by and by. Whoever frees more items than it makes for each
    one that it makes has never more here than its tables held when they were given up.
    """

    __slots__ = ("_tables",)

    def __init__(self) -> None:
        self._tables: list[dict[Any, Any]] = []

    def take(self, table: dict[Any, Any]) -> None:
        """Nobody asks this one any more."""
        if table:
            self._tables.append(table)

    def free(self, count: int) -> bool:
        """Free that many items, some 1 us each; False: there was nothing to free."""
        tables = self._tables
        if not tables:
            return False
        table = tables[-1]
        for _ in range(min(count, len(table))):
            table.popitem()
        if not table:
            tables.pop()
        return True
