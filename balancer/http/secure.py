"""
A client's connection under TLS: what differs from a plain one. Knows nothing of the handshake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from balancer.http.client import ClientConnection
from balancer.http.forwarded import address_of
from balancer.http.front import Front, Target
from balancer.http.message import RequestHead
from balancer.http.routes import RedirectToHttps

if TYPE_CHECKING:
    from balancer.wire.stream import Stream


class SecureConnection(ClientConnection):
    """A client behind TLS. It is in `shaking` until its handshake is done."""

    __slots__ = ("_shaking",)

    scheme: ClassVar[bytes] = b"https"

    def __init__(self, front: Front, shaking: set[ClientConnection]) -> None:
        super().__init__(front)
        self._shaking = shaking
        shaking.add(self)

    def makeConnection(self, transport: Stream) -> None:
        """The handshake is done."""
        self._shaking.discard(self)
        super().makeConnection(transport)

    def unless_here(self, target: Target, head: RequestHead) -> Target:
        """`redirect https` does not match what came by https: the next route that does."""
        if not isinstance(target.redirect, RedirectToHttps):
            return target
        table = self.front.tls_table
        client = address_of(self.source) if table.needs_client else None
        return table.find(head, client)
