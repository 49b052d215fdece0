"""
The command: `python -m lab [VERB]`; `-h` lists the verbs.

Without a word it makes the lab, shows the map, does what is asked of it, and removes it at the end.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.failover import HARMS, suffer
from lab.hosts import Failed, Hosts
from lab.internet import DIRECTORY, Internet
from lab.planes import last_server_dies
from lab.tally import table
from lab.topology import BALANCER, MAP

SHELL = ("bash", "--norc", "-i")

ASKED = ("map", "status", "start", "timeline", "failover")
"""Verbs that are understood at the prompt as well."""

WELCOME = """\
`ann` opens a shell in that host, `ann curl -s http://192.0.2.1/` runs a command in it, in sh.
`map`, `status`, `timeline`, `failover`; `start HOST` for what was killed there. Ctrl-D, or `exit`,
removes the lab.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="lab", description="A small internet on this machine.")
    found.add_argument("--directory", type=Path, default=DIRECTORY,
                       help="where its files are; labs in two directories are two labs")
    found.add_argument("--router2", choices=("bird", "frr"), default="bird",
                       help="what r2 runs, when the lab is made")
    verbs = found.add_subparsers(dest="verb")
    verbs.add_parser("up", help="make it, and leave it there")
    verbs.add_parser("down", help="remove it, also what is left of one that was killed")
    verbs.add_parser("map", help="show who is where")
    verbs.add_parser("status", help="say what runs")
    start = verbs.add_parser("start", help="start the server or balancer of a host, after a kill")
    start.add_argument("host")
    timeline = verbs.add_parser("timeline", help="kill the last server of a site, bring it back, "
                                "and show when each plane followed")
    timeline.add_argument("site", nargs="?", choices=("east", "west"), default="east")
    failover = verbs.add_parser("failover", help="do harm while clients ask, and count what they "
                                "see: a table")
    failover.add_argument("harms", nargs="*", metavar="HARM",
                          help=f"of {' '.join(HARMS)}; all of them by default")
    run = verbs.add_parser("run", help="run a command in a host")
    run.add_argument("host")
    run.add_argument("command", nargs=argparse.REMAINDER)
    shell = verbs.add_parser("shell", help="open a shell in a host")
    shell.add_argument("host")
    return found


def status(internet: Internet) -> int:
    """Print which hosts there are, and what the balancers say; 1 when there is no lab."""
    there = internet.hosts.pids()
    print(f"{len(there)} of {len(internet.lab.names)} hosts")
    for host in internet.lab.of_role(BALANCER):
        if host.name in there:
            found = internet.status(host.name)
            servers = found.get("pools", {}).get("web", {}).get("servers", {})
            states = " ".join(f"{name} {each['state']}" for name, each in servers.items())
            anycast = found.get("balancers", {}).get("anycast:www", {}).get("state", "")
            print(f"{host.name}: {states or 'no answer'}; anycast {anycast or 'unknown'}")
    return 0 if there else 1


@contextmanager
def there(internet: Internet) -> Iterator[None]:
    """The lab that is there, or one for now."""
    if internet.hosts.pids():
        yield
        return
    try:
        internet.up()
        yield
    finally:
        internet.down()


def timeline(internet: Internet, site: str) -> int:
    """Print how the site's balancers took its last server's death and return; 1 if one of them kept
    a bound badly."""
    with there(internet):
        courses = last_server_dies(internet, site)
    for course in courses:
        print("\n".join(course.lines()))
    late = [text for course in courses for text in course.late()]
    print("\n".join(late) or "all within their bounds")
    return 1 if late else 0


def failover(internet: Internet, names: Sequence[str]) -> int:
    """Print what clients saw of each harm."""
    unknown = [name for name in names if name not in HARMS]
    if unknown:
        raise Failed(f"expected harms of {' '.join(HARMS)}, got {' '.join(unknown)}")
    with there(internet):
        rows = [suffer(internet, HARMS[name]) for name in names or HARMS]
    print(table(rows))
    return 0


def explore(internet: Internet, second: str) -> int:
    """The lab for as long as somebody looks at it."""
    with suppress(ImportError):
        import readline  # noqa: F401  lets the terminal edit and repeat lines
    internet.up(second)
    print(MAP)
    print(WELCOME)
    try:
        while (line := next_line()) != "exit":
            asked(internet, line)
    except EOFError:
        print()
    finally:
        internet.down()
    return 0


def next_line() -> str:
    """What is typed next; nothing if Ctrl-C drops it. Raises EOFError at the end."""
    try:
        return input("lab> ").strip()
    except KeyboardInterrupt:
        print()
        return ""


def asked(internet: Internet, line: str) -> None:
    """One line at the prompt. Ctrl-C ends what it does, not the lab."""
    name, _, command = line.partition(" ")
    try:
        if name in internet.lab.names:
            words = ("sh", "-c", command) if command.strip() else SHELL
            internet.hosts.call(name, *words)
        elif name in ASKED:
            do(internet, parser().parse_args(shlex.split(line)))
        elif name:
            expected = " ".join((*internet.lab.names, *ASKED, "exit"))
            print(f"expected one of {expected}, got {name!r}")
    except (Failed, ValueError) as failed:  # ValueError: a quote is left open
        print(f"lab: {failed}")
    except (KeyboardInterrupt, SystemExit):  # SystemExit: argparse has said what it expected
        print()


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    given = parser().parse_args(words)
    if os.geteuid() != 0 and given.verb != "map":
        print("lab: needs root, for namespaces", file=sys.stderr)
        return 2
    # What somebody looks at is gone with him, however he leaves.
    internet = Internet(Hosts(given.directory, lasting=given.verb is not None))
    try:
        return do(internet, given)
    except Failed as failed:
        print(f"lab: {failed}", file=sys.stderr)
        return 1


def do(internet: Internet, given: argparse.Namespace) -> int:
    """One verb."""
    if given.verb is None:
        return explore(internet, given.router2)
    if given.verb == "up":
        internet.up(given.router2)
        print(MAP, end="")
        return 0
    if given.verb == "down":
        print(f"{internet.down()} hosts removed")
        return 0
    if given.verb == "map":
        print(MAP, end="")
        return 0
    if given.verb == "status":
        return status(internet)
    if given.verb == "start":
        internet.start(given.host)
        return 0
    if given.verb == "timeline":
        return timeline(internet, given.site)
    if given.verb == "failover":
        return failover(internet, given.harms)
    words = given.command if given.verb == "run" else SHELL
    if words and words[0] == "--":
        words = words[1:]
    return internet.hosts.call(given.host, *(words or SHELL))


if __name__ == "__main__":
    sys.exit(main())
