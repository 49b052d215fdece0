"""What a message's sections are made of. Knows neither zones nor messages."""

from __future__ import annotations

from typing import NamedTuple


class Record(NamedTuple):
    """A resource record of class IN: its owner, type, TTL in seconds, and uncompressed data."""

    name: bytes
    type: int
    ttl: int
    data: bytes
