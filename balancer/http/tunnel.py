"""
Two connections after 101 (Switching Protocols): a byte tunnel, whatever runs in it.

Each direction ends by itself (half-close), and holds the other's reading up when it is slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from balancer.http.client import ClientConnection
    from balancer.http.server import ServerConnection


class Tunnel:
    """Carries bytes between `client` and `link` until both directions have ended."""

    __slots__ = ("_client", "_client_ended", "_link", "_server_ended")

    def __init__(self, client: ClientConnection, link: ServerConnection) -> None:
        self._client = client
        self._link = link
        self._client_ended = False
        self._server_ended = False
        client.transport.registerProducer(link, True)
        link.transport.registerProducer(client, True)

    @property
    def over(self) -> bool:
        """Whether both sides have said all that they had to say."""
        return self._client_ended and self._server_ended

    def from_client(self, data: bytes) -> None:
        """A piece for the server."""
        client = self._client
        client.front.figures.bytes_in += len(data)
        client.until = client.front.clock() + client.front.idle_timeout
        self._link.transport.write(data)

    def from_server(self, data: bytes) -> None:
        """A piece for the client."""
        client = self._client
        client.sent += len(data)
        client.until = client.front.clock() + client.front.idle_timeout
        client.transport.write(data)

    def client_ended(self) -> None:
        """The client has sent its end; what the server still says goes on to it."""
        if not self._client_ended:
            self._client_ended = True
            self._link.transport.unregisterProducer()
            self._link.transport.loseWriteConnection()

    def server_ended(self) -> None:
        """The server has sent its end."""
        if not self._server_ended:
            self._server_ended = True
            self._client.transport.unregisterProducer()
            self._client.transport.loseWriteConnection()
