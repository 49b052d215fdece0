"""
Counts: how many one key may have at once. Pure.

Knows counts that go up and down. Must not know what a key stands for, nor what is counted.
"""

from __future__ import annotations

from collections.abc import Hashable

MOST_KEYS = 65536
"""Keys held at once unless told otherwise: more than one process has file descriptors for."""


class Counts:
    """
    At most `limit` at once for each key, and at most `most` keys that have any.

    A key's count cannot be forgotten while something is counted in it, so when the table is full a
    new key is refused. A key that has nothing left takes no room.
    """

    __slots__ = ("_held", "limit", "most", "refused_total")

    def __init__(self, limit: int, most: int = MOST_KEYS) -> None:
        if not (limit >= 1 and most >= 1):
            msg = f"expected limit >= 1 and most >= 1, got {limit}, {most}"
            raise ValueError(msg)
        self.limit = limit
        self.most = most
        self.refused_total = 0
        self._held: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._held)

    def held(self, key: Hashable) -> int:
        """How many `key` has now."""
        return self._held.get(key, 0)

    def take(self, key: Hashable) -> bool:
        """Count one more for `key`; False, and nothing is counted, if it has all that it may."""
        held = self._held.get(key, 0)
        if held >= self.limit or (not held and len(self._held) >= self.most):
            self.refused_total += 1
            return False
        self._held[key] = held + 1
        return True

    def give(self, key: Hashable) -> None:
        """Undo one `take` that was granted. KeyError: more was given than taken."""
        held = self._held[key]
        if held == 1:
            del self._held[key]
        else:
            self._held[key] = held - 1
