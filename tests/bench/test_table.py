"""The page of measurements must not flatter, and must leave the rest of the document alone."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.bench.configs import BALANCER, HAPROXY, NGINX
from tests.bench.held import Held
from tests.bench.latency import Timed, timed, whole
from tests.bench.load import FIELDS, Result
from tests.bench.measure import TICK, Cpu, cpu_of_stat, memory_of_rollup
from tests.bench.reloads import Reloaded, reweigh
from tests.bench.table import BEGIN, END, Report, aims, insert, middle, page, ratio
from tests.bench.zones import Loaded, lines


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


class LatencyTests(SynchronousTestCase):
    """Times become percentiles."""

    def test_percentiles(self) -> None:
        """A percentile is a time that was measured, and the worst is kept."""
        run = timed([each / 1000 for each in range(1000, 0, -1)], failed=2, closed=3)
        self.assertEqual(run, Timed(1002, 2, 3, 0.5, 0.99, 0.999, 1.0))

    def test_nothing(self) -> None:
        """When all requests fail there is nothing to time."""
        self.assertEqual(timed([], failed=2, closed=0), Timed(2, 2, 0, 0, 0, 0, 0))

    def test_whole(self) -> None:
        """An answer is whole with the last byte of its body."""
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nVary: x\r\n\r\nabc"
        self.assertEqual([whole(answer[:end]) for end in range(len(answer) + 1)],
                         [False] * len(answer) + [True])


class ReloadTests(SynchronousTestCase):
    """What a reload changes."""

    def test_reweigh(self) -> None:
        """In all three configurations it is the first server's weight, and nothing else."""
        for text in (NGINX, HAPROXY, BALANCER):
            changed = reweigh(text, 7)
            self.assertEqual(len(changed), len(text))
            self.assertEqual(sum(a != b for a, b in zip(changed, text, strict=True)), 1)
            self.assertIn("7", changed[changed.index("$host:$a "):].splitlines()[0])
            self.assertEqual(reweigh(changed, 1), text)


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

    def test_handshakes(self) -> None:
        """A handshake may cost a third more than nginx's: a core does three quarters as many."""
        for ours, met in ((133, True), (135, False)):
            runs = {"full": {"nginx": [result(0, 100)], "balancer": [result(0, ours)]}}
            text = "\n".join(aims(Report(runs, {}, "", "", "")))
            self.assertIn("at least 0.75x", text)
            self.assertEqual("missed" not in text, met)

    def test_idle_tls(self) -> None:
        """Memory under TLS is compared connection by connection, whatever the start took."""
        for ours, met in ((125, True), (126, False)):
            idle = {"nginx": Held(50, 100050, 1000), "balancer": Held(7, ours * 1000 + 7, 1000)}
            text = "\n".join(aims(Report({}, {}, "", "", "", idle_tls=idle)))
            self.assertEqual("missed" not in text, met)

    def test_reloads(self) -> None:
        """Failures in any round are missed aims; times are the rounds' medians."""
        good = Reloaded(Timed(9, 0, 0, 0.001, 0.002, 0.003, 0.004),
                        Timed(9, 0, 0, 0.001, 0.003, 0.050, 0.070), 5)
        bad = Reloaded(good.without, Timed(9, 1, 2, 0.001, 0.009, 0.09, 0.1), 5)
        report = Report({}, {}, "", "", "", reloads={"balancer": [good]})
        self.assertNotIn("missed", "\n".join(aims(report)))
        report = Report({}, {}, "", "", "", reloads={"balancer": [good, bad, good]})
        self.assertEqual("\n".join(aims(report)).count("missed"), 1)
        self.assertIn("| balancer | 15 | 27 | 1.00 | 3.00 | 50.00 | 100.00 | 1 | 2 |",
                      page(report))

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


class ZoneTests(SynchronousTestCase):
    """Large zones."""

    def test_lines(self) -> None:
        """A zone has as many records as it says, and the one that is asked for is an address."""
        records = list(lines(10_000))
        self.assertEqual(10_000, len(set(records)))
        self.assertTrue(records[-4].startswith("h9996 A "), records[-4])

    def test_page(self) -> None:
        """Time and memory stand beside their bounds, missed or met."""
        zones = {"gdnsd": [Loaded(1_000_000, 10.0, 3.0, 2**20)],
                 "balancer": [Loaded(1_000_000, 25.0, 24.0, 900 * 2**20)]}
        text = page(Report(runs={}, idle={}, machine="m", versions="v", command="c", zones=zones))
        self.assertIn("| 1,000,000 | gdnsd | 10.00 | 3.00 | 1.0 MiB |", text)
        self.assertIn("time | at most 20.0 s | 25.00 s | **missed** |", text)
        self.assertIn("memory | at most 1500 MiB | 900.0 MiB | met |", text)
