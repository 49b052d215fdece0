"""
The search tree of a MaxMind DB 2.0 file, read from bytes and found sound.

https://maxmind.github.io/MaxMind-DB/ says what is in one. Knows nodes and pointers; what a pointer
points to is `records`' to decode, and what that means is `places`'. Pure.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from balancer.config.slices import Slices

MARKER: Final = b"\xab\xcd\xefMaxMind.com"
"""What the metadata stands behind, the last such bytes of the file."""

METADATA_BYTES: Final = 128 * 1024
"""How far from the file's end the metadata may begin (the format's own bound)."""

SEPARATOR: Final = 16
"""Bytes of zeros between tree and data."""

MAX_NODES: Final = 1 << 25
"""Nodes of a tree: some five times what the largest databases of cities have. 32-bit sums hold."""

_NODES_A_SLICE: Final = 2048
"""Some 2 ms."""

_UNSEEN: Final = 255


class Broken(ValueError):
    """A database is not what the format says; the text completes 'expected a MaxMind DB file, ...'.
    """


@frozen
class Layout:
    """What the metadata says of the tree; `of` has checked it."""

    nodes: int
    record_bits: int
    ip_version: int

    @classmethod
    def of(cls, metadata: Mapping[str, object]) -> Layout:
        """The layout that `metadata` tells, or `Broken`."""
        nodes = _number(metadata, "node_count", range(1, MAX_NODES + 1))
        bits = _number(metadata, "record_size", (24, 28, 32))
        version = _number(metadata, "ip_version", (4, 6))
        _number(metadata, "binary_format_major_version", (2,))
        return cls(nodes, bits, version)

    @property
    def tree_bytes(self) -> int:
        """How long the tree is; it begins the file."""
        return self.nodes * self.record_bits // 4

    @property
    def data_start(self) -> int:
        """Where the data section begins."""
        return self.tree_bytes + SEPARATOR


def _number(metadata: Mapping[str, object], key: str, allowed: range | tuple[int, ...]) -> int:
    value = metadata.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        wanted = f"at most {allowed[-1]}" if isinstance(allowed, range) else f"one of {allowed}"
        raise Broken(f"with {key} {wanted}, got {value!r:.60}")
    return value


def metadata_at(data: bytes | bytearray) -> int:
    """Where the metadata begins, or `Broken`."""
    found = data.rfind(MARKER, max(0, len(data) - METADATA_BYTES))
    if found < 0:
        raise Broken("with its metadata in the last 128 KiB, got none")
    return found + len(MARKER)


@frozen
class Tree:
    """
    Nodes with two records each, `records[2 * node]` for a bit 0 and `records[2 * node + 1]` for 1.

    A record below `layout.nodes` is a node, one equal to it is nothing, and all others are where
    `data_offset` says. No way from the root is longer than an address: `reading` has seen to it.
    """

    layout: Layout
    records: array[int]
    order: array[int]
    """The nodes that can be reached from the root, each behind all those beneath it."""

    def data_offset(self, record: int) -> int:
        """Where in the file the data of `record` begin."""
        return record - self.layout.nodes + self.layout.tree_bytes

    @property
    def ipv4(self) -> int:
        """The record that the tree of IPv4 begins with: by the format's rule that of ::/96."""
        record = 0
        for _ in range(96 if self.layout.ip_version == 6 else 0):
            if record < self.layout.nodes:
                record = self.records[2 * record]
        return record


def reading(data: bytes | bytearray, layout: Layout, data_end: int) -> Slices[Tree]:
    """The tree of a file whose data section ends at `data_end`; raises `Broken`."""
    if layout.data_start > data_end:
        raise Broken(f"with {layout.tree_bytes} bytes of tree, got {len(data)} bytes in all")
    records = yield from _unpacking(data, layout)
    last = layout.nodes + data_end - layout.tree_bytes - 1
    for at in range(0, len(records), _NODES_A_SLICE * 32):
        if max(records[at:at + _NODES_A_SLICE * 32]) > last:
            raise Broken("whose records point into it, got one that points behind its end")
        yield
    bits = 32 if layout.ip_version == 4 else 128
    order = yield from _ordering(records, layout.nodes, bits)
    return Tree(layout, records, order)


def _unpacking(data: bytes | bytearray, layout: Layout) -> Slices[array[int]]:
    """All records as numbers of this machine, by strides: no loop over nodes."""
    width = layout.record_bits // 4
    records = array("I")
    assert records.itemsize == 4
    for at in range(0, layout.tree_bytes, _NODES_A_SLICE * 16 * width):
        piece = data[at:min(at + _NODES_A_SLICE * 16 * width, layout.tree_bytes)]
        wide = bytearray(len(piece) // width * 8)
        for target, source in _STRIDES[layout.record_bits]:
            wide[target::8] = piece[source::width]
        if layout.record_bits == 28:
            wide[0::8] = piece[3::7].translate(_HIGH)
            wide[4::8] = piece[3::7].translate(_LOW)
        numbers = array("I", bytes(wide))
        if sys.byteorder == "little":
            numbers.byteswap()
        records.extend(numbers)
        yield
    return records


# Which byte of a node goes where in two big-endian numbers of 32 bits.
_STRIDES: Final = {
    24: ((1, 0), (2, 1), (3, 2), (5, 3), (6, 4), (7, 5)),
    28: ((1, 0), (2, 1), (3, 2), (5, 4), (6, 5), (7, 6)),
    32: tuple((at, at) for at in range(8)),
}
_HIGH: Final = bytes(byte >> 4 for byte in range(256))
_LOW: Final = bytes(byte & 15 for byte in range(256))


def _ordering(records: array[int], nodes: int, bits: int) -> Slices[array[int]]:
    """
    The nodes beneath node 0, children before parents. `Broken` for a circle and for a way of more
    than `bits` bits.

    Nodes may have several parents (the format's aliases), so a node's height, which bounds the ways
    through it, is kept; on the way down the depth bounds the stack, circle or not.
    """
    order = array("I")
    heights = bytearray(b"\xff") * nodes
    stack = [0]
    steps = 0
    while stack:
        steps += 1
        if steps % _NODES_A_SLICE == 0:
            yield
        node = stack[-1]
        left, right = records[2 * node], records[2 * node + 1]
        height = 0
        if left < nodes:
            height = heights[left]
            if height == _UNSEEN:
                stack.append(left)
        if right < nodes and height != _UNSEEN:
            above = heights[right]
            if above == _UNSEEN:
                stack.append(right)
            height = max(height, above)
        if len(stack) > bits:
            raise Broken(f"whose tree is at most {bits} bits deep, got a deeper one")
        if height != _UNSEEN:
            if len(stack) + height > bits:
                raise Broken(f"whose tree is at most {bits} bits deep, got a deeper one")
            heights[node] = height + 1
            order.append(node)
            stack.pop()
    return order
