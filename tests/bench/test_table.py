"""The page of measurements must not flatter, and must leave the rest of the document alone."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.bench.load import FIELDS, Held, Result
from tests.bench.measure import TICK, Cpu, cpu_of_stat, memory_of_rollup
from tests.bench.table import BEGIN, END, Report, aims, insert, middle, page, ratio


def result(user: float, system: float, rate: float = 1000.0, errors: int = 0) -> Result:
    """A run; CPU in microseconds."""
    return Result(Cpu(user / 1e6, system / 1e6), rate, errors)


def report(ours: float, nginx: float, held: int = 50) -> Report:
    """A report of one load, CPU in microseconds, with `held` MiB for idle connections."""
    return Report(
        runs={"http": {"nginx": [result(0, nginx)], "balancer": [result(0, ours)]}},
        idle={"balancer": Held(0, held * 2**20, 10000)},
        machine="a machine", versions="some versions", command="make bench")


class MeasureTests(SynchronousTestCase):
    """/proc, read."""

    def test_stat(self) -> None:
        """User and system time are found whatever the process is named."""
        stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 1 0 100 200"
        self.assertEqual(cpu_of_stat(stat), Cpu(150 * TICK, 50 * TICK))

    def test_rollup(self) -> None:
        """The proportional set size comes in bytes."""
        self.assertEqual(memory_of_rollup("x\nRss:  9 kB\nPss:    3 kB\nPss_Dirty: 1 kB\n"), 3072)
        self.assertRaises(ValueError, memory_of_rollup, "Rss: 1 kB\n")

    def test_share(self) -> None:
        """What was used since is divided among the pieces of work."""
        self.assertEqual(Cpu(3.0, 5.0).since(Cpu(1.0, 1.0)).per(2), Cpu(1.0, 2.0))


class LoadTests(SynchronousTestCase):
    """The load is the one that the page claims."""

    def test_heads(self) -> None:
        """The request's head has 12 fields and about 600 bytes."""
        lines = ["GET / HTTP/1.1", *(f"{name}: {value}" for name, value in FIELDS.items()), ""]
        size = len("\r\n".join(lines)) + 2
        self.assertEqual(len(FIELDS), 12)
        self.assertTrue(570 <= size <= 650, size)


class TableTests(SynchronousTestCase):
    """Runs become figures."""

    def test_middle(self) -> None:
        """One run that the machine disturbed does not move the figures; errors are all counted."""
        runs = [result(1, 2), result(1, 3, errors=2), result(90, 90, rate=1.0, errors=1)]
        self.assertEqual(middle(runs), result(1, 3, errors=3))

    def test_ratio_by_round(self) -> None:
        """Each round is compared with itself: a phase that slows both leaves the ratio."""
        ours = [result(0, 20), result(0, 60), result(0, 22)]
        theirs = [result(0, 10), result(0, 30), result(0, 11)]
        self.assertEqual(ratio(ours, theirs), 2.0)

    def test_aims(self) -> None:
        """An aim is met or missed, and the page says so."""
        met, missed = "\n".join(aims(report(14, 10))), "\n".join(aims(report(15, 10, held=101)))
        self.assertNotIn("missed", met)
        self.assertEqual(missed.count("missed"), 2)

    def test_page(self) -> None:
        """The page names machine, versions and command, and shows each proxy."""
        text = page(report(14, 10))
        for words in ("a machine", "some versions", "`make bench`", "| nginx | 10.0 µs a request",
                      "| balancer | 14.0 µs a request", "| 1.40 |"):
            self.assertIn(words, text)

    def test_without_ours(self) -> None:
        """Peers alone can be measured."""
        alone = Report({"http": {"nginx": [result(1, 2)]}}, {}, "", "", "")
        self.assertIn("| nginx |", page(alone))


class InsertTests(SynchronousTestCase):
    """docs/performance.md is rewritten between its markers only."""

    def test_between_markers(self) -> None:
        """Text around the markers stays, what was between them goes; again gives the same."""
        document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
        once = insert(document, "new\n")
        self.assertEqual(once, f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n")
        self.assertEqual(insert(once, "new\n"), once)

    def test_no_markers(self) -> None:
        """Without markers nothing is overwritten."""
        self.assertRaises(ValueError, insert, "text", "new")
