"""
The check `udp`: a datagram goes to the server, and an answer comes back, or no refusal does.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from balancer.interfaces import CheckFailed, ICheck
from balancer.wire.address import Address
from balancer.wire.connected import ConnectedDatagrams
from balancer.wire.reactor import IWireReactor

QUIET = 0.9
"""The part of the timeout after which silence is taken for consent, if no answer is expected."""

SHOWN = 40
"""Bytes of an unexpected answer that the operator is shown."""

Open = Callable[
    [IWireReactor, Address, Callable[[bytes], None], Callable[[OSError], None]], ConnectedDatagrams
]


@implementer(ICheck)
@frozen
class UdpCheck:
    """
    Sends `send`. With `expect`, an answer that contains it passes and any other fails; without it,
    any answer passes, and so does silence, unless ICMP says that nobody listens.
    """

    reactor: IWireReactor
    send: bytes = b""
    expect: bytes | None = None
    open: Open = ConnectedDatagrams

    def probe(self, target: Address, timeout: float) -> Deferred[str]:
        """Fires with what was seen. One datagram is sent: one that is lost counts as a failure."""
        return _Probe(self, target).begin(timeout)


@define(eq=False)
class _Probe:
    """One question and its answer."""

    _check: UdpCheck
    _target: Address
    _done: Deferred[str] = field(init=False)
    _socket: ConnectedDatagrams = field(init=False)
    _call: IDelayedCall = field(init=False)

    def begin(self, timeout: float) -> Deferred[str]:
        check = self._check
        self._socket = check.open(check.reactor, self._target, self._answered, self._refused)
        self._done = Deferred(lambda _: self._close())
        silence = timeout if check.expect is not None else timeout * QUIET
        self._call = check.reactor.callLater(silence, self._silent)
        self._socket.send(check.send)
        return self._done

    def _answered(self, data: bytes) -> None:
        expect = self._check.expect
        self._close()
        if expect is None or expect in data:
            self._done.callback(f"{len(data)} bytes came back")
        else:
            self._done.errback(CheckFailed(f"expected {_shown(expect)}, got {_shown(data)}"))

    def _refused(self, error: OSError) -> None:
        self._close()
        self._done.errback(error)

    def _silent(self) -> None:
        self._close()
        if self._check.expect is None:
            self._done.callback("sent, and nobody refused it")
        else:
            self._done.errback(CheckFailed("no answer"))

    def _close(self) -> None:
        self._socket.close()
        if self._call.active():
            self._call.cancel()


def _shown(data: bytes) -> str:
    return repr(data[:SHOWN])[1:] + ("..." if len(data) > SHOWN else "")
