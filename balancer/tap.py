"""
`twistd lb`: its options, the service that it runs, its signals and its exit codes.

Exit codes: 0 stopped, 1 bad site file or options, 2 an address could not be bound or a privilege
lacks. All of that is found out in `makeService`, which `twistd` calls before it goes to the
background, so that the one who started it is told.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

from twisted.logger import Logger, LogLevel
from twisted.python import usage

from balancer import plugins
from balancer.config.schema import Problem
from balancer.interfaces import NoPrivilege, PrepareError
from balancer.site import journal, named_files, notify
from balancer.site.files import check, load
from balancer.site.plan import BadSite, Makers, Plan
from balancer.site.service import SiteService
from balancer.wire import reactor as wire_reactor
from balancer.wire import room
from balancer.wire.listener import CannotBind

EXIT_BAD_SITE = 1
EXIT_CANNOT_BIND = 2

COLLECT_AT = (10_000, 5, 200)
"""When Python looks for garbage in cycles: after 10,000 more objects than were freed among those,
each fifth time among 50,000 (5 ms), each thousandth among all."""

log = Logger()


def makers() -> Makers:
    """What is installed, as the plan wants it."""
    found = plugins.find()
    return Makers(found.balancers, found.checks, found.broken)


class Options(usage.Options):
    """The command line of `twistd lb`."""

    synopsis = "[--config FILE] [--check [--files]]"
    longdesc = "Balances load as a site file says. docs/reference.md has every option of the file."

    optFlags: ClassVar = [
        ["check", None, "Report every error of the site file and exit, 1 if any; start nothing."],
        ["files", None, "With --check: also read all files that it names, as a start would."],
    ]
    optParameters: ClassVar = [
        ["config", "c", "conf/site.ini", "The site file."],
    ]

    plan: Plan
    made: Makers

    def opt_version(self) -> NoReturn:
        """Print the balancer's version and exit."""
        from balancer import __version__

        print(f"balancer {__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Read the site file: here, so that the pid file of a running twistd does not matter."""
        path = self["config"]
        if self["files"] and not self["check"]:
            raise usage.UsageError("expected --check beside --files, got --files alone")
        self.made = makers()
        try:
            if self["check"]:
                self._check(path)
            self.plan = load(path, self.made)
        except BadSite as bad:
            _leave(EXIT_BAD_SITE, *map(_told, bad.problems))
        except OSError as error:
            reason = error.strerror or error
            _leave(EXIT_BAD_SITE, f"{path}: expected a site file that can be read: {reason}")
        for warning in self.plan.warnings:
            _tell(_told(warning), level=LogLevel.warn)

    def _check(self, path: str) -> NoReturn:
        """Tell all that is wrong, and leave. Raises OSError."""
        with_files = bool(self["files"])
        drafted = check(path, self.made, named=with_files)
        _tell(*map(_told, drafted.problems))
        if not drafted.ok:
            raise SystemExit(EXIT_BAD_SITE)
        print(f"{path}: ok")
        named = named_files.paths(drafted.draft)
        if named:
            print(f"{path}: {_of_named(len(named), were_read=with_files)}")
        raise SystemExit(0)


def _told(problem: Problem) -> str:
    return f"{problem} (warning)" if problem.severity == "warning" else str(problem)


def _of_named(count: int, *, were_read: bool) -> str:
    files = "the file that it names" if count == 1 else f"the {count} files that it names"
    if were_read:
        return f"{files} can be read and used"
    return f"{files} {'was' if count == 1 else 'were'} not read; --check --files does so"


def _leave(code: int, *lines: str) -> NoReturn:
    _tell(*lines)
    raise SystemExit(code)


def _tell(*lines: str, level: Any = LogLevel.error) -> None:
    grave = journal.is_read_by_journal(sys.stderr)
    for line in lines:
        text = line.encode("utf-8", "replace").decode("utf-8") + "\n"
        sys.stderr.write(journal.lines(text, level) if grave else text)
    sys.stderr.flush()


def makeService(options: Options) -> SiteService:
    """The site of the file that `options` read, its sockets bound. Exits with 2 if that fails."""
    # Before signals raise: importlib's callbacks would swallow that.
    plugins.import_all()
    _mind_signals()
    wire_reactor.install()
    room.raise_limit()
    from twisted.internet import reactor

    live: Any = reactor
    supervisor = notify.Supervisor(live, notify.take(os.environ))
    # Before a zone of a million names is read.
    gc.set_threshold(*COLLECT_AT)
    try:
        site = SiteService(live, options.plan, options.made, supervisor)
    except CannotBind as cannot:
        _leave(EXIT_CANNOT_BIND, f"{options.plan.path}: {cannot}")
    except PrepareError as error:
        code = EXIT_CANNOT_BIND if isinstance(error, NoPrivilege) else EXIT_BAD_SITE
        _leave(code, *(f"{options.plan.path}: {line}" for line in str(error).split("\n")))
    live.callWhenRunning(Signals(live, site).install)
    # Not before a signal would be heard.
    live.callWhenRunning(site.tell_ready)
    _spare_turns()
    return site


def _spare_turns() -> None:
    """
    Keep the garbage collector from long turns. It walks no more over what stays, which takes 100 ms
    with thousands of servers; and seldom over all that came since.
    """
    gc.collect()
    gc.freeze()


def _mind_signals() -> None:
    """Until the reactor runs: SIGTERM and SIGINT are a clean stop, since nothing was accepted yet,
    and the others must not end a process that is about to start."""

    def leave(number: int, frame: object) -> NoReturn:
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


class Signals:
    """
    What the process does at signals. Installed once the reactor runs, since Twisted overwrites what
    was there before; so a clean stop exits 0.
    """

    def __init__(self, reactor: Any, site: SiteService) -> None:
        self._reactor = reactor
        self._site = site

    def install(self) -> None:
        """Take over SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2."""
        actions: dict[signal.Signals, Callable[[], object]] = {
            signal.SIGTERM: self._site.leave,
            signal.SIGINT: self._site.leave,
            signal.SIGHUP: self._site.operations.reload_again,
            signal.SIGUSR1: self._site.reopen_logs,
            signal.SIGUSR2: lambda: self._not_yet("SIGUSR2 (a successor)"),
        }
        for number, action in actions.items():
            signal.signal(number, self._caller(action))

    def _caller(self, action: Callable[[], object]) -> Callable[[int, object], None]:
        return lambda number, frame: self._reactor.callFromThread(action)

    def _not_yet(self, what: str) -> None:
        log.warn("{what} is not in this version: nothing changed", what=what)
