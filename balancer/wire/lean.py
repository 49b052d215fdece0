"""
The epoll reactor with the shortest way from an event to `doRead`.

Knows Twisted's epoll reactor from inside (its file is the same from 22.4 to 26.10), and nothing of
who reads or writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from errno import EPERM
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from time import monotonic
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.logger import Logger
from zope.interface import implementer

from balancer.wire.interfaces import IEndsTurns, IWireReactor
from balancer.wire.seldom import Seldom

#: Events taken from the kernel at once. 256 reads of 64 KiB stay well under LONG_TURN; Python
#: allocates room for all of them at each call, so the stock `len(selectables)` costs 120 KB a turn
#: at 10,000 connections.
EVENTS_A_TURN = 256

#: Seconds from one wait for events to the next that leases and keep-alives may lose.
LONG_TURN = 0.05

#: Seconds to wait for events at most; beyond it `timeout` decides (what epoll_wait(2) takes).
LONGEST_WAIT = 1e6

#: Seconds between two log lines about long turns.
LOG_INTERVAL = 1.0

_NOT_IN_OR_OUT = EPOLLERR | EPOLLHUP

_log = Logger("balancer.wire")


@implementer(IWireReactor, IEndsTurns)
class LeanReactor(EPollReactor):
    """
    Twisted's epoll reactor, made lean.

    - `seconds` is monotonic: a wall clock that is set back halts no delayed call.
    - An event is never given to a selectable that was registered after the event was fetched, so
      a file descriptor closed and reused within one batch does not pass its old hang-up on.
    - No log context is set up for each event: what escapes from `doRead` and `doWrite` is logged
      here, and the selectable is dropped with the exception as the reason.
    - Turns longer than `LONG_TURN` are counted in `long_turns` and logged at most once a second.
    """

    seconds = staticmethod(monotonic)

    def __init__(self) -> None:
        self.long_turns = 0
        self._fresh: set[int] = set()
        self._ending: list[Callable[[], object]] = []
        self._awake_since = math.inf
        self._seldom = Seldom(LOG_INTERVAL)
        super().__init__()

    def mainLoop(self) -> None:
        """Turn until the reactor is stopped; what escapes from a turn is logged."""
        while self._started:
            try:
                while self._started:
                    self._turn()
            except BaseException:  # noqa: BLE001  # the reactor's edge
                _log.failure("Unexpected error in main loop")
        _log.info("Main loop terminated.")

    def _turn(self) -> None:
        """One turn. Most have no call to make: the stock reactor calls ten functions to see it."""
        calls = self._pendingTimedCalls
        left = calls[0].time - monotonic() if calls else None
        if (
            self._newTimedCalls
            or self.threadCallQueue
            or self._justStopped
            or not self.running
            or (left is not None and not 0 < left < LONGEST_WAIT)
        ):
            self.runUntilCurrent()
            left = self.timeout()
            if not self.running:
                left = 0
        self.doPoll(left)

    def at_turn_end(self, call: Callable[[], object]) -> None:
        """See `IEndsTurns`. Costs a tenth of a delayed call."""
        self._ending.append(call)

    def _end_turn(self) -> None:
        ending, self._ending = self._ending, []
        for call in ending:
            try:
                call()
            except BaseException:  # noqa: BLE001  # the reactor's edge
                _log.failure("{call} raised at the end of a turn", call=call)

    def disconnectAll(self) -> None:
        """Close everything; what was to end with this turn has ended before."""
        self._end_turn()
        super().disconnectAll()

    def doPoll(self, timeout: float | None) -> None:
        """Wait at most `timeout` seconds (None: as long as it takes), and pass the events on."""
        if self._ending:
            # Of delayed calls: they come between two polls.
            self._end_turn()
        turn = monotonic() - self._awake_since
        if turn > LONG_TURN:
            self._count_long_turn(turn)
        # Python retries EINTR itself (PEP 475): what is raised here is a fault of ours.
        events = self._poller.poll(-1 if timeout is None else timeout, EVENTS_A_TURN)
        self._awake_since = monotonic()
        selectables = self._selectables
        fresh = self._fresh
        fresh.clear()
        for fd, event in events:
            selectable = selectables.get(fd)
            if selectable is None or fd in fresh:
                continue
            if event == EPOLLIN:
                try:
                    why = selectable.doRead()
                except BaseException as raised:  # noqa: BLE001  # the reactor's edge
                    why = self._logged(raised, selectable)
                if why:
                    self._lose(selectable, why, True)
            else:
                self._pass_on(selectable, fd, event)
        if self._ending:
            self._end_turn()

    doIteration = doPoll

    def close(self) -> None:
        """Give back what a reactor holds that was iterated and never run. It is of no use then."""
        self.removeAll()
        self.waker.connectionLost(CONNECTION_DONE)
        self._poller.close()

    def _pass_on(self, selectable: Any, fd: int, event: int) -> None:
        """
        An event other than 'readable' alone.

        Hang-ups and errors go to whoever waits: `doRead` and `doWrite` learn the errno from the
        kernel. (A connected UDP socket has errors that are no end: the stock reactor drops it.)
        """
        why: Any = None
        reading = True
        try:
            if event & EPOLLIN or (event & EPOLLERR and fd in self._reads):
                why = selectable.doRead()
            elif event & EPOLLHUP and fd in self._reads:
                why = CONNECTION_DONE
            # doRead may have closed it, and another may have the number by now.
            if (
                not why
                and event & (EPOLLOUT | _NOT_IN_OR_OUT)
                and fd in self._writes
                and fd not in self._fresh
                and self._selectables[fd] is selectable
            ):
                reading = False
                why = selectable.doWrite()
        except BaseException as raised:  # noqa: BLE001  # the reactor's edge
            why = self._logged(raised, selectable)
        if why:
            self._lose(selectable, why, reading)

    def _logged(self, raised: BaseException, selectable: object) -> BaseException:
        _log.failure("{selectable} raised and is dropped", selectable=selectable)
        return raised

    def _lose(self, selectable: Any, why: BaseException, reading: bool) -> None:
        try:
            drop: Callable[[Any, BaseException, bool], None] = self._disconnectSelectable
            drop(selectable, why, reading)
        except BaseException:  # noqa: BLE001  # the reactor's edge
            _log.failure("{selectable} raised while it was dropped", selectable=selectable)

    def _count_long_turn(self, turn: float) -> None:
        self.long_turns += 1
        count = self._seldom.note(monotonic())
        if count:
            _log.warn(
                "a reactor turn took {turn:.0f} ms, and {count} since the last such line were long",
                turn=turn * 1000,
                count=count,
            )

    def addReader(self, reader: IReadDescriptor) -> None:
        """Call `reader.doRead` whenever it is readable."""
        fd = reader.fileno()
        if fd in self._reads:
            return
        try:
            if fd in self._selectables:
                self._poller.modify(fd, EPOLLIN | EPOLLOUT)
            else:
                self._poller.register(fd, EPOLLIN)
                self._fresh.add(fd)
        except OSError as error:
            if error.errno != EPERM:
                raise
            # A regular file: always ready, and epoll refuses it.
            self._continuousPolling.addReader(reader)
        else:
            self._reads.add(fd)
            self._selectables[fd] = reader

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """Call `writer.doWrite` whenever it is writable."""
        fd = writer.fileno()
        if fd in self._writes:
            return
        try:
            if fd in self._selectables:
                self._poller.modify(fd, EPOLLIN | EPOLLOUT)
            else:
                self._poller.register(fd, EPOLLOUT)
                self._fresh.add(fd)
        except OSError as error:
            if error.errno != EPERM:
                raise
            self._continuousPolling.addWriter(writer)
        else:
            self._writes.add(fd)
            self._selectables[fd] = writer

    def removeReader(self, reader: IReadDescriptor) -> None:
        """Call `reader.doRead` no more."""
        fd = reader.fileno()
        if fd < 0 or reader in self._continuousPolling._readers:
            # Closed before it was removed: the stock reactor searches for it.
            super().removeReader(reader)
        elif fd in self._reads:
            self._remove_flag(fd, self._reads, self._writes, EPOLLOUT)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """Call `writer.doWrite` no more."""
        fd = writer.fileno()
        if fd < 0 or writer in self._continuousPolling._writers:
            super().removeWriter(writer)
        elif fd in self._writes:
            self._remove_flag(fd, self._writes, self._reads, EPOLLIN)

    def _remove_flag(self, fd: int, flagged: set[int], others: set[int], left: int) -> None:
        if fd in others:
            self._poller.modify(fd, left)
        else:
            del self._selectables[fd]
            self._poller.unregister(fd)
        flagged.discard(fd)
