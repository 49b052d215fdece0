"""
Stands for systemd on a test's machine: process 1, which keeps one unit as its file says, and the
command `systemctl` that asks it. Runs on that machine's Python, so stdlib only.

It does of the unit what a container can: user, capabilities, directories, a file system to read,
memory that is never both written and executed, system calls, notify socket, timeouts. What it does
not know it does not do.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import pwd
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

UNIT = "balancer.service"
UNIT_PATHS = ("/lib/systemd/system", "/usr/lib/systemd/system")
SOCKET = "/run/systemd/private"
NOTIFY = "/run/systemd/notify"
SYSCALLS = Path("/debs/syscalls")
"""The names that SystemCallFilter= allows: its sets are known where systemd is installed."""

IGNORED = ("--quiet", "--system", "--", "--no-legend", "--kill-who=main")
PR_SET_MDWE = 65


class Unit(dict[str, list[str]]):
    """Each option's values, drop-ins last; an empty value forgets those before it."""

    def __init__(self) -> None:
        super().__init__()
        files = [Path(each, UNIT) for each in UNIT_PATHS if Path(each, UNIT).exists()][:1]
        for path in files + sorted(Path(f"/etc/systemd/system/{UNIT}.d").glob("*.conf")):
            for line in path.read_text().splitlines():
                name, equals, value = line.partition("=")
                if equals and not line.startswith("#"):
                    self[name] = [*self.get(name, []), value] if value else []

    def last(self, name: str, default: str = "") -> str:
        """The one value that counts."""
        return self.get(name, [default])[-1]

    def words(self, name: str) -> list[str]:
        """All words of all values."""
        return " ".join(self.get(name, [])).split()

    def seconds(self, name: str) -> float:
        """A time span."""
        text = self.last(name, "90")
        return float(text.removesuffix("min")) * 60 if text.endswith("min") else float(text)


