"""Files that others name: opened only if they are files."""

from __future__ import annotations

import gc
import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from balancer.site.files import loading
from balancer.wire.regular import open_regular


class RegularTests(SynchronousTestCase):
    """A directory with one of each kind."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.makedirs(self.directory)

    def path(self, name: str) -> str:
        """Of something there."""
        return os.path.join(self.directory, name)

    def test_file(self) -> None:
        """A file is opened, also by a link to it."""
        with open(self.path("file"), "wb") as file:
            file.write(b"text")
        os.symlink("file", self.path("link"))
        for name in ("file", "link"):
            with open_regular(self.path(name)) as file:
                self.assertEqual(file.read(), b"text")

    def test_others(self) -> None:
        """What is no file is refused by what it is, at once, and no descriptor is left open."""
        os.mkfifo(self.path("pipe"))
        os.mkdir(self.path("directory"))
        gc.collect()  # what other tests left would close between the two looks
        before = os.listdir("/proc/self/fd")
        for name, what in (
            (self.path("pipe"), "a pipe"), (self.path("directory"), "a directory"),
            ("/dev/zero", "a device"),
        ):
            error = self.assertRaises(OSError, open_regular, name)
            self.assertIn(what, str(error))
        self.assertEqual(os.listdir("/proc/self/fd"), before)

    def test_missing(self) -> None:
        """What cannot be opened says why: nothing is there, or a socket."""
        self.assertRaises(FileNotFoundError, open_regular, self.path("none"))
        bound = socket.socket(socket.AF_UNIX)
        self.addCleanup(bound.close)
        bound.bind(self.path("socket"))
        self.assertRaises(OSError, open_regular, self.path("socket"))

    def test_site_file(self) -> None:
        """A running site waits for no pipe that somebody gives for a site file."""
        os.mkfifo(self.path("pipe"))
        makers: dict[str, object] = {}
        self.assertRaises(OSError, next, loading(self.path("pipe"), makers))  # type: ignore[arg-type]
