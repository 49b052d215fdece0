"""
What live tests stand on: the balancer and its peers as processes, free ports, origins, tools.

A live test is a plain trial TestCase that blocks; the balancer runs outside of it. Whatever is
started here ends with the test, and with the test runner should that die. Every wait is bounded.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from string import Template
from types import FrameType

from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent.parent
TWISTD = Path(sys.executable).parent / "twistd"
LOOPBACK = "127.0.0.1"

START_WITHIN = 15.0
"""Seconds in which a process must answer on its port; a loaded machine is slow, not broken."""

STOP_WITHIN = 15.0
"""Seconds in which a process must be gone after SIGTERM."""

TEST_WITHIN = 90
"""Seconds that one test may last in all."""

COMPLAINT = re.compile(r"^.*(?:#critical\]|Unhandled|Traceback).*$", re.MULTILINE)
"""A line that no balancer may log, whatever is done to it: something raised."""

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def _die_with_parent() -> None:
    """Runs in the child before exec: the kernel kills it when the test runner is gone."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def need(*tools: str) -> None:
    """Skip the test if a tool is not there. In CI, where all are installed, fail it."""
    missing = [tool for tool in tools if not shutil.which(tool, path=search_path())]
    if missing and os.environ.get("CI") == "true":
        raise AssertionError(f"not installed: {' '.join(missing)}")
    if missing:
        raise SkipTest(f"needs {' '.join(missing)}")


def search_path() -> str:
    """PATH with the directories of Debian's daemons, which an unprivileged PATH leaves out."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


_PORTS = range(20000, 32000)
"""Below the kernel's range for outgoing connections (32768 and up), so that none of those takes a
port before its server binds."""

_BLOCK = 500
"""How many of them a process takes at once: more than any module of tests wants."""

_claims: list[socket.socket] = []


@cache
def own_ports() -> Iterator[int]:
    """
    The ports that are this process's own, each once.

    A block of them is claimed by an abstract address, which the kernel gives to one process and
    takes back at its end: suites that run side by side never give the same port. Such an address
    counts in its network namespace alone, so that the first block is claimed before a test leaves
    the machine's.
    """
    firsts = _PORTS[::_BLOCK]
    start = os.getpid() % len(firsts)  # what the process before us used may still be closing
    blocks = map(_claimed, (*firsts[start:], *firsts[:start]))
    first = next(filter(None, blocks), range(0))
    return chain(first, chain.from_iterable(blocks))


def _claimed(first: int) -> range:
    """The block that begins with `first`; empty when it is another process's."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0balancer-live-ports-{first}")
    except OSError:
        claim.close()
        return range(0)
    _claims.append(claim)
    return range(first, first + _BLOCK)


def free_port(host: str = LOOPBACK) -> int:
    """A port that neither TCP nor UDP uses on `host`, never given before by this process, nor by
    another one that runs."""
    for port in own_ports():
        if _is_free(host, port):
            return port
    raise AssertionError("no free port")


def _is_free(host: str, port: int) -> bool:
    """Whether both protocols can be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


def wait_until(what: str, true: Callable[[], bool], within: float = START_WITHIN) -> float:
    """Wait for `true()`; how many seconds it took. Fails with `what` when it does not come."""
    start = time.monotonic()
    while not true():
        if time.monotonic() - start > within:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - start


def answers(port: int, host: str = LOOPBACK) -> bool:
    """Whether a TCP connection to the port is accepted."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


