"""
ExaBGP as a process of ours: started, watched, started again, stopped; BIRD as well (`beside`).

Knows processes and their ends. ExaBGP stops with status 0 when its helper died too often, so that
any end which was not asked for is a failure.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.route.anycast.configuration import ENVIRONMENT
from balancer.route.anycast.lines import Lines

BACK_OFF: Final = (0.1, 30.0)
"""Seconds until it is started again: the first time at once, so that routers with graceful restart
notice nothing; the most later on."""

STEADY: Final = 60.0
"""Seconds that it must have run for the back-off to begin anew."""

STOP_WITHIN: Final = 3.0
"""Seconds from SIGTERM to SIGKILL. It waits for its helper, 4.2 for ever."""

MAX_SAID: Final = 2048
"""Bytes of a line of its log that are looked at."""

KEPT_LINES: Final = 10
"""Lines of its log that are kept for the operator."""

LINES_A_SECOND: Final = 5
"""Lines of its log that go into ours; the rest is counted."""

USERS: Final = ("exabgp", "nobody")
"""Whom it runs as when we are root: Debian's package makes the first."""

DIRECTORIES: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

ROOT: Final = str(Path(__file__).resolve().parents[3])
"""Where the balancer's modules are."""

SETSID: Final = "/usr/bin/setsid"
"""Gives it a session of its own (util-linux): what a terminal sends to all is not for it."""

log = Logger()


