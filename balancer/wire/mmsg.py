"""
recvmmsg(2) and sendmmsg(2), which Python's `socket` does not have, and what they read and write.

Knows how C lays their structures out. What the datagrams are is `batches`' to know.
"""

from __future__ import annotations

import ctypes
import errno
import sys
from array import array
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["WORD", "Call", "Messages", "address_of", "calls"]

WORD: Final = "L"
"""C's size_t and its pointers, on all that Linux runs on."""

Call = Callable[..., int]


class _Piece(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Head(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint),
        ("pieces", ctypes.c_void_p),
        ("piece_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr; the kernel tells the `size` of what came."""

    _fields_ = (("head", _Head), ("size", ctypes.c_uint))


_SIZE: Final = ctypes.sizeof(_Message)
_PIECE: Final = ctypes.sizeof(_Piece)


def calls() -> tuple[Call, Call] | None:
    """recvmmsg and sendmmsg, None where they are not to be had."""
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(None, use_errno=True)
        receive, send = library.recvmmsg, library.sendmmsg
    except (OSError, AttributeError):
        return None
    number, address = ctypes.c_int, ctypes.c_void_p
    receive.argtypes = (number, address, ctypes.c_uint, number, address)
    send.argtypes = (number, address, ctypes.c_uint, number)
    # A filter of system calls forbids them whatever they are asked.
    for call, more in ((receive, (None,)), (send, ())):
        call(-1, None, 0, 0, *more)
        if ctypes.get_errno() != errno.EBADF:
            return None
    return receive, send


def address_of(memory: bytearray) -> int:
    """Where it lies. It stays there: what has a view cannot grow."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class Messages:
    """
    Structures of datagrams in one row, each with the name and the room for control messages at
    these addresses (no `controls`: none), and one piece, which is empty.

    `pieces` are address and size of each piece in turn, `sizes` and `control_sizes` what the kernel
    told.
    """

    __slots__ = (
        "_all", "_control", "_controls", "_fresh", "_name", "_names", "address", "control_sizes",
        "pieces", "sizes",
    )

    def __init__(
        self, names: Sequence[int], name_size: int, controls: Sequence[int], control_size: int
    ) -> None:
        self._names, self._controls = names, controls
        whole = bytearray(len(names) * _SIZE)
        pieces = bytearray(len(names) * _PIECE)
        first = address_of(pieces)
        messages = (_Message * len(names)).from_buffer(whole)
        for at, (message, name) in enumerate(zip(messages, names, strict=True)):
            head = message.head
            head.name, head.name_size = name, name_size
            head.pieces, head.piece_count = first + at * _PIECE, 1
            if controls:
                head.control, head.control_size = controls[at], control_size
        self._fresh = bytes(whole)
        self._all = memoryview(whole)
        self.address = address_of(whole)
        self.pieces = memoryview(pieces).cast(WORD)
        words = self._all.cast(WORD)
        step = _SIZE // words.itemsize
        self._name = words[_Head.name.offset // words.itemsize :: step]
        self._control = words[_Head.control.offset // words.itemsize :: step]
        self.control_sizes = words[_Head.control_size.offset // words.itemsize :: step]
        numbers = self._all.cast("I")
        self.sizes = numbers[_Message.size.offset // 4 :: _SIZE // 4]

    def at(self, number: int) -> int:
        """The address of that structure and all that follow."""
        return self.address + number * _SIZE

    def choose(self, places: Sequence[int], control_sizes: Sequence[int] | None) -> None:
        """Put the names and control messages of these first, in this order, until `renew`. None:
        control messages have the size that they began with."""
        count, pick = len(places), self._names.__getitem__
        self._name[:count] = array(WORD, map(pick, places))
        if self._controls:
            self._control[:count] = array(WORD, map(self._controls.__getitem__, places))
        if control_sizes is not None:
            self.control_sizes[:count] = array(WORD, map(control_sizes.__getitem__, places))

    def renew(self) -> None:
        """Be as at first; what the kernel and `choose` wrote is gone, what is in the pieces not."""
        self._all[:] = self._fresh
