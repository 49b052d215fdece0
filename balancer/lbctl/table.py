"""
Tables of plain text that fit the width of a terminal.

Pure. Columns are as wide as their content; when that is too much, those that may shrink lose the
middle of their texts, the widest first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

from balancer.lbctl.words import plain, shorten

WIDTH = 80
"""Columns of a terminal that does not say otherwise, and the least that is counted on."""

GAP = "  "

NARROWEST = 8
"""Characters that a column which shrinks keeps."""


class Column:
    """
    A column's head and manners: `right` for numbers; `shrinks` for names and texts. The last column
    may `fold` instead: it keeps all of its text and goes on in the next line.
    """

    __slots__ = ("fold", "head", "right", "shrinks")

    def __init__(
        self, head: str, *, right: bool = False, shrinks: bool = False, fold: bool = False
    ) -> None:
        self.head = head
        self.right = right
        self.shrinks = shrinks
        self.fold = fold


def table(
    columns: Sequence[Column], rows: Iterable[Sequence[object]], width: int = WIDTH
) -> list[str]:
    """The lines of the table: the heads, then the rows, each within `width`."""
    texts = [[plain(cell) if cell != "" else "" for cell in row] for row in rows]
    widths = _widths(columns, texts, width)
    lines = [_line(columns, [column.head for column in columns], widths)]
    for row in texts:
        lines += _row(columns, row, widths)
    return lines


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    widths = [
        max([len(column.head), *(len(row[index]) for row in rows)])
        for index, column in enumerate(columns)
    ]
    excess = sum(widths) + len(GAP) * (len(columns) - 1) - width
    able = [index for index, column in enumerate(columns) if column.shrinks or column.fold]
    while excess > 0 and able:
        widest = max(able, key=lambda index: widths[index])
        if widths[widest] <= NARROWEST:
            break
        widths[widest] -= 1
        excess -= 1
    return widths


def _row(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    if not columns[-1].fold:
        yield _line(columns, row, widths)
        return
    parts = wrap(row[-1], widths[-1]) or [""]
    yield _line(columns, [*row[:-1], parts[0]], widths)
    for part in parts[1:]:
        yield _line(columns, [*("" for _ in row[:-1]), part], widths)


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    shown = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        text = shorten(cell, width)
        shown.append(text.rjust(width) if column.right else text.ljust(width))
    return GAP.join(shown).rstrip()
