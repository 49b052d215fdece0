"""
Runs suites one after the other and closes with one line: `N passed, N failed, N skipped`.

`-m tests.summary SUITE...`, where a suite is ruff, mypy, unit, live, floor, packaged (what can run
on a distribution's packages) or appliance (the package itself), each run with the running
interpreter and the tools that stand beside it. ruff and mypy count as one test each. A suite that
breaks off, or runs nothing at all, counts as a failure. Exits 1 when anything failed.

The unit suite runs in two processes, where there are two processors: each has whole packages, so
that it need not import all of the balancer, and tests of one package never run side by side. They
are shown one after the other.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Thread
from typing import NamedTuple

from tests import lanes
from tests.packaged import sorted_out

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent  # not resolved: a venv's python is a link out of it
PROCESSES = 2  # what every share imports anew costs more than a third would save
APART = {"appliance", "live"}  # packages of tests/ that are no part of the unit suite

# trial's last words: `PASSED (skips=1, successes=20)`, `FAILED (failures=1, errors=1)`, `PASSED`
CLOSING = re.compile(r"^(?:PASSED|FAILED)(?: \((.*)\))?$", re.MULTILINE)
FAILURES = re.compile(r"^={79}$.*", re.MULTILINE | re.DOTALL)  # from the first one on
RAN = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)


class Counts(NamedTuple):
    """How many tests passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def total(parts: list[Counts]) -> Counts:
    """The sum of `parts`."""
    return Counts(*(sum(column) for column in zip(*parts, strict=True)))


def closing(output: str, status: int) -> Counts:
    """What trial's `output` and exit status say."""
    ran, last = RAN.findall(output), CLOSING.findall(output)
    if not ran or not last or ran[-1] == "0":
        return Counts(failed=1)
    by_word = {word: int(n) for word, n in re.findall(r"(\w+)=(\d+)", last[-1])}
    failed = sum(by_word.get(word, 0) for word in ("failures", "errors", "unexpectedSuccesses"))
    if status and not failed:
        failed = 1
    passed = by_word.get("successes", 0) + by_word.get("expectedFailures", 0)
    return Counts(passed, failed, by_word.get("skips", 0))


def unit_suite() -> list[str]:
    """The names that trial is to load for the unit suite."""
    tests = ROOT / "tests"
    packages = [d.name for d in tests.iterdir() if (d / "__init__.py").exists()]
    modules = [f.stem for f in tests.glob("test_*.py")]
    return [f"tests.{name}" for name in sorted(packages + modules) if name not in APART]


def shares(names: list[str], processes: int) -> list[list[str]]:
    """`names` for as many processes, or for fewer: packages whole, with as much source each."""
    packages: dict[str, list[str]] = {}
    for name in names:
        packages.setdefault(".".join(name.split(".")[:2]), []).append(name)
    size = {name: sum(map(source, packages[name])) for name in packages}
    given: list[list[str]] = [[] for _ in range(processes)]
    for name in sorted(packages, key=lambda each: (-size[each], each)):
        min(given, key=lambda share: sum(size[each] for each in share)).append(name)
    return [[name for each in sorted(share) for name in packages[each]] for share in given if share]


def source(name: str) -> int:
    """The bytes of the tests of a package or module: what they take goes by that, near enough."""
    path = ROOT / name.replace(".", "/")
    return sum(each.stat().st_size for each in [*path.rglob("test_*.py"), path.with_suffix(".py")]
               if each.exists())


def trial(names: list[str], temporary: str, count: int = 1) -> Counts:
    """Run trial on `names`, showing its output while it comes."""
    commands = [[sys.executable, "-m", "tests.loaded", f"--temp-directory={temporary}-{n}", *share]
                for n, share in enumerate(shares(names, count))]
    results = side_by_side(commands)
    for output, status in results[:-1]:
        if status and (failures := FAILURES.search(output)):
            print(failures[0])  # once more, for who looks at the end
    return total([closing(output, status) for output, status in results])


def side_by_side(commands: list[list[str]]) -> list[tuple[str, int]]:
    """Run all at once; show what the first writes while it comes, then the next one's from its
    beginning. Their outputs and exit statuses."""
    running = [Shown(command) for command in commands]
    return [each.show() for each in running]


class Shown:
    """A process whose output waits until it is its turn to be shown."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._lines: SimpleQueue[str] = SimpleQueue()
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._lines.put(line)
        self._lines.put("")

    def show(self) -> tuple[str, int]:
        """Print what it has written and will write, until it ends; that, and its exit status."""
        lines = []
        while line := self._lines.get():
            print(line, end="", flush=True)
            lines.append(line)
        return "".join(lines), self._process.wait()


def static(*command: str) -> Counts:
    """Run a tool that reads the source."""
    status = subprocess.run([str(TOOLS / command[0]), *command[1:]], cwd=ROOT, check=False)
    return Counts(failed=1) if status.returncode else Counts(passed=1)


def environment() -> dict[str, str]:
    """Ours, so that the checkout is found and the tools beside this interpreter come first."""
    path = f"{TOOLS}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}


def processes() -> int:
    """How many the unit suite is to run in."""
    return min(PROCESSES, len(os.sched_getaffinity(0)))


def run(suite: str) -> Counts:
    """Run one suite by its name."""
    print(f"== {suite}", flush=True)
    if suite == "live":
        return total([closing(*each) for each in lanes.live(environment())])
    if suite == "ruff":
        return static("ruff", "check", "balancer", "tests", "twisted")
    if suite == "mypy":
        return static("mypy")
    if suite == "packaged":
        names, left = sorted_out(APART)
        for name, needed in left.items():
            print(f"left out: {name} needs {needed}")
        # Packages are built in long paths; a unix socket's may have 107 bytes.
        with TemporaryDirectory() as directory:
            return trial(names, f"{directory}/t", processes())
    if suite in APART:
        return trial([f"tests.{suite}"], f"_trial_temp-{suite}")
    return trial(unit_suite(), f"_trial_temp-{suite}", processes())


def main(suites: list[str]) -> int:
    """Run `suites`, print what each came to and the sum of it; the exit status."""
    results = {suite: run(suite) for suite in suites}
    print()
    for suite, counts in results.items():
        print(f"{suite + ':':8}{counts}")
    counts = total(list(results.values()))
    print(counts, flush=True)
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
