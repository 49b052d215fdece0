"""
The modules of the live suite side by side: most of a live test is waiting for peers and timers.

Each module has a process of its own. Those named in ALONE run first, with nothing beside them; all
others in LANES lanes, each of which takes the next module as soon as it has ended one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

LANES: Final = 2

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

Result = TypeVar("Result")


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