def find(name: str = "exabgp") -> str | None:
    """The program, in PATH or where packages put it."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{DIRECTORIES}")


def environment(user: str, python: str) -> dict[str, str]:
    """Its environment: our settings, and what its helper needs to find us."""
    found = {"PATH": os.environ.get("PATH", DIRECTORIES), **ENVIRONMENT}
    if user:
        found["exabgp.daemon.user"] = user
    if python != sys.executable or not ROOT.endswith("-packages"):
        # Another Python, or a checkout: that does not find us by itself.
        found["PYTHONPATH"] = ROOT
    return found


def python(user: str) -> str:
    """
    What runs the helper: our own Python, or Debian's, if ours lies where `user` may not go, in a
    home directory for one. The helper needs nothing but the standard library.
    """
    for path in (sys.executable, "/usr/bin/python3"):
        if not user or is_open(path):
            return path
    return sys.executable


def is_open(path: str) -> bool:
    """Whether anybody may execute the file at `path`."""
    real = Path(path).resolve()
    try:
        return all(each.stat().st_mode & stat.S_IXOTH for each in (real, *real.parents))
    except OSError:
        return False


@define(eq=False)
class Program:
    """Runs a program with the configuration file `path` while it is wanted. `ended` is told each
    time that it ended unasked."""

    reactor: Any
    path: str
    environment: Mapping[str, str]
    ended: Callable[[], None]
    find: Callable[[], str | None] = find
    started: Callable[[], object] = lambda: None
    name: str = field(default="exabgp", kw_only=True)
    title: str = field(default="ExaBGP", kw_only=True)
    words: tuple[str, ...] = field(default=(), kw_only=True)
    """What it is called with; `path` by default."""
    fault: str = field(default="", init=False)
    """Why it does not run, or did not."""
    starts: int = field(default=0, init=False)
    pid: int | None = field(default=None, init=False)
    said: deque[str] = field(factory=lambda: deque(maxlen=KEPT_LINES), init=False)
    unlogged: int = field(default=0, init=False)
    _wanted: bool = field(default=False, init=False)
    _running: _Running | None = field(default=None, init=False)
    _again: IDelayedCall | None = field(default=None, init=False)
    _wait: float = field(default=BACK_OFF[0], init=False)
    _started: float = field(default=0.0, init=False)
    _stopped: list[Deferred[None]] = field(factory=list, init=False)
    _second: tuple[int, int] = field(default=(0, 0), init=False)

    def start(self) -> None:
        """Run it from now on."""
        self._wanted = True
        if self._running is None and self._again is None:
            self._start()

    def restart(self) -> None:
        """End it, so that it starts with another configuration; routers with graceful restart keep
        the routes."""
        if self._running is not None:
            self._running.asked = True
            self._running.end(self.reactor, "TERM")

    def kill(self) -> None:
        """It hangs: end it at once. It starts again."""
        if self._running is not None:
            self._running.end(self.reactor, "KILL")

    def stop(self) -> Deferred[None]:
        """Run it no more; fires when it is gone."""
        self._wanted = False
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._running is None:
            return succeed(None)
        self._running.asked = True
        self._running.end(self.reactor, "TERM")
        done: Deferred[None] = Deferred()
        self._stopped.append(done)
        return done

    def _start(self) -> None:
        self._again = None
        program = self.find()
        if program is None:
            self._failed(f"the program {self.name} is not installed, or not in PATH")
            return
        running = _Running(self)
        command = [SETSID, program, *(self.words or (self.path,))]
        try:
            self.reactor.spawnProcess(running, SETSID, command, env=self.environment, path="/")
        except OSError as error:
            self._failed(f"{program} cannot be started: {error.strerror}")
            return
        self._running, self._started = running, self.reactor.seconds()
        self.pid = running.transport.pid
        self.starts += 1
        self.started()
        log.info(
            "{title} runs as {pid}: {program}", title=self.title, pid=self.pid, program=program
        )

    def _failed(self, why: str) -> None:
        if why != self.fault:
            log.error("{why}; tried again after {wait} s", why=why, wait=self._wait)
        self.fault = why
        self._again = self.reactor.callLater(self._wait, self._start)
        self._wait = min(max(self._wait, 0.5) * 2, BACK_OFF[1])

    def over(self, running: _Running, how: str) -> None:
        """It ended; for `_Running` alone."""
        self._running = self.pid = None
        for done in self._stopped:
            done.callback(None)
        self._stopped = []
        if not self._wanted:
            return
        if self.reactor.seconds() - self._started > STEADY:
            self._wait = BACK_OFF[0]
        if running.asked:
            self._start()
            return
        self.fault = ""
        last = f", its last words: {self.said[-1]}" if self.said else ""
        self._failed(f"{self.title} ended with {how}{last}")
        self.ended()

    def heard(self, line: str) -> None:
        """A line of its log; for `_Running` alone."""
        if not line.strip():
            return
        self.said.append(line)
        second, count = self._second
        now = int(self.reactor.seconds())
        self._second = (now, count + 1 if now == second else 1)
        if self._second[1] <= LINES_A_SECOND:
            log.info("{title}: {line}", title=self.title, line=line)
        else:
            self.unlogged += 1


class _Running(ProcessProtocol):
    """One process."""

    transport: IProcessTransport

    def __init__(self, program: Program) -> None:
        self._program = program
        self._lines = Lines(MAX_SAID)
        self._late: IDelayedCall | None = None
        self.asked = False
        """Whether we ended it."""

    def end(self, reactor: Any, signal: str) -> None:
        """Send TERM, and KILL if that does not help."""
        try:
            self.transport.signalProcess(signal)
        except ProcessExitedAlready:
            return
        if self._late is None and signal != "KILL":
            self._late = reactor.callLater(STOP_WITHIN, self.end, reactor, "KILL")

    def outReceived(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            self._program.heard(line)

    def errReceived(self, data: bytes) -> None:
        self.outReceived(data)

    def processExited(self, reason: Failure) -> None:
        # A helper that inherited its pipes may live on for a moment.
        self.transport.loseConnection()

    def processEnded(self, reason: Failure) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()
        error = reason.value
        number = getattr(error, "signal", None)
        how = f"status {getattr(error, 'exitCode', None)}" if number is None else f"signal {number}"
        self._program.over(self, how)
