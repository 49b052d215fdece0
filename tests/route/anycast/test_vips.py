"""Addresses of prefixes: which commands, in which order, and what becomes of failures."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.route.anycast.vips import (
    CHECK_EVERY,
    RETRY,
    WITHIN,
    Vips,
    additions,
    ip_batch,
    removals,
)

ONE, SIX = ip_network("192.0.2.1/32"), ip_network("2001:db8::1/128")
WIDE = ip_network("192.0.2.0/24")


class BatchTests(SynchronousTestCase):
    """The words for `ip`."""

    def test_additions(self) -> None:
        """A single address is the device's, a wider prefix a local route to it."""
        self.assertEqual(
            "address replace 192.0.2.1/32 dev lo\n"
            "address replace 2001:db8::1/128 dev lo nodad\n"
            "route replace local 192.0.2.0/24 dev lo proto 196\n",
            additions([ONE, SIX, WIDE], "lo"),
        )

    def test_removals(self) -> None:
        """What was added is removed, and nothing else."""
        self.assertEqual(
            "address del 192.0.2.1/32 dev d0\nroute del local 192.0.2.0/24 dev d0 proto 196\n",
            removals([ONE, WIDE], "d0"),
        )


class VipsTests(SynchronousTestCase):
    """One device, and an `ip` that answers when it is told to."""

    def setUp(self) -> None:
        """Make them."""
        self.reactor = MemoryReactorClock()
        self.batches: list[str] = []
        self.done: list[Callable[[str], None]] = []
        self.told: list[str] = []
        self.vips = Vips(self.reactor, "lo", self.run_ip, self.told.append)

    def run_ip(self, batch: str, done: Callable[[str], None]) -> None:
        """Remember what is to be run; one at a time."""
        self.assertEqual([], self.done)
        self.batches.append(batch)
        self.done.append(done)

    def answer(self, why: str = "") -> None:
        """The `ip` that runs ends."""
        self.done.pop()(why)

    def test_adds_and_removes(self) -> None:
        """What is wanted is added and told of, what is wanted no more is removed."""
        self.vips.want([ONE])
        self.assertEqual((frozenset(), []), (self.vips.there, self.told))
        self.answer()
        self.assertEqual((frozenset([ONE]), [""]), (self.vips.there, self.told))
        self.vips.want([ONE])
        self.assertEqual(1, len(self.batches))
        self.vips.want([])
        self.assertEqual(frozenset(), self.vips.there)
        self.assertFalse(self.vips.idle)
        self.answer("Cannot assign requested address")
        self.assertTrue(self.vips.idle)
        self.assertEqual("address del 192.0.2.1/32 dev lo\n", self.batches[-1])
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_latest_wins(self) -> None:
        """What is wanted while `ip` runs is done after it, and only the latest of it."""
        self.vips.want([ONE])
        self.vips.want([WIDE])
        self.vips.want([SIX])
        self.answer()
        self.assertEqual("address del 192.0.2.1/32 dev lo\n", self.batches[-1])
        self.answer()
        self.assertEqual("address replace 2001:db8::1/128 dev lo nodad\n", self.batches[-1])
        self.answer()
        self.assertEqual((3, frozenset([SIX])), (len(self.batches), self.vips.there))

    def test_failure(self) -> None:
        """What cannot be added is told of with the reason, and tried again, ever later."""
        self.vips.want([ONE])
        wait = RETRY[0]
        for _ in range(8):
            self.answer("RTNETLINK answers: Operation not permitted")
            self.assertEqual("RTNETLINK answers: Operation not permitted", self.vips.fault)
            self.assertEqual(frozenset(), self.vips.there)
            before = len(self.batches)
            self.reactor.advance(wait - 0.01)
            self.assertEqual(before, len(self.batches))
            self.reactor.advance(0.01)
            self.assertEqual(before + 1, len(self.batches))
            wait = min(wait * 2, RETRY[1])
        self.answer()
        self.assertEqual(("", ""), (self.vips.fault, self.told[-1]))

    def test_looks_again(self) -> None:
        """What is in place is looked after: when its device goes that is told."""
        self.vips.want([ONE])
        self.answer()
        self.reactor.advance(CHECK_EVERY)
        self.assertEqual(self.batches[0], self.batches[1])
        self.answer('Cannot find device "lo"')
        self.assertEqual(['', 'Cannot find device "lo"'], self.told)
        self.vips.stop()
        self.assertEqual([], self.reactor.getDelayedCalls())


class IpTests(SynchronousTestCase):
    """The process that is run."""

    def begin(self) -> tuple[Any, list[str]]:
        """A batch on its way."""
        reactor: Any = MemoryReactorClock()
        told: list[str] = []
        reactor.spawnProcess = self.spawn
        self.signals: list[str] = []
        ip_batch(reactor)("address show\n", told.append)
        return reactor, told

    def spawn(self, protocol: Any, program: str, words: list[str], env: object) -> None:
        """Remember it."""
        self.protocol, self.words = protocol, words
        protocol.transport = self

    def signalProcess(self, name: str) -> None:
        """The transport's."""
        self.signals.append(name)

    def test_ends(self) -> None:
        """No shell is asked; its first words are the reason of a failure, which are bounded."""
        reactor, told = self.begin()
        self.assertEqual(["ip", "-force", "-batch", "-"], self.words)
        self.protocol.errReceived(b"RTNETLINK answers: no\nCommand failed -:1\n" * 1000)
        self.protocol.processEnded(Failure(ProcessTerminated(1)))
        self.assertEqual(["RTNETLINK answers: no"], told)
        self.assertEqual([], reactor.getDelayedCalls())
        _, told = self.begin()
        self.protocol.processEnded(Failure(ProcessDone(0)))
        self.assertEqual([""], told)

    def test_hangs(self) -> None:
        """One that does not end is killed."""
        reactor, told = self.begin()
        reactor.advance(WITHIN)
        self.assertEqual((["KILL"], []), (self.signals, told))
        self.protocol.processEnded(Failure(ProcessTerminated(None, 9)))
        self.assertIn("signal 9", told[0])
