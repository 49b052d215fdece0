"""The live suite side by side: all of it, and nothing beside what must have the machine alone."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier

from twisted.trial.unittest import SynchronousTestCase

from tests.lanes import ALONE, LANES, LONG, in_order, modules, run

ROOT = Path(__file__).resolve().parent.parent
NAMES = modules(ROOT / "tests" / "live", ROOT)


class OrderTests(SynchronousTestCase):
    """What comes when."""

    def test_all_modules(self) -> None:
        """Every module of the live suite is there once, those of its packages as well."""
        self.assertEqual(sorted(NAMES), sorted(set(NAMES)))
        self.assertIn("tests.live.test_http", NAMES)
        self.assertIn("tests.live.dns.test_pools", NAMES)
        alone, others = in_order(NAMES)
        self.assertEqual(sorted(NAMES), sorted(alone + others))

    def test_named_modules(self) -> None:
        """What is declared is there, and is not both."""
        self.assertLessEqual(ALONE | set(LONG), set(NAMES))
        self.assertFalse(ALONE & set(LONG))

    def test_long_ones_first(self) -> None:
        """The longest begin, in the order in which they are declared; the others keep theirs."""
        alone, others = in_order(["a", *LONG[::-1], "b", *ALONE])
        self.assertEqual(others, [*LONG, "a", "b"])
        self.assertEqual(set(alone), ALONE)


class RunTests(SynchronousTestCase):
    """Processes, with calls in their place."""

    def test_side_by_side(self) -> None:
        """Modules that may are run side by side, each lane with its own number; each is run once,
        and what came of each is given."""
        meeting = Barrier(LANES, timeout=30)
        ran = []

        def one(name: str, lane: int) -> str:
            meeting.wait()  # breaks unless all lanes come
            ran.append((name, lane))
            return name

        names = [f"m{number}" for number in range(3 * LANES)]
        self.assertEqual(sorted(run(names, one)), names)
        self.assertEqual(sorted(name for name, _ in ran), names)
        self.assertEqual({lane for _, lane in ran}, set(range(LANES)))

    def test_alone(self) -> None:
        """Those that run alone are over, one after the other, before any other one begins."""
        steps: list[str] = []

        def one(name: str, lane: int) -> str:
            steps.append(name)
            return name

        run(["a", *sorted(ALONE), "b"], one)
        self.assertEqual(steps[:len(ALONE)], sorted(ALONE))
        self.assertEqual(set(steps[len(ALONE):]), {"a", "b"})

    def test_fault(self) -> None:
        """What a module's run raises is raised."""
        def one(name: str, lane: int) -> str:
            raise OSError(name)

        self.assertRaises(OSError, run, ["a", "b"], one)
