"""
Site files on disk: read whole, bounded, and made a plan of.
"""

from __future__ import annotations

from typing import BinaryIO

from attrs import evolve

from balancer.config.ini import decode
from balancer.config.slices import Slices, finish
from balancer.site import named_files
from balancer.site.plan import Makers, Plan
from balancer.site.reading import Drafted, drafting, reading
from balancer.wire.regular import open_regular

MAX_SITE_FILE = 16 * 1024 * 1024
"""Bytes: a file of 20,000 lines has about 1 MiB."""


def loading(path: str, makers: Makers) -> Slices[Plan]:
    """The plan of the site file at `path`. Raises `BadSite`, or OSError if it cannot be read."""
    with open_regular(path) as file:
        text = _bounded(file)
    yield
    return (yield from reading(text, path, makers))


def load(path: str, makers: Makers) -> Plan:
    """The same at once, of what need not be a file: nobody but the operator waits for a pipe."""
    with open(path, "rb") as file:
        text = _bounded(file)
    return finish(reading(text, path, makers))


def check(path: str, makers: Makers, *, named: bool) -> Drafted:
    """
    All that is wrong with the site file at `path` and, with `named`, with the files that its sound
    sections name: these are read as by a start, and nothing else is done. Raises OSError.
    """
    with open(path, "rb") as file:
        text = _bounded(file)
    drafted = finish(drafting(text, path, makers))
    if not named:
        return drafted
    found = [each for each in named_files.problems(drafted.draft) if each is not None]
    by_line = sorted((*drafted.problems, *found), key=lambda problem: problem.line)
    return evolve(drafted, problems=tuple(by_line))


def _bounded(file: BinaryIO) -> str:
    data = file.read(MAX_SITE_FILE + 1)
    if len(data) > MAX_SITE_FILE:
        raise OSError(f"expected at most {MAX_SITE_FILE} bytes, got more")
    return decode(data)
