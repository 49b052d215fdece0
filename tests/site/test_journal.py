"""The log as systemd's journal takes it."""

from __future__ import annotations

import io
import os
import sys
import tempfile

from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.site.journal import is_read_by_journal, lines, observer


class JournalTests(SynchronousTestCase):
    """What is written."""

    def written(self, namespace: str, level: LogLevel, text: str, **more: object) -> str:
        """What becomes of an event."""
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        found = observer()
        verifyObject(ILogObserver, found)
        Logger(namespace, observer=LogPublisher(found)).emit(level, text, **more)
        return out.getvalue()

    def test_levels(self) -> None:
        """How grave it is stands in front, as syslog counts."""
        for level, number in (("debug", 7), ("info", 6), ("warn", 4), ("error", 3),
                              ("critical", 2)):
            said = self.written("balancer.x", LogLevel.lookupByName(level), "web/{n} is up", n="a")
            self.assertEqual(said, f"<{number}>web/a is up\n")

    def test_others(self) -> None:
        """What is not ours says whose it is."""
        self.assertEqual(self.written("twisted.x", LogLevel.info, "a"), "<6>twisted.x: a\n")

    def test_lines(self) -> None:
        """Each line of an event is as grave, those of a traceback too; none says nothing."""
        try:
            raise ValueError("bad\nworse")
        except ValueError:
            failure = Failure()
        said = self.written("balancer.x", LogLevel.critical, "it failed", log_failure=failure)
        self.assertTrue(said.startswith("<2>it failed\n<2>Traceback "))
        self.assertIn("\n<2>worse\n", said)
        self.assertTrue(all(line.startswith("<2>") for line in said.splitlines()))
        self.assertEqual(self.written("balancer.x", LogLevel.info, ""), "")
        self.assertEqual(lines("a", None), "<6>a\n")

    def test_read(self) -> None:
        """Only the very file that systemd names is the journal's."""
        with tempfile.TemporaryFile("w") as stream:
            there = os.fstat(stream.fileno())
            named = f"{there.st_dev}:{there.st_ino}"
            self.assertTrue(is_read_by_journal(stream, {"JOURNAL_STREAM": named}))
            for other in (f"{there.st_dev}:{there.st_ino + 1}", "x", ""):
                self.assertFalse(is_read_by_journal(stream, {"JOURNAL_STREAM": other}))
            self.assertFalse(is_read_by_journal(stream, {}))
        self.assertFalse(is_read_by_journal(io.StringIO(), {"JOURNAL_STREAM": named}))
