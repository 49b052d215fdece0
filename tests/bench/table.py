"""
Runs of every proxy become a page: medians, ratios, and the aims beside what was measured.

Pure: results in, Markdown out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from attrs import frozen

from tests.bench.load import KINDS, Held, Kind, Result
from tests.bench.measure import Cpu

OURS = "balancer"
BEGIN = "<!-- measured: begin -->"
END = "<!-- measured: end -->"

# What we hold ourselves to: CPU for one piece of work against a peer's, in the same run.
AIMS = (("http", "nginx", 1.4), ("paced", "nginx", 1.4), ("small", "haproxy", 1.3),
        ("bulk", "nginx", 1.0), ("bulk", "haproxy", 1.0))
AIM_IDLE = 100 * 2**20

Runs = Mapping[str, Mapping[str, Sequence[Result]]]
"""The results by the load's name and the proxy's."""


@frozen
class Report:
    """All that was measured, and where."""

    runs: Runs
    idle: Mapping[str, Held]
    machine: str
    versions: str
    command: str


def middle(results: Sequence[Result]) -> Result:
    """The median of each figure; errors are added up."""
    return Result(
        Cpu(median(r.cpu.user for r in results), median(r.cpu.system for r in results)),
        median(r.rate for r in results),
        sum(r.errors for r in results),
        median(r.p50 for r in results),
        median(r.p99 for r in results),
    )


def ratio(ours: Sequence[Result], theirs: Sequence[Result]) -> float:
    """Our CPU against theirs: the median over rounds, since the two of a round ran side by side."""
    return median(a.cpu.both / b.cpu.both for a, b in zip(ours, theirs, strict=True) if b.cpu.both)


def row(*cells: str) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def load_rows(kind: Kind, runs: Mapping[str, Sequence[Result]]) -> list[str]:
    """A line for each proxy under one load."""
    rows = []
    for name, results in runs.items():
        one = middle(results)
        against = "" if name == OURS or OURS not in runs else f"{ratio(runs[OURS], results):.2f}"
        timed = (f"{one.p50 * 1e3:.2f}", f"{one.p99 * 1e3:.2f}") if one.p99 else ("", "")
        rows.append(row(kind.title, name, f"{one.cpu.both * 1e6:.1f} µs a {kind.piece}",
                        f"{one.cpu.user * 1e6:.1f} + {one.cpu.system * 1e6:.1f}",
                        f"{one.rate:,.0f}", *timed, str(one.errors), against))
    return rows


def loads(runs: Runs) -> list[str]:
    """The table of all loads."""
    head = ("load", "proxy", "CPU", "user + sys", "per second", "p50 ms", "p99 ms", "errors",
            f"{OURS} / it")
    lines = [row(*head), row(*["---"] * len(head))]
    for kind in KINDS:
        if kind.name in runs:
            lines += load_rows(kind, runs[kind.name])
    return lines


def memories(idle: Mapping[str, Held]) -> list[str]:
    """The table of idle connections."""
    if not idle:
        return []
    lines = ["", row("idle connections", "proxy", "memory (PSS)", "before", "for one connection"),
             row(*["---"] * 5)]
    for name, held in idle.items():
        share = (held.after - held.before) / max(1, held.standing)
        lines.append(row(f"{held.standing:,}", name, f"{held.after / 2**20:.1f} MiB",
                         f"{held.before / 2**20:.1f} MiB", f"{share / 1024:.2f} KiB"))
    return lines


def verdict(met: bool) -> str:
    """A word for the last column."""
    return "met" if met else "**missed**"


def aims(report: Report) -> list[str]:
    """Each aim beside what was measured."""
    titles = {kind.name: kind.title for kind in KINDS}
    lines = []
    for load, peer, most in AIMS:
        by_proxy = report.runs.get(load, {})
        if peer in by_proxy and OURS in by_proxy:
            found = ratio(by_proxy[OURS], by_proxy[peer])
            lines.append(row(f"{titles[load]}: CPU against {peer}", f"at most {most:.1f}x",
                             f"{found:.2f}x", verdict(found <= most)))
    if OURS in report.idle:
        held = report.idle[OURS]
        lines.append(row(f"{held.standing:,} idle connections",
                         f"at most {AIM_IDLE / 2**20:.0f} MiB", f"{held.after / 2**20:.1f} MiB",
                         verdict(held.after <= AIM_IDLE)))
    return ["", row("aim", "bound", "measured", ""), row(*["---"] * 4), *lines] if lines else []


def page(report: Report) -> str:
    """The measured part of docs/performance.md."""
    where = [f"Machine: {report.machine}.", f"Versions: {report.versions}.",
             f"Command: `{report.command}`.", ""]
    lines = [*where, *loads(report.runs), *memories(report.idle), *aims(report)]
    return "\n".join(lines) + "\n"


def insert(document: str, measured: str) -> str:
    """`document` with the part between the markers replaced. ValueError if there are none."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{measured}\n{END}{after}"
