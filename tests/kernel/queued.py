"""A socket in memory, whose datagrams wait in a list."""

from __future__ import annotations

import errno


class QueuedSocket:
    """What is read of it are `waiting`'s datagrams; an OSError among them is raised."""

    def __init__(self) -> None:
        self.waiting: list[bytes | OSError] = []
        self.number = 5

    def bind(self, address: tuple[int, int]) -> None:
        """Any port."""

    def recv(self, size: int) -> bytes:
        """The next datagram."""
        if not self.waiting:
            raise BlockingIOError(errno.EAGAIN, "nothing")
        found = self.waiting.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    def fileno(self) -> int:
        """The descriptor, -1 once closed."""
        return self.number

    def close(self) -> None:
        """The end."""
        self.number = -1
