"""
`balancer-setup`: says what it will do, and does it. It asks nothing.

Exit codes: 0 done or nothing to do, 1 failed (the reason is on standard error), 2 bad usage, or the
rights of root lack.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from balancer.setup import bfd, kernel, names
from balancer.setup.disk import Disk, NoRights
from balancer.setup.steps import CannotSetUp, Plan, told

DONE, FAILED, USAGE = 0, 1, 2

MACHINE = Path("/")
"""Where the machine's files are, without --root."""

GROUP: Final = "balancer"
"""The service's group: who may read the keys of certificates."""

DAYS: Final = 365


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line `words` (the process's own). Returns the exit code, or exits with 2."""
    found = parser().parse_args(words)
    if found.version:
        from balancer import __version__

        print(f"balancer-setup {__version__}")
        return DONE
    if found.verb is None:
        parser().error("expected a verb, such as: balancer-setup kernel")
    # Neither has a default: a verb's would take the place of what stands before the verb.
    disk = Disk(getattr(found, "root", MACHINE))
    try:
        _carry_out(_PLANS[found.verb](found, disk), disk, getattr(found, "dry_run", False))
    except CannotSetUp as cannot:
        print(f"balancer-setup: {cannot}", file=sys.stderr)
        return USAGE if isinstance(cannot, NoRights) else FAILED
    return DONE


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    anywhere = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    anywhere.add_argument("--dry-run", action="store_true", help="say what would be done, only")
    anywhere.add_argument("--root", metavar="DIR", type=_directory,
                          help="the machine's files are beneath DIR; no command is run")
    top = argparse.ArgumentParser(
        "balancer-setup", parents=[anywhere], allow_abbrev=False,
        description="Prepares this machine for what the balancer's package leaves off.")
    top.add_argument("--version", action="store_true", help="print it and exit")
    verbs = top.add_subparsers(dest="verb", metavar="VERB")

    def verb(name: str, help: str) -> argparse.ArgumentParser:
        return verbs.add_parser(
            name, help=help, description=help, parents=[anywhere], allow_abbrev=False)

    verb("kernel", "rights for [ecmp] and [anycast]: a drop-in for balancer.service")
    routers = verb("bfd", "BIRD answers the routers' BFD: a file that BIRD's own includes")
    routers.add_argument("neighbors", metavar="ROUTER", nargs="+", type=_typed(bfd.neighbor),
                         help="an address of a router on a link of this machine")
    routers.add_argument("--timers", metavar="NxTms", type=_typed(bfd.timers), default="3x300ms",
                         help="gone after N packets, one each T ms (3x300ms)")
    certificate = verb("certificate", "a first self-signed certificate, in /etc/balancer/tls")
    certificate.add_argument("names", metavar="NAME", nargs="+", type=_typed(names.name),
                             help="a host name, *.NAME, or an address; the first names the file")
    certificate.add_argument("--days", metavar="N", type=_days, default=DAYS,
                             help=f"how long it is good for ({DAYS})")
    certificate.add_argument("--group", metavar="GROUP", default=GROUP,
                             help=f"who may read its key, besides root ({GROUP})")
    undo = verb("undo", "the machine as it was before kernel or bfd")
    undo.add_argument("what", metavar="kernel|bfd", choices=("kernel", "bfd"))
    return top


def _typed(read: Callable[[str], object]) -> Callable[[str], object]:
    """argparse shows a reason only if it comes as its own exception."""

    def typed(text: str) -> object:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return typed


def _directory(text: str) -> Path:
    path = Path(text).absolute()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"expected a directory, got {text!r}")
    return path


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 3650:
        raise argparse.ArgumentTypeError(f"expected 1 to 3650 days, got {text!r}")
    return int(text)


def _kernel(found: argparse.Namespace, disk: Disk) -> Plan:
    settings = {name: disk.text(path) for path, name in kernel.FORWARDING.items()}
    forwards = {name: text.strip() != "0" for name, text in settings.items() if text is not None}
    return kernel.plan(disk.text(kernel.PATH), forwards, disk.booted)


def _bfd(found: argparse.Namespace, disk: Disk) -> Plan:
    text = bfd.configuration(names.distinct(found.neighbors), found.timers)
    return bfd.plan(text, disk.text(bfd.PATH), disk.text(bfd.BIRD), disk.booted)


def _certificate(found: argparse.Namespace, disk: Disk) -> Plan:
    from balancer.setup import certificate  # it takes as long to import as all the rest

    disk.gid(found.group)
    wanted = names.distinct(found.names)
    path = certificate.path_of(wanted)
    if disk.exists(path):
        return certificate.kept(path, disk.at(path), wanted)
    is_made = disk.exists(certificate.DIRECTORY)
    return certificate.plan(wanted, found.days, found.group, datetime.now(UTC), is_made)


def _undo(found: argparse.Namespace, disk: Disk) -> Plan:
    if found.what == "kernel":
        return kernel.undone(disk.text(kernel.PATH), disk.booted)
    return bfd.undone(disk.text(bfd.PATH), disk.text(bfd.BIRD), disk.booted)


_PLANS: Final = {"kernel": _kernel, "bfd": _bfd, "certificate": _certificate, "undo": _undo}


def _carry_out(plan: Plan, disk: Disk, dry_run: bool) -> None:
    """All that will be done is printed before any of it is."""
    for text in plan.settled:
        print(f"nothing to do: {text}")
    for step in plan.steps:
        print(*told(step), sep="\n")
    sys.stdout.flush()
    if not dry_run:
        for step in plan.steps:
            disk.do(step)
    for text in plan.then:
        print(f"then {text}")


if __name__ == "__main__":
    sys.exit(main())
