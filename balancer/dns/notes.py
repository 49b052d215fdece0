"""What is wrong with a zone, gathered up to a bound. Knows neither files nor records."""

from __future__ import annotations

from typing import Final

MAX_NOTES: Final = 1000
"""Problems, and as many warnings, kept of one zone. As many as of a site file; nobody reads on."""

_SHOWN: Final = 80


class Fault(ValueError):
    """Something was not as `expected`; `got` is what came, None where nothing shows it."""

    def __init__(self, expected: str, got: str | None = None) -> None:
        super().__init__(expected)
        self.expected = expected
        self.got = got


class Notes:
    """Lines `WHERE: expected ..., got '...'`, and how many there were beyond the bound."""

    __slots__ = ("_lines", "_more")

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._more = 0

    def add(self, where: str, expected: str, got: str | None = None) -> None:
        """Note it, or count it when there are enough."""
        if self.full:
            self._more += 1
            return
        tail = "" if got is None else f", got {_quoted(got)}"
        self._lines.append(f"{where}: expected {expected}{tail}")

    def skip(self) -> None:
        """Count one that nobody needs to word, since there are enough."""
        self._more += 1

    @property
    def full(self) -> bool:
        return len(self._lines) >= MAX_NOTES

    def lines(self) -> tuple[str, ...]:
        """All of them, in the order in which they came."""
        more = (f"and {self._more} more",) if self._more else ()
        return (*self._lines, *more)


def _quoted(text: str) -> str:
    """In quotes, on one line, and short enough for a terminal."""
    short = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    # What is not printable would hide or break the line: escape it as Python does.
    return "'" + "".join(c if c.isprintable() else repr(c)[1:-1] for c in short) + "'"
