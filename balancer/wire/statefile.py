"""
Small files that must survive a crash: written whole or not at all, read within a bound.

Knows files; what is in them is its callers' business. Both functions wait for the disk, which may
take longer than a turn of the reactor may last: call `save` before the reactor runs or in a thread.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from balancer.wire.regular import open_regular

DIRECTORY_MODE: Final = 0o750
FILE_MODE: Final = 0o600
"""Others than the owner have no business with what is kept: secrets of cookies are among it."""

MAX_SAVED: Final = 16 * 1024 * 1024
"""Bytes of one file, as of a site file: a verdict on each of 18,500 servers takes 1 MiB."""


def save(path: str, data: bytes) -> None:
    """
    Make `data` the content of the file at `path`: after a crash at any moment it is the old content
    or the new one. Missing directories are made, with the mode 0750.

    Raises OSError if that fails, with the old file as it was, and ValueError for over 16 MiB. Two
    writers of one file at the same time are the caller's to prevent, within one process.
    """
    if len(data) > MAX_SAVED:
        raise ValueError(f"{path}: expected at most {MAX_SAVED} bytes to keep, got {len(data)}")
    directory = os.path.dirname(path) or "."
    os.makedirs(directory, DIRECTORY_MODE, exist_ok=True)
    # Another process with the same directory has another name, so that neither renames a half.
    new = f"{path}.{os.getpid()}.new"
    with suppress(FileNotFoundError):
        os.unlink(new)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.rename(new, path)
    except OSError:
        with suppress(OSError):
            os.unlink(new)
        raise
    _sync(directory)


def load(path: str, max_size: int) -> bytes | None:
    """
    The content of the file at `path`; None if there is none.

    Raises OSError if it cannot be read, is longer than `max_size` bytes, or no regular file.
    """
    try:
        with open_regular(path) as file:
            data = file.read(max_size + 1)
    except FileNotFoundError:
        return None
    if len(data) > max_size:
        raise OSError(f"{path}: expected at most {max_size} bytes, got more")
    return data


def _sync(directory: str) -> None:
    """Have the disk know the new name, too (fsync(2), notes)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
