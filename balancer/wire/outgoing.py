"""
Bytes on their way out: what the kernel has not taken yet. Pure.
"""

from __future__ import annotations

#: Bytes joined for one send. Twisted's SEND_LIMIT is the same.
JOIN_LIMIT = 128 * 1024

#: A first buffer of this size goes out alone: joined buffers of which the kernel takes little at a
#: time would be copied again and again.
ALONE = 16 * 1024


class Outgoing:
    """A queue of buffers in order; `size` is their length in bytes."""

    __slots__ = ("_buffers", "size")

    def __init__(self) -> None:
        self._buffers: list[bytes | memoryview] = []
        self.size = 0

    def add(self, data: bytes | memoryview) -> None:
        """Append `data`, which must not change any more."""
        self._buffers.append(data)
        self.size += len(data)

    def head(self) -> bytes | memoryview:
        """
        What to send next; b'' when nothing waits.

        Until `sent` is called it is the beginning of what every later call gives (TLS must retry
        the same bytes).
        """
        buffers = self._buffers
        if len(buffers) < 2:
            return buffers[0] if buffers else b""
        size = len(buffers[0])
        if size >= ALONE:
            return buffers[0]
        count = 1
        for buffer in buffers[1:]:
            if size + len(buffer) > JOIN_LIMIT:
                break
            size += len(buffer)
            count += 1
        if count > 1:
            buffers[:count] = [b"".join(buffers[:count])]
        return buffers[0]

    def sent(self, count: int) -> None:
        """The kernel took `count` bytes of the last `head`."""
        self.size -= count
        first = self._buffers[0]
        if count == len(first):
            del self._buffers[0]
        elif count:
            self._buffers[0] = memoryview(first)[count:]
