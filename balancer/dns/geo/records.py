"""
A database's metadata and records, decoded by the library maxminddb from bytes in memory.

Only the library's pure decoder is used. Its reader would map the file, and a mapped file that an
operator overwrites in place kills the process (SIGBUS). Knows not what records mean.
"""

from __future__ import annotations

import struct
from typing import Final, cast

from attrs import field, frozen
from maxminddb.decoder import Decoder
from maxminddb.types import Record

from balancer.config.slices import Slices
from balancer.dns.geo.mmdb import MARKER, Broken, Layout, Tree, metadata_at, reading

MAX_VALUES: Final = 4000
"""Values in one record: ten times what the richest databases have. Pointers to pointers could make
a record of 2**depth values, and the library bounds that only from 3.2 on."""

_TEXT_A_VALUE: Final = 64
"""Bytes of text that count as one more value."""

_LAST_EPOCH: Final = 253_402_300_799  # the end of the year 9999

_FAULTS: Final = (
    RuntimeError, ValueError, LookupError, TypeError, ArithmeticError, struct.error
)
"""What the library raises for broken data, by its version: InvalidDatabaseError and RecursionError
are RuntimeErrors, bad UTF-8 is a ValueError, a list for a key a TypeError."""


class _Bounded(Decoder):
    """The library's decoder, which decodes values within values by this very method until 3.2 and
    bounds them by itself since."""

    left = MAX_VALUES

    def decode(self, offset: int) -> tuple[Record, int]:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"at most {MAX_VALUES} values in a record")
        value, end = super().decode(offset)
        if isinstance(value, (str, bytes, bytearray)):
            self.left -= len(value) // _TEXT_A_VALUE
        return value, end


@frozen
class About:
    """What a database says of itself; `build_epoch` in Unix seconds, 0 if that is no sound time."""

    type: str
    build_epoch: int
    nodes: int


@frozen
class Database:
    """A whole file."""

    tree: Tree
    about: About
    _decoder: _Bounded = field(repr=False)
    _data_end: int

    def record(self, record: int) -> Record:
        """The data of a `record` of the tree that is no node. None where the tree ends without;
        raises `Broken`."""
        if record == self.tree.layout.nodes:
            return None
        offset = self.tree.data_offset(record)
        if offset < self.tree.layout.data_start:
            raise Broken("whose records point to data, got one that points before them")
        return _decoded(self._decoder, offset, self._data_end)


def opening(data: bytes | bytearray) -> Slices[Database]:
    """The database that the file's bytes `data` are; raises `Broken`. The bytes are kept."""
    start = metadata_at(data)
    buffer = cast(bytes, data)  # the decoder indexes and slices, no more
    metadata = _decoded(_Bounded(buffer, start), start, len(data))
    if not isinstance(metadata, dict):
        raise Broken(f"with a map as its metadata, got {metadata!r:.60}")
    layout = Layout.of(metadata)
    data_end = start - len(MARKER)
    tree = yield from reading(data, layout, data_end)
    epoch = metadata.get("build_epoch")
    if not isinstance(epoch, int) or not 0 <= epoch <= _LAST_EPOCH:
        epoch = 0
    about = About(f"{metadata.get('database_type', 'unknown')!s:.60}", epoch, layout.nodes)
    return Database(tree, about, _Bounded(buffer, layout.data_start), data_end)


def _decoded(decoder: _Bounded, offset: int, size: int) -> Record:
    decoder.left = MAX_VALUES
    try:
        value, end = decoder.decode(offset)
    except _FAULTS as error:
        raise Broken(f"whose data can be decoded, got at byte {offset}: {error!s:.100}") from error
    if end > size:
        raise Broken(f"whose data end within it, got at byte {offset} some that do not")
    return value
