"""
Values as an operator reads them: numbers, ages, times, and texts that keep their place.

Pure, without a clock: local time is asked of `datetime` for a given moment.
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

NOTHING = "-"
"""Stands for what is not known, or does not apply."""

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def plain(value: object) -> str:
    """A value as one line of text without anything that moves a cursor: servers' own words pass
    through here on their way to a terminal."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else " " if each.isspace() else "?" for each in text)


def printable(text: str, encoding: str) -> str:
    """`text` with a question mark for each character that `encoding` does not have."""
    return text.encode(encoding, "replace").decode(encoding)


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` characters: what is too long loses its middle, since names differ
    at their ends and addresses have their port there."""
    if len(text) <= width:
        return text
    if width <= 4:
        return text[: max(0, width)]
    kept = width - 2
    tail = kept // 2
    return f"{text[: kept - tail]}..{text[len(text) - tail :]}"


def count(value: object) -> str:
    """A number in at most six characters: 123456, 1.2M, 34G."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return NOTHING
    if abs(value) < 1_000_000:
        return str(int(value))
    number = float(value)
    for unit in "kMGTP":
        number /= 1000
        # 999.95 and more would be shown as 1000.0.
        if abs(number) < 999.95:
            return f"{number:.1f}{unit}"
    return f"{number:.0f}P"


def age(seconds: float) -> str:
    """A duration in at most six characters, as its two greatest units: 5s, 3m20s, 2h05m, 41d."""
    left = max(0, int(seconds))
    if left >= 100 * 86400:
        return f"{left // 86400}d"
    for (unit, size), (next_unit, next_size) in pairwise(_UNITS):
        if left >= size:
            rest = left % size // next_size
            return f"{left // size}{unit}{rest:02d}{next_unit}" if rest else f"{left // size}{unit}"
    return f"{left}s"


def duration(seconds: float) -> str:
    """How long something took: 0.4 ms, 120 ms, 2.5 s."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"


def moment(at: object) -> str:
    """A Unix time as local time: 2026-11-23 02:23:45."""
    try:
        return datetime.fromtimestamp(float(str(at))).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return NOTHING
