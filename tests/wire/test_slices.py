"""Long work between other work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.wire.slices import SLICE_SECONDS, in_slices


class SlicesTests(SynchronousTestCase):
    """Work of five slices, each as long as a turn may work."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.seen: list[int] = []

    def work(self, fails: bool = False) -> Any:
        """The work."""
        for number in range(5):
            self.seen.append(number)
            self.clock.rightNow += SLICE_SECONDS
            yield
        if fails:
            raise ValueError("broken")
        return "done"

    def turns(self) -> Iterator[None]:
        """Five turns."""
        for _ in range(5):
            self.clock.advance(0)
            yield

    def test_spread(self) -> None:
        """It goes on in later turns, and its result comes with the last."""
        asked = in_slices(self.clock, self.work())
        self.assertEqual(self.seen, [0])
        self.assertNoResult(asked)
        list(self.turns())
        self.assertEqual(self.successResultOf(asked), "done")
        self.assertEqual(self.seen, [0, 1, 2, 3, 4])

    def test_short(self) -> None:
        """Work that is short is done at once."""
        self.assertIsNone(self.successResultOf(in_slices(self.clock, iter_of(3))))

    def test_failure(self) -> None:
        """What it raises, the Deferred tells."""
        asked = in_slices(self.clock, self.work(fails=True))
        list(self.turns())
        self.failureResultOf(asked, ValueError)

    def test_cancelled(self) -> None:
        """Cancelled, it does no more."""
        asked = in_slices(self.clock, self.work())
        asked.cancel()
        list(self.turns())
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(self.seen, [0])


def iter_of(count: int) -> Any:
    """Work of slices that take no time."""
    for _ in range(count):
        yield
