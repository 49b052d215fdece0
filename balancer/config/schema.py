"""
A site file against its declarations: typed settings for each section, and every problem at once.

Knows lines, declarations and how problems are told. Knows no option's name, and no relation
between sections: the site checks those. Pure and reentrant, so it may run beside the reactor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from attrs import Factory, define

from balancer.config import ini
from balancer.config.declare import (
    Claim,
    Declared,
    Finding,
    NamedFile,
    Parser,
    Reference,
    Section,
    option,
    options_of,
)
from balancer.config.errors import Misspelt, NotBuilt, Unreadable
from balancer.config.ini import quoted, shown
from balancer.config.sitefile import Parsed, Problem, SiteFile
from balancer.config.slices import Slices, finish
from balancer.config.spelling import nearest
from balancer.config.values import name as section_name

__all__ = [
    "Claim",
    "Declared",
    "Finding",
    "Misspelt",
    "NamedFile",
    "NotBuilt",
    "Parsed",
    "Parser",
    "Problem",
    "Reference",
    "Section",
    "SiteFile",
    "Unreadable",
    "nearest",
    "option",
    "options_of",
    "quoted",
    "read",
    "shown",
]

_NOT_BUILT = "not in this version"

Pieces: TypeAlias = Sequence[tuple[int, str]]

LINES_A_SLICE = 200
"""Lines of one value that are parsed in one slice: some 3 ms."""


def read(text: str, path: str, sections: Sequence[Section]) -> SiteFile:
    """Read a site file of the kinds in `sections`. Never raises for anything in `text`, as long as
    the declared parsers raise nothing but ValueErrors."""
    return finish(reading(text, path, sections))


def reading(text: str, path: str, sections: Sequence[Section]) -> Slices[SiteFile]:
    """The same in slices: one for each section, more for one with many lines."""
    raw = yield from ini.reading(text)
    problems = [Problem(path, p.line, p.section, p.option, p.text) for p in raw.problems]
    kinds = {section.kind: section for section in sections}
    found = []
    for part in raw.sections:
        yield
        parsed = yield from _Reading(path, part, kinds.get(part.kind), problems).parsing(kinds)
        if parsed is not None and not part.repeats:
            found.append(parsed)
        if len(problems) >= ini.MAX_PROBLEMS:
            text = "too many problems; the rest of the file was not checked"
            problems.append(Problem(path, problems[-1].line, "", "", text))
            break
    problems.sort(key=lambda problem: problem.line)
    names = frozenset((part.kind, part.name) for part in raw.sections)
    return SiteFile(path, tuple(found), tuple(problems), names)


@define
class _Reading:
    """One section on its way from raw to parsed."""

    path: str
    raw: ini.RawSection
    section: Section | None
    problems: list[Problem]
    values: dict[str, Any] = Factory(dict)
    lines: dict[str, tuple[int, ...]] = Factory(dict)
    written: dict[str, str] = Factory(dict)
    tried: set[str] = Factory(set)
    sound: bool = True

    def complain(self, line: int, text: str, option: str = "") -> None:
        self.sound = False
        self.problems.append(Problem(self.path, line, self.raw.title, option, text))

    def parsing(self, kinds: Mapping[str, Section]) -> Slices[Parsed | None]:
        section, raw = self.section, self.raw
        if section is None:
            text = f"unknown section {quoted(raw.kind)}"
            self.complain(raw.line, text + _meant(nearest(raw.kind, kinds)))
            return None
        if section.later:
            self.complain(raw.line, _NOT_BUILT)
            return None
        if section.unusable:
            self.complain(raw.line, f"the kind {quoted(raw.kind)} {section.unusable}")
            return None
        self._check_title(section)
        options = section.options
        for given in raw.options:
            yield from self._taking(given, options)
            if len(self.problems) >= ini.MAX_PROBLEMS:
                return None
        if self._misses_any(options.values()):
            return None
        settings = section.settings(**self.values)
        parsed = Parsed(
            raw.kind, raw.name, settings, raw.line, self.lines, self.sound, self.written
        )
        if self.sound:
            for option, index, text in section.check(settings):
                self.complain(parsed.line_of(option, index), text, option)
        return parsed

    def _check_title(self, section: Section) -> None:
        kind, name = self.raw.kind, self.raw.name
        if not section.named:
            if name:
                text = f"expected [{kind}] without a name, got {quoted(name)}"
                self.complain(self.raw.line, text)
        elif not name:
            self.complain(self.raw.line, f"expected a name, as in [{kind} NAME], got ''")
        else:
            try:
                section_name(name)
            except Unreadable as error:
                self.complain(self.raw.line, f"expected {error.expected}, got {quoted(name)}")

    def _misses_any(self, options: Iterable[Declared]) -> bool:
        """Whether a required option has no value; tells of those that were not even given."""
        missing = [o for o in options if o.required and o.attribute not in self.values]
        for declared in missing:
            if declared.name not in self.tried and not self.raw.repeats:
                text = f"option missing; expected {declared.expected}"
                self.complain(self.raw.line, text, declared.name)
        return bool(missing)

    def _taking(self, given: ini.RawOption, options: Mapping[str, Declared]) -> Slices[None]:
        first, _, key = given.name.partition(" ")
        declared = options.get(first)
        if declared is None or (key and not declared.keyed):
            meant = first if declared is not None else nearest(first, options)
            text = f"unknown option {quoted(given.name)}{_meant(meant)}"
            self.complain(given.line, text, given.name)
            return
        if declared.keyed and (not key or " " in key):
            text = f"expected one word after the name, as in '{first} KEY = ...', got {quoted(key)}"
            self.complain(given.line, text, given.name)
            return
        self.tried.add(first)
        self.lines[given.name] = tuple(line for line, _ in given.lines) or (given.line,)
        if len(given.lines) == 1:
            self.written[given.name] = given.lines[0][1]
        read = yield from self._reading_value(given, declared, options)
        if declared.keyed:
            self.values.setdefault(declared.attribute, {}).update((key, value) for value in read)
        elif read:
            self.values[declared.attribute] = read[0]

    def _reading_value(
        self, given: ini.RawOption, declared: Declared, options: Mapping[str, Declared]
    ) -> Slices[list[Any]]:
        """The attribute's value in a list, or nothing when no line of it could be read."""
        pieces: Pieces = given.lines or ((given.line, ""),)
        if declared.later:
            value = "\n".join(text for _, text in pieces)
            if value != declared.default:
                self.complain(pieces[0][0], f"{_NOT_BUILT}, got {quoted(value)}", given.name)
            return []
        if not declared.lines:
            pieces = ((pieces[0][0], " ".join(text for _, text in pieces)),)
        read, good = [], []
        for at, (line, text) in enumerate(pieces, 1):
            if at % LINES_A_SLICE == 0:
                yield
            try:
                if not text:
                    raise Unreadable(declared.expected)
                read.append(declared.parse(text))
                good.append(line)
            except ValueError as error:
                hint = _told(error, text) or _slip(text, given, options)
                self.complain(line, _fault(error, text) + hint, given.name)
        if declared.lines and read:
            self.lines[given.name] = tuple(good)
            return [tuple(read)]
        return read


def _fault(error: ValueError, value: str) -> str:
    """A parser's exception in the operator's words."""
    if isinstance(error, NotBuilt):
        return f"{_NOT_BUILT}, got {quoted(error.what or value)}"
    if isinstance(error, Unreadable):
        got = value if error.got is None else error.got
        return f"expected {error.expected}, got {quoted(got)}"
    return f"{shown(str(error))}, got {quoted(value)}"


def _told(error: ValueError, value: str) -> str:
    """What the parser itself thinks was meant."""
    if isinstance(error, Misspelt):
        return _meant(nearest(error.word, error.known))
    return _meant(error.meant) if isinstance(error, Unreadable) else ""


def _slip(value: str, given: ini.RawOption, options: Mapping[str, Declared]) -> str:
    """Two slips that look like a wrong value: an option that is indented, a comment in a line."""
    if len(given.lines) > 1:
        for _, text in given.lines[1:]:
            word, equals, _ = text.partition("=")
            if equals and word.strip() in options and text in value:
                return f"; did you mean the option '{word.strip()}'? Then do not indent it"
    if " #" in value:
        return "; a comment stands on a line of its own"
    return ""


def _meant(word: str | None) -> str:
    return f"; did you mean {quoted(word)}?" if word else ""
