"""
Log lines in batches: a write is a list append, the ticker does the system calls.

Knows files, pipes and sockets as places for bytes, and nothing of what a line says.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Sequence
from errno import EAGAIN, ENXIO

from twisted.logger import Logger

from balancer.wire.seldom import Seldom

#: Bytes that may wait for a full disk or a slow reader. nginx keeps 64 KiB a log and worker and
#: then blocks; this is two ticks at 100,000 lines a second and 400 bytes a line.
MAX_PENDING = 8 * 1024 * 1024

#: Seconds between two lines about a log that cannot be written.
LOG_INTERVAL = 60.0

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC

_log = Logger("balancer.wire")


class LogFile:
    """
    An append-only log at `path`; `-` is standard output.

    A file that cannot be opened raises `OSError` from the constructor, so that it is an error of
    the site file. Later on nothing raises: what cannot be written waits, up to `MAX_PENDING`
    bytes, then lines are dropped and counted in `dropped`. A pipe that nobody reads and a
    terminal that is stopped do not hold the reactor up.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.dropped = 0
        self._dropped_told = 0
        self._pending: list[bytes] = []
        self._size = 0
        self._sources: list[Callable[[], None]] = []
        self._seldom = Seldom(LOG_INTERVAL)
        self._place: _Place | None = None
        if path != "-":
            # Standard output is opened at the first flush, since daemons change theirs.
            self._place = _open(path)

    def write(self, line: bytes) -> None:
        """Keep `line` (which ends in a newline) until the next flush."""
        size = self._size + len(line)
        if size > MAX_PENDING:
            self.dropped += 1
            return
        self._size = size
        self._pending.append(line)

    def write_all(self, lines: Sequence[bytes]) -> None:
        """The same for many lines. Where not all of them find room, the first ones do."""
        size = self._size + sum(map(len, lines))
        if size > MAX_PENDING:
            for line in lines:
                self.write(line)
            return
        self._size = size
        self._pending += lines

    def attach(self, source: Callable[[], None]) -> None:
        """Call `source` at the beginning of each flush: who makes lines in batches writes the rest
        of them then. It must not raise."""
        self._sources.append(source)

    def detach(self, source: Callable[[], None]) -> None:
        """Call it no more; it need not be known."""
        if source in self._sources:
            self._sources.remove(source)

    def flush(self, now: float) -> None:
        """Give all that waits to the kernel, or as much of it as it takes."""
        for source in self._sources:
            source()
        if not self._pending:
            return
        data = b"".join(self._pending)
        try:
            if self._place is None:
                self._place = _open(self.path)
            written = self._place.write(data) if self._place is not None else 0
        except OSError as error:
            written = 0
            # A slow reader is no fault until lines are lost.
            if error.errno != EAGAIN or self.dropped > self._dropped_told:
                self._complain(error, now)
        # What is left may begin within a line: it goes out first.
        data = data[written:]
        self._pending = [data] if data else []
        self._size = len(data)

    def reopen(self, now: float) -> None:
        """Open the path anew (it may have been renamed); the old file stays if that fails."""
        self.flush(now)
        try:
            place = _open(self.path)
        except OSError as error:
            _log.error("cannot reopen {path}: {error}", path=self.path, error=error)
            return
        if self._place is not None:
            self._place.close()
        self._place = place

    def close(self, now: float) -> None:
        """Flush and close; lines that come later are kept for a flush that reopens."""
        self.flush(now)
        if self._place is not None:
            self._place.close()
            self._place = None

    def _complain(self, error: OSError, now: float) -> None:
        if self._seldom.note(now):
            self._dropped_told = self.dropped
            _log.error(
                "cannot write {path}: {error}; {dropped} lines dropped so far",
                path=self.path,
                error=error,
                dropped=self.dropped,
            )


class _Place:
    """An open file descriptor that takes bytes without blocking."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes) -> int:
        """How many bytes were taken. Raises OSError when none were."""
        return os.write(self._fd, data)

    def close(self) -> None:
        os.close(self._fd)


class _SocketPlace(_Place):
    """Standard output is a socket, as under systemd: its flags are shared with other processes."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._socket = socket.socket(fileno=fd)

    def write(self, data: bytes) -> int:
        return self._socket.send(data, socket.MSG_DONTWAIT)

    def close(self) -> None:
        self._socket.close()


def _open(path: str) -> _Place | None:
    """The open log, or None for a pipe that has no reader yet. Raises OSError."""
    if path == "-":
        return _standard_output()
    try:
        return _Place(os.open(path, _FLAGS, 0o640))
    except OSError as error:
        if error.errno == ENXIO:
            return None
        raise


def _standard_output(fd: int = 1) -> _Place | None:
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        return _SocketPlace(os.dup(fd))
    if stat.S_ISREG(mode):
        # Shares its offset with whoever else writes there.
        return _Place(os.dup(fd))
    # O_NONBLOCK belongs to the open file, which the shell shares: open a file of our own.
    try:
        return _Place(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return _Place(os.dup(fd))
