"""
Tests of `balancer.wire.reactor` and `balancer.wire.lean`: one for each trap of the stock reactor.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from threading import Thread
from typing import Any

import twisted.internet
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from balancer.wire import lean
from balancer.wire.interfaces import IEndsTurns, IWireReactor
from balancer.wire.lean import LONG_TURN, LeanReactor
from balancer.wire.reactor import install
from tests.wire.reactors import Turns, unix_pair


@implementer(IReadDescriptor, IWriteDescriptor)
class Selectable:
    """Does what a test tells it, and remembers what it was told."""

    def __init__(self, fd: Any) -> None:
        self.fd = fd
        self.reads = 0
        self.writes = 0
        self.lost: list[Any] = []
        self.on_read: Any = lambda: None

    def fileno(self) -> int:
        return self.fd if isinstance(self.fd, int) else int(self.fd.fileno())

    def logPrefix(self) -> str:
        return "test"

    def doRead(self) -> Any:
        self.reads += 1
        return self.on_read()

    def doWrite(self) -> None:
        self.writes += 1

    def connectionLost(self, reason: Failure) -> None:
        self.lost.append(reason.type)


class LeanReactorTests(SynchronousTestCase):
    """The lean reactor keeps the promises of the stock one, and some more."""

    def setUp(self) -> None:
        self.reactor = LeanReactor()
        self.turns = Turns(self.reactor)
        self.addCleanup(self.turns.close)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Two connected sockets."""
        ours, theirs = unix_pair()
        self.addCleanup(theirs.close)
        return ours, theirs

    def test_interface(self) -> None:
        """It provides what the room asks of a reactor."""
        verifyObject(IWireReactor, self.reactor)
        verifyObject(IEndsTurns, self.reactor)

    def test_clock_set_back(self) -> None:
        """Delayed calls come in time though the wall clock is set back to 1970."""
        calls: list[float] = []
        self.patch(time, "time", lambda: 0.0)
        begun = time.monotonic()
        self.assertApproximates(self.reactor.seconds(), begun, 1.0)
        self.reactor.callLater(0.0, lambda: calls.append(self.reactor.seconds()))
        self.turns.turn()
        self.assertEqual(len(calls), 1)
        self.assertGreaterEqual(calls[0], begun)

    def test_reused_descriptor(self) -> None:
        """A descriptor closed and reused within one batch does not get the old one's hang-up."""
        pairs = [self.pair(), self.pair()]
        selectables = [Selectable(ours) for ours, _theirs in pairs]
        heirs: list[Selectable] = []

        def replace(victim: Selectable) -> None:
            if heirs:
                return
            number = victim.fileno()
            ours, self.theirs = self.pair()
            self.reactor.removeReader(victim)
            victim.fd.close()
            os.dup2(ours.fileno(), number)
            ours.close()
            heirs.append(Selectable(number))
            self.reactor.addReader(heirs[0])
            self.reactor.addWriter(heirs[0])

        selectables[0].on_read = lambda: replace(selectables[1])
        selectables[1].on_read = lambda: replace(selectables[0])
        for selectable, (_ours, theirs) in zip(selectables, pairs, strict=True):
            self.reactor.addReader(selectable)
            theirs.close()
        self.reactor.doIteration(0)
        (heir,) = heirs
        self.assertEqual((heir.reads, heir.writes, heir.lost), (0, 0, []))
        self.theirs.sendall(b"x")
        self.reactor.doIteration(0)
        self.assertEqual((heir.reads, heir.writes, heir.lost), (1, 1, []))
        self.reactor.removeAll()
        os.close(heir.fd)

    def test_closed_before_it_was_removed(self) -> None:
        """A selectable that was closed too early is found and removed all the same."""
        ours, _theirs = self.pair()
        selectable = Selectable(ours)
        self.reactor.addReader(selectable)
        number = ours.detach()
        self.addCleanup(os.close, number)
        self.reactor.removeReader(selectable)
        self.assertNotIn(selectable, self.reactor.getReaders())

    def test_raising_read(self) -> None:
        """What escapes from doRead is logged, and the selectable is dropped with it."""
        ours, theirs = self.pair()
        self.addCleanup(ours.close)
        selectable = Selectable(ours)

        def bang() -> None:
            raise RuntimeError("bang")

        selectable.on_read = bang
        self.reactor.addReader(selectable)
        theirs.sendall(b"x")
        self.turns.turn()
        self.assertEqual(selectable.lost, [RuntimeError])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertNotIn(selectable, self.reactor.getReaders())

    def test_raising_when_lost(self) -> None:
        """What escapes from connectionLost is logged, and the others get their turn."""
        first, second = self.pair(), self.pair()
        selectables = [Selectable(first[0]), Selectable(second[0])]

        def bang(reason: Failure) -> None:
            raise ValueError("bang")

        for selectable, (ours, theirs) in zip(selectables, (first, second), strict=True):
            self.addCleanup(ours.close)
            selectable.on_read = ConnectionDone
            selectable.connectionLost = bang  # type: ignore[method-assign]  # the test's point
            self.reactor.addReader(selectable)
            theirs.sendall(b"x")
        self.turns.turn()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_closed_between_read_and_write(self) -> None:
        """doWrite is not called on what doRead took away."""
        ours, theirs = self.pair()
        self.addCleanup(ours.close)
        selectable = Selectable(ours)

        def leave() -> None:
            self.reactor.removeReader(selectable)
            self.reactor.removeWriter(selectable)

        selectable.on_read = leave
        self.reactor.addReader(selectable)
        self.reactor.addWriter(selectable)
        theirs.sendall(b"x")
        self.turns.turn()
        self.assertEqual((selectable.reads, selectable.writes), (1, 0))

    def test_both_directions(self) -> None:
        """Readable and writable are told apart, as they are asked for."""
        ours, theirs = self.pair()
        self.addCleanup(ours.close)
        selectable = Selectable(ours)
        self.reactor.addWriter(selectable)
        self.turns.turn()
        self.assertEqual((selectable.reads, selectable.writes), (0, 1))
        theirs.sendall(b"x")
        self.reactor.addReader(selectable)
        self.turns.turn()
        self.assertEqual((selectable.reads, selectable.writes), (1, 2))
        self.reactor.removeWriter(selectable)
        self.turns.turn()
        self.assertEqual((selectable.reads, selectable.writes), (2, 2))
        self.reactor.removeReader(selectable)
        self.turns.turn()
        self.assertEqual((selectable.reads, selectable.writes), (2, 2))

    def test_pipe_hangs_up(self) -> None:
        """A pipe whose writer has gone is at its end."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        selectable = Selectable(reading)
        self.reactor.addReader(selectable)
        os.close(writing)
        self.turns.turn()
        self.assertEqual(selectable.lost, [ConnectionDone])

    def test_regular_file(self) -> None:
        """Regular files, which epoll refuses, are accepted and given back."""
        with tempfile.TemporaryFile() as file:
            selectable = Selectable(file.fileno())
            self.reactor.addReader(selectable)
            self.reactor.addWriter(selectable)
            self.assertIn(selectable, self.reactor.getReaders())
            self.reactor.removeReader(selectable)
            self.reactor.removeWriter(selectable)
            self.assertNotIn(selectable, self.reactor.getReaders())
            self.assertNotIn(selectable, self.reactor.getWriters())


class LongTurnTests(SynchronousTestCase):
    """Turns that would cost a lease are seen."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.patch(lean, "monotonic", self.clock.seconds)
        self.reactor = LeanReactor()
        self.addCleanup(Turns(self.reactor).close)
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def lines(self) -> list[Any]:
        """What was logged about turns."""
        return [event for event in self.events if "turn" in event]

    def test_counted(self) -> None:
        """A turn of more than LONG_TURN is counted, a short one and a long sleep are not."""
        self.reactor.doIteration(0)
        self.clock.advance(LONG_TURN * 0.9)
        self.reactor.doIteration(0)
        self.assertEqual(self.reactor.long_turns, 0)
        self.clock.advance(LONG_TURN * 1.1)
        self.reactor.doIteration(0)
        self.assertEqual(self.reactor.long_turns, 1)
        self.assertEqual(len(self.lines()), 1)

    def test_logged_seldom_and_for_ever(self) -> None:
        """There is at most a line a second, and it never ends."""
        for _ in range(100):
            self.clock.advance(0.1)
            self.reactor.doIteration(0)
        self.assertEqual(self.reactor.long_turns, 99)
        self.assertTrue(9 <= len(self.lines()) <= 11, len(self.lines()))
        self.assertGreater(sum(event["count"] for event in self.lines()), 85)


