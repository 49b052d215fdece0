"""
The check `tcp`: a server is up if it takes a connection. Knows nothing of what it would say there.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, ITCPTransport
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from balancer.interfaces import CheckFailed, ICheck
from balancer.wire.address import Address
from balancer.wire.connect import ConnectFailed, ConnectImpossible, Connecting, connect
from balancer.wire.deadlines import Wheel
from balancer.wire.reactor import IWireReactor

Connect = Callable[
    [IWireReactor, Address, IProtocol, Callable[[ConnectFailed], None], float, Wheel], Connecting
]


@implementer(ICheck)
@frozen
class TcpCheck:
    """Connects and hangs up."""

    reactor: IWireReactor
    wheel: Wheel
    connect: Connect = connect

    def probe(self, target: Address, timeout: float) -> Deferred[str]:
        """Fires with 'connected'; fails with the reason why there was no connection."""
        done: Deferred[str] = Deferred(lambda _: connecting.cancel())
        connecting = self.connect(
            self.reactor,
            target,
            _HangUp(done),
            lambda error: _refused(done, error),
            timeout,
            self.wheel,
        )
        return done


def _refused(done: Deferred[str], error: ConnectFailed) -> None:
    # What we are short of says nothing of the server: the service tells it by its errno.
    ours = isinstance(error, ConnectImpossible)
    done.errback(error if ours else CheckFailed(error.reason))


class _HangUp(Protocol):
    """Ends a connection as soon as there is one."""

    transport: ITCPTransport

    def __init__(self, done: Deferred[str]) -> None:
        self._done = done

    def connectionMade(self) -> None:
        # A reset, as HAProxy's: thousands of checks would else hold thousands of ports in
        # TIME_WAIT for a minute each.
        self.transport.abortConnection()
        self._done.callback("connected")
