"""
Site files on disk: read whole, bounded, and made a plan of.
"""

from __future__ import annotations

from typing import BinaryIO

from balancer.config.ini import decode
from balancer.config.slices import Slices, finish
from balancer.site.plan import Makers, Plan
from balancer.site.reading import reading
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


def _bounded(file: BinaryIO) -> str:
    data = file.read(MAX_SITE_FILE + 1)
    if len(data) > MAX_SITE_FILE:
        raise OSError(f"expected at most {MAX_SITE_FILE} bytes, got more")
    return decode(data)
