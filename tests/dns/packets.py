"""
Packets that nobody should send: noise, sound queries with a few bytes changed, and some that were
made to cost much. Pure: the same `Random` gives the same packets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from random import Random

LARGEST = 512
"""Bytes of a packet of noise; real queries are shorter."""

CHANGES = (1, 1, 1, 1, 2, 2, 3, 6)
"""Changes to one sound query."""

NAMES = (*[b"www"] * 6, b"big512", b"any", b"wild", b"sub", b"alias", b"chain1", b"ent", b"b", b"a",
         b"*", b"big4096", b"near", b"\x00", b"a" * 63, b"ns1", b"_tcp")
TYPES = (*[1] * 12, 2, 5, 6, 12, 15, 16, 16, 28, 33, 43, 64, 65, 255, 257, 731)
OPTIONS = (b"\x00\x03\x00\x00", b"\x00\x0a\x00\x08cookieco",
           b"\x00\x08\x00\x07\x00\x01\x18\x00\x01\x02\x03",
           b"\x00\x08\x00\x04\x00\x02\x00\x00", b"\x00\x0b\x00\x00",
           b"\xfd\xe9\x00\x02hi", b"\x00\x09\x00\x00")

_HEADER = struct.Struct("!6H")

LABELS = (b"\x03www", b"\x07EXAMPLE", b"\x07example\x04test\x00", b"\x00", b"\xc0\x0c", b"\xc0\x00",
          b"\xff\xff", b"\x3f" + b"a" * 63, b"\x40", b"\x80", b"\x01*", b"\x04wild", b"\x03sub")
NUMBERS = (0, 1, 2, 6, 15, 16, 28, 33, 41, 64, 65, 250, 251, 252, 255, 256, 512, 1232, 4096, 65535)


def chains() -> bytes:
    """
    A message of 64 KB with chains of pointers as long as they can be, each name looked at through
    all the others: what CVE-2026-42304 is about.
    """
    names = bytearray(b"\x00")
    before = _HEADER.size
    while len(names) < 16000:
        pointer = 0xc000 | before
        before = _HEADER.size + len(names)
        names += struct.pack("!H", pointer) + b"\x00\x01\x00\x01"
    records = (struct.pack("!HHHIH", 0xc000 | before, 1, 1, 0, 0))
    count = (65535 - _HEADER.size - len(names)) // len(records)
    return _HEADER.pack(1, 0, len(names) // 6, count, 0, 0) + bytes(names) + records * count


def deep() -> bytes:
    """A question whose name is as many labels of one byte as fit, and then some."""
    return _HEADER.pack(2, 0, 1, 0, 0, 0) + b"\x01a" * 30000 + b"\x00\x00\x01\x00\x01"


def crowded() -> bytes:
    """A header that promises 65,535 of everything, and as many records as fit."""
    record = b"\x00" + struct.pack("!HHIH", 41, 1232, 0, 0)
    return _HEADER.pack(3, 0, 1, 65535, 65535, 65535) + b"\x00\x00\x01\x00\x01" + record * 5900


def options() -> bytes:
    """An OPT record with 16,000 options."""
    data = struct.pack("!HH", 65001, 0) * 16000
    return (_HEADER.pack(4, 0, 1, 0, 0, 1) + b"\x07example\x04test\x00\x00\x01\x00\x01\x00"
            + struct.pack("!HHIH", 41, 1232, 0, len(data)) + data)


COSTLY = (chains(), deep(), crowded(), options())


def noise(random: Random) -> bytes:
    """Bytes without any sense; half of them behind the header of a query."""
    raw = random.randbytes(random.randrange(LARGEST))
    if random.random() < 0.5:
        return raw
    return _HEADER.pack(random.randrange(65536), random.choice((0, 0x100, 0x2000, 0x8000)), 1,
                        *(random.choice((0, 0, 1, 65535)) for _ in range(3))) + raw


def pieces(random: Random) -> bytes:
    """Labels, pointers and numbers that have a meaning, in an order that has none."""
    body = b"".join(
        random.choice(LABELS) if random.random() < 0.6
        else struct.pack("!H", random.choice(NUMBERS)) for _ in range(random.randrange(1, 24)))
    return _HEADER.pack(random.randrange(65536), random.choice((0, 0, 0x100, 0x2800)), 1, 0,
                        random.choice((0, 0, 1)), random.choice((0, 1, 1, 2))) + body


def sound(random: Random) -> bytes:
    """A query that any server must answer, about names that are there and names that are not."""
    labels = random.choices(NAMES, k=random.choice((0, 1, 1, 1, 1, 1, 2, 3)))
    name = b"".join(bytes([len(label)]) + label for label in labels) + random.choice(
        (*[b"\x07example\x04test\x00"] * 6, b"\x07eXamPLE\x04tEst\x00", b"\x04test\x00"))
    edns = b""
    if random.random() < 0.7:
        data = b"".join(random.choices(OPTIONS, k=random.choice((0, 0, 1, 2))))
        edns = b"\x00" + struct.pack("!HHIH", 41, random.choice(NUMBERS), random.choice(
            (0, 0, 0x8000, 0x10000)), len(data)) + data
    return (_HEADER.pack(random.randrange(65536), random.choice((0, 0x100, 0x110)), 1, 0, 0,
                         bool(edns)) + name + struct.pack("!HH", random.choice(TYPES), 1) + edns)


def mutated(random: Random, query: bytes) -> bytes:
    """A query with some bytes changed, put in, left out or cut off."""
    changed = bytearray(query)
    for _ in range(random.choice(CHANGES)):
        at = random.randrange(len(changed) + 1)
        match random.randrange(10):
            case 1:
                changed[at:at] = random.randbytes(random.randrange(4))
            case 2:
                del changed[at:at + random.randrange(4)]
            case 3:
                del changed[at:]
            case 4:
                changed[at:at + 2] = struct.pack("!H", random.choice(NUMBERS))
            case 5:
                changed[at:at] = random.choice(LABELS)
            case _:
                changed[at:at + 1] = random.randbytes(1)
    return bytes(changed)


def packets(random: Random, queries: tuple[bytes, ...], count: int) -> Iterator[bytes]:
    """So many packets, the costly ones among them if there are enough."""
    yield from COSTLY[:count]
    for _ in range(count - len(COSTLY)):
        chance = random.random()
        if chance < 0.1:
            yield noise(random)
        elif chance < 0.2:
            yield pieces(random)
        elif chance < 0.5:
            yield mutated(random, sound(random))
        elif chance < 0.8:
            yield sound(random)
        else:
            yield mutated(random, random.choice(queries))
