"""
Loads of DNS: dnsperf on the load's core against one name server.
"""

from __future__ import annotations

import struct
from pathlib import Path

import dns.edns
import dns.message

from tests.bench.load import Result, client
from tests.bench.measure import cpu
from tests.bench.nameservers import NEAR, ZONE
from tests.bench.peers import Peer
from tests.live.harness import LOOPBACK

IN_FLIGHT = 100
"""Queries on their way at any time: enough that the server's core never waits."""

CLIENTS = 8
"""Sockets, so ports, that they come from."""

SUBNETS = 5000
"""Networks of clients in turn: more than any server keeps the last answers for."""

NAMES = ("www", "ns1", "ns2", "mail")


def dnsperf(peer: Peer, queries: Path, seconds: float, *options: str) -> Result:
    """dnsperf with the queries of a file, again and again."""
    pids = peer.pids
    before = cpu(pids)
    said = client("dnsperf", "-s", LOOPBACK, "-p", str(peer.udp), "-d", str(queries),
                  "-l", str(max(1, round(seconds))), "-c", str(CLIENTS), "-T", "1",
                  "-q", str(IN_FLIGHT), *options, within=seconds + 30)
    used = cpu(pids).since(before)
    told = {name.strip(): rest.split() for name, _, rest in
            (line.partition(":") for line in said.splitlines()) if rest.split()}
    completed, lost = int(told["Queries completed"][0]), int(told["Queries lost"][0])
    good = int(told["Response codes"][1]) if told["Response codes"][0] == "NOERROR" else 0
    if not completed:
        raise RuntimeError(f"{peer.name}: no answers\n{said}")
    return Result(used.per(completed), float(told["Queries per second"][0]),
                  lost + completed - good)


def plain(peer: Peer, directory: Path, seconds: float) -> Result:
    """A few names' addresses without EDNS; one piece is a query."""
    path = directory / "plain.queries"
    path.write_text("".join(f"{name}.{ZONE} A\n" for name in NAMES))
    return dnsperf(peer, path, seconds)


def with_edns(peer: Peer, directory: Path, seconds: float) -> Result:
    """The same with EDNS, as resolvers ask; one piece is a query."""
    path = directory / "plain.queries"
    path.write_text("".join(f"{name}.{ZONE} A\n" for name in NAMES))
    return dnsperf(peer, path, seconds, "-e")


def near(peer: Peer, directory: Path, seconds: float) -> Result:
    """A name whose answer depends on the client's network, which the query tells, each time
    another one; one piece is a query."""
    path = directory / "near.queries"
    if not path.exists():
        wires = (dns.message.make_query(f"{NEAR}.{ZONE}", "A", options=[dns.edns.ECSOption(
            f"{1 + number * 7 % 99}.{number * 13 % 256}.{number % 256}.0", 24)]).to_wire()
            for number in range(SUBNETS))
        path.write_bytes(b"".join(struct.pack("!H", len(wire)) + wire for wire in wires))
    return dnsperf(peer, path, seconds, "-B")
