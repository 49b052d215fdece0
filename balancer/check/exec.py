"""
The check `exec`: a program of the operator's says whether a server is up. Never through a shell.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import (
    IDelayedCall,
    IProcessTransport,
    IReactorProcess,
    IReactorTime,
)
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.check.interfaces import IServerCheck, NotAsked
from balancer.interfaces import CheckFailed
from balancer.wire.address import Address

AT_ONCE = 16
"""Programs of one pool running at once: a process costs about what a hundred sockets do."""

MOST_OUTPUT = 4096
"""Bytes of a program's output that are kept; the rest is read and dropped."""

SETSID = "/usr/bin/setsid"
"""Gives the program a session, and so a process group, of its own (util-linux, Essential in
Debian). Twisted's spawnProcess can do that only together with a terminal."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

KillGroup = Callable[[int, int], None]


@implementer(IServerCheck)
@frozen
class ExecCheck:
    """
    Runs `path` with `arguments`; exit status 0 means up.

    The program gets BALANCER_SERVER (POOL/NAME), BALANCER_ADDRESS, BALANCER_PORT and PATH in its
    environment and nothing else, and an empty standard input. At the timeout it and all that it
    started are killed; what it leaves running when it ends is killed as well.
    """

    reactor: IReactorProcess
    clock: IReactorTime
    path: str
    arguments: tuple[str, ...] = ()
    at_once: int = AT_ONCE
    kill_group: KillGroup = os.killpg

    def probe(self, target: Address, timeout: float) -> Deferred[str]:
        """As `probe_server`, for a server that is known by its address only."""
        return self.probe_server(str(target), target, timeout)

    def probe_server(self, server: str, target: Address, timeout: float) -> Deferred[str]:
        """Fires with what the program said; fails with CancelledError when it was killed."""
        if not (os.path.isfile(self.path) and os.access(self.path, os.X_OK)):
            raise CheckFailed(f"{self.path} is not a file that may be executed")
        program = _Program(self.kill_group)
        try:
            self.reactor.spawnProcess(
                program,
                SETSID,
                [SETSID, os.path.abspath(self.path), *self.arguments],
                env=_environment(server, target),
            )
        except OSError as error:
            if error.errno == errno.EAGAIN:
                raise NotAsked("no more processes may be started (see ulimit -u)") from error
            raise
        program.end_in(timeout, self.clock)
        return program.done


def _environment(server: str, target: Address) -> Mapping[str, str]:
    return {
        "PATH": os.environ.get("PATH", DEFAULT_PATH),
        "BALANCER_SERVER": server,
        "BALANCER_ADDRESS": target.host,
        "BALANCER_PORT": str(target.port),
    }


class _Program(ProcessProtocol):
    """A running program, its output, and its end."""

    transport: IProcessTransport

    def __init__(self, kill_group: KillGroup) -> None:
        self.done: Deferred[str] = Deferred(lambda _: self._give_up())
        self._kill_group = kill_group
        self._pid: int | None = None
        self._output = b""
        self._late: IDelayedCall | None = None

    def end_in(self, seconds: float, clock: IReactorTime) -> None:
        """Give up if it has not ended by then."""
        self._late = clock.callLater(seconds, self.done.cancel)

    def connectionMade(self) -> None:
        self._pid = self.transport.pid
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        self._output = (self._output + data)[:MOST_OUTPUT]

    def errReceived(self, data: bytes) -> None:
        self.outReceived(data)

    def processExited(self, reason: Failure) -> None:
        # Whoever inherited the pipes would keep `processEnded` from coming.
        self._kill_all()

    def processEnded(self, reason: Failure) -> None:
        if self.done.called:
            return
        self._forget_time()
        words = self._output.decode("utf-8", "replace").strip()
        if reason.check(ProcessDone):
            self.done.callback(words or "exit status 0")
        else:
            told = _how(reason.value)
            self.done.errback(CheckFailed(f"{told}: {words}" if words else told))

    def _forget_time(self) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()

    def _give_up(self) -> None:
        self._forget_time()
        self._kill_all()
        # It may not have got as far as its own process group.
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")
        self.transport.loseConnection()

    def _kill_all(self) -> None:
        if self._pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                self._kill_group(self._pid, signal.SIGKILL)


def _how(error: BaseException | None) -> str:
    """How a program ended that did not end well."""
    if not isinstance(error, ProcessTerminated):
        return str(error)
    if error.signal is not None:
        return f"killed by signal {error.signal}"
    return f"exit status {error.exitCode}"
