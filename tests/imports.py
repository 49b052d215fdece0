"""
Which modules a source imports, wherever in it: without parsing the rest, for whole rooms at once.

The tests that hold the house to its arrows read hundreds of files, and a syntax tree of each costs
ten times as much as its imports. `import` is a keyword: outside strings and comments it stands for
nothing else (Python's language reference, 7.11).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# Strings, the longer quotes first; comments; the end of a line that goes on.
NO_CODE = re.compile(
    r'#[^\n]*|"""(?:[^\\]|\\.)*?"""|\'\'\'(?:[^\\]|\\.)*?\'\'\''
    r'|"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|\\\n',
    re.DOTALL,
)
STATEMENT = re.compile(
    r"\bfrom\s+([\w.]+)\s+import\s*(\([^)]*\)|[^\n;]*)|\bimport\s+([^\n;]*)"
)


class Import(NamedTuple):
    """One statement: `names` are imported from `module`; where there are none, `module` itself."""

    line: int
    module: str  # with the dots of a relative one
    names: tuple[str, ...] = ()


def imports(source: str) -> Iterator[Import]:
    """Every import of `source`, in order; one for each module of `import a, b`."""
    if "import" not in source:
        return
    code = NO_CODE.sub(_blank, source)
    for found in STATEMENT.finditer(code):
        line = source.count("\n", 0, found.start()) + 1
        module, names, modules = found.groups()
        if module:
            yield Import(line, module, tuple(_names(names.strip("()"))))
        else:
            yield from (Import(line, each) for each in _names(modules))


def _blank(no_code: re.Match[str]) -> str:
    """Spaces, so that everything stays where it is; a statement goes on after them."""
    return " " * len(no_code[0])


def _names(listed: str) -> Iterator[str]:
    """Of `a, b as c`: a, b."""
    for each in listed.split(","):
        if words := each.split():
            yield words[0]
