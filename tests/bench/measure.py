"""
What a process has used: CPU time and memory, read from /proc. Knows nothing of what it measures.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

TICK = 1.0 / os.sysconf("SC_CLK_TCK")
"""Seconds of one unit in /proc/PID/stat; the kernel scales both counts to the exact run time."""


class Cpu(NamedTuple):
    """Seconds of CPU time in user space and in the kernel."""

    user: float
    system: float

    @property
    def both(self) -> float:
        """All of it."""
        return self.user + self.system

    def since(self, earlier: Cpu) -> Cpu:
        """What was used after `earlier`."""
        return Cpu(self.user - earlier.user, self.system - earlier.system)

    def per(self, count: float) -> Cpu:
        """The share of one of `count` pieces of work."""
        return Cpu(self.user / count, self.system / count)


def cpu_of_stat(stat: str) -> Cpu:
    """The CPU time that a line of /proc/PID/stat tells; the name in it may hold blanks and `)`."""
    fields = stat.rpartition(")")[2].split()
    return Cpu(int(fields[11]) * TICK, int(fields[12]) * TICK)


def family(pid: int) -> tuple[int, ...]:
    """`pid` and its descendants: nginx works in a child of the process that was started."""
    found = [pid]
    for each in found:
        try:
            children = Path(f"/proc/{each}/task/{each}/children").read_text().split()
        except OSError:
            continue
        found.extend(int(child) for child in children)
    return tuple(found)


def cpu(pids: Iterable[int]) -> Cpu:
    """What the processes have used together since they began."""
    each = [cpu_of_stat(Path(f"/proc/{pid}/stat").read_text()) for pid in pids]
    return Cpu(sum(one.user for one in each), sum(one.system for one in each))


def memory_of_rollup(rollup: str) -> int:
    """Bytes of the proportional set size in the text of /proc/PID/smaps_rollup."""
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no Pss line")


def memory(pids: Iterable[int]) -> int:
    """Bytes of memory of the processes together; a page that N share counts 1/N for each."""
    return sum(memory_of_rollup(Path(f"/proc/{pid}/smaps_rollup").read_text()) for pid in pids)


def model() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