class MainLoopTests(SynchronousTestCase):
    """The reactor runs as the stock one does."""

    def setUp(self) -> None:
        self.reactor = LeanReactor()
        self.addCleanup(self.reactor.close)
        self.happened: list[str] = []

    def run_it(self) -> None:
        """Until it is stopped."""
        self.reactor.run(installSignalHandlers=False)

    def test_calls_and_events(self) -> None:
        """Delayed calls come when they are due, between events, and those for now at once."""
        ours, theirs = unix_pair()
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        selectable = Selectable(ours)

        def read() -> None:
            ours.recv(1)
            self.happened.append("event")
            self.reactor.callLater(0.002, self.reactor.stop)
            self.reactor.callLater(0, self.happened.append, "call")

        selectable.on_read = read
        self.reactor.addReader(selectable)
        self.reactor.callLater(1e9, self.happened.append, "never")
        self.reactor.callLater(0.001, theirs.send, b"x")
        self.run_it()
        self.assertEqual(self.happened, ["event", "call"])

    def test_calls_from_threads(self) -> None:
        """A call from another thread wakes the reactor, which waits for nothing else."""
        self.reactor.callWhenRunning(
            lambda: Thread(target=self.reactor.callFromThread, args=(self.reactor.stop,)).start()
        )
        self.run_it()
        self.assertFalse(self.reactor.running)

    def test_stopped_by_an_event(self) -> None:
        """What the shutdown does is done before the loop ends."""
        self.reactor.addSystemEventTrigger("before", "shutdown", self.happened.append, "shutdown")
        ours, theirs = unix_pair()
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        theirs.send(b"x")
        selectable = Selectable(ours)
        selectable.on_read = self.reactor.stop
        self.reactor.addReader(selectable)
        self.run_it()
        self.assertEqual(self.happened, ["shutdown"])

    def test_raising_turn(self) -> None:
        """What escapes from a turn is logged, and the next one comes."""
        turns = iter([lambda timeout: 1 / 0, lambda timeout: self.reactor.crash()])
        self.patch(self.reactor, "doPoll", lambda timeout: next(turns)(timeout))
        self.run_it()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class TurnEndTests(SynchronousTestCase):
    """What is to be done once a turn's events are passed on."""

    def setUp(self) -> None:
        self.reactor = LeanReactor()
        self.turns = Turns(self.reactor)
        self.addCleanup(self.turns.close)
        self.happened: list[str] = []

    def readable(self, name: str, on_read: Any) -> None:
        """A descriptor that is readable in the next turn, once."""
        ours, theirs = unix_pair()
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        theirs.send(b"x")
        selectable = Selectable(ours)

        def read() -> None:
            ours.recv(1)
            self.happened.append(name)
            on_read()

        selectable.on_read = read
        self.reactor.addReader(selectable)
        self.addCleanup(self.reactor.removeReader, selectable)

    def note(self) -> None:
        """What is to be done."""
        self.happened.append("end")

    def test_after_the_others(self) -> None:
        """It is done after all events of the turn, and in that turn."""
        for _ in range(3):
            self.readable("event", lambda: self.reactor.at_turn_end(self.note))
        self.reactor.doIteration(0)
        self.assertEqual(self.happened, ["event"] * 3 + ["end"] * 3)

    def test_before_the_wait(self) -> None:
        """What a delayed call asks for is done before the reactor waits."""
        self.reactor.callLater(0, lambda: self.reactor.at_turn_end(self.note))
        self.reactor.runUntilCurrent()
        self.readable("event", lambda: None)
        self.reactor.doIteration(0)
        self.assertEqual(self.happened, ["end", "event"])

    def test_raises(self) -> None:
        """One that raises is logged, and the others are done."""
        self.reactor.at_turn_end(lambda: 1 / 0)
        self.reactor.at_turn_end(self.note)
        self.reactor.doIteration(0)
        self.assertEqual(self.happened, ["end"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_the_last_turn(self) -> None:
        """When the reactor closes everything, it is done first."""
        self.reactor.at_turn_end(self.note)
        self.reactor.disconnectAll()
        self.assertEqual(self.happened, ["end"])


class InstallTests(SynchronousTestCase):
    """One reactor is installed, ours if nobody came first."""

    def test_installed_already(self) -> None:
        """A reactor that is there stays."""
        from twisted.internet import reactor

        install()
        self.assertIs(sys.modules["twisted.internet.reactor"], reactor)

    def test_lean_on_linux(self) -> None:
        """On Linux the lean reactor is installed."""
        from twisted.internet import reactor

        modules: Any = sys.modules
        del modules["twisted.internet.reactor"]
        try:
            install()
            installed = modules["twisted.internet.reactor"]
        finally:
            modules["twisted.internet.reactor"] = reactor
            twisted.internet.reactor = reactor
        self.addCleanup(Turns(installed).close)
        self.assertIsInstance(installed, LeanReactor)
