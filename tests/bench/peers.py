"""
The proxies to compare, each with the same work to do, and the origin behind them.

Every one runs on one core with one worker, keeps connections to the origin, adds X-Forwarded-For,
writes an access log line for each HTTP request to a file, and relays TCP and UDP. nginx has no
active checks; HAProxy and the balancer check their servers every 2 s.
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

from tests.bench.measure import family
from tests.live.harness import LOOPBACK, ROOT, Process, free_port, search_path

PROXY_CORE = "0"
LOAD_CORE = "1"

CONNECTIONS = 10000
"""How many client connections a proxy must hold."""

BIG = 128 * 1024 * 1024
"""Bytes of the file with which bytes are counted."""

PACKAGES = {"nginx": "nginx-light libnginx-mod-stream", "haproxy": "haproxy", "wrk": "wrk",
            "curl": "curl", "taskset": "util-linux"}

ORIGIN = """\
daemon off; worker_processes 1; pid $directory/origin.pid; error_log $directory/origin.err;
worker_rlimit_nofile $files;
events { worker_connections 19000; }
http {
    access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s; sendfile on;
    client_body_temp_path $directory/origin-body; proxy_temp_path $directory/origin-proxy;
    fastcgi_temp_path $directory/o1; uwsgi_temp_path $directory/o2; scgi_temp_path $directory/o3;
    default_type text/plain; etag off;
    map $$server_port $$which { $a a; $b b; }
    server {
        listen $host:$a backlog=8192; listen $host:$b backlog=8192;
        root $directory;
        location / {
            add_header Cache-Control "no-cache"; add_header X-Request-Id "$$request_id";
            add_header Vary "Accept-Encoding";
            return 200 "$body origin $$which\\n";
        }
        location = /big { }
    }
}
"""

NGINX = """\
load_module $modules/ngx_stream_module.so;
daemon off; worker_processes 1; pid $directory/nginx.pid; error_log $directory/nginx.err;
worker_rlimit_nofile $files;
events { worker_connections 19000; }
http {
    access_log $directory/nginx.access.log combined;
    keepalive_requests 1000000000; keepalive_timeout 600s;
    client_body_temp_path $directory/nginx-body; proxy_temp_path $directory/nginx-proxy;
    fastcgi_temp_path $directory/n1; uwsgi_temp_path $directory/n2; scgi_temp_path $directory/n3;
    upstream origin {
        server $host:$a; server $host:$b;
        keepalive 128; keepalive_requests 1000000000;
    }
    server {
        listen $host:$http backlog=8192;
        location / {
            proxy_pass http://origin; proxy_http_version 1.1;
            proxy_set_header Connection ""; proxy_set_header Host $$host;
            proxy_set_header X-Forwarded-For $$proxy_add_x_forwarded_for;
        }
    }
}
stream {
    upstream origin { server $host:$a; server $host:$b; }
    upstream echo { server $host:$echo; }
    server { listen $host:$tcp backlog=8192; proxy_pass origin; tcp_nodelay on; }
    server { listen $host:$udp udp; proxy_pass echo; proxy_timeout 30s; }
}
"""

HAPROXY = """\
global
    nbthread 1
    maxconn 15000
    no strict-limits
    log stdout format raw local0
defaults
    log global
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
frontend web
    mode http
    option httplog
    option forwardfor
    bind $host:$http backlog 8192
    default_backend origin
backend origin
    mode http
    balance roundrobin
    http-reuse safe
    option httpchk GET /
    server a $host:$a check
    server b $host:$b check
listen relay
    mode tcp
    option tcplog
    balance roundrobin
    bind $host:$tcp backlog 8192
    server a $host:$a check
    server b $host:$b check
"""

BALANCER = """\
[site]
admin = $host:$admin
drain-timeout = 1s

[pool origin]
servers =
    a $host:$a
    b $host:$b
check = http GET /

[pool echo]
servers = a $host:$echo
check = none

[http web]
listen = $host:$http
pool = origin
access-log = $directory/balancer.access.log
idle-timeout = 600s
max-connections = 15000

[tcp relay]
listen = $host:$tcp
pool = origin
max-connections = 15000

[udp relay]
listen = $host:$udp
pool = echo
max-connections = 15000
"""


@frozen
class Peer:
    """A proxy at work: where it takes HTTP, TCP and UDP (0: it does not)."""

    name: str
    process: Process
    http: int
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
        (directory / "big").touch()
        os.truncate(directory / "big", BIG)  # without blocks: the origin's disk plays no part

    def _write(self, name: str, text: str, **values: object) -> Path:
        path = self.directory / name
        path.write_text(Template(text).substitute(
            values, directory=self.directory, host=LOOPBACK, a=self.a, b=self.b, echo=self.echo,
            body="x" * 118, modules="/usr/lib/nginx/modules", files=file_limit()))
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
        """One of `nginx`, `haproxy`, `balancer`, answering. `options` are twistd's own."""
        peer: Peer = getattr(self, f"_{name}")(*options)
        peer.process.answering(peer.http, peer.tcp)
        return peer

    def _nginx(self) -> Peer:
        http, tcp, udp = free_port(), free_port(), free_port()
        config = self._write("nginx.conf", NGINX, http=http, tcp=tcp, udp=udp)
        command = ["nginx", "-c", str(config)]
        return Peer("nginx", self._start("nginx", PROXY_CORE, command), http, tcp, udp)

    def _haproxy(self) -> Peer:
        http, tcp = free_port(), free_port()
        config = self._write("haproxy.cfg", HAPROXY, http=http, tcp=tcp)
        command = ["haproxy", "-db", "-f", str(config)]
        return Peer("haproxy", self._start("haproxy", PROXY_CORE, command), http, tcp, 0)

    def _balancer(self, *options: str) -> Peer:
        http, tcp, udp = free_port(), free_port(), free_port()
        site = self._write("site.ini", BALANCER, http=http, tcp=tcp, udp=udp, admin=free_port())
        command = [str(Path(sys.executable).parent / "twistd"), "--pidfile=", "-n", *options,
                   "lb", "--config", str(site)]
        return Peer("balancer", self._start("balancer", PROXY_CORE, command), http, tcp, udp)

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
    for command in (["nginx", "-v"], ["haproxy", "-v"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              env={**os.environ, "PATH": search_path()})
        words = (done.stdout + done.stderr).splitlines()[0].replace("/", " ").split()
        said.append(f"{command[0]} " + next(word for word in words if word[0].isdigit()))
    return ", ".join(said)


def file_limit() -> int:
    """How many files a process may open, at most."""
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
