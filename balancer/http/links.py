"""
Connections to one server that wait for the next request, the one used last first.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, Final

from balancer.http.server import ServerConnection
from balancer.pool.server import Server

if TYPE_CHECKING:
    from balancer.http.client import ClientConnection
    from balancer.http.front import Front

MAX_IDLE: Final = 256
"""Idle connections kept to one server: the load of a busy site, not the peak of a bad day. nginx's
`keepalive` has the same part and no default."""

IDLE_SECONDS: Final = 30.0
"""How long one is kept. Servers close theirs after 5 s (Apache, Node), 75 s (nginx) or later; when
they do so first, we see it and let go."""


class Links:
    """The idle connections to `server`. Last in, first out: what is not needed grows old and ends,
    and the one used last is the least likely to be closed over there."""

    __slots__ = ("_out", "address", "front", "idle", "server")

    def __init__(self, front: Front, server: Server) -> None:
        self.front = front
        self.server = server
        self.address = server.address
        self.idle: list[ServerConnection] = []
        self._out = not server.usable

    def connect(self, client: ClientConnection, timeout: float) -> Any:
        """A new connection, which will ask for `client`. The result can be cancelled."""
        link = ServerConnection(self, client)
        return self.front.connect(self.address, link, client.not_connected, timeout)

    def keep(self, link: ServerConnection, now: float) -> None:
        """The connection is free for the next request."""
        idle = self.idle
        if self._out or len(idle) >= MAX_IDLE:
            link.close()
            return
        idle.append(link)
        link.until = now + IDLE_SECONDS
        if link.deadline == inf:
            link.watch()

    def forget(self, link: ServerConnection) -> None:
        """The connection has ended; it need not be here."""
        with suppress(ValueError):
            self.idle.remove(link)

    def verdict_changed(self) -> None:
        """A server that is out keeps no connections: it gets no work, or they are suspect."""
        self._out = not self.server.usable
        if self._out:
            self.drop()

    def retire(self) -> None:
        """Keep none any more, whatever becomes of the server; others take the place of these."""
        self._out = True
        self.drop()

    def drop(self) -> None:
        """Close all of them."""
        idle, self.idle = self.idle, []
        for link in idle:
            link.close()


class LinkTable(dict[Server, Links]):
    """The links to each server of a pool, made when first asked for."""

    def __init__(self, front: Front) -> None:
        super().__init__()
        self._front = front

    def __missing__(self, server: Server) -> Links:
        links = self[server] = Links(self._front, server)
        return links
