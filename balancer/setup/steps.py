"""
What is to be done to a machine, as values that can be shown before they are done. Pure: whoever
plans is told what there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from attrs import frozen

MARK: Final = "# Written by balancer-setup"
"""How a file of ours begins: one that begins otherwise is an operator's, and left alone."""


class CannotSetUp(Exception):
    """Nothing was changed: where, what was expected, what came, what to do."""


@frozen
class Write:
    """A file, put in place whole. `group` is a name; '' leaves it to the process."""

    path: str
    text: str
    mode: int = 0o644
    group: str = ""
    is_secret: bool = False
    """Whether its text is not to be shown."""
    replaces: bool = True
    """Whether a file that is there by then gives way; else it stays, and the step fails."""


@frozen
class Edit:
    """A file of somebody else's gets another text, and keeps its owner and mode. `shown` says what
    becomes different."""

    path: str
    text: str
    shown: str


@frozen
class Remove:
    """A file that is there no more afterwards, and its directory if nothing else is in it."""

    path: str


@frozen
class Directory:
    """A directory, made with those above it."""

    path: str
    mode: int
    group: str = ""


@frozen
class Run:
    """A command that makes the machine look at its files again."""

    words: tuple[str, ...]


Step: TypeAlias = Write | Edit | Remove | Directory | Run


@frozen
class Plan:
    """The steps of one verb, what there is to know without them, and what is the operator's to do
    afterwards."""

    steps: tuple[Step, ...]
    settled: tuple[str, ...] = ()
    then: tuple[str, ...] = ()


def told(step: Step) -> Iterator[str]:
    """The step in lines; a file's text with it, unless that is a secret."""
    match step:
        case Write(path, text, mode, group):
            yield f"write {path} ({_owned(mode, group)})"
            if not step.is_secret:
                yield from (f"    {line}".rstrip() for line in text.splitlines())
        case Edit(path, _, shown):
            yield f"change {path}"
            yield f"    {shown}"
        case Remove(path):
            yield f"remove {path}"
        case Directory(path, mode, group):
            yield f"make {path}/ ({_owned(mode, group)})"
        case Run(words):
            yield f"run {' '.join(words)}"


def _owned(mode: int, group: str) -> str:
    return f"mode {mode:04o}, group {group}" if group else f"mode {mode:04o}"


def is_ours(text: str) -> bool:
    """Whether a file with this text was written by us."""
    return text.startswith(MARK)


def placed(path: str, text: str, there: str | None) -> tuple[Step, ...]:
    """What puts the file of ours with `text` at `path`, where `there` is now. Raises `CannotSetUp`
    for a file of somebody else's."""
    if there == text:
        return ()
    if there is not None and not is_ours(there):
        raise CannotSetUp(_foreign(path))
    return (Write(path, text),)


def taken_away(path: str, there: str | None) -> tuple[Step, ...]:
    """What removes the file of ours at `path`. Raises `CannotSetUp` for somebody else's."""
    if there is None:
        return ()
    if not is_ours(there):
        raise CannotSetUp(_foreign(path))
    return (Remove(path),)


def _foreign(path: str) -> str:
    return (
        f"{path}: expected no file, or one of balancer-setup's, got another; move it away, and what"
        " it is for into a file beside it"
    )
