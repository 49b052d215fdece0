"""The closing line of the tests is what CI and people go by: it must not flatter."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.requirements import required
from tests.summary import Counts, closing, total, unit_suite


def said(last: str, ran: int = 7) -> str:
    """What trial prints at the end."""
    return f"tests.x\n  ok\n{'-' * 20}\nRan {ran} tests in 0.012s\n\n{last}\n"


class ClosingTests(SynchronousTestCase):
    """trial's words become counts."""

    def test_all_passed(self) -> None:
        """Successes are counted as passed."""
        self.assertEqual(closing(said("PASSED (successes=7)"), 0), Counts(7, 0, 0))

    def test_skips(self) -> None:
        """Skipped tests are counted apart."""
        self.assertEqual(closing(said("PASSED (skips=2, successes=5)"), 0), Counts(5, 0, 2))

    def test_failures_and_errors(self) -> None:
        """Failures, errors and unexpected successes all count as failed."""
        last = "FAILED (failures=1, errors=2, unexpectedSuccesses=1, successes=3)"
        self.assertEqual(closing(said(last), 1), Counts(3, 4, 0))

    def test_broken_off(self) -> None:
        """A run without a closing line is a failure."""
        self.assertEqual(closing("Traceback (most recent call last):\n", 1), Counts(0, 1, 0))

    def test_nothing_ran(self) -> None:
        """A run of no tests at all is a failure."""
        self.assertEqual(closing(said("PASSED", ran=0), 0), Counts(0, 1, 0))

    def test_status_contradicts(self) -> None:
        """An exit status that says failure is believed."""
        self.assertEqual(closing(said("PASSED (successes=7)"), 1), Counts(7, 1, 0))

    def test_earlier_lines_do_not_count(self) -> None:
        """A test that itself prints trial's words does not change the counts."""
        output = said("PASSED (successes=99)", ran=99) + said("FAILED (errors=1, successes=6)")
        self.assertEqual(closing(output, 1), Counts(6, 1, 0))

    def test_total(self) -> None:
        """The sum reads as the contract has it."""
        parts = [Counts(1, 0, 2), Counts(3, 1, 0)]
        self.assertEqual(str(total(parts)), "4 passed, 1 failed, 2 skipped")


class SuiteTests(SynchronousTestCase):
    """What is run, and what is installed for it."""

    def test_unit_suite(self) -> None:
        """Every package and module of tests/ is in the unit suite, but for the live tests."""
        names = unit_suite()
        self.assertIn("tests.pool", names)
        self.assertIn("tests.test_summary", names)
        self.assertNotIn("tests.live", names)

    def test_required(self) -> None:
        """setup.cfg's requirements come one by one, without its comments."""
        self.assertIn("Twisted>=22.4.0", required())
        self.assertFalse([line for line in required() if line.startswith("#")])

    def test_required_extra(self) -> None:
        """An extra's requirements come alone."""
        self.assertIn("mypy<2.5", required("test"))
        self.assertNotIn("Twisted>=22.4.0", required("test"))
