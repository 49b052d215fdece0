"""ExaBGP as a process: any end that was not asked for is a failure, and it is started again."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.route.anycast.program import (
    BACK_OFF,
    KEPT_LINES,
    LINES_A_SECOND,
    SETSID,
    STEADY,
    STOP_WITHIN,
    Program,
    environment,
    is_open,
)


class Process:
    """One process that was started, as Twisted shows it."""

    def __init__(self, protocol: Any, words: list[str], pid: int) -> None:
        self.protocol, self.words, self.pid = protocol, words, pid
        self.signals: list[str] = []
        self.gone = False
        protocol.transport = self

    def signalProcess(self, name: str) -> None:
        """Send a signal."""
        if self.gone:
            raise ProcessExitedAlready
        self.signals.append(name)

    def loseConnection(self) -> None:
        """Close the pipes."""

    def end(self, status: int | None = 0, signal: int | None = None) -> None:
        """Let it end."""
        self.gone = True
        done = status == 0 and signal is None
        reason = Failure(ProcessDone(0) if done else ProcessTerminated(status, signal))
        self.protocol.processExited(reason)
        self.protocol.processEnded(reason)


class ProgramTests(SynchronousTestCase):
    """A program whose processes are of the test's own."""

    def setUp(self) -> None:
        """Make it."""
        reactor: Any = MemoryReactorClock()
        reactor.spawnProcess = self.spawn
        self.reactor = reactor
        self.processes: list[Process] = []
        self.ends: list[float] = []
        self.where: str | None = "/usr/sbin/exabgp"
        self.program = Program(self.reactor, "/run/x.conf", {"A": "b"},
                               lambda: self.ends.append(self.reactor.seconds()),
                               find=lambda: self.where)

    def spawn(self, protocol: Any, program: str, words: list[str], **more: Any) -> None:
        """As the reactor does."""
        self.assertEqual((SETSID, {"A": "b"}, "/"), (program, more["env"], more["path"]))
        self.processes.append(Process(protocol, words, 100 + len(self.processes)))

    def test_starts_once(self) -> None:
        """It is started once, with its configuration, in a session of its own."""
        self.program.start()
        self.program.start()
        self.assertEqual([[SETSID, "/usr/sbin/exabgp", "/run/x.conf"]],
                         [each.words for each in self.processes])
        self.assertEqual((100, 1), (self.program.pid, self.program.starts))

    def test_ends(self) -> None:
        """It is started again when it ends, with status 0 too: nearly at once, then ever later, and
        anew from the start when it ran for long."""
        self.program.start()
        waits = []
        for _ in range(9):
            self.processes[-1].end(0)
            self.assertIn("ended with status 0", self.program.fault)
            self.assertIsNone(self.program.pid)
            count, before = len(self.processes), self.reactor.seconds()
            while len(self.processes) == count:
                self.reactor.advance(0.05)
            waits.append(round(self.reactor.seconds() - before, 1))
        self.assertEqual([0.1, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0], waits)
        self.assertEqual(9, len(self.ends))
        self.reactor.advance(STEADY + 1)
        self.processes[-1].end(None, 9)
        self.assertIn("ended with signal 9", self.program.fault)
        self.reactor.advance(BACK_OFF[0])
        self.assertEqual(11, len(self.processes))

    def test_missing(self) -> None:
        """A program that is not there is a fault, and found when it comes."""
        self.where = None
        self.program.start()
        self.assertIn("not installed", self.program.fault)
        self.where = "/usr/sbin/exabgp"
        self.reactor.advance(BACK_OFF[0])
        self.assertEqual(1, len(self.processes))

    def test_cannot_start(self) -> None:
        """Without a process to be had it waits as well."""
        def refuse(*args: Any, **more: Any) -> None:
            raise OSError(11, "Resource temporarily unavailable")
        self.reactor.spawnProcess = refuse
        self.program.start()
        self.assertIn("Resource temporarily unavailable", self.program.fault)
        self.assertEqual(1, len(self.reactor.getDelayedCalls()))

    def test_stop(self) -> None:
        """Stopping sends TERM, and KILL when that does not help; then it is not started again."""
        self.program.start()
        stopped = self.program.stop()
        self.assertEqual(["TERM"], self.processes[0].signals)
        self.reactor.advance(STOP_WITHIN)
        self.assertEqual(["TERM", "KILL"], self.processes[0].signals)
        self.assertNoResult(stopped)
        self.processes[0].end(None, 9)
        self.successResultOf(stopped)
        self.assertEqual(([], []), (self.reactor.getDelayedCalls(), self.ends))

    def test_stop_while_waiting(self) -> None:
        """Stopping while it is to be started again is done at once."""
        self.program.start()
        self.processes[0].end(1)
        self.successResultOf(self.program.stop())
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_restart(self) -> None:
        """An end that was asked for is no failure, and followed by a start at once."""
        self.program.start()
        self.program.restart()
        self.processes[0].end(0)
        self.assertEqual((2, "", []), (len(self.processes), self.program.fault, self.ends))
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_kill(self) -> None:
        """One that hangs is killed, which is a failure."""
        self.program.start()
        self.program.kill()
        self.assertEqual(["KILL"], self.processes[0].signals)
        self.processes[0].end(None, 9)
        self.assertEqual(1, len(self.ends))

    def test_words(self) -> None:
        """Its last words are kept, so many lines and so long; a flood does not go into our log."""
        self.program.start()
        for at in range(1000):
            self.processes[0].protocol.errReceived(b"line %d %s\n" % (at, b"x" * 100))
        self.processes[0].protocol.outReceived(b"y" * 10_000_000)
        self.assertEqual(KEPT_LINES, len(self.program.said))
        self.assertTrue(self.program.said[-1].startswith("line 999"))
        self.assertEqual(1000 - LINES_A_SECOND, self.program.unlogged)
        self.processes[0].end(1)
        self.assertIn("last words: line 999", self.program.fault)


class EnvironmentTests(SynchronousTestCase):
    """What it is started with."""

    def test_environment(self) -> None:
        """Settings of ours stand above those of the machine's file; the user is named."""
        found = environment("exabgp", "/usr/bin/python3")
        self.assertEqual(("true", "false", "exabgp"), (
            found["exabgp.api.ack"], found["exabgp.api.cli"], found["exabgp.daemon.user"]))
        self.assertNotIn("exabgp.daemon.user", environment("", "/usr/bin/python3"))

    def test_open(self) -> None:
        """What anybody may execute is open; what is not there is not."""
        self.assertTrue(is_open("/bin/sh"))
        self.assertFalse(is_open("/nowhere/python"))
        self.assertFalse(is_open("/etc/passwd"))
