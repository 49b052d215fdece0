"""
Who stays, who comes and who goes when a pool's lines change. Changes nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from balancer.pool.server import Server
from balancer.pool.settings import ServerSettings

Configured = Sequence[tuple[ServerSettings, Any]]
"""The lines of `servers`, each with its opaque address, in the order of the site file."""


@frozen
class Lineup:
    """`servers` are those from now on, in the order of the site file: the `kept` ones, each with
    its line now, and the `added`. `removed` are those that were and are no more."""

    servers: tuple[Server, ...]
    kept: tuple[tuple[Server, ServerSettings], ...]
    added: tuple[Server, ...]
    removed: tuple[Server, ...]

    def differs(self, present: Sequence[Server]) -> bool:
        """Whether anything changes for a pool that has the servers `present`."""
        return self.servers != tuple(present) or any(
            line != server.settings for server, line in self.kept
        )


def lineup(pool: str, present: Sequence[Server], lines: Configured, now: float) -> Lineup:
    """A server is the same if its name and its address are; else it is a new one of the pool
    named `pool`, even under an old name: nothing that was learnt of the old one holds for it."""
    left = {server.name: server for server in present}
    servers, kept, added = [], [], []
    for line, address in lines:
        server = left.get(line.name)
        if server is not None and server.address == address:
            del left[line.name]
            kept.append((server, line))
        else:
            server = Server.of(pool, line, address, now)
            added.append(server)
        servers.append(server)
    staying = {server for server, _ in kept}
    removed = tuple(server for server in present if server not in staying)
    return Lineup(tuple(servers), tuple(kept), tuple(added), removed)
