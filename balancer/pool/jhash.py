"""
Bob Jenkins' hash (lookup3) as the Linux kernel has it, and the slot that nftables makes of it.

Source: include/linux/jhash.h and reciprocal_scale() in the kernel; net/netfilter/nft_hash.c. Words
are read as a little-endian machine reads them, which every machine that we know of here is.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct

_MASK = 0xFFFFFFFF
_INITIAL = 0xDEADBEEF
_WORDS = Struct("<III")


def jhash(data: bytes, initval: int) -> int:
    """The kernel's `jhash(data, len(data), initval)`: 32 bits."""
    a = b = c = (_INITIAL + len(data) + initval) & _MASK
    start, left = 0, len(data)
    while left > 12:
        x, y, z = _WORDS.unpack_from(data, start)
        a, b, c = _mix((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)
        start += 12
        left -= 12
    if not left:
        return c
    x, y, z = _WORDS.unpack(data[start:].ljust(12, b"\0"))
    return _final((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)


def slot(value: int, modulus: int) -> int:
    """The kernel's `reciprocal_scale`: a 32-bit hash to 0 <= slot < modulus, without division."""
    return (value * modulus) >> 32


def source_slot(key: bytes, seed: int, modulus: int) -> int:
    """`jhash ip saddr mod MODULUS seed SEED`; `key` is the packed address, 4 or 16 bytes."""
    return (jhash(key, seed) * modulus) >> 32


def flow_slot(key: bytes, seed: int, modulus: int) -> int:
    """
    `jhash ip saddr . tcp sport mod MODULUS seed SEED`.

    `key` is the packed address and two bytes of port, big endian. nftables pads each part of a
    concatenation to whole 32-bit registers, so two zero bytes follow the port.
    """
    return (jhash(key + b"\0\0", seed) * modulus) >> 32


def seed_of(text: str) -> int:
    """The 32-bit seed that a pool's `seed` (by default its name) stands for: the first four bytes
    of its 64-bit blake2b, big endian. Never 0, which may mean 'none given' to other tools."""
    digest = blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "big") or 1


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    a = ((a - c) & _MASK) ^ ((c << 4 | c >> 28) & _MASK)
    c = (c + b) & _MASK
    b = ((b - a) & _MASK) ^ ((a << 6 | a >> 26) & _MASK)
    a = (a + c) & _MASK
    c = ((c - b) & _MASK) ^ ((b << 8 | b >> 24) & _MASK)
    b = (b + a) & _MASK
    a = ((a - c) & _MASK) ^ ((c << 16 | c >> 16) & _MASK)
    c = (c + b) & _MASK
    b = ((b - a) & _MASK) ^ ((a << 19 | a >> 13) & _MASK)
    a = (a + c) & _MASK
    c = ((c - b) & _MASK) ^ ((b << 4 | b >> 28) & _MASK)
    return a, (b + a) & _MASK, c


def _final(a: int, b: int, c: int) -> int:
    c = ((c ^ b) - (b << 14 | b >> 18)) & _MASK
    a = ((a ^ c) - (c << 11 | c >> 21)) & _MASK
    b = ((b ^ a) - (a << 25 | a >> 7)) & _MASK
    c = ((c ^ b) - (b << 16 | b >> 16)) & _MASK
    a = ((a ^ c) - (c << 4 | c >> 28)) & _MASK
    b = ((b ^ a) - (a << 14 | a >> 18)) & _MASK
    return ((c ^ b) - (b << 24 | b >> 8)) & _MASK
