"""
Connecting to a literal address without blocking, under TLS where the address asks for it.

Knows the two ways to connect; how each goes is in `connecting` and `connect_tls`.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IProtocol

from balancer.wire.address import Address
from balancer.wire.connect_tls import Secured, connect_tls
from balancer.wire.connecting import ConnectFailed, ConnectImpossible, Connecting
from balancer.wire.deadlines import Wheel
from balancer.wire.interfaces import IWireReactor

__all__ = ["ConnectFailed", "ConnectImpossible", "Connecting", "connect"]


def connect(
    reactor: IWireReactor,
    address: Address,
    protocol: IProtocol,
    failed: Callable[[ConnectFailed], None],
    timeout: float,
    wheel: Wheel | None = None,
    local: Address | None = None,
) -> Connecting:
    """
    Connect `protocol` to `address` through a `Stream`, within `timeout` seconds.

    A `Secured` address is connected to under TLS, as it says; the time is for the handshake, too.
    Exactly one of `protocol.makeConnection` and `failed` is called, in a later turn, unless the
    result's `cancel()` comes first. `wheel` makes the timeout cheap and coarse. `local` is the
    address to come from (port 0: any).
    """
    if isinstance(address, Secured):
        trust = address.trust
        return connect_tls(reactor, address, protocol, failed, timeout, trust, wheel, local)
    connecting = Connecting(reactor, address, protocol, failed, wheel)
    connecting.begin(timeout, local)
    return connecting
