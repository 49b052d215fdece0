"""Which known word a misspelt one was meant to be. Knows words, not where they stand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_LONGEST: Final = 64
"""Words above this length are not compared: the cost grows with the square of it."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """
    The known word that `word` was most likely meant to be, or None when none is near: at most one
    slip (a letter more, less, other, or two swapped) for each three letters. Case costs nothing.
    """
    sought = word.casefold()
    if len(sought) > _LONGEST:
        return None
    reach = (len(sought) + 1) // 3
    best: tuple[int, str] | None = None
    for candidate in known:
        if candidate == word or abs(len(candidate) - len(sought)) > reach:
            continue
        distance = _slips(sought, candidate.casefold(), reach)
        if distance <= reach and (best is None or (distance, candidate) < best):
            best = (distance, candidate)
    return best[1] if best else None


def _slips(left: str, right: str, reach: int) -> int:
    """Optimal string alignment distance (Damerau 1964), given up once it is above `reach`."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        older, before, row = before, row, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        if min(row) > reach + 1:
            return reach + 1
    return row[-1]