class Manager:
    """Process 1."""

    def __init__(self) -> None:
        self.child: subprocess.Popen[bytes] | None = None
        self.state, self.status, self.lives = "inactive", "", 0
        self.deadline = 0.0
        self.asked: set[int] = set()  # processes that somebody waits for
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(NOTIFY)
        os.chmod(NOTIFY, 0o666)
        self.control = socket.socket(socket.AF_UNIX)
        self.control.bind(SOCKET)
        self.control.listen()

    def run(self) -> None:
        """For ever."""
        while True:
            if self.control in self.turn(0.2):
                self.serve()

    def turn(self, seconds: float) -> list[Any]:
        """Hear what the service says, bury the dead; what is there to be read besides."""
        ready, _, _ = select.select([self.notify, self.control], [], [], seconds)
        while self.notify in ready and select.select([self.notify], [], [], 0)[0]:
            self.hear(self.notify.recv(65536).decode())
        self.bury()
        return ready

    def bury(self) -> None:
        """Processes whose parents are gone are ours."""
        if self.child is not None and self.child.poll() is not None:
            print(f"manager: {self.child.pid} ended with {self.child.returncode}", flush=True)
            self.state = "inactive" if self.child.returncode == 0 else "failed"
            self.child = None
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) not in {1, self.pid(), *self.asked}:
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if fields[0] == "Z" and fields[1] == "1":
                        os.waitpid(int(entry.name), os.WNOHANG)
                except (OSError, ChildProcessError):
                    pass

    def pid(self) -> int:
        """The service's, 0 if it does not run."""
        return self.child.pid if self.child is not None else 0

    def hear(self, message: str) -> None:
        """sd_notify(3)."""
        said = dict(line.partition("=")[::2] for line in message.split("\n"))
        self.status = said.get("STATUS", self.status)
        self.lives += "WATCHDOG" in said
        if "READY" in said:
            self.state = "active"
        if "RELOADING" in said:
            self.state = "reloading"
        if "STOPPING" in said:
            self.state = "deactivating"
        if "EXTEND_TIMEOUT_USEC" in said:
            more = time.monotonic() + int(said["EXTEND_TIMEOUT_USEC"]) / 1e6
            self.deadline = max(self.deadline, more)

    def serve(self) -> None:
        """One request."""
        connection, _ = self.control.accept()
        with connection:
            words = json.loads(connection.makefile().readline())
            verb = next(word for word in words if not word.startswith("-"))
            do = getattr(self, "do_" + verb.replace("-", "_"), None)
            # Triggers of other packages ask for their services: procps, for its sysctl.d.
            others = any(word.endswith(".service") and word != UNIT for word in words)
            if do is None:
                print(f"manager: does not know {words}", flush=True)
            answer = (0, "") if others or do is None else do(words)
            connection.sendall(json.dumps(answer).encode())

    def do_daemon_reload(self, words: list[str]) -> tuple[int, str]:
        return 0, ""

    def do_is_enabled(self, words: list[str]) -> tuple[int, str]:
        enabled = list(Path("/etc/systemd/system").glob(f"*.wants/{UNIT}"))
        return (0, "enabled\n") if enabled else (1, "disabled\n")

    def do_preset(self, words: list[str]) -> tuple[int, str]:
        link = Path("/etc/systemd/system/multi-user.target.wants", UNIT)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(f"/usr/lib/systemd/system/{UNIT}")
        return 0, ""

    def do_is_active(self, words: list[str]) -> tuple[int, str]:
        return 0 if self.state in ("active", "reloading") else 3, f"{self.state}\n"

    def do_show(self, words: list[str]) -> tuple[int, str]:
        return 0, json.dumps({"pid": self.pid(), "state": self.state, "status": self.status,
                              "lives": self.lives})

    def do_kill(self, words: list[str]) -> tuple[int, str]:
        name = next(word.partition("=")[2] for word in words if word.startswith("--signal="))
        os.kill(self.pid(), signal.Signals["SIG" + name])
        return 0, ""

    def do_reload(self, words: list[str]) -> tuple[int, str]:
        unit = Unit()
        done = subprocess.Popen(command(unit, unit.words("ExecReload")), stderr=subprocess.STDOUT)
        self.asked = {done.pid}
        while done.poll() is None:
            self.turn(0.02)
        self.asked = set()
        return (0, "") if done.returncode == 0 else (1, "Job for balancer.service failed.\n")

    def do_restart(self, words: list[str]) -> tuple[int, str]:
        self.do_stop(words)
        return self.do_start(words)

    def do_try_restart(self, words: list[str]) -> tuple[int, str]:
        return self.do_restart(words) if self.child is not None else (0, "")

    def do_stop(self, words: list[str]) -> tuple[int, str]:
        if self.child is not None:
            self.child.send_signal(signal.SIGTERM)
            self.deadline = time.monotonic() + Unit().seconds("TimeoutStopSec")
            self.wait(lambda: self.child is None)
            if self.child is not None:
                self.child.kill()
                self.wait(lambda: self.child is None)
        return 0, ""

    def do_start(self, words: list[str]) -> tuple[int, str]:
        if self.child is None:
            unit = Unit()
            self.state = "activating"
            self.child = begin(unit)
            self.deadline = time.monotonic() + unit.seconds("TimeoutStartSec")
            self.wait(lambda: self.state != "activating")
        failed = self.state != "active"
        return (1, "Job for balancer.service failed.\n") if failed else (0, "")

    def wait(self, true: Any) -> None:
        """Until it is, or it is too late."""
        while not true() and time.monotonic() < self.deadline:
            self.turn(0.02)


def directories(unit: Unit) -> list[str]:
    """Those that the service may write to, made and its own."""
    user = pwd.getpwnam(unit.last("User"))
    made = []
    for kind, above in (("Runtime", "/run"), ("State", "/var/lib"), ("Logs", "/var/log")):
        for name in unit.words(f"{kind}Directory"):
            path = f"{above}/{name}"
            os.makedirs(path, exist_ok=True)
            os.chmod(path, int(unit.last(f"{kind}DirectoryMode", "0755"), 8))
            os.chown(path, user.pw_uid, user.pw_gid)
            made.append(path)
    return made


