"""What a service manager is told, in which order, and what happens when it does not listen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from balancer.interfaces import NotDone
from balancer.site.notify import MOST_STATUS, MOST_WAITING, Supervisor, Wanted, line, take
from tests.site.test_operations import OperationsTests
from tests.site.test_service import TEXT


class TakeTests(SynchronousTestCase):
    """The environment that a service manager starts us in."""

    TABLE: tuple[tuple[Mapping[str, str], Wanted], ...] = (
        ({}, Wanted()),
        ({"NOTIFY_SOCKET": "/run/n"}, Wanted("/run/n")),
        ({"NOTIFY_SOCKET": "@n"}, Wanted("\0n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000"}, Wanted("/n", 3.0)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"},
         Wanted("/n", 0.5, 7)),
        ({"WATCHDOG_USEC": "3000000"}, Wanted()),
    )

    def test_read(self) -> None:
        """The address as the kernel takes it, the watchdog in seconds, and whom it means."""
        for environment, wanted in self.TABLE:
            self.assertEqual(take(dict(environment)), wanted, environment)

    def test_faults(self) -> None:
        """What cannot be followed is named, and the rest of it still is."""
        for name, value, address in (("NOTIFY_SOCKET", "vsock:2:1", ""), ("NOTIFY_SOCKET", "@", ""),
                                     ("WATCHDOG_USEC", "soon", "/n"), ("WATCHDOG_USEC", "0", "/n"),
                                     ("WATCHDOG_USEC", "9" * 400, "/n"),
                                     ("WATCHDOG_USEC", "9" * 5000, "/n")):
            wanted = take({"NOTIFY_SOCKET": "/n", name: value})
            self.assertIn(f"{name}: expected ", wanted.fault)
            self.assertIn(repr(value), wanted.fault)
            self.assertEqual((wanted.address, wanted.watchdog), (address, 0.0))

    def test_removed(self) -> None:
        """The programs that we start inherit none of it, and all else."""
        environment = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "A": "B"}
        take(environment)
        self.assertEqual(environment, {"A": "B"})


class LineTests(SynchronousTestCase):
    """A status."""

    def test_one_line(self) -> None:
        """Newlines end no message: what follows them would count as another assignment."""
        self.assertEqual(line("bad:\n MAINPID=1\n"), "bad: MAINPID=1")

    def test_bound(self) -> None:
        """A long one is cut, and shows it."""
        self.assertEqual(line("x" * MOST_STATUS), "x" * MOST_STATUS)
        self.assertEqual(line("x" * 9999), "x" * (MOST_STATUS - 3) + "...")


class Manager:
    """Keeps the messages that it was sent; `error` is raised instead while it is there."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.error: OSError | None = None

    def send(self, address: str, message: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.heard.append(message.decode())


class SupervisorTests(SynchronousTestCase):
    """A supervisor on a clock of the test's."""

    def setUp(self) -> None:
        self.clock, self.manager = Clock(), Manager()

    def supervisor(self, *wanted: Any) -> Supervisor:
        """One that wants `wanted`."""
        return Supervisor(self.clock, Wanted(*wanted), self.manager.send, lambda: 1234)

    def test_life(self) -> None:
        """Ready, a reload with its time, ready again, stopping."""
        told = self.supervisor("/n")
        told.start()
        told.ready("site x")
        told.reloading()
        told.ready("site x; reloaded")
        told.stopping("draining")
        self.assertEqual(self.manager.heard[:4], [
            "READY=1\nSTATUS=site x",
            "RELOADING=1\nMONOTONIC_USEC=1234\nSTATUS=reloading",
            "READY=1\nSTATUS=site x; reloaded",
            "STOPPING=1\nSTATUS=draining",
        ])

    def test_nobody(self) -> None:
        """Without an address nothing is sent, and nothing waits on the clock."""
        told = self.supervisor()
        told.start()
        told.ready("site x")
        told.stopping("draining")
        self.assertEqual((self.manager.heard, self.clock.getDelayedCalls()), ([], []))

    def test_watchdog(self) -> None:
        """Two signs of life come within each WATCHDOG_USEC, from the start on."""
        self.supervisor("/n", 3.0).start()
        self.clock.pump([0.5] * 12)
        self.assertEqual(self.manager.heard, ["WATCHDOG=1"] * 5)

    def test_watchdog_of_another(self) -> None:
        """A watchdog that means another process gets none; one that means us gets them."""
        self.supervisor("/n", 3.0, os.getpid() + 1).start()
        self.assertEqual((self.manager.heard, self.clock.getDelayedCalls()), ([], []))
        self.supervisor("/n", 3.0, os.getpid()).start()
        self.assertEqual(self.manager.heard, ["WATCHDOG=1"])

    def test_long_drain(self) -> None:
        """A drain asks for more time for as long as it goes on, with or without a watchdog."""
        for watchdog, every in ((0.0, ""), (60.0, "WATCHDOG=1\n")):
            self.manager.heard.clear()
            told = self.supervisor("/n", watchdog)
            told.start()
            self.manager.heard.clear()
            told.stopping("draining")
            self.clock.pump([1.0] * 11)
            self.assertEqual(self.manager.heard[1:], [f"{every}EXTEND_TIMEOUT_USEC=30000000"] * 3)
            told.stop()

    def test_stops_once(self) -> None:
        """STOPPING comes once, and no READY after it."""
        told = self.supervisor("/n")
        told.stopping("draining")
        told.stopping("stopping")
        told.ready("not reloaded")
        self.assertEqual([each for each in self.manager.heard if "EXTEND" not in each],
                         ["STOPPING=1\nSTATUS=draining", "STATUS=not reloaded"])

    def test_silence(self) -> None:
        """After `stop` nothing waits on the clock."""
        told = self.supervisor("/n", 3.0)
        told.start()
        self.manager.error = BlockingIOError()
        told.ready("site x")
        told.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_full(self) -> None:
        """A full socket delays what is said, in order; signs of life do not add to it."""
        told = self.supervisor("/n", 1.0)
        self.manager.error = BlockingIOError()
        told.ready("one")
        told.start()
        told.reloading()
        self.clock.advance(0.7)
        self.assertEqual(self.manager.heard, [])
        self.manager.error = None
        self.clock.advance(0.1)
        self.assertEqual([each.partition("\n")[0] for each in self.manager.heard],
                         ["READY=1", "RELOADING=1"])

    def test_bound(self) -> None:
        """One that never reads costs a bounded memory, and hears the latest if it wakes up."""
        told = self.supervisor("/n")
        self.manager.error = BlockingIOError()
        for number in range(100):
            told.ready(f"state {number}")
        self.manager.error = None
        self.clock.advance(0.1)
        self.assertEqual(len(self.manager.heard), MOST_WAITING)
        self.assertTrue(self.manager.heard[-1].endswith("state 99"))

    def test_gone(self) -> None:
        """A socket that is gone is logged once and harms nothing."""
        events: list[Any] = []

        @provider(ILogObserver)
        def note(event: Any) -> None:
            events.append(event)

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        told = self.supervisor("\0n")
        self.manager.error = FileNotFoundError("gone")
        told.ready("one")
        told.ready("two")
        self.assertEqual([each["where"] for each in events if "where" in each], ["@n"])


class SiteTests(OperationsTests):
    """A site says by itself what becomes of it; and all else is as without a manager."""

    def setUp(self) -> None:
        super().setUp()
        self.manager = Manager()
        self.site.supervisor = Supervisor(self.reactor, Wanted("/n"), self.manager.send, lambda: 5)

    def heard(self) -> list[list[str]]:
        """The messages since the last call, in lines."""
        heard = [message.split("\n") for message in self.manager.heard]
        self.manager.heard.clear()
        return heard

    def test_reload_is_told(self) -> None:
        """A reload begins and ends in the manager's eyes, and its outcome is the status."""
        self.file.write_text(TEXT.replace("127.0.0.1:2", "127.0.0.1:3"))
        self.done(self.operator.reload())
        self.assertEqual(self.heard(), [
            ["RELOADING=1", "MONOTONIC_USEC=5", "STATUS=reloading"],
            ["READY=1", "STATUS=site here: 2 balancers, 2 pools; reloaded: 2 changes"]])

    def test_bad_reload_is_told(self) -> None:
        """After one that failed the site is as ready as before, and the status says why."""
        self.file.write_text(TEXT.replace("[gate two]", "[gaet two]"))
        self.failureResultOf(self.operator.reload(), NotDone)
        begun, (ready, status) = self.heard()
        self.assertEqual((begun[0], ready), ("RELOADING=1", "READY=1"))
        self.assertIn("2 balancers, 2 pools; not reloaded: ", status)
        self.assertIn(f"{self.file}:{TEXT[:TEXT.index('[gate two]')].count(chr(10)) + 1}: ", status)
        self.assertIn("'gate'", status)

    def test_drain_is_told(self) -> None:
        """A drain is told with its bound, and the end of the service ends it all."""
        self.site.drain()
        self.assertEqual(self.heard()[0],
                         ["STOPPING=1", "STATUS=draining for at most 10 s"])
