"""
Writes what must survive beside the reactor: the latest of it, one write at a time.

Knows that a write takes long and may fail. What is written is its caller's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.wire.statefile import save

log = Logger()

Write = Callable[[str, bytes], Deferred[None]]


def in_a_thread(reactor: Any) -> Write:
    """Writes with `wire.statefile.save`, in a thread of the reactor's."""
    return lambda path, data: deferToThreadPool(
        reactor, reactor.getThreadPool(), save, path, data
    )


@define(eq=False)
class Keeper:
    """Keeps one file up to date. A write that fails is logged, and tried again at the next."""

    path: str
    _write: Write
    failures: int = field(default=0, init=False)
    _writing: bytes | None = field(default=None, init=False)
    _next: bytes | None = field(default=None, init=False)
    _idle: list[Deferred[None]] = field(factory=list, init=False)

    def keep(self, data: bytes) -> None:
        """The file shall have this content; what waits to be written is not needed any more."""
        if self._writing is not None:
            self._next = data
            return
        self._writing = data
        self._write(self.path, data).addErrback(self._failed).addCallback(self._written)

    def _failed(self, failure: Failure) -> None:
        self.failures += 1
        error = failure.value
        reason = getattr(error, "strerror", None) or str(error)
        log.error(
            "{path} cannot be written ({reason}): what it keeps may not survive a restart",
            path=self.path,
            reason=reason,
        )

    def _written(self, _: object) -> None:
        data, self._writing, self._next = self._next, None, None
        if data is not None:
            self.keep(data)
            return
        idle, self._idle = self._idle, []
        for each in idle:
            each.callback(None)

    def finished(self) -> Deferred[None]:
        """Fires when nothing waits to be written."""
        if self._writing is None:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._idle.append(done)
        return done
