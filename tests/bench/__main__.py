"""
`python -m tests.bench [--quick] [--write] [--only http,udp] [--profile http]`

The proxies run side by side on one core, and the load goes to one after the other, round by round:
on a noisy machine the ratios of one round still hold.
"""

from __future__ import annotations

import argparse
import os
import platform
import pstats
import resource
import signal
import ssl
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from twisted.copyright import version as twisted_version

from tests.bench.held import Held, idle
from tests.bench.kinds import DNS_KINDS, KINDS
from tests.bench.load import Kind, Result
from tests.bench.measure import model
from tests.bench.nameservers import NameServers
from tests.bench.peers import Peers, file_limit, missing, versions
from tests.bench.reloads import OPTIONS, Reloaded, exercise, takes_effect
from tests.bench.table import Report, insert, page
from tests.bench.zones import Loaded, load
from tests.live.harness import ROOT

PAGE = ROOT / "docs" / "performance.md"
PROXIES = ("nginx", "haproxy", "balancer")
NAME_SERVERS = ("gdnsd", "knot", "nsd", "balancer")
ALL_KINDS = (*KINDS, *DNS_KINDS)
NAMES = (*(kind.name for kind in ALL_KINDS), "idle", "idle-tls", "reload", "zones")

RELOAD_SECONDS = 10.0
RELOAD_ROUNDS = 3
"""Rounds of the exercise at most: each takes 20 s on each proxy."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--quick", action="store_true", help="one short round, at once")
    parser.add_argument("--write", action="store_true", help="put the tables into " + PAGE.name)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load")
    parser.add_argument("--only", default="", help="by commas, of: " + " ".join(NAMES))
    parser.add_argument("--proxies", default=",".join({**dict.fromkeys(PROXIES),
                                                       **dict.fromkeys(NAME_SERVERS)}),
                        help="by commas")
    parser.add_argument("--profile", default="", metavar="LOAD",
                        help="run the balancer alone under cProfile with this load")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 2.0
    chosen = options.proxies.split(",")
    options.proxies = [name for name in PROXIES if name in chosen]
    options.name_servers = [name for name in NAME_SERVERS if name in chosen]
    options.only = set(options.only.split(",")) if options.only else set(NAMES)
    for name in options.only:
        if name not in NAMES:
            parser.error(f"expected one of {' '.join(NAMES)}, got {name!r}")
    loads = [kind.name for kind in ALL_KINDS]
    if options.profile and options.profile not in loads:
        parser.error(f"expected one of {' '.join(loads)}, got {options.profile!r}")
    return options


def measure(peers: Peers | NameServers, kinds: Sequence[Kind], names: Sequence[str],
            options: argparse.Namespace) -> dict[str, dict[str, list[Result]]]:
    """Every load on every proxy, round by round."""
    runs: dict[str, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    if not kinds:
        return runs
    try:
        peers.origin()
        running = [peers.start(name) for name in names]
        for round in range(1 if options.quick else 0, options.rounds + 1):
            for kind in kinds:
                for peer in running:
                    if peer.name not in kind.peers:
                        continue
                    warming = round == 0
                    result = kind.run(peer, peers.directory,
                                      1.0 if warming else options.seconds)
                    if not warming:
                        runs[kind.name][peer.name].append(result)
                        say(f"{round}/{options.rounds} {kind.name:12}{peer.name:10}"
                            f"{result.cpu.both * 1e6:8.1f} us {result.rate:10,.0f}/s"
                            f"{result.errors:6} errors")
    finally:
        peers.end()
    return runs


def hold(directory: Path, proxies: Sequence[str], tls: bool) -> dict[str, Held]:
    """Idle connections on each proxy, freshly started."""
    held = {}
    for name in proxies:
        peers = Peers(directory)
        try:
            peers.origin()
            held[name] = idle(peers.start(name), tls)
            say(f"idle {'TLS ' if tls else ''}{name:10}{held[name].standing} standing, "
                f"{held[name].after / 2**20:.1f} MiB")
        finally:
            peers.end()
    return held


def reload(directory: Path, options: argparse.Namespace) -> dict[str, list[Reloaded]]:
    """Reloads under load on each proxy, freshly started, round by round."""
    runs: dict[str, list[Reloaded]] = defaultdict(list)
    seconds = RELOAD_SECONDS * (0.4 if options.quick else 1)
    peers = Peers(directory)
    try:
        peers.origin()
        running = [peers.start(name, *OPTIONS[name]) for name in options.proxies]
        for _ in range(min(options.rounds, RELOAD_ROUNDS)):
            for peer in running:
                one = exercise(peer, seconds)
                runs[peer.name].append(one)
                say(f"reload {peer.name:10} p99 {one.without.p99 * 1e3:.2f} ms, with reloads "
                    f"{one.during.p99 * 1e3:.2f} ms, {one.during.failed} failed")
        for peer in running:
            if not takes_effect(peer):
                raise RuntimeError(f"{peer.name}: a reload had no effect\n{peer.process.output}")
    finally:
        peers.end()
    return runs


def load_zones(directory: Path, names: Sequence[str]) -> dict[str, list[Loaded]]:
    """Large zones on each name server."""
    loaded = {}
    for name in names:
        loaded[name] = load(directory, name)
        for one in loaded[name]:
            say(f"zones {name:10}{one.records:,} records: {one.seconds:.2f} s, "
                f"{one.memory / 2**20:.1f} MiB")
    return loaded


def profile(directory: Path, kind: Kind, seconds: float) -> None:
    """Where the balancer's time goes under one load, by function. cProfile itself costs a lot."""
    stats = directory / "profile"
    peers = (NameServers if kind in DNS_KINDS else Peers)(directory)
    try:
        peers.origin()
        peer = peers.start("balancer", f"--profile={stats}", "--profiler=cprofile", "--savestats")
        result = kind.run(peer, directory, seconds)
        say(f"{kind.name}: {result.cpu.both * 1e6:.1f} us under the profiler")
        peer.process.signal(signal.SIGTERM)
        peer.process.wait()
    finally:
        peers.end()
    pstats.Stats(str(stats)).sort_stats("tottime").print_stats(40)


