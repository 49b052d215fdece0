"""
Which servers of a pool are answered, and what is wrong when it is not those that are up. Pure.

A pool's own choice (`pool.tiers`) serves work that is retried elsewhere when a server fails. An
answer is held on to until its TTL ends, so this differs in two ways: before the first verdict the
last good servers are answered, not whoever was checked first; and with nothing up the operator's
`when-down` decides.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import ceil
from typing import Final

from attrs import frozen

from balancer.dns.codes import NETWORK_ERROR, NO_REACHABLE_AUTHORITY, STALE_ANSWER
from balancer.pool.health import Scale
from balancer.pool.pool import Pool
from balancer.pool.server import Server

LEAST_TTL: Final = 1
"""Seconds of an answer that may change at any moment: 0 has resolvers ask for every client."""


@frozen
class Standing:
    """`servers` are answered. `fault`: an extended error (RFC 8914) and its text when these are not
    simply the ones that are up; `refuses`: the answer is SERVFAIL."""

    servers: tuple[Server, ...]
    fault: tuple[int, str] | None = None
    refuses: bool = False


def stand(pool: Pool, when_down: str, remembered: Collection[str] = ()) -> Standing:
    """
    The first of these that has anyone in it: servers that are up, or not checked yet and remembered
    as up from before the start (all of them, if nothing is remembered); backups likewise; servers
    not checked yet; and then what `when_down` says. Panic (a share of the pool's willing servers
    without backups) comes first, as in the pool. Drain, maintenance and weight 0 are the operator's
    word, and neither panic nor `when_down` brings such a server back. A server that came to a pool
    that was there is not taken for up before it was checked.
    """
    willing = [server for server in pool.servers if server.willing]
    sound = [server for server in willing if _is_sound(server, remembered, pool.began)]
    normal = [server for server in willing if not server.backup]
    panic = pool.settings.panic
    if panic and len(sound) < panic * len(normal):
        text = f"pool {pool.name}: {len(sound)} of {len(normal)} servers are up"
        return Standing(tuple(willing), (NO_REACHABLE_AUTHORITY, f"{text}, so all are answered"))
    unchecked = [s for s in willing if s.verdict == "unknown" and s.ejected_until is None]
    for tier in (sound, unchecked):
        for backup in (False, True):
            found = tuple(server for server in tier if server.backup is backup)
            if found:
                return Standing(found, _stale(pool.name, found))
    return _down(pool.name, tuple(normal or willing), when_down)


def _is_sound(server: Server, remembered: Collection[str], began: float) -> bool:
    if server.ejected_until is not None:
        return False
    if server.verdict == "unknown":
        here_at_first = server.changed_at <= began
        return here_at_first and (not remembered or server.name in remembered)
    return server.verdict == "up"


def _stale(pool: str, servers: Sequence[Server]) -> tuple[int, str] | None:
    if all(server.verdict == "up" for server in servers):
        return None
    return STALE_ANSWER, f"pool {pool}: not all of these servers have been checked yet"


def _down(pool: str, willing: tuple[Server, ...], when_down: str) -> Standing:
    if not willing:
        text = f"pool {pool}: every server is drained, in maintenance or of weight 0"
        return Standing((), (NO_REACHABLE_AUTHORITY, text), when_down == "servfail")
    text = f"pool {pool}: no server is up"
    if when_down == "all":
        text += ", so all are answered"
        return Standing(willing, (NO_REACHABLE_AUTHORITY, text))
    return Standing((), (NETWORK_ERROR, text), when_down == "servfail")


def why_not(server: Server) -> str:
    """Why a server that does not stand is left out, in words for the operator."""
    if server.admin == "maint":
        return "in maintenance"
    if server.verdict == "down":
        return f"down: {server.reason}" if server.reason else "down"
    if server.admin == "drain":
        return "draining"
    if not server.weight:
        return "weight is 0"
    if server.ejected_until is not None:
        return f"ejected: {server.reason}"
    if server.verdict == "unknown":
        return "not checked yet, and was not up before the start"
    return "backup, and others are up"


def time_to_turn(server: Server, scale: Scale, interval: float) -> float | None:
    """Seconds after which checks may turn the server's verdict; None: none is about to."""
    if not interval or not server.willing:
        return None
    if server.verdict == "unknown":
        return interval
    if not scale.is_pending(server.health):
        return None
    if scale.is_up(server.health):
        return (server.health - scale.rise + 1) * interval
    return (scale.rise - server.health) * interval


def shortest_turn(servers: Sequence[Server], scale: Scale, interval: float) -> float | None:
    """Seconds until the first of the servers' verdicts may turn; None: none is about to."""
    turns = (time_to_turn(each, scale, interval) for each in servers)
    return min((turn for turn in turns if turn is not None), default=None)


def ttl_within(ttl: int, turn: float | None) -> int:
    """The TTL of an answer now: `ttl`, or less while a verdict is pending, so that nobody keeps the
    answer for longer than it may hold (gdnsd does the same)."""
    return ttl if turn is None else min(ttl, max(LEAST_TTL, ceil(turn)))
