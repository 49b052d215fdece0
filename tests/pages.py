"""
The pages of docs/ as tests read them: site files, other files, and commands with what they print.

A page's site files go on from one another: a section that is shown again takes the place of the one
before it, so that a page may show what it is about and no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parent.parent

INDENT = "    "

_SECTION = re.compile(r"\[[a-z]+(?: [^\]]+)?\]")

_COMMAND = re.compile(r"(\$|lab>) (\S.*)")
"""A line that is typed: after a shell's prompt, or after the lab's."""

_ABOUT = re.compile(r"~(\d+(?:\.\d+)?)")

_REST = "..."

FACTOR = 1.6
"""What `about` means: at most so many times the number, and so many times less."""


@frozen
class SiteFile:
    """All sections that the page has shown so far."""

    text: str


@frozen
class Command:
    """What is typed at a prompt (`$` or `lab>`), and the lines that it prints; `...` stands for
    anything, `~100` for a number of about that, and a line of `...` for any lines."""

    typed: str
    printed: tuple[str, ...]
    prompt: str = "$"

    def is_printed(self, output: str) -> bool:
        """Whether the output has these lines, as many and in any order: answers take turns."""
        lines = [line for line in map(_words, output.splitlines()) if line]
        printed = [line for line in map(_words, self.printed) if line]
        wanted = [line for line in printed if line != _REST]
        is_enough = len(lines) == len(wanted) or (_REST in printed and len(lines) > len(wanted))
        return is_enough and all(any(_is_line(each, line) for line in lines) for each in wanted)


def _words(line: str) -> str:
    return " ".join(line.split())


def _is_line(wanted: str, line: str) -> bool:
    parts = _ABOUT.split(wanted)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)".join(map(_pattern, parts[::2])), line)
    return found is not None and all(map(_is_about, parts[1::2], found.groups()))


def _is_about(wanted: str, number: str) -> bool:
    return float(wanted) / FACTOR < float(number) < float(wanted) * FACTOR


def _pattern(text: str) -> str:
    return ".*".join(map(re.escape, text.split("...")))


@frozen
class Text:
    """Any other block: a file, a message."""

    text: str


Piece = SiteFile | Command | Text


def pieces(page: str) -> Iterator[Piece]:
    """What the page shows, in its order."""
    sections: dict[str, str] = {}
    for block in _blocks(page):
        for part in _parts(block):
            command = _COMMAND.fullmatch(part[0])
            if command:
                yield Command(command[2], tuple(part[1:]), command[1])
            elif _SECTION.fullmatch(part[0]):
                sections.update(_sections(part))
                yield SiteFile("\n".join(sections.values()))
            else:
                yield Text("".join(line + "\n" for line in part))


def _blocks(page: str) -> Iterator[list[str]]:
    """Lines that are indented, and the empty ones between them."""
    block: list[str] = []
    for line in [*page.splitlines(), "end"]:
        if line.startswith(INDENT) or (block and not line):
            block.append(line.removeprefix(INDENT))
        elif block:
            yield block
            block = []


def _parts(block: list[str]) -> Iterator[list[str]]:
    """A block's commands, each with what follows it, and its files."""
    part: list[str] = []
    for before, line in zip(["", *block], block, strict=False):
        is_command = _COMMAND.fullmatch(line) is not None
        # A site file goes on over empty lines.
        goes_on = part and _SECTION.fullmatch(part[0]) is not None
        is_file = not before and not goes_on and _SECTION.fullmatch(line) is not None
        if part and (is_command or is_file):
            yield part
            part = []
        part.append(line)
    yield part


def _sections(lines: list[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        if _SECTION.fullmatch(line):
            name = line
            found[name] = ""
        found[name] += line + "\n"
    return found
