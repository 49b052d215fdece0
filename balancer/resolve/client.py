"""
The resolver of the site: the hosts file first, then DNS servers, as `looking` says.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from random import Random, SystemRandom
from typing import Final

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from balancer.resolve.conf import addresses_of
from balancer.resolve.exchange import Exchange
from balancer.resolve.files import Files
from balancer.resolve.interfaces import IResolver
from balancer.resolve.looking import Found, LookUp, Nothing, Reply, looking_up
from balancer.wire.address import literal
from balancer.wire.reactor import IWireReactor

HOSTS_TTL: Final = 86_400.0
"""Seconds for which the hosts file's word holds: it is read again when it changes."""

_DISCARD = 9
"""A port for a connected UDP socket that sends nothing: the kernel just looks for a way."""


@implementer(IResolver)
@define(eq=False)
class Client:
    """See `IResolver`. `changed` has been called once before the first look-up."""

    _reactor: IWireReactor
    _files: Files = field(factory=Files)
    _random: Random = field(factory=SystemRandom)
    _exchange: Exchange = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._exchange = Exchange(self._reactor, self._random)

    def use(self, servers: Sequence[tuple[str, int]]) -> None:
        self._files.use(servers)

    def changed(self) -> bool:
        return self._files.changed()

    def look_up(self, name: str) -> Deferred[Found | Nothing]:
        addresses = addresses_of(name, self._files.hosts)
        if addresses:
            return succeed(Found(addresses, HOSTS_TTL))
        return _Look(self._exchange, looking_up(name, self._files.conf)).begin()

    def source_of(self, address: str) -> str | None:
        return source_of(address)


@define(eq=False)
class _Look:
    """One look-up on its way."""

    _exchange: Exchange
    _steps: LookUp
    _done: Deferred[Found | Nothing] = field(init=False)
    _asked: Deferred[Sequence[Reply]] | None = field(default=None, init=False)

    def begin(self) -> Deferred[Found | Nothing]:
        self._done = Deferred(lambda _: self._cancel())
        self._go_on(None)
        return self._done

    def _go_on(self, replies: Sequence[Reply] | None) -> None:
        try:
            ask = next(self._steps) if replies is None else self._steps.send(replies)
        except StopIteration as stop:
            self._done.callback(stop.value)
            return
        self._asked = maybeDeferred(self._exchange.ask, ask)
        self._asked.addCallback(self._go_on)
        self._asked.addErrback(self._done.errback)

    def _cancel(self) -> None:
        self._steps.close()
        if self._asked is not None:
            self._asked.addErrback(lambda _: None)
            self._asked.cancel()


def source_of(address: str) -> str | None:
    """See `IResolver`."""
    try:
        to = literal(address, _DISCARD)
        with socket.socket(to.family, socket.SOCK_DGRAM) as probe:
            probe.connect(to.sockaddr)
            return str(probe.getsockname()[0])
    except (OSError, ValueError):
        return None
