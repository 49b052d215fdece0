"""
Tests of `balancer.wire.logfile` and `balancer.wire.seldom`.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from balancer.wire import logfile
from balancer.wire.logfile import LOG_INTERVAL, LogFile
from balancer.wire.seldom import Seldom


class Case(SynchronousTestCase):
    """A path, and what Twisted's log was told."""

    def setUp(self) -> None:
        self.path = os.path.relpath(self.mktemp())
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def read(self, path: str | None = None) -> bytes:
        """What is in the file."""
        with open(path or self.path, "rb") as file:
            return file.read()


class LogFileTests(Case):
    """Lines wait for the ticker, and are appended."""

    def test_batches(self) -> None:
        """Lines are in the file after a flush, behind what was there."""
        with open(self.path, "wb") as file:
            file.write(b"old\n")
        log = LogFile(self.path)
        log.write(b"one\n")
        log.write(b"two\n")
        self.assertEqual(self.read(), b"old\n")
        log.flush(0.0)
        self.assertEqual(self.read(), b"old\none\ntwo\n")
        log.flush(0.1)
        log.close(0.2)

    def test_close(self) -> None:
        """What waits is written before the file is closed; again is harmless."""
        log = LogFile(self.path)
        log.write(b"last\n")
        log.close(0.0)
        log.close(0.0)
        self.assertEqual(self.read(), b"last\n")

    def test_cannot_open(self) -> None:
        """A path that cannot be opened is an error at once."""
        self.assertRaises(OSError, LogFile, os.path.join(self.path, "log"))

    def test_reopen(self) -> None:
        """After a rename, reopen writes what waited to the old file and goes on in a new one."""
        log = LogFile(self.path)
        log.write(b"old\n")
        os.rename(self.path, self.path + ".1")
        log.reopen(0.0)
        log.write(b"new\n")
        log.close(0.0)
        self.assertEqual(self.read(self.path + ".1"), b"old\n")
        self.assertEqual(self.read(), b"new\n")

    def test_cannot_reopen(self) -> None:
        """When the path cannot be opened any more, the old file goes on."""
        log = LogFile(self.path)
        os.rename(self.path, self.path + ".1")
        os.mkdir(self.path)
        log.reopen(0.0)
        log.write(b"on\n")
        log.close(0.0)
        self.assertEqual(self.read(self.path + ".1"), b"on\n")
        self.assertTrue([event for event in self.events if "cannot reopen" in str(event)])

    def test_full_disk(self) -> None:
        """A full disk raises nothing, is logged once a minute, and loses nothing that fits."""
        full = True
        real = os.write

        def write(fd: int, data: bytes) -> int:
            if full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(fd, data)

        self.patch(logfile.os, "write", write)  # type: ignore[attr-defined]  # the module's own os
        log = LogFile(self.path)
        for tick in range(130):
            log.write(b"%d\n" % tick)
            log.flush(float(tick))
        lines = [event for event in self.events if "cannot write" in str(event)]
        self.assertEqual(len(lines), 1 + int(129 // LOG_INTERVAL))
        full = False
        log.close(200.0)
        self.assertEqual(self.read(), b"".join(b"%d\n" % tick for tick in range(130)))

    def test_bounded(self) -> None:
        """What waits is bounded; lines beyond it are dropped and counted."""
        self.patch(logfile, "MAX_PENDING", 20)
        log = LogFile(self.path)
        for _ in range(5):
            log.write(b"12345678\n")
        self.assertEqual(log.dropped, 3)
        log.flush(0.0)
        log.write(b"again\n")
        log.close(0.0)
        self.assertEqual(self.read(), b"12345678\n" * 2 + b"again\n")


    def test_sources(self) -> None:
        """Who holds lines back writes them when the log is flushed, until it is detached."""
        log = LogFile(self.path)
        held = [b"one\n", b"two\n", b"three\n"]

        def source() -> None:
            log.write(held.pop(0))

        log.attach(source)
        log.flush(0.0)
        self.assertEqual(self.read(), b"one\n")
        log.reopen(0.1)
        log.detach(source)
        log.detach(source)
        log.close(0.2)
        self.assertEqual(self.read(), b"one\ntwo\n")


class SlowReaderTests(Case):
    """A reader that does not keep up never holds the reactor up."""

    def test_pipe(self) -> None:
        """A full pipe makes lines wait, whole and in order; what it cannot hold is counted."""
        self.patch(logfile, "MAX_PENDING", 100_000)
        os.mkfifo(self.path)
        log = LogFile(self.path)
        log.write(b"early\n")
        log.flush(0.0)
        reading = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reading)
        line = b"x" * 99 + b"\n"
        for tick in range(30):
            for _ in range(100):
                log.write(line)
            log.flush(float(tick))
        self.assertGreater(log.dropped, 0)
        self.assertTrue([event for event in self.events if "lines dropped" in str(event)])
        got = b""
        for tick in range(30, 60):
            try:
                got += os.read(reading, 1 << 20)
            except BlockingIOError:
                break
            log.flush(float(tick))
        first, *lines, last = got.split(b"\n")
        self.assertEqual((first, last), (b"early", b""))
        self.assertEqual(set(lines), {line[:-1]})
        self.assertEqual(len(lines) + log.dropped, 3000)
        log.close(100.0)

    def test_standard_output(self) -> None:
        """Standard output as a pipe, a file or a socket is written without changing its flags."""
        reading, writing = os.pipe()
        ours, theirs = socket.socketpair()
        file = os.open(self.path, os.O_RDWR | os.O_CREAT)
        for fd in (reading, writing, file):
            self.addCleanup(os.close, fd)
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        for fd in (writing, ours.fileno(), file):
            place = logfile._standard_output(fd)
            assert place is not None
            self.assertEqual(place.write(b"line\n"), 5)
            if fd != file:
                with self.assertRaises(BlockingIOError):
                    while True:
                        place.write(bytes(65536))
            self.assertTrue(os.get_blocking(fd))
            place.close()
        self.assertEqual(os.read(reading, 5), b"line\n")
        self.assertEqual(theirs.recv(5), b"line\n")
        self.assertEqual(self.read(), b"line\n")

    def test_dash(self) -> None:
        """`-` opens standard output at the first flush, after a daemon has changed its own."""
        opened: list[str] = []

        def no_place(path: str) -> None:
            opened.append(path)

        self.patch(logfile, "_open", no_place)
        log = LogFile("-")
        self.assertEqual(opened, [])
        log.write(b"x\n")
        log.flush(0.0)
        self.assertEqual(opened, ["-"])


class SeldomTests(SynchronousTestCase):
    """A repeating fault is said seldom, and for ever."""

    def test_counts(self) -> None:
        """The first is let through, then one an interval with the count of those held back."""
        seldom = Seldom(1.0)
        said = [seldom.note(tick / 4) for tick in range(9)]
        self.assertEqual(said, [1, 0, 0, 0, 4, 0, 0, 0, 4])
