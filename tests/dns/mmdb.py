"""Writes small MaxMind DB 2.0 files, sound ones and others, for tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any, TypeAlias

from attrs import Factory, define, frozen

MARKER = b"\xab\xcd\xefMaxMind.com"

Node: TypeAlias = list[Any]
"""Two children: None, a Node, or the `bytes` of a record."""


@frozen
class Pointer:
    """A pointer to another place in the data section."""

    offset: int


def encoded(value: object) -> bytes:
    """`value` as the data section has it."""
    match value:
        case Pointer(offset):
            return bytes((1 << 5 | 3 << 3,)) + struct.pack("!I", offset)
        case bool():
            return _control(14, int(value))
        case str():
            text = value.encode()
            return _control(2, len(text)) + text
        case float():
            return _control(3, 8) + struct.pack("!d", value)
        case int():
            return _control(9, 8) + struct.pack("!Q", value)
        case Mapping():
            return _control(7, len(value)) + b"".join(
                encoded(key) + encoded(inner) for key, inner in value.items()
            )
        case list():
            return _control(11, len(value)) + b"".join(map(encoded, value))
        case _:
            raise TypeError(value)


def _control(number: int, size: int) -> bytes:
    assert size < 285 + 65536
    low, more = min(size, 29), b""
    if size >= 285:
        low, more = 30, struct.pack("!H", size - 285)
    elif size >= 29:
        more = bytes((size - 29,))
    if number < 8:
        return bytes((number << 5 | low,)) + more
    return bytes((low, number - 7)) + more


@define
class Writer:
    """A database of `networks`, in the order of their insertion: a later one lies upon earlier."""

    ip_version: int = 6
    record_size: int = 24
    root: Node = Factory(lambda: [None, None])

    def insert(self, network: str, record: object) -> Writer:
        """Give `network` a record; a `Node` makes an alias of it."""
        found = ip_network(network)
        width = 128 if self.ip_version == 6 else 32
        length = found.prefixlen + width - found.max_prefixlen
        bits = int(found.network_address) >> (width - length)
        content = record if isinstance(record, list) else encoded(record)
        if length == 0:
            self.root = [content, content]
            return self
        node = self.root
        for shift in range(length - 1, 0, -1):
            side = bits >> shift & 1
            if not isinstance(node[side], list):
                node[side] = [node[side], node[side]]
            node = node[side]
        node[bits & 1] = content
        return self

    def node(self, zeros: int) -> Node:
        """The node for that many zero bits."""
        node = self.root
        for _ in range(zeros):
            assert isinstance(node[0], list)
            node = node[0]
        return node

    def built(self, data: bytes = b"", **metadata: object) -> bytes:
        """The file. `data` is put before the records, `metadata` over its own."""
        nodes: list[Node] = []
        numbers: dict[int, int] = {}
        stack = [self.root]
        while stack:
            node = stack.pop()
            if id(node) not in numbers:
                numbers[id(node)] = len(nodes)
                nodes.append(node)
                stack += [child for child in reversed(node) if isinstance(child, list)]
        offsets: dict[bytes, int] = {}
        section = bytearray(data)
        for node in nodes:
            for child in node:
                if isinstance(child, bytes) and child not in offsets:
                    offsets[child] = len(section)
                    section += child

        def record(child: Any) -> int:
            if child is None:
                return len(nodes)
            if isinstance(child, bytes):
                return len(nodes) + 16 + offsets[child]
            return numbers[id(child)]

        pairs = [(record(left), record(right)) for left, right in nodes]
        told = {"record_size": self.record_size, "ip_version": self.ip_version, **metadata}
        return assembled(pairs, bytes(section), **told)


def assembled(pairs: list[tuple[int, int]], data: bytes, **metadata: object) -> bytes:
    """A file of these records and data."""
    told = {
        "node_count": len(pairs), "record_size": 24, "ip_version": 4,
        "database_type": "Test", "languages": ["en"], "binary_format_major_version": 2,
        "binary_format_minor_version": 0, "build_epoch": 1_700_000_000,
        "description": {"en": "test"}, **metadata,
    }
    tree = b"".join(_node(left, right, told["record_size"]) for left, right in pairs)
    return tree + bytes(16) + data + MARKER + encoded(told)


def _node(left: int, right: int, size: object) -> bytes:
    if size == 28:
        middle = bytes(((left >> 24) << 4 | right >> 24,))
        return (left & 0xFFFFFF).to_bytes(3, "big") + middle + (right & 0xFFFFFF).to_bytes(3, "big")
    width = 4 if size == 32 else 3
    return left.to_bytes(width, "big") + right.to_bytes(width, "big")
