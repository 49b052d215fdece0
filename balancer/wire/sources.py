"""
Which address each datagram of a batch came to, and what makes its answer leave from there.

Knows how C lays control messages out (cmsg(3)). What they tell, and what of it an answer repeats,
is `pktinfo`'s; that most say it in the same place saves reading them one by one.
"""

from __future__ import annotations

import socket
import sys
from array import array
from collections.abc import Iterator
from struct import Struct
from typing import Final

from balancer.wire.mmsg import WORD, address_of
from balancer.wire.pktinfo import (
    ANCILLARY_SIZE,
    CLEARED,
    LOCAL_SIZE,
    ControlMessage,
    local_of,
    reply_from,
)

__all__ = ["Sources", "messages"]

_HEAD: Final = Struct(f"@{WORD}ii")  # struct cmsghdr: size with this, level, type

_DATA: Final = socket.CMSG_LEN(0)

_LINK_LOCAL: Final = frozenset(
    int.from_bytes((0xFE, second), sys.byteorder) for second in range(0x80, 0xC0)
)
"""The first two bytes of such an address, as a number in memory."""


def messages(control: bytes) -> Iterator[ControlMessage]:
    """The control messages in it, as `recvmsg` tells them. One that is cut ends them."""
    at = 0
    while at + _DATA <= len(control):
        size, level, kind = _HEAD.unpack_from(control, at)
        if not _DATA <= size <= len(control) - at:
            return
        yield level, kind, control[at + _DATA : at + size]
        at += socket.CMSG_SPACE(size - _DATA)


class Sources:
    """
    Room for the control messages of so many datagrams: what came becomes what leaves.

    `addresses` says where that of each is, `room` bytes; an answer's takes `size` of them.
    """

    __slots__ = (
        "_cleared", "_head", "_heads", "_memory", "_prefixes", "_sizes", "_zeros", "addresses",
        "size",
    )

    room: Final = ANCILLARY_SIZE

    def __init__(self, family: int, most: int) -> None:
        memory = bytearray(most * self.room)
        first = address_of(memory)
        self.addresses = array(WORD, range(first, first + len(memory), self.room))
        self._memory = memoryview(memory)
        level, kind, local = reply_from(family, bytes(LOCAL_SIZE[family]))
        self._head = _HEAD.pack(socket.CMSG_LEN(len(local)), level, kind)
        self.size = socket.CMSG_SPACE(len(local))
        self._sizes = _repeated(self.size, most)
        words = memoryview(self._head).cast(WORD)
        self._heads = [
            (self._each(WORD, at * words.itemsize), _repeated(word, most))
            for at, word in enumerate(words)
        ]
        self._cleared = [self._each("I", _DATA + at) for at in CLEARED[family]]
        self._zeros = memoryview(array("I", bytes(4 * most)))
        self._prefixes = self._each("H", _DATA) if family == socket.AF_INET6 else None

    def _each(self, kind: str, at: int) -> memoryview:
        """The number that is so many bytes into the room of each."""
        numbers = self._memory.cast(kind)  # type: ignore[call-overload]  # of one of three kinds
        found: memoryview = numbers[at // numbers.itemsize :: self.room // numbers.itemsize]
        return found

    def echo(self, told: memoryview) -> list[int] | None:
        """The kernel told so many bytes of each of the first datagrams: turn them into what their
        answers say. How long that is for each, 0 if nothing is known; None: `size` for all."""
        count = len(told)
        if self._alike(told):
            for field in self._cleared:
                field[:count] = self._zeros[:count]
            return None
        return [self._echo_one(at * self.room, size) for at, size in enumerate(told)]

    def _alike(self, told: memoryview) -> bool:
        """Whether each is one control message that says nothing of a device that counts."""
        count = len(told)
        return (
            told == self._sizes[:count]
            and all(seen[:count] == usual[:count] for seen, usual in self._heads)
            and (self._prefixes is None or _LINK_LOCAL.isdisjoint(self._prefixes[:count]))
        )

    def _echo_one(self, start: int, size: int) -> int:
        local = local_of(messages(self._memory[start : start + size].tobytes()))
        if local is None:
            return 0
        made = self._head + local
        self._memory[start : start + len(made)] = made
        return self.size


def _repeated(number: int, most: int) -> memoryview:
    return memoryview(array(WORD, [number]) * most)
