"""
JSON in pieces, each little work: the status of thousands of servers is megabytes. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

ITEMS_A_PIECE: Final = 100
"""Items of a mapping on the lowest level that are written at once: some 1 ms of servers."""


def pieces(value: Any, levels: int) -> Iterator[bytes]:
    """`value` as JSON. Mappings are cut up on so many levels."""
    if not levels or not isinstance(value, Mapping):
        yield json.dumps(value).encode()
        return
    comma = b"{"
    if levels == 1:
        items = iter(value.items())
        while some := dict(islice(items, ITEMS_A_PIECE)):
            yield comma + json.dumps(some).encode()[1:-1]
            comma = b", "
    else:
        for name, each in value.items():
            yield comma + json.dumps(name).encode() + b": "
            yield from pieces(each, levels - 1)
            comma = b", "
    yield b"}" if value else b"{}"
