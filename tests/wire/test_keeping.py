"""One write at a time, and the latest content last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.wire.keeping import Keeper, in_a_thread


class KeeperTests(SynchronousTestCase):
    """A keeper whose writes end when the test says so."""

    def setUp(self) -> None:
        self.writes: list[tuple[str, bytes, Deferred[None]]] = []
        self.keeper = Keeper("/file", self.write)

    def write(self, path: str, data: bytes) -> Deferred[None]:
        """Begin a write."""
        done: Deferred[None] = Deferred()
        self.writes.append((path, data, done))
        return done

    def test_one_at_a_time(self) -> None:
        """While one is written, only the latest of what comes is kept for the next."""
        for data in (b"1", b"2", b"3"):
            self.keeper.keep(data)
        self.assertEqual([write[:2] for write in self.writes], [("/file", b"1")])
        self.writes[0][2].callback(None)
        self.assertEqual([data for _, data, _ in self.writes], [b"1", b"3"])

    def test_failure(self) -> None:
        """A write that fails is logged and counted, and the next one is made all the same."""
        self.keeper.keep(b"1")
        self.keeper.keep(b"2")
        self.writes[0][2].errback(OSError(28, "No space left on device"))
        self.assertEqual((self.keeper.failures, len(self.writes)), (1, 2))
        self.writes[1][2].errback(ValueError("too long"))
        self.assertEqual(self.keeper.failures, 2)

    def test_finished(self) -> None:
        """Whoever waits for the end waits for all that is to be written."""
        self.successResultOf(self.keeper.finished())
        self.keeper.keep(b"1")
        self.keeper.keep(b"2")
        finished = self.keeper.finished()
        self.writes[0][2].callback(None)
        self.assertNoResult(finished)
        self.writes[1][2].callback(None)
        self.successResultOf(finished)


class AtOnce:
    """A reactor, and its threads, that do at once what they are given."""

    def getThreadPool(self) -> AtOnce:
        """Itself."""
        return self

    def callInThreadWithCallback(self, done: Any, work: Any, *args: Any) -> None:
        """Do the work."""
        try:
            done(True, work(*args))
        except OSError:
            done(False, Failure())

    def callFromThread(self, call: Any, *args: Any) -> None:
        """Call it."""
        call(*args)


class ThreadTests(SynchronousTestCase):
    """Files are written by the reactor's threads."""

    def test_written(self) -> None:
        """The file has the content, in directories that are made for it."""
        path = Path(self.mktemp()) / "deep" / "file"
        self.successResultOf(in_a_thread(AtOnce())(str(path), b"1"))
        self.assertEqual(path.read_bytes(), b"1")

    def test_failed(self) -> None:
        """Where no file can be, that is the failure."""
        path = Path(self.mktemp())
        path.write_text("")
        self.failureResultOf(in_a_thread(AtOnce())(f"{path}/file", b"1"), OSError)
