"""
Runs of every proxy become a page: medians, ratios, and the aims beside what was measured.

Pure: results in, Markdown out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from attrs import Factory, frozen

from tests.bench.held import Held
from tests.bench.kinds import DNS_KINDS, KINDS
from tests.bench.latency import Timed
from tests.bench.load import Kind, Result
from tests.bench.measure import Cpu
from tests.bench.reloads import Reloaded
from tests.bench.zones import Loaded

OURS = "balancer"
BEGIN = "<!-- measured: begin -->"
END = "<!-- measured: end -->"

# What we hold ourselves to: CPU for one piece of work against a peer's, in the same run.
AIMS = (("http", "nginx", 1.4), ("paced", "nginx", 1.4), ("https", "nginx", 1.4),
        ("https-paced", "nginx", 1.4), ("small", "haproxy", 1.3), ("bulk", "nginx", 1.0),
        ("bulk", "haproxy", 1.0), ("dns", "gdnsd", 1.5), ("dns-edns", "gdnsd", 1.5),
        ("dns-near", "gdnsd", 2.5))
# How many a second of CPU does against a peer's: what a busy core does in a second.
AIMS_RATE = (("full", "nginx", 0.75), ("resumed", "nginx", 0.75))
AIM_IDLE = 100 * 2**20
AIM_IDLE_TLS = 1.25
"""Memory for one connection against nginx's: OpenSSL's part is the same in both."""

AIM_RELOAD_P99 = 1.5
"""With a reload each second against without."""

AIM_RELOAD_P999 = 0.050
"""Seconds: no reactor turn is to be longer."""

AIMS_ZONES = {10_000: (0.3, 0), 1_000_000: (20.0, 1500 * 2**20)}
"""Seconds and bytes (0: not looked at) that a zone of so many records may take."""

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
    idle_tls: Mapping[str, Held] = Factory(dict)
    reloads: Mapping[str, Sequence[Reloaded]] = Factory(dict)
    zones: Mapping[str, Sequence[Loaded]] = Factory(dict)


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
                        f"{one.rate:,.0f}", f"{one.cpu.both * one.rate:.0%}", *timed,
                        str(one.errors), against))
    return rows


def loads(runs: Runs) -> list[str]:
    """The table of all loads."""
    head = ("load", "proxy", "CPU", "user + sys", "per second", "core", "p50 ms", "p99 ms",
            "errors", f"{OURS} / it")
    lines = [row(*head), row(*["---"] * len(head))]
    for kind in (*KINDS, *DNS_KINDS):
        if kind.name in runs:
            lines += load_rows(kind, runs[kind.name])
    return lines


def share_of_one(held: Held) -> float:
    """Bytes for one connection."""
    return (held.after - held.before) / max(1, held.standing)


def memories(report: Report) -> list[str]:
    """The table of idle connections."""
    lines = []
    for title, idle in (("plain", report.idle), ("TLS", report.idle_tls)):
        for name, held in idle.items():
            lines.append(row(f"{held.standing:,} {title}", name, f"{held.after / 2**20:.1f} MiB",
                             f"{held.before / 2**20:.1f} MiB",
                             f"{share_of_one(held) / 1024:.2f} KiB"))
    head = row("idle connections", "proxy", "memory (PSS)", "before", "for one connection")
    return ["", head, row(*["---"] * 5), *lines] if lines else []


def middle_timed(runs: Sequence[Timed]) -> Timed:
    """The median of each time; counts are added up, and the worst stays the worst."""
    return Timed(
        sum(run.count for run in runs), sum(run.failed for run in runs),
        sum(run.closed for run in runs), median(run.p50 for run in runs),
        median(run.p99 for run in runs), median(run.p999 for run in runs),
        max(run.worst for run in runs))


def reload_rows(reloads: Mapping[str, Sequence[Reloaded]]) -> list[str]:
    """The table of what reloads cost the requests meanwhile."""
    lines = []
    for name, runs in reloads.items():
        peace = middle_timed([run.without for run in runs])
        during = middle_timed([run.during for run in runs])
        for count, one in ((0, peace), (sum(run.reloads for run in runs), during)):
            times = (one.p50, one.p99, one.p999, one.worst)
            lines.append(row(name, str(count), f"{one.count:,}",
                             *(f"{time * 1e3:.2f}" for time in times),
                             str(one.failed), str(one.closed)))
    head = row("proxy", "reloads", "requests", "p50 ms", "p99 ms", "p99.9 ms", "worst ms",
               "failed", "connections closed")
    return ["", head, row(*["---"] * 9), *lines] if lines else []


def zone_rows(zones: Mapping[str, Sequence[Loaded]]) -> list[str]:
    """The table of large zones."""
    lines = [row(f"{one.records:,}", name, f"{one.seconds:.2f}", f"{one.cpu:.2f}",
                 f"{one.memory / 2**20:.1f} MiB")
             for name, loaded in zones.items() for one in loaded]
    head = row("records of a zone", "server", "s until it answers", "CPU s", "memory (PSS)")
    return ["", head, row(*["---"] * 5), *lines] if lines else []


def zone_aims(zones: Mapping[str, Sequence[Loaded]]) -> list[str]:
    """What a large zone may take."""
    lines = []
    for one in zones.get(OURS, ()):
        seconds, most = AIMS_ZONES[one.records]
        title = f"a zone of {one.records:,} records"
        lines.append(row(f"{title}: time", f"at most {seconds:.1f} s", f"{one.seconds:.2f} s",
                         verdict(one.seconds <= seconds)))
        if most:
            lines.append(row(f"{title}: memory", f"at most {most / 2**20:.0f} MiB",
                             f"{one.memory / 2**20:.1f} MiB", verdict(one.memory <= most)))
    return lines


def verdict(met: bool) -> str:
    """A word for the last column."""
    return "met" if met else "**missed**"


def cpu_aims(runs: Runs) -> list[str]:
    """CPU against the peers'."""
    titles = {kind.name: kind.title for kind in (*KINDS, *DNS_KINDS)}
    lines = []
    for load, peer, most in AIMS:
        by_proxy = runs.get(load, {})
        if peer in by_proxy and OURS in by_proxy:
            found = ratio(by_proxy[OURS], by_proxy[peer])
            lines.append(row(f"{titles[load]}: CPU against {peer}", f"at most {most:.1f}x",
                             f"{found:.2f}x", verdict(found <= most)))
    for load, peer, least in AIMS_RATE:
        by_proxy = runs.get(load, {})
        if peer in by_proxy and OURS in by_proxy:
            found = ratio(by_proxy[peer], by_proxy[OURS])
            lines.append(row(f"{titles[load]}: per second of CPU against {peer}",
                             f"at least {least:.2f}x", f"{found:.2f}x", verdict(found >= least)))
    return lines


