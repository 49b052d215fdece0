"""
Site files on disk: read whole, bounded, and made a plan of.
"""

from __future__ import annotations

from balancer.config.ini import decode
from balancer.config.slices import Slices, finish
from balancer.site.plan import Makers, Plan, reading

MAX_SITE_FILE = 16 * 1024 * 1024
"""Bytes: a file of 20,000 lines has about 1 MiB."""


def loading(path: str, makers: Makers) -> Slices[Plan]:
    """The plan of the site file at `path`. Raises `BadSite`, or OSError if it cannot be read."""
    with open(path, "rb") as file:
        data = file.read(MAX_SITE_FILE + 1)
    if len(data) > MAX_SITE_FILE:
        raise OSError(f"expected at most {MAX_SITE_FILE} bytes, got more")
    yield
    return (yield from reading(decode(data), path, makers))


def load(path: str, makers: Makers) -> Plan:
    """The same at once."""
    return finish(loading(path, makers))
