"""
A machine of the test's own: Debian in a directory, with processes, a network and mounts that end
with the test. Its file system lies over one that is made once by debootstrap and kept.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from tests.live.harness import LiveTestCase, Process, ask, need, wait_until
from tests.live.namespaces import need_root

CACHE = Path(os.environ.get("BALANCER_APPLIANCE_CACHE", "/var/cache/balancer-appliance"))
"""Where the file systems are kept that all machines lie over."""

SUITE = os.environ.get("BALANCER_APPLIANCE_SUITE", "bookworm")

WITHIN = 420
"""Seconds until debootstrap has fetched and unpacked all; only the first test waits for that."""

EXTRA = ("adduser", "curl", "iproute2", "logrotate", "nftables", "procps", "python3-seccomp")
"""What tests look with, and what the package recommends."""

ROOT = Path(__file__).resolve().parent.parent.parent
MANAGER = Path(__file__).with_name("manager.py")

PLAIN = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive",
         "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""The environment of what runs on a machine."""

BOOT = """\
mount --make-rprivate /
mount -t tmpfs tmpfs $dir/over
mkdir $dir/over/upper $dir/over/work $dir/root
mount -t overlay overlay -o lowerdir=$base,upperdir=$dir/over/upper,workdir=$dir/over/work $dir/root
mount -t proc proc $dir/root/proc
mount --bind /dev $dir/root/dev
cp $manager $dir/root/usr/local/lib/manager.py
cp $dir/systemctl $dir/root/usr/local/bin/systemctl
mkdir $dir/root/debs
mount --bind $dir/debs $dir/root/debs
ip link set lo up
cd /
exec chroot $dir/root python3 -I /usr/local/lib/manager.py
"""


def depends() -> list[str]:
    """What debian/control has the package depend on, by name."""
    text = (ROOT / "debian" / "control").read_text()
    body = text[text.index("\nDepends:"):text.index("\nRecommends:")]
    return re.findall(r"^ ([a-z0-9.+-]+)", body, re.MULTILINE)


def mirror() -> str:
    """The first place that this machine's own packages come from."""
    words = subprocess.run(("apt-get", "indextargets", "--format", "$(REPO_URI)",
                            "Identifier: Packages"), capture_output=True, text=True, check=True)
    return next(line for line in words.stdout.split() if line.rstrip("/").endswith("/debian"))


def base() -> Path:
    """The file system below all others."""
    made = CACHE / SUITE
    if not made.exists():
        need("debootstrap")
        CACHE.mkdir(parents=True, exist_ok=True)
        half = CACHE / f"{SUITE}.{os.getpid()}"
        # debootstrap knows no virtual packages, which Debian's own dependencies go by.
        install = ("apt-get update && apt-get install -y --no-install-recommends "
                   f"{' '.join([*depends(), 'python3-zope.interface', *EXTRA])} && apt-get clean")
        try:
            for command in (("debootstrap", "--variant=minbase", SUITE, half, mirror()),
                            ("chroot", half, "sh", "-ec", install)):
                done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN,
                                      check=False, env={**os.environ, **PLAIN})
                if done.returncode:
                    raise AssertionError(f"{command[0]} failed\n{done.stdout[-4000:]}{done.stderr}")
            half.rename(made)
        finally:
            shutil.rmtree(half, ignore_errors=True)
    return made


def allowed() -> set[str]:
    """The system calls that the unit's filter leaves: a list, `~` takes away from it."""
    found: set[str] = set()
    text = (ROOT / "debian" / "balancer.service").read_text()
    for value in re.findall(r"^SystemCallFilter=(.*)$", text, re.MULTILINE):
        names = {name for word in value.removeprefix("~").split() for name in _meant(word)}
        found = found - names if value.startswith("~") else found | names
    return found


@cache
def _meant(word: str) -> frozenset[str]:
    """A system call, or those of a set @NAME, as systemd has them."""
    if not word.startswith("@"):
        return frozenset((word,))
    lines = ask("systemd-analyze", "--no-pager", "syscall-filter", word).splitlines()
    words = [line.strip() for line in lines[1:] if not line.strip().startswith("#")]
    return frozenset(name for each in words if each for name in _meant(each))


def package() -> Path:
    """The package that `make deb` built last."""
    found = sorted((ROOT / "dist").glob("balancer_*_all.deb"))
    if not found:
        raise AssertionError("no package in dist/: make deb")
    return found[-1]


class ApplianceTestCase(LiveTestCase):
    """A machine that runs, without the package; `debs` is seen as /debs on it."""

    init: Process

    def setUp(self) -> None:
        """Boot it."""
        need_root()
        need("unshare", "nsenter", "dpkg-deb", "systemd-analyze")
        below = base()
        super().setUp()
        self.debs = self.directory / "debs"
        for each in (self.debs, self.directory / "over"):
            each.mkdir()
        shutil.copy(package(), self.debs / "balancer.deb")
        (self.debs / "syscalls").write_text("\n".join(sorted(allowed())))
        systemctl = self.directory / "systemctl"
        systemctl.write_text('#!/bin/sh\nexec python3 -I /usr/local/lib/manager.py "$@"\n')
        systemctl.chmod(0o755)
        self.init = self.start(
            ("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--kill-child", "--fork",
             "sh", "-ec", BOOT), "machine",
            dir=str(self.directory), base=str(below), manager=str(MANAGER))
        wait_until("the machine runs", lambda: self.child() != 0)
        wait_until("its manager answers", lambda: self.tries("systemctl is-active")[0] == 3)

    def child(self) -> int:
        """The machine's process 1 as it is known here."""
        path = Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children")
        words = path.read_text().split() if path.exists() else []
        return int(words[0]) if words else 0

    def tries(self, script: str, within: float = 60.0) -> tuple[int, str]:
        """The status of a shell script on the machine, and what it prints."""
        done = subprocess.run(
            ("nsenter", "-a", "--root", f"--target={self.child()}", "env", "-i", "-C", "/",
             *(f"{name}={value}" for name, value in PLAIN.items()), "sh", "-c", script),
            capture_output=True, text=True, timeout=within, check=False)
        return done.returncode, done.stdout + done.stderr

    def does(self, script: str, within: float = 60.0) -> str:
        """The same; it must succeed."""
        status, text = self.tries(script, within)
        if status:
            raise AssertionError(f"{script}: status {status}\n{text}\n{self.init.output[-6000:]}")
        return text

    def show(self) -> dict[str, Any]:
        """What the manager knows of the service: pid, state, status, lives."""
        found: dict[str, Any] = json.loads(self.does("systemctl show"))
        return found

    def write(self, path: str, text: str) -> None:
        """A file on the machine."""
        (self.debs / "file").write_text(text)
        self.does(f"mkdir -p $(dirname {path}) && cat /debs/file >{path} && rm /debs/file")

    def version(self, number: str, change: str = "true") -> str:
        """
        The package again under another version, changed by the shell script `change` in its tree;
        its path on the machine.
        """
        tree, made = self.directory / f"tree-{number}", self.debs / f"balancer-{number}.deb"
        script = (f"dpkg-deb -R {package()} {tree} && cd {tree} &&"
                  f"sed -i 's/^Version: .*/Version: {number}/' DEBIAN/control && "
                  f"{change} && dpkg-deb --root-owner-group -b . {made}")
        done = subprocess.run(("sh", "-c", script), capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return f"/debs/{made.name}"
