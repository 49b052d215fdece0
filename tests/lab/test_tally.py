"""What clients saw, counted."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lab.failover import HARMS
from lab.tally import Request, table, tally


class TallyTests(SynchronousTestCase):
    """The sum of requests."""

    def test_counted(self) -> None:
        """Failures and second tries are apart; the last of either says how long it went on."""
        found = tally("x", 10.0, [
            Request(9.0, 1, True), Request(10.1, 2, True), Request(10.3, 2, False),
            Request(10.2, 1, False), Request(10.5, 1, True)], 10.4)
        self.assertEqual((found.asked, found.failed, found.again), (5, 2, 1))
        self.assertAlmostEqual(found.ended, 0.3)
        self.assertAlmostEqual(found.gone or 0.0, 0.4)

    def test_nothing(self) -> None:
        """Where nothing failed and no route went, there is no time of it."""
        found = tally("x", 10.0, [Request(9.0, 1, True)], None)
        self.assertEqual((found.failed, found.again, found.ended, found.gone), (0, 0, 0.0, None))

    def test_table(self) -> None:
        """A line for each harm."""
        rows = [tally("a", 1.0, [Request(1.5, 1, False)], 2.0), tally("b", 1.0, [], None)]
        self.assertEqual(table(rows).splitlines()[2:],
                         ["| a | 1 | 1 | 0 | 0.50 s | 1.00 s |", "| b | 0 | 0 | 0 | - | - |"])

    def test_harms(self) -> None:
        """All that the table of docs/reliability.md is made of is there."""
        self.assertEqual(set(HARMS), {"server", "kill", "stop", "link", "bfd", "drain", "exabgp"})
