"""Small files that must survive: whole or not at all, and read within a bound."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.wire.statefile import MAX_SAVED, load, save


class StateFileTests(SynchronousTestCase):
    """A directory that is not there yet."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.path = str(self.directory / "within" / "kept")

    def left(self) -> list[str]:
        """The names in the directory."""
        return sorted(os.listdir(os.path.dirname(self.path)))

    def test_kept(self) -> None:
        """What was saved is loaded, the later over the earlier, and nothing is left beside it."""
        for data in (b"first", b"", b"third\n" * 1000):
            save(self.path, data)
            self.assertEqual(load(self.path, 10_000), data)
        self.assertEqual(self.left(), ["kept"])

    def test_modes(self) -> None:
        """The directory is its owner's and his group's, the file its owner's alone."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        save(self.path, b"secret")
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(os.path.dirname(self.path)).st_mode & 0o777, 0o750)

    def test_missing(self) -> None:
        """A file that is not there is None, and so is one whose directory is not."""
        self.assertIsNone(load(self.path, 10))

    def test_failure(self) -> None:
        """A write that fails leaves the old content, nothing beside it, and tells."""
        save(self.path, b"old")

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "fsync", full)
        self.assertRaises(OSError, save, self.path, b"new")
        self.assertEqual(load(self.path, 10), b"old")
        self.assertEqual(self.left(), ["kept"])

    def test_left_by_a_crash(self) -> None:
        """What a crash left of a write by a process of the same number is no obstacle."""
        save(self.path, b"old")
        Path(f"{self.path}.{os.getpid()}.new").write_bytes(b"half")
        save(self.path, b"new")
        self.assertEqual(self.left(), ["kept"])

    def test_not_a_directory(self) -> None:
        """A directory that cannot be made is told."""
        self.directory.parent.mkdir(exist_ok=True)
        self.directory.write_text("a file")
        self.assertRaises(OSError, save, self.path, b"x")
        self.assertRaises(OSError, load, self.path, 10)

    def test_bounds(self) -> None:
        """Nothing longer than the bound is kept or believed."""
        self.assertRaises(ValueError, save, self.path, b"x" * (MAX_SAVED + 1))
        save(self.path, b"x" * 11)
        self.assertRaises(OSError, load, self.path, 10)
        self.assertEqual(load(self.path, 11), b"x" * 11)

    def test_pipe(self) -> None:
        """A pipe without a writer is refused, not waited for; and so is a directory."""
        self.directory.mkdir()
        path = str(self.directory / "pipe")
        os.mkfifo(path)
        self.assertRaises(OSError, load, path, 10)
        self.assertRaises(OSError, load, str(self.directory), 10)
