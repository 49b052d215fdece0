"""
Whether files have changed, without reading them again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

#: What tells one state of a file from another. Nobody can set the time of the inode's change, so a
#: file that is written anew differs even if its size and its own time do not.
Stamps = tuple[tuple[str, int, int, int, int], ...]


def stamps(paths: Iterable[str | Path | None]) -> Stamps:
    """
    The state of the files at `paths`, and of all that directories among them hold.

    Links are followed. What cannot be looked at is left out: reading it says why. None is nothing.
    """
    found = []
    for path in paths:
        if path is not None:
            found += [_stamp(each) for each in (Path(path), *_within(Path(path)))]
    return tuple(each for each in found if each is not None)


def _within(path: Path) -> Iterable[Path]:
    try:
        return sorted(path.iterdir()) if path.is_dir() else ()
    except OSError:
        return ()


def _stamp(path: Path) -> tuple[str, int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
