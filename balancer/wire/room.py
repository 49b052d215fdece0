"""
How many connections fit into the file descriptors that this process may have.

Knows `ulimit -n` and nothing of who connects. Descriptors that run out hurt everybody: requests of
clients who are there find no way to a server, checks cannot be made, and the operator cannot look.
So who takes connections takes no more of them than leave the others theirs.
"""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from typing import Final

SHARE_LEFT: Final = 0.55
"""The share of all descriptors that clients leave to server connections, checks, logs and admin: a
little more than the half that is needed when each of them has a server connection of its own."""

MOST_LEFT: Final = 4096
"""As many are enough however many clients there are: most of those are idle, and a process that has
so many requests in flight has no processor left for more."""

SHARE_OF_PAIRS: Final = 0.45
"""The share that both ends of relayed connections may have, counted in pairs."""

SHARE_OF_FLOWS: Final = 0.5
"""The share that all flows of datagrams together may have: connections, checks and logs live on the
rest."""

SHARE_OF_CHECKS: Final = 0.1
"""The share that health checks of servers that hang may have."""


def raise_limit() -> None:
    """Take as many descriptors as the hard limit allows: what shells and systemd set as the soft
    one (1024) is for programs that call select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # a hard limit above fs.nr_open cannot be had
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def clients() -> int:
    """How many clients fit who use a server's connection only while they ask."""
    limit = soft_limit()
    return max(1, limit - min(MOST_LEFT, round(limit * SHARE_LEFT)))


def pairs() -> int:
    """How many connections fit that each have one to a server for as long as they last."""
    return max(1, round(soft_limit() * SHARE_OF_PAIRS))


def flows() -> int:
    """How many flows of datagrams fit, each with a socket of its own to a server."""
    return max(1, round(soft_limit() * SHARE_OF_FLOWS))


def checks() -> int:
    """How many health checks may be in progress, each with a descriptor."""
    return max(1, min(MOST_LEFT, round(soft_limit() * SHARE_OF_CHECKS)))


def soft_limit() -> int:
    """`ulimit -n`."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
