"""
Declarations in, the reference manual out: what is said of each option, in what order, is decided by
`walk` for all renderings; `markdown` is one of them, `manual` has another. Knows no option's name;
the same declarations always give the same text, so a test can hold the committed page to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from attrs import frozen

from balancer.config.declare import Declared, Section

_HEAD = """\
# The site file

<!-- Made from the options' declarations by `make docs`; change those, not this page. -->
"""

PREFACE = (
    """\
A site file has sections `[kind name]` of lines `option = value`. A value may go on over indented
lines. A comment begins with `#` and stands on a line of its own. A section, and an option within a
section, may stand once. Durations are written `500ms`, `2s`, `5m`, `1h` or `1d`; sizes `512`,
`16k`, `1m` or `1g`, in powers of 1024. Relative paths count from the directory in which the
balancer starts.""",
    "`twistd lb --config FILE --check` tells every problem of a file and starts nothing; with "
    "`--files`, also those of the files that it names.",
)
"""What holds for all sections, in paragraphs."""


@frozen
class Chapter:
    """A further chapter: a title, and for each entry its name and its text in Markdown."""

    title: str
    entries: tuple[tuple[str, str], ...]


@frozen
class Title:
    """Opens a section of the site file or a chapter (`depth` 2), or an entry of it (3)."""

    depth: int
    text: str


@frozen
class Paragraph:
    """Sentences, with `code` between backquotes as in Markdown."""

    text: str


@frozen
class Items:
    """Short facts, without a full stop at the end where they are `sentences`."""

    lines: tuple[str, ...]
    sentences: bool = True


Block: TypeAlias = Title | Paragraph | Items


def markdown(sections: Sequence[Section], extra: Iterable[Chapter] = ()) -> str:
    """The whole page in Markdown."""
    blocks = [_HEAD, *(text + "\n" for text in PREFACE)]
    blocks.extend(_marked(block) for block in walk(sections, extra))
    return "\n".join(blocks)


def _marked(block: Block) -> str:
    match block:
        case Title(depth, text):
            return f"{'#' * depth} {text}\n"
        case Paragraph(text):
            return f"{text}\n"
        case Items(lines, sentences):
            stop = "." if sentences else ""
            return "".join(f"- {line}{stop}\n" for line in lines)


def walk(sections: Sequence[Section], extra: Iterable[Chapter] = ()) -> Iterator[Block]:
    """The whole manual: what is built in the order given, `extra`, and last what is not built
    yet."""
    for section in sections:
        if not section.later:
            yield from _section(section)
    for chapter in extra:
        yield Title(2, chapter.title)
        for name, text in chapter.entries:
            yield from (Title(3, f"`{name}`"), Paragraph(text.strip()))
    yield from _later(sections)


def title(section: Section) -> str:
    """The section's first line: `[http NAME]`, `[site]`."""
    return f"[{section.kind} NAME]" if section.named else f"[{section.kind}]"


def _section(section: Section) -> Iterator[Block]:
    yield Title(2, f"`{title(section)}`")
    yield Paragraph(section.help.strip())
    for declared in section.options.values():
        if not declared.later:
            yield Title(3, f"`{_usage(declared)}`")
            yield Paragraph(declared.help.strip())
            yield Items(tuple(_facts(declared)))


def _usage(declared: Declared) -> str:
    return f"{declared.name} KEY" if declared.keyed else declared.name


def _facts(declared: Declared) -> Iterator[str]:
    if declared.expected != "a value":
        yield f"Expects {declared.expected}"
    if declared.unit:
        yield f"Unit: {declared.unit}"
    if declared.lines:
        yield "One a line, and as many lines as are needed"
    if declared.keyed:
        yield "May stand once for each KEY"
    yield _default(declared)


def _default(declared: Declared) -> str:
    if declared.required:
        return "Required"
    if declared.default is None:
        return "Default: not set"
    return "Default: " + ", ".join(f"`{line}`" for line in declared.default.split("\n"))


def _later(sections: Sequence[Section]) -> Iterator[Block]:
    """What the contract names and this version refuses, in one list."""
    lines = []
    for section in sections:
        names = [f"`{d.name}`" for d in section.options.values() if d.later]
        if section.later:
            lines.append(f"`{title(section)}`: {section.help.strip()}")
        elif names:
            lines.append(f"`{title(section)}`: {', '.join(names)}")
    if lines:
        yield Title(2, "Not in this version")
        yield Paragraph("To use one of these is an error: nothing is accepted and then ignored.")
        yield Items(tuple(lines), sentences=False)
