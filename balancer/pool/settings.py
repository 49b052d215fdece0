"""
What an operator can say about a pool and its servers. Knows values, not how they were written.
"""

from __future__ import annotations

from attrs import frozen

KEY_OF: dict[str, str] = {
    "round-robin": "none",
    "least-connections": "none",
    "random": "none",
    "p2c": "none",
    "first": "none",
    "ewma": "none",
    "source": "source",
    "uri": "uri",
    "header": "header",
    "cookie": "cookie",
    "query": "query",
    "maglev": "address+port",
}
"""Every algorithm, and the kind of key that it chooses by."""

ALGORITHMS = tuple(KEY_OF)

WITH_ARGUMENT = frozenset({"header", "cookie", "query"})
"""Algorithms written `NAME:ARGUMENT`."""


@frozen
class KeySource:
    """What a key is made of: `kind` is a value of `KEY_OF`, `argument` the name of the header,
    cookie or query field."""

    kind: str
    argument: str = ""


@frozen
class Algorithm:
    """How a pool chooses; `argument` is the NAME of `header:NAME`."""

    name: str = "round-robin"
    argument: str = ""

    @property
    def key(self) -> KeySource:
        """What `choose` wants as a key."""
        return KeySource(KEY_OF[self.name], self.argument)

    def __str__(self) -> str:
        return f"{self.name}:{self.argument}" if self.argument else self.name


@frozen
class Ejection:
    """`5 in 10s for 30s`: that many failures within `window` seconds keep new work away from a
    server for `duration` seconds."""

    failures: int
    window: float
    duration: float


@frozen
class PoolSettings:
    """A pool as the operator wants it. Times are seconds, `panic` is a share from 0 to 1, and an
    empty `seed` stands for the pool's name. `interval` is the time between two checks while a
    verdict is pending, 0 where nobody checks."""

    name: str
    algorithm: Algorithm = Algorithm()
    rise: int = 2
    fall: int = 3
    queue: int = 0
    queue_timeout: float = 5.0
    slow_start: float = 0.0
    panic: float = 0.0
    eject: Ejection | None = None
    retries: int = 2
    connect_timeout: float = 5.0
    seed: str = ""
    interval: float = 0.0


@frozen
class ServerSettings:
    """A line of `servers`. `weight` 0 means no new work, `max_connections` 0 no limit;
    a `disabled` server starts in maintenance, `place` names where it stands (empty: nowhere)."""

    name: str
    weight: int = 1
    backup: bool = False
    max_connections: int = 0
    disabled: bool = False
    place: str = ""
