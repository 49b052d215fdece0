"""
A place on one server of a pool, begun once and ended once, whatever fails when.

Pure: knows pools and servers, nothing of sockets. Whoever holds a seat calls `leave` on every way
out, as often as it likes.
"""

from __future__ import annotations

from balancer.pool.pool import Pool
from balancer.pool.server import Server


class Seat:
    """
    The work of one connection or flow on `server` (None: on none now).

    `tried` has the servers that failed it; the next `take` passes them over.
    """

    __slots__ = ("key", "pool", "server", "tried")

    def __init__(self, pool: Pool, key: bytes | None) -> None:
        self.pool = pool
        self.key = key
        self.server: Server | None = None
        self.tried: tuple[Server, ...] = ()

    def take(self, now: float) -> Server | None:
        """Begin on the best server that was not tried; None: there is none with room."""
        assert self.server is None
        server = self.pool.choose(self.key, self.tried)
        if server is not None:
            self.pool.begin(server, now)
            self.server = server
        return server

    def grant(self, server: Server) -> None:
        """The pool itself has begun work on `server` for us, out of its queue."""
        assert self.server is None
        self.server = server

    def give_up(self, now: float) -> None:
        """The server failed: leave it, and remember that it was tried."""
        server = self.server
        if server is not None:
            self.tried = (*self.tried, server)
            self.leave(now)

    def leave(self, now: float) -> None:
        """End the work, if it was begun. Somebody else who waits may go then."""
        server = self.server
        if server is not None:
            self.server = None
            finish(self.pool, server, now)


def finish(pool: Pool, server: Server, now: float) -> None:
    """End work on `server`, and let go who may go now in its place."""
    waiter = pool.finish(server, now)
    if waiter is not None:
        waiter.admitted(server, now)
