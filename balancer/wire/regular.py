"""
Files that others name: opened for reading only if they are files.

Opening a pipe waits for its writer, reading one may never end, and the reactor would wait as well.
"""

from __future__ import annotations

import os
import stat
from typing import BinaryIO


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """The regular file at `path`, for reading. Raises OSError, also for anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            what = "a directory" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
            raise OSError(f"{what}, not a regular file")
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
