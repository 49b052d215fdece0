"""
Stock Twisted factories on our listeners: twisted.web's Site for one.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from balancer.wire.descriptor import twisted_address
from balancer.wire.handshakes import Handshakes
from balancer.wire.listener import Listener
from balancer.wire.stream import Stream


def serve(
    listener: Listener, factory: IProtocolFactory, handshakes: Handshakes | None = None
) -> Callable[[], None]:
    """
    Build a protocol of `factory` on a `Stream` for each connection to `listener`; under TLS with
    the listener's `handshakes`.

    Becomes the listener's owner; starting and stopping it stays the caller's. Returns what gives
    the listener up again and tells the factory so (`doStop`).
    """

    def accepted(sock: socket.socket, peer: Any) -> None:
        protocol = factory.buildProtocol(twisted_address(peer))
        if protocol is None:
            sock.close()
            return
        if handshakes is not None:
            handshakes.serve(sock, peer, protocol)
            return
        stream = Stream(listener.reactor, sock, protocol, listener.address.sockaddr, peer)
        stream.start(listener.prompt)

    def give_up() -> None:
        if listener.accepted is accepted:
            listener.accepted = None
        if handshakes is not None:
            handshakes.stop()
        factory.doStop()

    factory.doStart()
    listener.accepted = accepted
    return give_up
