"""
A machine of the test's own: Debian in a directory that systemd runs, with processes, a network,
mounts and control groups that end with the test. Its file system lies over one that is made once
by debootstrap and kept.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from tests.live.harness import LiveTestCase, Process, need, wait_until
from tests.live.namespaces import need_root

CACHE = Path(os.environ.get("BALANCER_APPLIANCE_CACHE", "/var/cache/balancer-appliance"))
"""Where the file systems are kept that all machines lie over."""

SUITE = os.environ.get("BALANCER_APPLIANCE_SUITE", "bookworm")

WITHIN = 420
"""Seconds until debootstrap has fetched and unpacked all; only the first test waits for that."""

EXTRA = ("adduser", "bird2", "curl", "exabgp", "iproute2", "logrotate", "nftables", "procps",
         "systemd", "systemd-sysv")
"""What tests look with, and what the package recommends and suggests."""

ROOT = Path(__file__).resolve().parent.parent.parent

UNIT = "balancer.service"

PLAIN = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive",
         "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""The environment of what runs on a machine."""

INSTALL = """\
apt-get update
apt-get install -y --no-install-recommends $packages
systemctl disable bird.service exabgp.service
apt-get clean
"""
"""BIRD and ExaBGP are there to be started by the balancer, as on an operator's machine."""

BOOT = """\
mount --make-rprivate /
mount -t tmpfs tmpfs $dir/over
mkdir $dir/over/upper $dir/over/work
mount -t overlay overlay -o lowerdir=$base,upperdir=$dir/over/upper,workdir=$dir/over/work $dir/root
cd $dir/root
mount -t cgroup2 cgroup2 sys
mkdir sys/$group
echo $$ >sys/$group/cgroup.procs
umount sys
exec unshare --cgroup sh -ec "$inside"
"""
"""The first step: a file system, and a control group that the next makes the root of its own."""

INSIDE = """\
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
mount -t sysfs sysfs sys
mount -o remount,bind,ro sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
    touch dev/$name
    mount --bind /dev/$name dev/$name
done
mkdir dev/pts dev/shm debs old
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for name in 0:stdin 1:stdout 2:stderr; do ln -s /proc/self/fd/${name%:*} dev/${name#*:}; done
mount --bind $dir/debs debs
ip link set lo up
pivot_root . old
umount -l /old
rmdir /old
exec env -i container=test LC_ALL=C.UTF-8 \
    setpriv --bounding-set=-sys_module,-sys_time /lib/systemd/systemd
"""
"""The second: what systemd wants of whoever puts it into a container, and nothing of this machine
that it could change. https://systemd.io/CONTAINER_INTERFACE"""

SWEEP = """\
mount -t cgroup2 cgroup2 $dir
cat >/dev/null
for again in $(seq 100); do
    find $dir/$group -depth -type d -exec rmdir {} + 2>/dev/null || true
    if [ ! -e $dir/$group ]; then
        umount $dir
        rm -rf "${dir%/groups}"
        exit 0
    fi
    sleep 0.1
done
exit 1
"""
"""Takes the machine's control groups and directory away once the test, or its runner, is gone."""


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
    """The file system below all others; another list of packages makes another."""
    # debootstrap knows no virtual packages, which Debian's own dependencies go by.
    packages = " ".join([*depends(), "python3-zope.interface", *EXTRA])
    digest = hashlib.sha256((packages + INSTALL).encode()).hexdigest()[:8]
    made = CACHE / f"{SUITE}-{digest}"
    if not made.exists():
        need("debootstrap")
        CACHE.mkdir(parents=True, exist_ok=True)
        half = CACHE / f"{SUITE}.{os.getpid()}"
        try:
            for command in (("debootstrap", "--variant=minbase", SUITE, half, mirror()),
                            ("chroot", half, "sh", "-ec", INSTALL)):
                done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN,
                                      check=False,
                                      env={**os.environ, **PLAIN, "packages": packages})
                if done.returncode:
                    raise AssertionError(f"{command[0]} failed\n{done.stdout[-4000:]}{done.stderr}")
            half.rename(made)
        finally:
            shutil.rmtree(half, ignore_errors=True)
    return made


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
        need("unshare", "nsenter", "pivot_root", "dpkg-deb")
        below = base()
        super().setUp()
        self.debs = self.directory / "debs"
        for name in ("debs", "over", "root", "groups"):
            (self.directory / name).mkdir()
        shutil.copy(package(), self.debs / "balancer.deb")
        group = f"balancer-{self.directory.name}"
        self._sweep_after(group)
        self.init = self.start(
            ("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--kill-child", "--fork",
             "sh", "-ec", BOOT), "machine",
            dir=str(self.directory), base=str(below), group=group, inside=INSIDE)
        wait_until("the machine runs", lambda: self.child() != 0)
        wait_until("systemd has started all", self._booted, within=40)

    def _booted(self) -> bool:
        if self.init.status is not None:
            raise AssertionError(f"the machine ended\n{self.init.output}")
        done = self.tries("systemctl is-system-running")[1].strip()
        if done == "degraded":
            raise AssertionError(self.does("systemctl --failed --no-legend"))
        return done == "running"

    def _sweep_after(self, group: str) -> None:
        """Its own session and no parent to die with: it outlives a test runner that is killed."""
        # Closed when this process ends, however it ends.
        sweeper = subprocess.Popen(
            ("unshare", "--mount", "sh", "-ec", SWEEP), stdin=subprocess.PIPE,
            start_new_session=True, env={**os.environ, "group": group,
                                         "dir": str(self.directory / "groups")})

        def sweep() -> None:
            assert sweeper.stdin is not None
            sweeper.stdin.close()
            self.assertEqual(sweeper.wait(15), 0, f"control groups are left in {group}")

        self.addCleanup(sweep)

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
            raise AssertionError(f"{script}: status {status}\n{text}\n{self.journal()[-6000:]}")
        return text

    def show(self, name: str) -> str:
        """What systemd knows of the service: MainPID, ActiveState, StatusText, NRestarts, ..."""
        return self.does(f"systemctl show --value -p {name} {UNIT}").strip()

    def pid(self) -> int:
        """The service's process as the machine numbers it; 0 if it does not run."""
        return int(self.show("MainPID"))

    def journal(self) -> str:
        """What the service has said, and systemd of it."""
        return self.tries(f"journalctl --no-pager -o cat -u {UNIT}")[1]

    def says(self, what: str, within: float = 10.0) -> None:
        """Wait until the journal has it: lines take a moment to get there."""
        end = time.monotonic() + within
        while what not in (text := self.journal()):
            self.assertLess(time.monotonic(), end, f"no {what!r} in the journal\n{text}")
            time.sleep(0.05)

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
