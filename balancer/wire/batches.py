"""
Many datagrams with one call into the kernel: recvmmsg(2) and sendmmsg(2), which Python's `socket`
does not have.

Knows how C lays their structures out. When it pays is `datagrams`' to know, and what a datagram
says is its owner's.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from struct import Struct
from typing import Any, Final

__all__ = ["MAX_LENGTH", "MOST", "Batch", "batch_for", "host_of"]

MOST: Final = 64
"""Datagrams of one batch, each with room for the longest that its owner wants."""

MAX_LENGTH: Final = 8192
"""Bytes of a datagram in a batch at most, half a megabyte for all. Who wants longer ones reads them
one by one."""

_LINE: Final = 64
"""Bytes of a line of the processor's cache. One is added to the room of each datagram: at 4096 from
one to the next all would begin in the same few lines."""

_IPV4_SIZE: Final = 16  # struct sockaddr_in
_IPV6_SIZE: Final = 28  # struct sockaddr_in6

# C's size_t and its pointers, on all that Linux runs on.
_WORD: Final = "L"


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

# What writes so many of `_Piece` into a buffer.
_PAIRS: Final = tuple(Struct(f"{2 * count}{_WORD}").pack_into for count in range(MOST + 1))

_Call = Callable[..., int]


def _calls() -> tuple[_Call, _Call] | None:
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


def batch_for(family: int, longest: int) -> Batch | None:
    """A batch for sockets of that family, None if datagrams so long must be read one by one, or all
    must on this system."""
    calls = _calls() if 0 < longest <= MAX_LENGTH else None
    return None if calls is None else Batch(calls, family, longest)


class Batch:
    """
    Room for `MOST` datagrams of up to `longest` bytes; what is longer is cut. Each batch that is
    received takes the place of the one before.
    """

    __slots__ = (
        "_data", "_family", "_in", "_kept", "_name_size", "_names", "_names_at", "_out", "_pieces",
        "_receive", "_send", "_sizes", "_starts", "_to", "_where", "_whole",
    )

    def __init__(self, calls: tuple[_Call, _Call], family: int, longest: int) -> None:
        self._receive, self._send = calls
        self._family = family
        room = longest + _LINE
        name_size = _IPV6_SIZE if family == socket.AF_INET6 else _IPV4_SIZE
        self._name_size = name_size
        data, names = bytearray(MOST * room), bytearray(MOST * name_size)
        self._starts = range(0, MOST * room, room)
        self._data = memoryview(data)
        self._names = memoryview(names)
        first = _address(names)
        self._names_at = array(_WORD, range(first, first + MOST * name_size, name_size))
        came, came_in = self._messages(name_size)
        left, left_in = self._messages(name_size)
        pieces = memoryview(came_in).cast(_WORD)
        first = _address(data)
        pieces[::2] = array(_WORD, (first + start for start in self._starts))
        pieces[1::2] = array(_WORD, [longest]) * MOST
        self._pieces = left_in
        self._whole = ctypes.c_char_p()
        self._where = ctypes.c_size_t.from_buffer(self._whole)
        size = memoryview(came).cast("I")
        self._sizes = size[_Message.size.offset // size.itemsize :: _SIZE // size.itemsize]
        name = memoryview(left).cast(_WORD)
        self._to = name[_Head.name.offset // name.itemsize :: _SIZE // name.itemsize]
        self._in, self._out = _address(came), _address(left)
        self._kept: tuple[Any, ...] = (came, came_in, left)

    def _messages(self, name_size: int) -> tuple[bytearray, bytearray]:
        """MOST structures, each with a name of its own and one piece, which is empty."""
        whole = bytearray(MOST * _SIZE)
        pieces = bytearray(MOST * ctypes.sizeof(_Piece))
        first = _address(pieces)
        messages = (_Message * MOST).from_buffer(whole)
        for at, (message, name) in enumerate(zip(messages, self._names_at, strict=True)):
            head = message.head
            head.name, head.name_size = name, name_size
            head.pieces, head.piece_count = first + at * ctypes.sizeof(_Piece), 1
        return whole, pieces

    def receive(self, fd: int, most: int) -> list[bytes]:
        """The datagrams that wait, at most so many; none: there are none. `OSError`: what the
        kernel kept for the socket."""
        count = self._receive(fd, self._in, min(most, MOST), socket.MSG_DONTWAIT, None)
        if count < 0:
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.EINTR):
                return []
            raise OSError(code, os.strerror(code))
        data, sizes = self._data, self._sizes[:count].tolist()
        places = zip(self._starts, sizes, strict=False)
        return [data[at : at + size].tobytes() for at, size in places]

    def host(self, at: int) -> str:
        """Who sent the datagram at that place."""
        size = self._name_size
        return host_of(self._family, self._names[at * size : at * size + size])

    def send(self, fd: int, answers: Sequence[bytes | None]) -> int:
        """Answer the first datagrams, in their order; None: that one not. Returns how many answers
        the kernel did not take."""
        if None not in answers:
            return self._send_all(fd, answers)  # type: ignore[arg-type]  # there is no None
        given = [answer for answer in answers if answer is not None]
        pairs = zip(self._names_at, answers, strict=False)
        count = len(given)
        self._to[:count] = array(_WORD, [name for name, answer in pairs if answer is not None])
        try:
            return self._send_all(fd, given)
        finally:
            self._to[:count] = self._names_at[:count]

    def _send_all(self, fd: int, answers: Sequence[bytes]) -> int:
        count = len(answers)
        if not count:
            return 0
        # In one piece, whose address is C's; some 0.2 us an answer for all of it.
        self._whole.value = b"".join(answers)
        sizes = [*map(len, answers)]
        pieces = zip(accumulate(sizes, initial=self._where.value), sizes, strict=False)
        _PAIRS[count](self._pieces, 0, *chain.from_iterable(pieces))
        at = refused = 0
        while at < count:
            sent = self._send(fd, self._out + at * _SIZE, count - at, socket.MSG_DONTWAIT)
            if sent <= 0:
                # The first of these is meant: the others may go.
                refused += 1
                sent = 1
            at += sent
        self._whole.value = None
        return refused


def _address(of: bytearray) -> int:
    """Where it lies. It stays there: what has a view cannot grow."""
    return ctypes.addressof(ctypes.c_char.from_buffer(of))


def host_of(family: int, name: bytes | memoryview) -> str:
    """The address in a struct sockaddr_in or sockaddr_in6, as `socket` writes it."""
    if family != socket.AF_INET6:
        return socket.inet_ntop(socket.AF_INET, name[4:8])
    host = socket.inet_ntop(socket.AF_INET6, name[8:24])
    device = int.from_bytes(name[24:28], sys.byteorder)
    return f"{host}%{_device(device)}" if device else host


def _device(number: int) -> str:
    try:
        return socket.if_indextoname(number)
    except OSError:
        return str(number)
