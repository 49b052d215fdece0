"""
The operator's file of servers to drain or take out, `overrides` in `[site] state`: read. Pure.

    web/a      drain     # no new work
    mail/*     maint     # out, unchecked
    mail/in-1  ready     # but not this one

One rule a line: POOL/SERVER, with `*` for any characters, and a word of lbctl's. Of several lines
that match a server the last one counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import frozen

from balancer.config.spelling import nearest

WORDS: Final = ("drain", "maint", "ready")

MAX_FILE: Final = 256 * 1024
"""Bytes of the file: 5,000 lines, more than an operator writes by hand."""

MAX_GLOBS: Final = 100
"""Rules with `*`: each is held against every server whose pool it matches."""

MAX_PROBLEMS: Final = 20
"""Problems of one file that are told."""

_NAME = r"[A-Za-z0-9_*][A-Za-z0-9._*-]{0,252}"
_RULE = re.compile(rf"({_NAME})/({_NAME})")


@frozen
class Rule:
    """One line: what it says of whom."""

    line: int
    pool: str
    server: str
    word: str

    @property
    def is_glob(self) -> bool:
        """Whether it may say it of several servers."""
        return "*" in self.pool or "*" in self.server


@frozen
class Overrides:
    """The rules of a file, those of single servers by POOL/SERVER, and its faults."""

    single: Mapping[str, Rule]
    globs: tuple[Rule, ...] = ()
    problems: tuple[str, ...] = ()

    def of_pool(self, pool: str) -> tuple[Rule, ...]:
        """The rules with `*` that may be about servers of the pool, the last one first."""
        return tuple(rule for rule in reversed(self.globs) if matches(rule.pool, pool))

    def rule(self, key: str, name: str, globs: Iterable[Rule]) -> Rule | None:
        """The rule of the server `key`, called `name`; `globs` are those of its pool."""
        single = self.single.get(key)
        for rule in globs:
            if single is not None and single.line > rule.line:
                break
            if matches(rule.server, name):
                return rule
        return single


NONE: Final = Overrides({})


def read(data: bytes, path: str) -> Overrides:
    """What the file says; its problems bear `path` and the line. Never raises."""
    single: dict[str, Rule] = {}
    globs: list[Rule] = []
    problems: list[str] = []
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        fault = _fault(words)
        if not fault:
            match = _RULE.fullmatch(words[0])
            assert match is not None
            rule = Rule(number, match[1], match[2], words[1])
            if not rule.is_glob:
                single[words[0]] = rule
            elif len(globs) < MAX_GLOBS:
                globs.append(rule)
            else:
                fault = f"expected at most {MAX_GLOBS} lines with *"
        if fault and len(problems) < MAX_PROBLEMS:
            problems.append(f"{path}:{number}: {fault}")
    return Overrides(single, tuple(globs), tuple(problems))


def _fault(words: list[str]) -> str:
    """What is wrong with a line; empty: nothing."""
    got = " ".join(words)[:80]
    if len(words) != 2 or _RULE.fullmatch(words[0]) is None:
        return f"expected POOL/SERVER and one of {', '.join(WORDS)}, got {got!r}"
    if words[1] not in WORDS:
        meant = nearest(words[1], WORDS)
        hint = f"; did you mean {meant!r}?" if meant else ""
        return f"expected one of {', '.join(WORDS)}, got {words[1][:80]!r}{hint}"
    return ""


def matches(glob: str, name: str) -> bool:
    """Whether `name` is `glob`, in which * stands for any characters. In linear time: a regular
    expression would try every way to spread a name over many stars."""
    first, *parts = glob.split("*")
    if not parts:
        return glob == name
    last = parts.pop()
    at, end = len(first), len(name) - len(last)
    if at > end or not name.startswith(first) or not name.endswith(last):
        return False
    for part in parts:
        at = name.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