def command(unit: Unit, words: list[str]) -> list[str]:
    """The command line `words` with the user, capabilities and file systems of the unit."""
    ambient = [word.lower().removeprefix("cap_") for word in unit.words("AmbientCapabilities")]
    bounds = [word.lower().removeprefix("cap_") for word in unit.words("CapabilityBoundingSet")]
    plus = ",".join(f"+{each}" for each in ambient)
    priv = ["setpriv", f"--reuid={unit.last('User')}", f"--regid={unit.last('Group')}",
            "--init-groups", f"--inh-caps=-all,{plus}", f"--ambient-caps=-all,{plus}",
            "--bounding-set=" + ",".join(["-all", *(f"+{each}" for each in bounds)])]
    if unit.last("NoNewPrivileges") == "yes":
        priv.append("--no-new-privs")
    script = f"cd {unit.last('WorkingDirectory')}\n"
    if unit.last("ProtectSystem") == "strict":
        kept = " ".join(directories(unit))
        script = (f"for each in {kept}; do mount --bind $each $each; done\n"
                  "mount -o remount,bind,ro /\n") + script
    if unit.last("PrivateTmp") == "yes":
        script = "mount -t tmpfs tmpfs /tmp\n" + script
    filtered = [sys.executable, "-I", __file__, "--filtered"]
    return ["unshare", "--mount", "sh", "-ec", f'{script}exec "$@"', "sh", *priv, *filtered, *words]


def become(words: list[str]) -> None:
    """Be the program of `words`, with no more system calls than the unit allows."""
    import seccomp  # type: ignore[import-not-found] # python3-seccomp, on the machine

    kept = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for name in SYSCALLS.read_text().split():
        try:
            kept.add_rule(seccomp.ALLOW, name)
        except (RuntimeError, ValueError):
            continue  # it is of another architecture, or newer than the library
    kept.load()
    os.execvp(words[0], words)


def begin(unit: Unit) -> subprocess.Popen[bytes]:
    """The service, as a child that `exec` turns into the process itself."""
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                   "LANG": "C.UTF-8", "USER": unit.last("User"), "NOTIFY_SOCKET": NOTIFY,
                   "WATCHDOG_USEC": str(int(unit.seconds("WatchdogSec") * 1e6)),
                   **dict(word.partition("=")[::2] for word in unit.words("Environment"))}

    def before() -> None:
        os.umask(int(unit.last("UMask", "0022"), 8))
        # systemd takes what it can get as well.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        limit = min(int(unit.last("LimitNOFILE")), hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        if unit.last("MemoryDenyWriteExecute") == "yes":
            ctypes.CDLL(None).prctl(PR_SET_MDWE, 1, 0, 0, 0)  # Linux 6.3; before that it is not

    line = command(unit, unit.words("ExecStart"))
    print(f"manager: {' '.join(unit.words('ExecStart'))}", flush=True)
    return subprocess.Popen(line, env=environment, preexec_fn=before, stdin=subprocess.DEVNULL,
                            stderr=subprocess.STDOUT, start_new_session=True)


def ask(words: list[str]) -> int:
    """What `systemctl WORDS` does."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(SOCKET)
        connection.sendall(json.dumps([w for w in words if w not in IGNORED]).encode() + b"\n")
        status, text = json.loads(connection.makefile().read())
    if text and "--quiet" not in words:
        (sys.stderr if status == 1 and "Job" in text else sys.stdout).write(text)
    return int(status)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--filtered"]:
        become(sys.argv[2:])
    if os.getpid() != 1:
        sys.exit(ask(sys.argv[1:]))
    shutil.rmtree("/run/systemd", ignore_errors=True)
    os.makedirs("/run/systemd/system")
    Manager().run()
