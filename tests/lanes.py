"""
The modules of the live suite side by side: most of a live test is waiting for peers and timers.

Each module has a process of its own. Those named in ALONE run first, with nothing beside them; all
others in LANES lanes, each of which takes the next module as soon as it has ended one. A balancer
starts a third faster when its modules need not be compiled again, so their bytecode is kept, apart
from the source.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

ROOT: Final = Path(__file__).resolve().parent.parent

LANES: Final = min(2, len(os.sched_getaffinity(0)))
"""Not more than processors: a test beside another one must still keep its bounds in time."""

ALONE: Final = frozenset({
    "tests.live.test_faults_size",  # no turn of the reactor over 50 ms with 18,500 servers
})
"""Modules that need a whole machine: what they measure another lane would change."""

LONG: Final = (
    "tests.live.test_anycast",
    "tests.live.test_lab",
    "tests.live.test_ecmp",
    "tests.live.test_tour",
    "tests.live.test_bfd",
    "tests.live.test_faults_clients",
    "tests.live.test_faults_names",
    "tests.live.test_last_site",
)
"""Modules that take longest: they begin, so that no lane waits for the other one's at the end."""

# Not -m twisted.trial: that of 22.4 looks distributions up by names that have changed since.
TRIAL: Final = "from twisted.scripts.trial import run; run()"

Result = TypeVar("Result")


def live(environment: Mapping[str, str]) -> list[tuple[str, int]]:
    """Run the live suite, and show what each module prints when it has ended; the outputs, with the
    exit statuses of trial."""
    kept = {**environment, "PYTHONPYCACHEPREFIX": str(ROOT / "_trial_temp-bytecode")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return run(modules(ROOT / "tests" / "live", ROOT), partial(module, kept))


def module(environment: Mapping[str, str], name: str, lane: int) -> tuple[str, int]:
    """Run one module: its output and trial's exit status."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", TRIAL, f"--temp-directory=_trial_temp-live{lane}", name],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", check=False)
    print(f"{done.stdout}-- {name}: {time.monotonic() - began:.0f} s\n", end="", flush=True)
    return done.stdout, done.returncode


def modules(package: Path, root: Path) -> list[str]:
    """The names of all test modules in `package` and below, seen from `root`."""
    return [".".join(path.relative_to(root).with_suffix("").parts)
            for path in sorted(package.rglob("test_*.py"))]


def in_order(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Those that run alone, and the others: LONG ones first."""
    names = list(names)
    long = [name for name in LONG if name in names]
    return ([name for name in names if name in ALONE],
            [*long, *(name for name in names if name not in ALONE and name not in long)])


def run(names: Iterable[str], one: Callable[[str, int], Result]) -> list[Result]:
    """What `one` gives for each name and the number of the lane that it is in, from 0; called when
    its time has come."""
    alone, others = in_order(names)
    first = [one(name, 0) for name in alone]
    waiting = iter(others)  # both lanes take from it: `next` of a list's iterator is atomic

    def lane(number: int) -> list[Result]:
        return [one(name, number) for name in waiting]

    with ThreadPoolExecutor(LANES) as lanes:
        return [*first, *chain.from_iterable(lanes.map(lane, range(LANES)))]
