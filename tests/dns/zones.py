"""What the tests of zones share: a zone read from text, and names written as text."""

from __future__ import annotations

import textwrap

from balancer.config.slices import Slices, finish
from balancer.dns import names
from balancer.dns.tree import RRset
from balancer.dns.zonefile import Loaded, Master, reading

ORIGIN = names.from_text("example.test.")

HEAD = """\
$TTL 300
@ SOA ns1 admin 1 2h 30m 2w 1m
  NS ns1
ns1 A 192.0.2.1
"""


def open_nothing(path: str) -> Slices[bytes]:
    """Opens files that all are empty."""
    yield
    return b""


def load(
    text: str | bytes, files: dict[str, bytes] | None = None, apex: tuple[RRset, ...] = ()
) -> Loaded:
    """Read a zone's file named `z`, and beside it the `files`."""

    def open_file(path: str) -> Slices[bytes]:
        yield
        if path not in (files or {}):
            raise FileNotFoundError(2, "No such file or directory")
        return (files or {})[path]

    raw = text if isinstance(text, bytes) else text.encode()
    return finish(reading(raw, Master("z", ORIGIN, open_file, apex)))


def sound(text: str, files: dict[str, bytes] | None = None) -> Loaded:
    """Read `HEAD` and the text, which must not have a problem."""
    loaded = load(HEAD + textwrap.dedent(text), files)
    if loaded.problems:
        raise AssertionError(loaded.problems)
    return loaded


def n(text: str) -> bytes:
    """A name below the origin, or an absolute one."""
    return names.from_text(text, ORIGIN)