class Process:
    """A child in a process group of its own, its output in a file."""

    def __init__(self, command: Sequence[str], log: Path, cwd: Path,
                 environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        self.command = list(command)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                self.command, cwd=cwd, env={**os.environ, "PATH": search_path(),
                                            **(environment or {})},
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True, preexec_fn=_die_with_parent)
        self.pid = self._process.pid

    @property
    def output(self) -> str:
        """All that it has printed so far."""
        return self.log.read_text(errors="replace")

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs; -N: killed by signal N."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Send a signal to it alone, not to its group."""
        self._process.send_signal(number)

    def wait(self, within: float = STOP_WITHIN) -> int:
        """Wait for its end; its exit status."""
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"pid {self.pid} still runs after {within:g} s\n{self.output}") from None

    def stop(self, within: float = STOP_WITHIN) -> int:
        """SIGTERM, and wait for the end; the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(within)

    def kill(self) -> None:
        """End it and its whole group at once; harmless when it has ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(STOP_WITHIN)

    def answering(self, *ports: int, within: float = START_WITHIN) -> None:
        """Wait until each port accepts; fails at once when the process has ended."""
        def ready() -> bool:
            if self.status is not None:
                raise AssertionError(f"ended with {self.status}: {self.command}\n{self.output}")
            return all(answers(port) for port in ports)
        try:
            wait_until(f"{self.command} answers on {ports}", ready, within)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}") from None


    def catches(self, number: int) -> bool:
        """Whether it has a handler of its own for the signal: until then a signal kills it."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
        return False

    def running(self, *ports: int, within: float = START_WITHIN) -> None:
        """
        Wait until the balancer works on `ports`.

        A bound port accepts before the reactor runs, so that alone says too little. The handler of
        SIGUSR2 is the last thing that it installs.
        """
        self.answering(*ports, within=within)
        wait_until("it handles signals", lambda: self.catches(signal.SIGUSR2), within)


class LiveTestCase(SynchronousTestCase):
    """A test with processes around it, a directory of its own, and a bound in time."""

    def setUp(self) -> None:
        """Make the directory and set the bound."""
        own_ports()  # before a test has a network of its own
        # Not trial's own mktemp: a unix socket's path may have 107 bytes and no more.
        self.directory = Path(tempfile.mkdtemp(prefix="live-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        before = signal.signal(signal.SIGALRM, self._too_long)
        signal.alarm(TEST_WITHIN)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        self.addCleanup(signal.alarm, 0)

    def _too_long(self, number: int, frame: FrameType | None) -> None:
        """The kernel's alarm: raises in whatever the test waits for."""
        raise AssertionError(f"the test lasted over {TEST_WITHIN} s")

    def start(self, command: Sequence[str], name: str, **environment: str) -> Process:
        """A process that ends with the test. Its output is in `name`.log."""
        process = Process(command, self.directory / f"{name}.log", self.directory, environment)
        self.addCleanup(process.kill)
        return process

    def twistd(self, site: Path, *options: str, foreground: bool = True,
               name: str = "balancer", wrap: Sequence[str] = ()) -> Process:
        """
        `twistd [-n] lb --config SITE [OPTIONS]` of the checkout, in the test's directory.

        `wrap` is a command that ends by becoming the one that follows it, such as `env`. The test
        fails if anything raises in the log.
        """
        pidfile = self.directory / f"{name}.pid"
        command = [*wrap, str(TWISTD), f"--pidfile={pidfile}"]
        logs = [self.directory / f"{name}.log", self.directory / f"{name}.twistd.log"]
        self.addCleanup(self._nothing_raised, logs)  # runs after the process has ended
        if foreground:
            command.append("-n")
        else:
            command.append(f"--logfile={logs[1]}")
            self.addCleanup(self._kill_daemon, pidfile)
        return self.start([*command, "lb", "--config", str(site), *options], name,
                          PYTHONPATH=str(ROOT))

    def _nothing_raised(self, logs: Sequence[Path]) -> None:
        """Fails with the whole log when a line of it says that something raised."""
        for log in logs:
            text = log.read_text(errors="replace") if log.exists() else ""
            found = COMPLAINT.search(text)
            if found:
                raise AssertionError(f"{log.name} has {found[0]!r}\n{text[-8000:]}")

    def _kill_daemon(self, pidfile: Path) -> None:
        """A daemonized twistd has left its parent and group: only its pidfile names it."""
        if pidfile.exists():
            with suppress(ProcessLookupError):
                os.kill(int(pidfile.read_text()), signal.SIGKILL)

    def site_file(self, text: str, **values: object) -> Path:
        """A site file in the test's directory from `text`, where $NAME stands for a value."""
        path = self.directory / "site.ini"
        path.write_text(Template(text).substitute(values))
        return path

    def balancer(self, text: str, *ports: int, wrap: Sequence[str] = (),
                 **values: object) -> Process:
        """The balancer with the site file `text`, once it works on `ports`."""
        process = self.twistd(self.site_file(text, **values), wrap=wrap)
        process.running(*ports)
        return process


def ask(*command: str, data: bytes = b"", within: float = 20.0) -> str:
    """Run a tool to its end and give what it prints; it must succeed."""
    done = subprocess.run(command, input=data, capture_output=True, timeout=within, check=False,
                          env={**os.environ, "PATH": search_path()}, preexec_fn=_die_with_parent)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: status {done.returncode}\n"
                             f"{done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")
