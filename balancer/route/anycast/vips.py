"""
The addresses of announced prefixes, on the device that has them: added before the announcement and
removed after the withdrawal. By `ip -batch` beside the reactor, without a shell.

Knows iproute2's words. A /32 or /128 is an address of the device; what is wider is a local route
to it, so that the kernel takes every address of the prefix for its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from typing import Any, Final

from attrs import define, field
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from balancer.config.values import Network

PROTOCOL: Final = 196
"""Marks our routes in the kernel (rtm_protocol), as those of [ecmp]."""

RETRY: Final = (1.0, 30.0)
"""Seconds between attempts to add what could not be added: the first, and the most."""

CHECK_EVERY: Final = 5.0
"""Seconds between two looks whether all is still there: a device may go, and its addresses with
it."""

WITHIN: Final = 5.0
"""Seconds that one `ip` may take; it takes some 3 ms."""

MAX_COMPLAINT: Final = 4096
"""Bytes that are kept of what `ip` complains of."""

DIRECTORIES: Final = "/usr/sbin:/sbin:/usr/bin:/bin"

Run = Callable[[str, Callable[[str], None]], None]
"""Runs `ip -batch` with that input, and calls back with '' or with what went wrong."""


def additions(prefixes: Iterable[Network], device: str) -> str:
    """Commands after which the prefixes are there, whether they were before or not."""
    return "".join(
        f"address replace {each} dev {device}{' nodad' if each.version == 6 else ''}\n"
        if each.prefixlen == each.max_prefixlen
        else f"route replace local {each} dev {device} proto {PROTOCOL}\n"
        for each in prefixes
    )


def removals(prefixes: Iterable[Network], device: str) -> str:
    """Commands that remove the prefixes; what is not there is complained of."""
    return "".join(
        f"address del {each} dev {device}\n"
        if each.prefixlen == each.max_prefixlen
        else f"route del local {each} dev {device} proto {PROTOCOL}\n"
        for each in prefixes
    )


@define(eq=False)
class Vips:
    """
    Keeps the prefixes that `want` names on `device`. `changed` is called with '' when they all are
    there, and with the reason when they are not.
    """

    reactor: Any
    device: str
    run: Run
    changed: Callable[[str], None]
    fault: str = field(default="", init=False)
    wanted: frozenset[Network] = field(default=frozenset(), init=False)
    there: frozenset[Network] = field(default=frozenset(), init=False)
    """What is known to be in place."""
    _tried: frozenset[Network] = field(default=frozenset(), init=False)
    """What may be there: all that was added or tried, and is not removed."""
    _busy: bool = field(default=False, init=False)
    _again: IDelayedCall | None = field(default=None, init=False)
    _retry: float = field(default=RETRY[0], init=False)

    def want(self, prefixes: Iterable[Network]) -> None:
        """These shall be there and no others of ours; the same again changes nothing."""
        wanted = frozenset(prefixes)
        if wanted != self.wanted:
            self.wanted = wanted
            self._step()

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do."""
        return not self._busy and self._tried == self.wanted

    def stop(self) -> None:
        """Look no more."""
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _step(self) -> None:
        if self._busy:
            return
        self.stop()
        gone = self._tried - self.wanted
        if gone:
            self.there -= gone
            self._busy = True
            self.run(removals(_sorted(gone), self.device), lambda why: self._removed(gone))
        elif self.there >= self.wanted:
            if self.wanted:
                self._later(CHECK_EVERY)
        else:
            self._add()

    def _add(self) -> None:
        wanted = self.wanted
        self._tried |= wanted
        self._busy = True
        self.run(additions(_sorted(wanted), self.device), lambda why: self._added(wanted, why))

    def _later(self, seconds: float) -> None:
        self._again = self.reactor.callLater(seconds, self._look)

    def _look(self) -> None:
        self._again = None
        self._add()

    def _removed(self, gone: frozenset[Network]) -> None:
        # What could not be removed is not there, or its device is not.
        self._busy = False
        self._tried -= gone
        self._step()

    def _added(self, what: frozenset[Network], why: str) -> None:
        self._busy = False
        self.fault = why
        self.there = frozenset() if why else what
        if what != self.wanted:
            self._step()
        elif why:
            self._later(self._retry)
            self._retry = min(self._retry * 2, RETRY[1])
        else:
            self._retry = RETRY[0]
            self._step()
        self.changed(why)


def _sorted(prefixes: Iterable[Network]) -> list[Network]:
    return sorted(prefixes, key=str)


def ip_batch(reactor: Any) -> Run:
    """Runs the real `ip`."""

    def run(batch: str, done: Callable[[str], None]) -> None:
        program = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:{DIRECTORIES}")
        if program is None:
            reactor.callLater(0, done, "the program ip is not installed (iproute2)")
            return
        protocol = _Batch(batch.encode(), done)
        try:
            reactor.spawnProcess(protocol, program, ["ip", "-force", "-batch", "-"], env={})
        except OSError as error:
            reactor.callLater(0, done, f"{program}: {error.strerror}")
            return
        protocol.late = reactor.callLater(WITHIN, protocol.give_up)

    return run


class _Batch(ProcessProtocol):
    """One `ip -batch`, and what it says."""

    transport: IProcessTransport

    def __init__(self, batch: bytes, done: Callable[[str], None]) -> None:
        self._batch, self._done = batch, done
        self._said = b""
        self.late: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self.transport.writeToChild(0, self._batch)
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        self._said = (self._said + data)[:MAX_COMPLAINT]

    def errReceived(self, data: bytes) -> None:
        self.outReceived(data)

    def give_up(self) -> None:
        """It took too long."""
        self.transport.signalProcess("KILL")

    def processEnded(self, reason: Failure) -> None:
        if self.late is not None and self.late.active():
            self.late.cancel()
        if reason.check(ProcessDone):
            self._done("")
            return
        lines = self._said.decode("utf-8", "replace").splitlines()
        self._done(lines[0] if lines else f"ip ended with {reason.value}")
