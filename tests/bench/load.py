"""
The loads: each runs a client on the load's core against one proxy and says what that proxy used.

They know nothing of which proxy it is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from tests.bench.measure import Cpu, cpu
from tests.bench.peers import BIG, LOAD_CORE, Peer
from tests.live.harness import LOOPBACK, ROOT, search_path

HEADS = 32
"""Connections that wrk keeps busy: enough that the proxy's core never waits."""

# A browser's head: 12 fields, 600 bytes with the request line.
FIELDS = {
    "Host": "www.example.test",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
                  "Chrome/128.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cookie": "session=9f3b2c7d5e8a4f60b1c2d3e4f5a6b7c8; theme=dark; seen=2026-01-01; lang=en",
    "Referer": "http://www.example.test/catalogue/page/17",
    "Cache-Control": "max-age=0",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Upgrade-Insecure-Requests": "1",
}

PAUSE = 6
"""Milliseconds that a paced connection waits before its next request, at most: with 32 of them
about 10,000 requests a second, which every proxy can do."""

DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@frozen
class Result:
    """One run. `cpu` is for one piece of work; the times are in seconds."""

    cpu: Cpu
    rate: float
    errors: int = 0
    p50: float = 0.0
    p99: float = 0.0


def script(directory: Path, name: str, fields: dict[str, str]) -> Path:
    """A wrk script that sends `fields` with each request and prints its result in one line."""
    path = directory / f"{name}.lua"
    set_fields = "".join(f'wrk.headers["{field}"] = "{value}"\n' for field, value in fields.items())
    path.write_text(set_fields + DONE)
    return path


def paced_script(directory: Path) -> Path:
    """The script of the paced loads."""
    lua = script(directory, "paced", FIELDS)
    lua.write_text(lua.read_text() + f"function delay() return math.random(0, {PAUSE}) end\n")
    return lua


def client(*command: str, within: float) -> str:
    """What a client on the load's core prints."""
    done = subprocess.run(["taskset", "-c", LOAD_CORE, *command], capture_output=True, text=True,
                          timeout=within, check=False,
                          env={**os.environ, "PATH": search_path(), "PYTHONPATH": str(ROOT)})
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def wrk(peer: Peer, port: int, lua: Path, seconds: float, scheme: str = "http") -> Result:
    """wrk against one port of `peer`."""
    pids = peer.pids
    before = cpu(pids)
    said = client("wrk", "-t1", f"-c{HEADS}", f"-d{max(1, round(seconds))}s", "-s", str(lua),
                  f"{scheme}://{LOOPBACK}:{port}/", within=seconds + 30)
    used = cpu(pids).since(before)
    words = next(line for line in said.splitlines() if line.startswith("RESULT")).split()[1:]
    count, duration, errors, p50, p99 = (float(word) for word in words)
    if not count:
        raise RuntimeError(f"{peer.name}: no answers\n{said}")
    return Result(used.per(count), count / duration * 1e6, int(errors), p50 / 1e6, p99 / 1e6)


def python(peer: Peer, module: str, *words: object, seconds: float) -> tuple[Cpu, list[float]]:
    """One of our own clients: what `peer` used meanwhile, and the numbers that it prints."""
    pids = peer.pids
    before = cpu(pids)
    said = client(sys.executable, "-m", f"tests.bench.{module}", *map(str, words),
                  within=seconds + 30)
    return cpu(pids).since(before), [float(word) for word in said.split()]


def http(peer: Peer, directory: Path, seconds: float) -> Result:
    """Small requests with realistic heads over kept-alive connections; one piece is a request."""
    return wrk(peer, peer.http, script(directory, "http", FIELDS), seconds)


def paced(peer: Peer, directory: Path, seconds: float) -> Result:
    """The same requests at the same rate for every proxy; one piece is a request."""
    return wrk(peer, peer.http, paced_script(directory), seconds)


def close(peer: Peer, directory: Path, seconds: float) -> Result:
    """The same, with a new connection for each request; one piece is a connection."""
    fields = {**FIELDS, "Connection": "close"}
    return wrk(peer, peer.http, script(directory, "close", fields), seconds)


def small(peer: Peer, directory: Path, seconds: float) -> Result:
    """Small messages through the TCP relay; one piece is a request of 32 bytes and its answer."""
    return wrk(peer, peer.tcp, script(directory, "small", {"Host": "origin"}), seconds)


def connect(peer: Peer, directory: Path, seconds: float) -> Result:
    """A connection for each message through the TCP relay; one piece is a connection."""
    fields = {"Host": "origin", "Connection": "close"}
    return wrk(peer, peer.tcp, script(directory, "connect", fields), seconds)


def bulk(peer: Peer, directory: Path, seconds: float) -> Result:
    """Large files through the TCP relay; one piece is a megabyte (2^20 bytes)."""
    pids = peer.pids
    start, before, files = time.monotonic(), cpu(pids), 0
    while time.monotonic() - start < seconds:
        client("curl", "--silent", "--fail", "--output", "/dev/null",
               f"http://{LOOPBACK}:{peer.tcp}/big", within=60)
        files += 1
    megabytes = files * BIG / 2**20
    return Result(cpu(pids).since(before).per(megabytes), megabytes / (time.monotonic() - start))


def udp(peer: Peer, directory: Path, seconds: float) -> Result:
    """Datagrams of 64 bytes of 32 flows; one piece is a datagram there and its echo back."""
    used, (received, lost) = python(peer, "datagrams", peer.udp, seconds, seconds=seconds)
    if not received:
        raise RuntimeError(f"{peer.name}: no datagram came back")
    return Result(used.per(received), received / seconds, int(lost))


@frozen
class Kind:
    """A load by its name: what one piece of work is, and the function that runs it."""

    name: str
    title: str
    piece: str
    run: Callable[[Peer, Path, float], Result]
    peers: tuple[str, ...] = ("nginx", "haproxy", "balancer")
