"""
Many datagrams with one call into the kernel, and their answers with another.

When that pays is `answering`'s to know, and what a datagram says is its owner's.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate, chain
from struct import Struct
from typing import Final

from balancer.wire.mmsg import WORD, Call, Messages, address_of, calls
from balancer.wire.sources import Sources

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

# What writes address and size of so many pieces into a buffer.
_PAIRS: Final = tuple(Struct(f"{2 * count}{WORD}").pack_into for count in range(MOST + 1))


def batch_for(family: int, longest: int, wildcard: bool = False) -> Batch | None:
    """A batch for sockets of that family, None if datagrams so long must be read one by one, or all
    must on this system. On a `wildcard` bind answers leave from the address that was asked."""
    found = calls() if 0 < longest <= MAX_LENGTH else None
    sources = Sources(family, MOST) if wildcard else None
    return None if found is None else Batch(found, family, longest, sources)


class Batch:
    """
    Room for `MOST` datagrams of up to `longest` bytes; what is longer is cut. Each batch that is
    received takes the place of the one before.
    """

    __slots__ = (
        "_came", "_data", "_family", "_left", "_name_size", "_names", "_receive", "_send",
        "_sources", "_starts", "_where", "_whole",
    )

    def __init__(
        self, calls: tuple[Call, Call], family: int, longest: int, sources: Sources | None
    ) -> None:
        self._receive, self._send = calls
        self._family = family
        self._sources = sources
        room = longest + _LINE
        size = self._name_size = _IPV6_SIZE if family == socket.AF_INET6 else _IPV4_SIZE
        data, names = bytearray(MOST * room), bytearray(MOST * size)
        self._starts = range(0, MOST * room, room)
        self._data, self._names = memoryview(data), memoryview(names)
        first = address_of(names)
        names_at = array(WORD, range(first, first + MOST * size, size))
        controls: Sequence[int] = ()
        control_room = control_size = 0
        if sources is not None:
            controls, control_room, control_size = sources.addresses, sources.room, sources.size
        self._came = Messages(names_at, size, controls, control_room)
        self._left = Messages(names_at, size, controls, control_size)
        first = address_of(data)
        self._came.pieces[::2] = array(WORD, (first + start for start in self._starts))
        self._came.pieces[1::2] = array(WORD, [longest]) * MOST
        self._whole = ctypes.c_char_p()
        self._where = ctypes.c_size_t.from_buffer(self._whole)

    def receive(self, fd: int, most: int) -> list[bytes]:
        """The datagrams that wait, at most so many; none: there are none. `OSError`: what the
        kernel kept for the socket."""
        came = self._came
        if self._sources is not None:
            # The kernel wrote how much it told of the last ones where it reads how much it may.
            came.renew()
        count = self._receive(fd, came.address, min(most, MOST), socket.MSG_DONTWAIT, None)
        if count < 0:
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.EINTR):
                return []
            raise OSError(code, os.strerror(code))
        data, sizes = self._data, came.sizes[:count].tolist()
        places = zip(self._starts, sizes, strict=False)
        return [data[at : at + size].tobytes() for at, size in places]

    def host(self, at: int) -> str:
        """Who sent the datagram at that place."""
        size = self._name_size
        return host_of(self._family, self._names[at * size : at * size + size])

    def send(self, fd: int, answers: Sequence[bytes | None]) -> tuple[int, int]:
        """Answer the first datagrams, in their order and once; None: that one not. Returns how many
        answers the kernel took, and how many not."""
        controls = None
        if self._sources is not None:
            controls = self._sources.echo(self._came.control_sizes[: len(answers)])
        if controls is None and None not in answers:
            return self._send_all(fd, answers)  # type: ignore[arg-type]  # there is no None
        places = [at for at, answer in enumerate(answers) if answer is not None]
        self._left.choose(places, controls)
        try:
            return self._send_all(fd, [answer for answer in answers if answer is not None])
        finally:
            self._left.renew()

    def _send_all(self, fd: int, answers: Sequence[bytes]) -> tuple[int, int]:
        count = len(answers)
        if not count:
            return 0, 0
        # In one piece, whose address is C's; some 0.2 us an answer for all of it.
        self._whole.value = b"".join(answers)
        sizes = [*map(len, answers)]
        pieces = zip(accumulate(sizes, initial=self._where.value), sizes, strict=False)
        left = self._left
        _PAIRS[count](left.pieces, 0, *chain.from_iterable(pieces))
        at = refused = 0
        while at < count:
            sent = self._send(fd, left.at(at), count - at, socket.MSG_DONTWAIT)
            if sent <= 0:
                # The first of these is meant: the others may go.
                refused += 1
                sent = 1
            at += sent
        self._whole.value = None
        return count - refused, refused


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
