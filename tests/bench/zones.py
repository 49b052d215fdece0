"""
Large zones: how long a name server takes until it answers from one, and what that costs in memory.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
from attrs import frozen

from tests.bench.measure import cpu, memory
from tests.bench.nameservers import STATIC, ZONE, NameServers
from tests.live.harness import LOOPBACK

COUNTS = (10_000, 1_000_000)
"""Records of the zones."""

WITHIN = 180.0
"""Seconds that a start may last."""

TIMES, LONG = 5, 100_000
"""Starts of which the median counts, where a zone has fewer records than that."""


@frozen
class Loaded:
    """A start with a zone of `records`; times in seconds, memory in bytes, above a start with
    next to nothing."""

    records: int
    seconds: float
    cpu: float
    memory: int


@frozen
class Start:
    """One start: from before exec until the first answer."""

    seconds: float
    cpu: float
    memory: int


def lines(records: int) -> Iterator[str]:
    """The records of a zone, as an operator's are: A mostly, some AAAA, aliases and texts."""
    for number in range(records):
        match number % 10:
            case 7:
                yield f"h{number} AAAA 2001:db8::{number >> 16:x}:{number & 0xffff:x}\n"
            case 8:
                yield f"h{number} CNAME h{number - 1}\n"
            case 9:
                yield f'h{number} 300 TXT "the text of {number}"\n'
            case _:
                yield (f"h{number} A 10.{number >> 16 & 255}.{number >> 8 & 255}."
                       f"{number & 255}\n")


def zone(directory: Path, records: int) -> Path:
    """A zone file of so many records, made once."""
    path = directory / f"{records}.zone"
    if not path.exists():
        with path.open("w") as file:
            file.write(STATIC)
            file.writelines(lines(records))
    return path


def start(directory: Path, name: str, records: int) -> Start:
    """Start a name server with such a zone, and ask until it answers with the last record."""
    own = directory / f"{name}-{records}"
    own.mkdir(parents=True)
    servers = NameServers(own, {ZONE: zone(directory, records)})
    servers.origin()
    try:
        began = time.monotonic()
        peer = servers.start(name, geo=False)
        wait_for(peer.udp, f"h{records - 4}.{ZONE}")
        seconds = time.monotonic() - began
        return Start(seconds, cpu(peer.pids).both, memory(peer.pids))
    finally:
        servers.end()


def wait_for(port: int, name: str) -> None:
    """Ask for the name's address until there is one."""
    query = dns.message.make_query(name, "A", id=1).to_wire()
    end = time.monotonic() + WITHIN
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.connect((LOOPBACK, port))
        while time.monotonic() < end:
            asker.settimeout(0.05)
            try:
                asker.send(query)
                answer = asker.recv(4096)
            except OSError:
                time.sleep(0.01)
                continue
            if answer[7]:
                return
    raise RuntimeError(f"no answer about {name} within {WITHIN:g} s")


def median_start(directory: Path, name: str, records: int) -> Start:
    """Of several starts, where they are short, the one in the middle: 0.1 s more or less is what
    other work makes of a single one."""
    times = TIMES if records < LONG else 1
    starts = [start(directory / str(each), name, records) for each in range(times)]
    return sorted(starts, key=lambda each: each.seconds)[times // 2]


def load(directory: Path, name: str, counts: tuple[int, ...] = COUNTS) -> list[Loaded]:
    """A name server with each of the zones, against its start with a zone of ten records."""
    bare = median_start(directory, name, 10)
    found = []
    for records in counts:
        full = median_start(directory, name, records)
        found.append(Loaded(records, full.seconds - bare.seconds, full.cpu - bare.cpu,
                            full.memory - bare.memory))
    return found
