"""
Our own ExaBGP, or BIRD: its configuration, written to a file beside the reactor, and the process
that has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.route.anycast.program import Program
from balancer.wire.keeping import Write

log = Logger()


Ours = TypeVar("Ours", bound=Program)


class Spawned(Generic[Ours]):
    """Runs `program` with the configuration that it shall `have`. `unwritten` is told when the file
    cannot be written; asking again is its business."""

    def __init__(self, program: Ours, write: Write, unwritten: Callable[[], None]) -> None:
        self.program = program
        self._write, self._unwritten = write, unwritten
        self._wanted = self._text = ""
        self._writing = False

    def have(self, text: str) -> None:
        """Have it run with that configuration; the same again changes nothing."""
        self._wanted = text
        if text == self._text or self._writing:
            return
        self._text, self._writing = text, True
        self._write(self.program.path, text.encode()).addCallbacks(self._written, self._failed)

    def forget(self) -> None:
        """It ended: whatever became of the file, it is written again."""
        self._text = ""

    def stop(self) -> Deferred[None]:
        """Run it no more; fires when it is gone."""
        self._wanted = self._text = ""
        return self.program.stop()

    def _written(self, _: object) -> None:
        self._writing = False
        if not self._wanted:
            return
        if self._text != self._wanted:
            # It is another by now, or forgotten.
            self.have(self._wanted)
        elif self.program.pid is None:
            self.program.start()
        else:
            self.program.restart()

    def _failed(self, failure: Failure) -> None:
        self._writing, self._text = False, ""
        path, error = self.program.path, failure.value
        log.error("{path} cannot be written: {error}", path=path, error=error)
        if self._wanted:
            self._unwritten()