def idle_aims(report: Report) -> list[str]:
    """Memory of idle connections."""
    lines = []
    if OURS in report.idle:
        held = report.idle[OURS]
        lines.append(row(f"{held.standing:,} idle connections",
                         f"at most {AIM_IDLE / 2**20:.0f} MiB", f"{held.after / 2**20:.1f} MiB",
                         verdict(held.after <= AIM_IDLE)))
    if {OURS, "nginx"} <= set(report.idle_tls):
        held = report.idle_tls[OURS]
        found = share_of_one(held) / share_of_one(report.idle_tls["nginx"])
        lines.append(row(f"{held.standing:,} idle TLS connections: memory for one against nginx",
                         f"at most {AIM_IDLE_TLS:.2f}x", f"{found:.2f}x",
                         verdict(found <= AIM_IDLE_TLS)))
    return lines


def reload_aims(reloads: Mapping[str, Sequence[Reloaded]]) -> list[str]:
    """What a reload each second may cost."""
    if OURS not in reloads:
        return []
    peace = middle_timed([run.without for run in reloads[OURS]])
    during = middle_timed([run.during for run in reloads[OURS]])
    slower = during.p99 / peace.p99
    return [
        row("a reload each second: failed requests", "0", str(during.failed),
            verdict(not during.failed)),
        row("a reload each second: p99 against without", f"at most {AIM_RELOAD_P99:.1f}x",
            f"{slower:.2f}x", verdict(slower <= AIM_RELOAD_P99)),
        row("a reload each second: p99.9", f"at most {AIM_RELOAD_P999 * 1e3:.0f} ms",
            f"{during.p999 * 1e3:.2f} ms", verdict(during.p999 <= AIM_RELOAD_P999))]


def aims(report: Report) -> list[str]:
    """Each aim beside what was measured."""
    lines = [*cpu_aims(report.runs), *idle_aims(report), *reload_aims(report.reloads),
             *zone_aims(report.zones)]
    return ["", row("aim", "bound", "measured", ""), row(*["---"] * 4), *lines] if lines else []


def page(report: Report) -> str:
    """The measured part of docs/performance.md."""
    where = [f"Machine: {report.machine}.", f"Versions: {report.versions}.",
             f"Command: `{report.command}`.", ""]
    lines = [*where, *(loads(report.runs) if report.runs else []), *memories(report),
             *reload_rows(report.reloads), *zone_rows(report.zones), *aims(report)]
    return "\n".join(lines) + "\n"


def insert(document: str, measured: str) -> str:
    """`document` with the part between the markers replaced. ValueError if there are none."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{measured}\n{END}{after}"
