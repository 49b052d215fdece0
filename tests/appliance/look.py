"""
Run on a machine by the service, as its `check = exec`: what may it do? Writes one JSON object, each
trial with what came of it, `done` or the error's name, to the file that it is given.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PER_LINUX32 = 0x0008
PTRACE_ATTACH = 16


def called(result: int) -> None:
    """Raise what a call of libc left in errno."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def opened(*words: object) -> None:
    """A socket of that kind."""
    socket.socket(*words).close()  # type: ignore[arg-type]  # numbers, as socket(2) has them


def low_port() -> None:
    """A port below 1024."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 81))


def set_uid_file() -> None:
    """A program that would run as whoever made it."""
    path = Path("/var/lib/balancer/suid")
    path.touch()
    path.chmod(0o4755)


TRIALS: dict[str, Callable[[], object]] = {
    "write state": lambda: Path("/var/lib/balancer/written").write_text("x"),
    "write logs": lambda: Path("/var/log/balancer/written").write_text("x"),
    "write run": lambda: Path("/run/balancer/written").write_text("x"),
    "write tmp": lambda: Path("/tmp/written").write_text("x"),
    "low port": low_port,
    "write etc": lambda: Path("/etc/balancer/written").write_text("x"),
    "write usr": lambda: Path("/usr/local/written").write_text("x"),
    "write opt": lambda: Path("/opt/written").write_text("x"),
    "write sysctl": lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"),
    "read shadow": lambda: Path("/etc/shadow").read_text(),
    "see process 1": lambda: Path("/proc/1/cmdline").read_bytes(),
    "see memory": lambda: Path("/proc/meminfo").read_text(),
    "see home": lambda: Path("/home/secret").read_text(),
    "packet socket": lambda: opened(17, 3, 0),
    "raw socket": lambda: opened(socket.AF_INET, socket.SOCK_RAW, 1),
    "new user namespace": lambda: called(libc.unshare(CLONE_NEWUSER)),
    "new network": lambda: called(libc.unshare(CLONE_NEWNET)),
    "mount": lambda: called(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
    "write and execute": lambda: mmap.mmap(
        -1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "personality": lambda: called(libc.personality(PER_LINUX32)),
    "real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "set-uid file": set_uid_file,
    "host name": lambda: socket.sethostname("other"),
    "clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "trace": lambda: called(libc.ptrace(PTRACE_ATTACH, os.getppid(), None, None)),
    "become root": lambda: os.setuid(0),
    "kernel log": lambda: called(libc.klogctl(3, ctypes.create_string_buffer(64), 64)),
}


def tried(trial: Callable[[], object]) -> str:
    """What comes of it."""
    try:
        trial()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


if __name__ == "__main__":
    found = {name: tried(trial) for name, trial in TRIALS.items()}
    made = Path(f"{sys.argv[1]}.new")
    made.write_text(json.dumps(found))
    made.rename(sys.argv[1])
