"""The closing line of the tests is what CI and people go by: it must not flatter."""

from __future__ import annotations

import io
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests import summary
from tests.packaged import sorted_out
from tests.requirements import required
from tests.summary import APART, Counts, closing, shares, side_by_side, total, unit_suite


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

    def test_shares(self) -> None:
        """Two processes share all of it, each name once, packages whole, half the source each."""
        modules = [name for name in sorted_out(APART)[0] if "test_re" not in name]
        for names in unit_suite(), modules:
            one, other = shares(names, 2)
            self.assertEqual(sorted(one + other), sorted(names))
            packages = [{name.split(".")[1] for name in share} for share in (one, other)]
            self.assertEqual(packages[0] & packages[1], set())
            sizes = [sum(map(summary.source, share)) for share in (one, other)]
            self.assertTrue(0.8 < sizes[0] / sizes[1] < 1.25, sizes)

    def test_one_share(self) -> None:
        """One process runs all; nobody runs nothing."""
        self.assertEqual(shares(["tests.b", "tests.a"], 1), [["tests.a", "tests.b"]])
        self.assertEqual(shares(["tests.live"], 2), [["tests.live"]])

    def test_required(self) -> None:
        """setup.cfg's requirements come one by one, without its comments."""
        self.assertIn("Twisted>=22.4.0", required())
        self.assertFalse([line for line in required() if line.startswith("#")])

    def test_required_extra(self) -> None:
        """An extra's requirements come alone."""
        self.assertIn("mypy<2.5", required("test"))
        self.assertNotIn("Twisted>=22.4.0", required("test"))


class SideBySideTests(SynchronousTestCase):
    """Processes that run at once, on real ones."""

    def setUp(self) -> None:
        """Have what is shown."""
        self.shown = io.StringIO()
        self.patch(sys, "stdout", self.shown)

    def test_outputs(self) -> None:
        """Each output is shown whole, one after the other, with what went to standard error."""
        first = python("import sys; print('a', flush=True); sys.stderr.write('c\\n')")
        second = python("print('b' * 100_000); raise SystemExit(3)")
        expected = [("a\nc\n", 0), ("b" * 100_000 + "\n", 3)]
        self.assertEqual(side_by_side([first, second]), expected)
        self.assertEqual(self.shown.getvalue(), "".join(output for output, _ in expected))

    def run_both(self, *results: tuple[str, int]) -> Counts:
        """What processes with these results come to."""
        self.patch(summary, "side_by_side", lambda commands: list(results))
        return summary.trial(unit_suite(), "t", 2)

    def test_sum(self) -> None:
        """Counts are summed; a part that broke off is a failure."""
        good = said("PASSED (successes=7)"), 0
        self.assertEqual(self.run_both(good, (said("PASSED (skips=1, successes=6)"), 0)),
                         Counts(13, 0, 1))
        self.assertEqual(self.run_both(good, ("", -9)), Counts(7, 1, 0))
        self.assertEqual(self.run_both(("", -9), good), Counts(7, 1, 0))
        self.assertEqual(self.shown.getvalue(), "")

    def test_first_fails(self) -> None:
        """What failed in the first part is shown again, after the second's output."""
        failure = "=" * 79 + "\n[FAIL]\nTraceback\n  why\n\ntests.x.Y.test_z\n"
        end = said("FAILED (failures=1, successes=6)")
        good = said("PASSED (successes=7)"), 0
        self.assertEqual(self.run_both(("fine\n" + failure + end, 1), good), Counts(13, 1, 0))
        self.assertEqual(self.shown.getvalue().rstrip(), (failure + end).rstrip())


def python(program: str) -> list[str]:
    """A command that runs it, without what a site adds."""
    return [sys.executable, "-I", "-S", "-c", program]