def command(options: Sequence[str]) -> str:
    """How make was asked for these options."""
    others = " ".join(option for option in options if option not in ("--quick", "--write"))
    quick = " QUICK=1" if "--quick" in options else ""
    return "make bench" + quick + (f" BENCH='{others}'" if others else "")


def say(text: str) -> None:
    """Progress: to the standard error, so that the tables alone are the output."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print, and write if asked to; the exit status."""
    options = arguments()
    lacking = missing()
    if lacking:
        say("missing: apt-get install " + " ".join(lacking))
        return 2
    if (os.cpu_count() or 1) < 2:
        say("needs two cores: one for the proxy, one for the load and the origin")
        return 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (file_limit(), file_limit()))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # nginx started by root works as nobody
        (directory / "names").mkdir()
        if options.profile:
            kind = next(kind for kind in ALL_KINDS if kind.name == options.profile)
            profile(directory, kind, options.seconds)
            return 0
        runs = {**measure(Peers(directory), [kind for kind in KINDS if kind.name in options.only],
                          options.proxies, options),
                **measure(NameServers(directory / "names"),
                          [kind for kind in DNS_KINDS if kind.name in options.only],
                          options.name_servers, options)}
        held, held_tls = (hold(directory, options.proxies, tls) if name in options.only else {}
                          for name, tls in (("idle", False), ("idle-tls", True)))
        reloads = reload(directory, options) if "reload" in options.only else {}
        zones = (load_zones(directory, options.name_servers) if "zones" in options.only else {})
    report = Report(
        runs=runs,
        idle=held,
        idle_tls=held_tls,
        reloads=reloads,
        zones=zones,
        machine=f"{model()}, {os.cpu_count()} cores, Linux {platform.release()}",
        versions=f"{versions()}, Python {platform.python_version()}, "
                 f"Twisted {twisted_version}, {ssl.OPENSSL_VERSION.rsplit(' ', 3)[0]}",
        command=command(sys.argv[1:]),
    )
    tables = page(report)
    print(tables)
    if options.write:
        PAGE.write_text(insert(PAGE.read_text(), tables))
        say(f"written to {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
