"""
A request's place in its pool's queue.

Pure: knows what the pool asks of whoever waits; what becomes of the request is `proxying`'s.
"""

from __future__ import annotations

from typing import Protocol

from balancer.http import exchange
from balancer.pool.pool import Pool
from balancer.pool.server import Server


class Asking(Protocol):
    """Whose request waits."""

    def admitted(self, waiting: Waiting, server: Server, now: float) -> bool:
        """The request may go to `server`, on which it is begun; False if it waits no more."""

    def failed(self, happening: str, reason: str) -> None:
        """Something happened to it: see `exchange.TABLE`."""


class Waiting:
    """A request in the pool's queue, which gives it no server of `tried`. Whoever the pool gives it
    to calls `admitted`."""

    __slots__ = ("_connection", "_pool", "deadline", "key", "tried")

    def __init__(
        self,
        connection: Asking,
        pool: Pool,
        key: bytes | None,
        tried: tuple[Server, ...],
        deadline: float,
    ) -> None:
        self._connection = connection
        self._pool = pool
        self.key = key
        self.tried = tried
        self.deadline = deadline

    def admitted(self, server: Server, now: float) -> None:
        """The request may go to `server`, on which it is already begun."""
        if not self._connection.admitted(self, server, now):
            # The client has left since the pool took us out of its queue.
            waiter = self._pool.finish(server, now)
            if waiter is not None:
                waiter.admitted(server, now)

    def expired(self, now: float) -> None:
        """It waited too long."""
        self._connection.failed(exchange.TIMED_OUT, "waited too long in the queue")
