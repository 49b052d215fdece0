"""
What comes of reading a site file: its sections with typed settings, and what is wrong with it.

Knows lines and how problems are told. Knows neither declarations nor how a file is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from balancer.config.ini import shown


@frozen
class Problem:
    """What is wrong in which line, for the operator. `section` is a title without brackets."""

    path: str
    line: int
    section: str
    option: str
    text: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        section = f"[{shown(self.section)}]" if self.section else ""
        where = f"{section} {shown(self.option)}".strip()
        return ": ".join(filter(None, (f"{self.path}:{self.line}", where, self.text)))


@frozen
class Parsed:
    """
    A section with its settings. `option_lines` has, for each option that was given (`error-page
    503` for a keyed one), the line of each line of its value. When `sound` is False an option could
    not be read: it has its default, and lines that could not be read are left out of both.
    `written` has the value of each that was given in one line, as it stands in the file.
    """

    kind: str
    name: str
    settings: Any
    line: int
    option_lines: Mapping[str, tuple[int, ...]]
    sound: bool = True
    written: Mapping[str, str] = field(factory=dict, eq=False)

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}" if self.name else self.kind

    def line_of(self, option: str, index: int = 0) -> int:
        """The line of that line of the option's value; of the section if it was not given. The bare
        name of a keyed option stands for the first of its kind."""
        lines = self.option_lines.get(option)
        if lines is None:
            keyed = (at for o, at in self.option_lines.items() if o.partition(" ")[0] == option)
            lines = next(keyed, (self.line,))
        return lines[min(index, len(lines) - 1)]


@frozen
class SiteFile:
    """
    A site file, read. `sections` has those of known kinds that have all that is required, without
    repeats; `names` has (kind, name) of every section that is begun, whatever is wrong in it, so
    that one fault does not look like two. Problems are in the order of their lines.
    """

    path: str
    sections: tuple[Parsed, ...]
    problems: tuple[Problem, ...]
    names: frozenset[tuple[str, str]] = frozenset()

    @property
    def ok(self) -> bool:
        """Whether nothing is worse than a warning."""
        return all(problem.severity != "error" for problem in self.problems)
