"""
The proxies to compare, each with the same work to do, and the origin behind them.

Every one runs on one core with one worker, keeps connections to the origin, adds X-Forwarded-For,
writes an access log line for each HTTP request to a file, takes HTTPS with the same P-256
certificate, and relays TCP and UDP. nginx has no active checks; HAProxy and the balancer check
their servers every 2 s.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template

from attrs import frozen

from tests.bench.configs import BALANCER, HAPROXY, NGINX, ORIGIN
from tests.bench.measure import family
from tests.live.harness import LOOPBACK, ROOT, Process, free_port, search_path
from tests.wire.certificates import Authority

PROXY_CORE = "0"
LOAD_CORE = "1"

CONNECTIONS = 10000
"""How many client connections a proxy must hold."""

SERVER_NAME = "www.example.test"
"""What clients ask for, and what the certificate is for."""

BIG = 128 * 1024 * 1024
"""Bytes of the file with which bytes are counted."""

PACKAGES = {"nginx": "nginx-light libnginx-mod-stream", "haproxy": "haproxy", "wrk": "wrk",
            "curl": "curl", "taskset": "util-linux", "gdnsd": "gdnsd", "knotd": "knot",
            "nsd": "nsd", "dnsperf": "dnsperf"}


@frozen
class Peer:
    """A proxy at work, and the ports on which it takes HTTP, HTTPS, TCP and UDP (0: not at all)."""

    name: str
    process: Process
    config: Path
    http: int
    https: int
    tcp: int
    udp: int

    @property
    def pids(self) -> tuple[int, ...]:
        """Its processes."""
        return family(self.process.pid)


class Peers:
    """Starts the origin and the proxies, all in one directory, and ends them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.a, self.b, self.echo = free_port(), free_port(), free_port()
        self._started: list[Process] = []
        self._pem = Authority().issue(SERVER_NAME).save(directory / "server.pem")
        (directory / "big").touch()
        os.truncate(directory / "big", BIG)  # without blocks: the origin's disk plays no part

    def _write(self, name: str, text: str, **values: object) -> Path:
        path = self.directory / name
        path.write_text(Template(text).substitute(
            values, directory=self.directory, pem=self._pem, host=LOOPBACK,
            a=self.a, b=self.b, echo=self.echo, body="x" * 118, modules="/usr/lib/nginx/modules",
            files=file_limit()))
        return path

    def _start(self, name: str, core: str, command: Sequence[str]) -> Process:
        process = Process(["taskset", "-c", core, *command], self.directory / f"{name}.log",
                          self.directory, {"PYTHONPATH": str(ROOT)})
        self._started.append(process)
        return process

    def origin(self) -> None:
        """Two HTTP servers of one nginx and a UDP echo, on the load's core."""
        config = self._write("origin.conf", ORIGIN)
        program = shutil.which("nginx", path=search_path()) or "nginx"
        process = self._start("origin", LOAD_CORE, [program, "-c", str(config)])
        process.answering(self.a, self.b)
        self._start("echo", LOAD_CORE, [sys.executable, "-m", "tests.bench.datagrams",
                                        str(self.echo)])

    def start(self, name: str, *options: str) -> Peer:
        """One of `nginx`, `haproxy`, `balancer`, answering. `options` are its program's own."""
        template, command = {
            "nginx": (NGINX, ("nginx", *options, "-c")),
            "haproxy": (HAPROXY, ("haproxy", *options, "-db", "-f")),
            "balancer": (BALANCER, (str(Path(sys.executable).parent / "twistd"), "--pidfile=",
                                    "-n", *options, "lb", "--config")),
        }[name]
        ports = {port: free_port() for port in ("http", "https", "tcp", "udp")}
        config = self._write(f"{name}.conf", template, **ports, admin=free_port())
        process = self._start(name, PROXY_CORE, [*command, str(config)])
        process.answering(*(ports[port] for port in ("http", "https", "tcp")))
        if name == "haproxy":
            ports["udp"] = 0
        return Peer(name, process, config, **ports)

    def end(self) -> None:
        """Kill all that was started."""
        for process in reversed(self._started):
            if process.status is None:
                process.signal(signal.SIGKILL)
            process.kill()


def missing() -> list[str]:
    """The Debian packages that the comparison lacks."""
    return [package for tool, package in PACKAGES.items()
            if not shutil.which(tool, path=search_path())]


def versions() -> str:
    """The peers' versions, in a line."""
    said = []
    for command in (["nginx", "-v"], ["haproxy", "-v"], ["gdnsd", "-?"], ["knotd", "-V"],
                    ["nsd", "-v"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              env={**os.environ, "PATH": search_path()})
        words = (done.stdout + done.stderr).replace("/", " ").split()
        said.append(f"{command[0]} " + next(
            word for word in words if word[0].isdigit() and "." in word))
    return ", ".join(said)


def file_limit() -> int:
    """How many files a process may open, at most."""
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
