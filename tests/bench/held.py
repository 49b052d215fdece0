"""
Memory of a proxy that holds idle connections, plain or under TLS.
"""

from __future__ import annotations

import os
import subprocess
import sys

from attrs import frozen

from tests.bench.measure import memory
from tests.bench.peers import CONNECTIONS, LOAD_CORE, Peer
from tests.live.harness import ROOT, search_path


@frozen
class Held:
    """Memory of a proxy in bytes: just started, and with `standing` idle connections."""

    before: int
    after: int
    standing: int


def idle(peer: Peer, tls: bool = False, count: int = CONNECTIONS) -> Held:
    """Hold `count` kept-alive connections, each after one request."""
    before = memory(peer.pids)
    command = ["taskset", "-c", LOAD_CORE, sys.executable, "-m", "tests.bench.idle",
               str(peer.https if tls else peer.http), str(count), *(["tls"] if tls else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "PATH": search_path(), "PYTHONPATH": str(ROOT)},
                          ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        standing = int(holder.stdout.readline() or 0)
        after = memory(peer.pids)
        holder.stdin.close()
    return Held(before, after, standing)
