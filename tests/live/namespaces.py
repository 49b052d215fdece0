"""
Namespaces of the kernel in which a test may break what belongs to the whole machine: addresses,
disks, the hosts file. They end with their last process, also when the test runner is killed.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from twisted.trial.unittest import SkipTest

from tests.live.harness import need, search_path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def need_root() -> None:
    """Skip the test without root; in CI, fail it."""
    if os.geteuid() == 0:
        return
    if os.environ.get("CI") == "true":
        raise AssertionError("needs root")
    raise SkipTest("needs root")


@contextmanager
def network() -> Iterator[None]:
    """
    A network of its own, with a loopback and nothing else, for this thread, and for all processes
    and threads that it starts meanwhile.
    """
    need_root()
    need("ip")
    with open("/proc/thread-self/ns/net", "rb") as ours:
        _check(_libc.unshare(_CLONE_NEWNET))
        try:
            ip("link", "set", "lo", "up")
            yield
        finally:
            _check(_libc.setns(ours.fileno(), _CLONE_NEWNET))


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def ip(*words: str) -> None:
    """`ip WORDS` in the network of this thread."""
    subprocess.run(("ip", *words), check=True, timeout=10,
                   env={**os.environ, "PATH": search_path()})


def mounted(script: str) -> tuple[str, ...]:
    """What to put before a command so that it finds its file systems as `script` made them, in a
    mount namespace of its own."""
    need_root()
    need("unshare", "mount")
    return ("unshare", "--mount", "sh", "-e", "-c", f'{script}\nexec "$@"', "sh")
