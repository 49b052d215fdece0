"""
Records and sets of them, as values. Pure.
"""

from __future__ import annotations

from typing import NamedTuple


class Record(NamedTuple):
    """One record of class IN: names and data in uncompressed wire form, the TTL in seconds."""

    name: bytes
    type: int
    ttl: int
    data: bytes


class RRset(NamedTuple):
    """The records of one type at one name (RFC 2181 5)."""

    type: int
    ttl: int
    datas: tuple[bytes, ...]
