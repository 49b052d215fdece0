"""
SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash of 64 bits for short inputs.

Knows arithmetic. Python hashes strings with a SipHash but lets nobody choose its key. Two rounds
are written out, as a call for each would cost a third more.
"""

from __future__ import annotations

import struct
from typing import Final

_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF
_KEY: Final = struct.Struct("<QQ")
_WORD: Final = struct.Struct("<Q")
def siphash24(key: bytes, data: bytes) -> int:
    """The hash of `data` under a key of 16 bytes, as a number; its bytes go low end first."""
    low, high = _KEY.unpack(key)
    size = len(data)
    v0 = low ^ 0x736F6D6570736575
    v1 = high ^ 0x646F72616E646F6D
    v2 = low ^ 0x6C7967656E657261
    v3 = high ^ 0x7465646279746573
    padded = data + bytes(7 - size % 8) + bytes((size & 0xFF,))
    for (word,) in _WORD.iter_unpack(padded):
        v3 ^= word
        v0, v1, v2, v3 = _two_rounds(v0, v1, v2, v3)
        v0 ^= word
    v0, v1, v2, v3 = _two_rounds(v0, v1, v2 ^ 0xFF, v3)
    v0, v1, v2, v3 = _two_rounds(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


def _two_rounds(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = v0 + v1 & _MASK
    v2 = v2 + v3 & _MASK
    v1 = (v1 << 13 & _MASK | v1 >> 51) ^ v0
    v3 = (v3 << 16 & _MASK | v3 >> 48) ^ v2
    v2 = v2 + v1 & _MASK
    v0 = ((v0 << 32 & _MASK | v0 >> 32) + v3) & _MASK
    v1 = (v1 << 17 & _MASK | v1 >> 47) ^ v2
    v3 = (v3 << 21 & _MASK | v3 >> 43) ^ v0
    v2 = v2 << 32 & _MASK | v2 >> 32
    v0 = v0 + v1 & _MASK
    v2 = v2 + v3 & _MASK
    v1 = (v1 << 13 & _MASK | v1 >> 51) ^ v0
    v3 = (v3 << 16 & _MASK | v3 >> 48) ^ v2
    v2 = v2 + v1 & _MASK
    v0 = ((v0 << 32 & _MASK | v0 >> 32) + v3) & _MASK
    v1 = (v1 << 17 & _MASK | v1 >> 47) ^ v2
    v3 = (v3 << 21 & _MASK | v3 >> 43) ^ v0
    v2 = v2 << 32 & _MASK | v2 >> 32
    return v0, v1, v2, v3
