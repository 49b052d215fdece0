"""
Declarations in, the reference manual out: Markdown that says of each option what it does, what it
expects, its default and its unit. Knows no option's name; the same declarations always give the
same text, so a test can hold the committed page to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from balancer.config.declare import Declared, Section

_PREFACE = """\
# The site file

<!-- Made from the options' declarations by `make docs`; change those, not this page. -->

A site file has sections `[kind name]` of lines `option = value`. A value may go on over indented
lines. A comment begins with `#` and stands on a line of its own. A section, and an option within a
section, may stand once. Durations are written `500ms`, `2s`, `5m`, `1h` or `1d`; sizes `512`,
`16k`, `1m` or `1g`, in powers of 1024. Relative paths count from the directory in which the
balancer starts.

`twistd lb --config FILE --check` tells every problem of a file and starts nothing.
"""


@frozen
class Chapter:
    """A further chapter: a title, and for each entry its name and its text in Markdown."""

    title: str
    entries: tuple[tuple[str, str], ...]


def markdown(sections: Sequence[Section], extra: Iterable[Chapter] = ()) -> str:
    """The whole page: what is built in the order given, `extra`, and last what is not built yet."""
    blocks = [_PREFACE]
    for section in sections:
        if not section.later:
            blocks.extend(_section(section))
    for chapter in extra:
        blocks.append(f"## {chapter.title}\n")
        blocks.extend(f"### `{name}`\n\n{text.strip()}\n" for name, text in chapter.entries)
    blocks.extend(_later(sections))
    return "\n".join(blocks)


def title(section: Section) -> str:
    """The section's first line: `[http NAME]`, `[site]`."""
    return f"[{section.kind} NAME]" if section.named else f"[{section.kind}]"


def _section(section: Section) -> Iterator[str]:
    yield f"## `{title(section)}`\n\n{section.help.strip()}\n"
    for declared in section.options.values():
        if not declared.later:
            yield f"### `{_usage(declared)}`\n\n{declared.help.strip()}\n\n{_facts(declared)}\n"


def _usage(declared: Declared) -> str:
    return f"{declared.name} KEY" if declared.keyed else declared.name


def _facts(declared: Declared) -> str:
    facts = []
    if declared.expected != "a value":
        facts.append(f"Expects {declared.expected}")
    if declared.unit:
        facts.append(f"Unit: {declared.unit}")
    if declared.lines:
        facts.append("One a line, and as many lines as are needed")
    if declared.keyed:
        facts.append("May stand once for each KEY")
    facts.append(_default(declared))
    return "\n".join(f"- {fact}." for fact in facts)


def _default(declared: Declared) -> str:
    if declared.required:
        return "Required"
    if declared.default is None:
        return "Default: not set"
    return "Default: " + ", ".join(f"`{line}`" for line in declared.default.split("\n"))


def _later(sections: Sequence[Section]) -> Iterator[str]:
    """What the contract names and this version refuses, in one list."""
    lines = []
    for section in sections:
        names = [f"`{d.name}`" for d in section.options.values() if d.later]
        if section.later:
            lines.append(f"- `{title(section)}`: {section.help.strip()}")
        elif names:
            lines.append(f"- `{title(section)}`: {', '.join(names)}")
    if lines:
        intro = "To use one of these is an error: nothing is accepted and then ignored.\n"
        yield "\n".join(["## Not in this version\n", intro, *lines, ""])
