"""
Hosts in namespaces: each has its own network, processes, mounts and name, as a machine has.

A host is a process, the first one in its namespaces, and ends with it: the kernel then ends all
others in it and removes its links. Nothing is recorded: a host is found by its first process's
command line, so that what a killed lab has left is found as well.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

PYTHON: Final = sys.executable

SEARCH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

WITHIN: Final = 20.0
"""Seconds for what takes a second on an idle machine."""

INIT: Final = """\
# sh init NAME: the first process of a host.
set -e
hostname "$1"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/bird /run/frr
if id frr >/dev/null 2>&1; then chown frr:frr /run/frr; fi
mount --bind ../resolv.conf /etc/resolv.conf
mount --bind ../hosts /etc/hosts
while read -r key value; do echo "$value" > "/proc/sys/$key"; done < settings
echo $$ > ready
set +e
# Waits for its children, and for those of others that come to it.
while :; do sleep 1000000 & wait; done
"""

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """Something that the lab needs did not work: what, and what it said."""


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def wait_until(what: str, true: Callable[[], bool], within: float = WITHIN) -> float:
    """Wait for that; how many seconds it took. Raises `Failed`."""
    start = time.monotonic()
    while not true():
        if time.monotonic() - start > within:
            raise Failed(f"not within {within:g} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - start


class Hosts:
    """The hosts of the lab in `directory`, where each has a directory of its own. With `lasting`
    they outlive the process that makes them, else they die with it (its main thread)."""

    def __init__(self, directory: Path, lasting: bool = False) -> None:
        self.directory = directory
        self._init = directory / "init"
        self._before = None if lasting else _die_with_parent
        self._known: dict[str, int] = {}

    # -- making and removing

    def make(self, settings: Mapping[str, Mapping[str, str]], names: Mapping[str, str],
             resolver: str) -> None:
        """Make the hosts named in `settings`, with these values in /proc/sys. `names` are those of
        /etc/hosts with their addresses; all others are the resolver's business."""
        self._init.write_text(INIT)
        # A host must know its own name: ExaBGP asks for it before it does anything else.
        lines = [f"{address} {name}\n" for name, address in names.items()]
        (self.directory / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines))
        (self.directory / "resolv.conf").write_text(f"nameserver {resolver}\n")
        for name, values in settings.items():
            home = self.home(name)
            home.mkdir()
            (home / "settings").write_text("".join(f"{k} {v}\n" for k, v in values.items()))
            self._begin(name)
        for name in settings:
            ready = self.home(name) / "ready"
            wait_until(f"{name} is there: {self._said(name)}", ready.exists)

    def _begin(self, name: str) -> None:
        words = ("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child",
                 "--mount-proc", "sh", str(self._init), name)
        with (self.home(name) / "init.log").open("wb") as log:
            subprocess.Popen(words, cwd=self.home(name), env=self._environment(name), stdout=log,
                             stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                             preexec_fn=self._before)

    def _said(self, name: str) -> str:
        return (self.home(name) / "init.log").read_text(errors="replace")

    def remove(self) -> int:
        """End all hosts, with all that runs in them; how many there were."""
        found = list(self._processes())
        for pid, _ in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until("all hosts are gone", lambda: not any(True for _ in self._processes()))
        return len({name for _, name in found})

    def end(self, name: str) -> None:
        """End one host at once: as if its power went."""
        os.kill(self.pid(name), signal.SIGKILL)

    # -- finding

    def home(self, name: str) -> Path:
        """The directory in which a host's processes start."""
        return self.directory / name

    def _processes(self) -> Iterator[tuple[int, str]]:
        """The first process of each host, and its parent; with the host's name."""
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if os.fsencode(self._init) in words and not _is_zombie(entry):
                    name = words[words.index(os.fsencode(self._init)) + 1]
                    yield int(entry.name), name.decode()

    def pids(self) -> dict[str, int]:
        """Every host that runs, with its first process."""
        found = {}
        for pid, name in self._processes():
            if (Path("/proc") / str(pid) / "comm").read_text().strip() == "sh":
                found[name] = pid
        return found

    def _is_first(self, pid: int, name: str) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return words[:3] == [b"sh", os.fsencode(self._init), os.fsencode(name)]

    def pid(self, name: str) -> int:
        """A host's first process. Raises `Failed`: there is no such host."""
        known = self._known.get(name, 0)
        # Looking for it takes milliseconds; whether it is still there, microseconds.
        if known and self._is_first(known, name):
            return known
        self._known = self.pids()
        try:
            return self._known[name]
        except KeyError:
            raise Failed(f"no host {name!r} runs here; `python -m lab up` makes the lab") from None

    # -- working in them

    def _environment(self, name: str) -> dict[str, str]:
        keys = ("TERM", "LANG", "HOME", "PYTHONPYCACHEPREFIX")
        kept = {key: os.environ[key] for key in keys if key in os.environ}
        return {**kept, "PATH": f"{self.directory / 'bin'}:{SEARCH}", "PYTHONPATH": str(ROOT),
                "PS1": f"{name}:\\w# ", "PYTHONDONTWRITEBYTECODE": "1"}

    def command(self, name: str, *words: str) -> list[str]:
        """The words that run a command in a host, in its directory."""
        return ["nsenter", f"--target={self.pid(name)}", "--net", "--mount", "--uts", "--pid",
                f"--wdns={self.home(name)}", "--", *words]

    def call(self, name: str, *words: str) -> int:
        """Run a command in a host with our own terminal; its exit status. Ctrl-C is for it, not for
        us."""
        before = signal.signal(signal.SIGINT, lambda number, frame: None)
        try:
            return subprocess.run(self.command(name, *words), env=self._environment(name),
                                  check=False).returncode
        finally:
            signal.signal(signal.SIGINT, before)

    def ask(self, name: str, *words: str, data: str = "", within: float = WITHIN) -> str:
        """What a command in a host prints. Raises `Failed` if it does not succeed."""
        try:
            done = subprocess.run(self.command(name, *words), env=self._environment(name),
                                  input=data, capture_output=True, text=True, timeout=within,
                                  check=False)
        except subprocess.TimeoutExpired:
            raise Failed(f"{name}: {' '.join(words)}: still runs after {within:g} s") from None
        if done.returncode:
            raise Failed(f"{name}: {' '.join(words)}: status {done.returncode}\n"
                         f"{done.stdout}{done.stderr}")
        return done.stdout

    def open(self, name: str, *words: str) -> subprocess.Popen[str]:
        """A command in a host whose output is read while it comes. Dies with us."""
        return subprocess.Popen(self.command(name, *words), env=self._environment(name),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                preexec_fn=_die_with_parent)

    def start(self, name: str, what: str, *words: str) -> None:
        """Start a process that goes on in a host: its output is in WHAT.log, its number within the
        host in WHAT.pid."""
        script = f'echo $$ > {what}.pid; exec "$@" > {what}.log 2>&1 < /dev/null'
        (self.home(name) / f"{what}.pid").unlink(missing_ok=True)
        self.ask(name, "setsid", "--fork", "sh", "-c", script, what, *words)
        file = self.home(name) / f"{what}.pid"
        wait_until(f"{what} starts in {name}", lambda: file.exists() and bool(file.read_text()))

    def process(self, name: str, what: str) -> int | None:
        """The process that `start` started, by its number out here; None when it has ended."""
        return self.outer(name, int((self.home(name) / f"{what}.pid").read_text()))

    def outer(self, name: str, inner: int) -> int | None:
        """The number out here of a process that has the number `inner` in its host."""
        space = os.readlink(f"/proc/{self.pid(name)}/ns/pid")
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                for line in (entry / "status").read_text().splitlines():
                    if line.startswith("NSpid:") and line.split()[-1] == str(inner):
                        if os.readlink(entry / "ns/pid") == space and not _is_zombie(entry):
                            return int(entry.name)
                        break
        return None

    def signal(self, name: str, what: str, number: int) -> None:
        """Send a signal to such a process. Raises `Failed` when it does not run."""
        pid = self.process(name, what)
        if pid is None:
            raise Failed(f"{name}: {what} does not run")
        os.kill(pid, number)

    @contextmanager
    def network(self, name: str) -> Iterator[None]:
        """Sockets that this thread makes meanwhile are in the host's network, and stay there."""
        with open("/proc/thread-self/ns/net", "rb") as ours, \
                open(f"/proc/{self.pid(name)}/ns/net", "rb") as theirs:
            _enter(theirs.fileno())
            try:
                yield
            finally:
                _enter(ours.fileno())


def _is_zombie(entry: Path) -> bool:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def batch(lines: Sequence[str], within: float = WITHIN) -> None:
    """`ip -batch` here, with `lines`. Raises `Failed`."""
    done = subprocess.run(("ip", "-batch", "-"), input="".join(f"{line}\n" for line in lines),
                          capture_output=True, text=True, timeout=within, check=False,
                          env={"PATH": SEARCH})
    if done.returncode:
        raise Failed(f"ip -batch: {done.stderr}")
