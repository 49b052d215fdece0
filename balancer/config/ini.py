"""
Text in, sections with line numbers out: the site file's INI dialect.

Knows lines, `[kind name]`, `name = value`, comments and continuation lines. Knows no section's or
option's name and no type of value. Reads what `configparser` reads with `delimiters=('=',)`,
`comment_prefixes=('#',)`, no inline comments and no interpolation, except that blank lines never
become part of a value. Whatever is wrong becomes a `RawProblem`; nothing is raised.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import Factory, define, frozen

from balancer.config.slices import Slices, finish

MAX_TEXT: Final = 8 * 1024 * 1024
"""Characters in one file: 20,000 servers take about 1 Mi. HAProxy bounds lines only (2,048)."""

MAX_LINE: Final = 16 * 1024
"""Characters in one line; the longest useful one is a route with a long answer text."""

MAX_PROBLEMS: Final = 1000
"""Problems gathered from one file. More than this is not a site file, and nobody reads on."""

LINES_A_SLICE: Final = 2000
"""Lines read before others have their turn: about 3 ms."""

_SHOWN: Final = 80
_DAMAGED: Final = re.compile(
    # C0 except tab, DEL and C1, invisible and direction marks, and bytes that were not UTF-8
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


@frozen
class RawOption:
    """`name = value` as it stands. `lines` has the value's non-blank lines, stripped, with the
    number of each; it is empty when nothing follows the `=`."""

    name: str
    line: int
    lines: tuple[tuple[int, str], ...]


@frozen
class RawSection:
    """A section as it stands. `repeats` is the line of the first section of that title, or 0."""

    kind: str
    name: str
    line: int
    options: tuple[RawOption, ...]
    repeats: int = 0

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}" if self.name else self.kind


@frozen
class RawProblem:
    """What is wrong with a line. `section` is a title without its brackets."""

    line: int
    section: str
    option: str
    text: str


@frozen
class RawFile:
    """All that could be read, in the order of the file, and all that could not."""

    sections: tuple[RawSection, ...]
    problems: tuple[RawProblem, ...]


def decode(data: bytes) -> str:
    """The text of a file. Bytes that are not UTF-8 become problems of their lines in `read`."""
    return data.decode("utf-8", "surrogateescape")


def quoted(text: str) -> str:
    """`text` in single quotes as messages show it: cut to 80 characters, controls escaped."""
    return f"'{shown(text)}'"


def shown(text: str) -> str:
    """`text` with three dots for what is beyond 80 characters, and nothing invisible in it."""
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def read(text: str) -> RawFile:
    """Read a whole file. A byte order mark at the start is dropped and CRLF ends a line too."""
    return finish(reading(text))


def reading(text: str) -> Slices[RawFile]:
    """The same in slices."""
    if len(text) > MAX_TEXT:
        problem = f"expected a file of at most {MAX_TEXT} characters, got {len(text)}"
        return RawFile((), (RawProblem(1, "", "", problem),))
    reader = _Reader()
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if not number % LINES_A_SLICE:
            yield
        reader.take(number, line.removesuffix("\r"))
        if len(reader.problems) >= MAX_PROBLEMS:
            reader.complain(number, "too many problems; the rest of the file was not read")
            break
    return reader.finish()


@define
class _OpenOption:
    name: str
    line: int
    lines: list[tuple[int, str]]
    kept: bool = True


@define
class _OpenSection:
    kind: str
    name: str
    line: int
    repeats: int = 0
    kept: bool = True
    options: dict[str, _OpenOption] = Factory(dict)

    def close(self) -> RawSection:
        options = tuple(RawOption(o.name, o.line, tuple(o.lines)) for o in self.options.values())
        return RawSection(self.kind, self.name, self.line, options, self.repeats)


@define
class _Reader:
    """Takes line after line. A line that is damaged, misplaced or repeated swallows its own
    continuation lines, and a damaged header its options, so that one fault is one problem."""

    sections: list[_OpenSection] = Factory(list)
    problems: list[RawProblem] = Factory(list)
    first_lines: dict[tuple[str, str], int] = Factory(dict)
    section: _OpenSection | None = None
    option: _OpenOption | None = None
    indent: int = 0

    def complain(self, line: int, text: str, option: str = "") -> None:
        title = ""
        if self.section is not None:
            title = f"{self.section.kind} {self.section.name}".strip()
        self.problems.append(RawProblem(line, title, option, text))

    def take(self, number: int, line: str) -> None:
        bare = line.strip()
        fault = _fault(line)
        if not fault and (not bare or bare[0] == "#"):
            return
        indent = len(line) - len(line.lstrip())
        if self.option is not None and indent > self.indent:
            if fault:
                self.complain(number, fault, self.option.name if self.option.kept else "")
            else:
                self.option.lines.append((number, bare))
            return
        if fault and bare[:1] in ("", "#"):
            self.complain(number, fault)
            return
        self.indent = indent
        if bare[0] == "[":
            self._open_section(number, bare, fault)
        else:
            self._open_option(number, bare, fault)

    def _open_section(self, number: int, bare: str, fault: str) -> None:
        self.section = self.option = None
        kind, name = _title(bare)
        if not fault and not kind:
            fault = f"expected a section such as [http web] alone on its line, got {quoted(bare)}"
        if fault:
            self.complain(number, fault)
            self.section = _OpenSection("", "", number, kept=False)
            return
        first = self.first_lines.setdefault((kind, name), number)
        repeats = first if first != number else 0
        self.section = _OpenSection(kind, name, number, repeats)
        self.sections.append(self.section)
        if repeats:
            self.complain(number, f"section repeated; it already stands in line {repeats}")

    def _open_option(self, number: int, bare: str, fault: str) -> None:
        before, equals, value = bare.partition("=")
        name = " ".join(before.split())
        self.option = option = _OpenOption(name, number, [], kept=False)
        if value := value.strip():
            option.lines.append((number, value))
        if fault:
            self.complain(number, fault)
        elif self.section is None:
            expected = "expected a section such as [http web] before any option"
            self.complain(number, f"{expected}, got {quoted(bare)}")
        elif not equals:
            self.complain(number, f"expected 'name = value', got {quoted(bare)}")
        elif not name:
            self.complain(number, f"expected a name before '=', got {quoted(bare)}")
        elif (first := self.section.options.get(name)) is not None:
            self.complain(number, f"option repeated; it already stands in line {first.line}", name)
        else:
            option.kept = True
            self.section.options[name] = option

    def finish(self) -> RawFile:
        return RawFile(tuple(s.close() for s in self.sections), tuple(self.problems))


def _title(bare: str) -> tuple[str, str]:
    """Kind and name of `[kind name]`; two empty strings when `bare` is no such thing."""
    if not bare.endswith("]") or "[" in bare[1:] or "]" in bare[:-1]:
        return "", ""
    kind, *name = bare[1:-1].split() or [""]
    return kind, " ".join(name)


def _fault(line: str) -> str:
    """Why a line cannot be taken as text; empty when it can."""
    if len(line) > MAX_LINE:
        return f"expected a line of at most {MAX_LINE} characters, got {len(line)}"
    found = _DAMAGED.search(line)
    if found is None:
        return ""
    code, column = ord(found[0]), found.start() + 1
    if 0xDC80 <= code <= 0xDCFF:
        return f"expected UTF-8 text, got the byte 0x{code - 0xDC00:02x} in column {column}"
    return f"expected plain text, got the character U+{code:04X} in column {column}"
