"""
ExaBGP's configuration, written: for the one that the balancer starts, and for an operator's own.

Pure: values in, text out. Knows what 4.2 and 5.0 both read.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import frozen

from balancer.config.values import Network
from balancer.route.anycast.values import NeighborLine

PROCESS: Final = "balancer"
"""The name of the helper in ExaBGP's configuration."""

RESTART_TIME: Final = 5
"""Seconds for which routers keep routes when the session ends without a word (RFC 4724): enough
for a new ExaBGP, and what a machine's sudden death costs beyond the hold time."""

MAX_PASSWORD: Final = 80
"""Bytes of a TCP MD5 key (TCP_MD5SIG_MAXKEYLEN)."""

ENVIRONMENT: Final[Mapping[str, str]] = {
    "exabgp.api.ack": "true",
    "exabgp.api.cli": "false",
    "exabgp.api.respawn": "true",
    "exabgp.api.terminate": "false",
    "exabgp.api.chunk": "100",
    "exabgp.daemon.daemonize": "false",
    "exabgp.daemon.drop": "true",
    "exabgp.daemon.pid": "",
    "exabgp.log.all": "false",
    "exabgp.log.destination": "stderr",
    "exabgp.log.enable": "true",
    "exabgp.log.level": "WARNING",
    "exabgp.tcp.bind": "",
    "exabgp.tcp.delay": "0",
    "exabgp.tcp.once": "false",
    # ExaBGP asks for its own host name as it starts, and needs no answer. Resolvers may be beyond
    # the routes that it is about to announce: glibc would wait 10 s for each (resolv.conf(5)).
    "RES_OPTIONS": "timeout:1 attempts:1",
}
"""What must not be as /etc/exabgp/exabgp.env has it, nor as the machine has it."""


@frozen
class Peer:
    """A neighbor with what its section and the machine add to its line."""

    line: NeighborLine
    local_as: int
    router_id: str
    local_address: str
    password: bytes = b""


def helper(python: str, socket: str, lease: float, uids: Iterable[int]) -> tuple[str, ...]:
    """The command that runs the helper; its messages are for whoever runs as `uids`."""
    words = [python, "-m", "balancer.route.anycast.shim"]
    words += ["--socket", socket, "--lease", f"{lease:g}"]
    for uid in uids:
        words += ["--uid", str(uid)]
    return tuple(words)


def only(prefixes: Iterable[Network]) -> tuple[str, ...]:
    """More words for a helper that shares its ExaBGP: these prefixes are ours."""
    # One by one: ExaBGP takes a comma for a word of its own.
    return tuple(word for each in prefixes for word in ("--only", str(each)))


def configuration(command: Sequence[str], peers: Iterable[Peer]) -> str:
    """The whole file."""
    parts = [f"process {PROCESS} {{\n    run {' '.join(command)};\n    encoder json;\n}}\n"]
    parts += [_neighbor(peer) for peer in peers]
    return "\n".join(parts)


def _neighbor(peer: Peer) -> str:
    line = peer.line
    options = [
        ("router-id", peer.router_id),
        ("local-address", peer.local_address),
        ("local-as", peer.local_as),
        ("peer-as", line.asn),
        ("hold-time", line.hold_time),
        ("manual-eor", "true"),
    ]
    if peer.password:
        # Base64 has no character that needs quoting there.
        options.append(("md5-base64", "true"))
        options.append(("md5-password", f'"{base64.b64encode(peer.password).decode()}"'))
    elif line.password_file:
        options.append(("# md5-password", f"as in {line.password_file}"))
    if line.multihop:
        options.append(("outgoing-ttl", line.multihop))
    if line.ttl_security:
        # RFC 5082, 3: sent with 255, and come with 255 less the hops between.
        options.append(("outgoing-ttl", 255))
        options.append(("incoming-ttl", 256 - line.ttl_security))
    family = f"ipv{line.version} unicast"
    rows = [f"    {name} {value};" for name, value in options if value != ""]
    rows += [
        f"    capability {{\n        graceful-restart {RESTART_TIME};\n    }}",
        f"    family {{\n        {family};\n    }}",
        f"    api {{\n        processes [ {PROCESS} ];\n        neighbor-changes;\n    }}",
    ]
    return f"neighbor {line.address} {{\n" + "\n".join(rows) + "\n}\n"
