"""Checks under the tests' control, and pools for them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from balancer.check.interfaces import IServerCheck
from balancer.interfaces import ICheck
from balancer.pool.pool import Pool
from balancer.pool.settings import PoolSettings, ServerSettings
from balancer.wire.address import Address, literal


def pool_of(count: int, rise: int = 2, fall: int = 3, disabled: tuple[int, ...] = ()) -> Pool:
    """A pool `web` of servers s0, s1, ... at 192.0.2.1:80, :81, ..."""
    settings = PoolSettings(name="web", rise=rise, fall=fall)
    servers = [
        (
            ServerSettings(name=f"s{index}", disabled=index in disabled),
            literal("192.0.2.1", 80 + index),
        )
        for index in range(count)
    ]
    return Pool(settings, servers, 0.0, Random(1))


@define
class Asked:
    """One probe that was asked for."""

    at: float
    target: Address
    timeout: float
    deferred: Deferred[str]
    cancelled: bool = False


@implementer(ICheck)
@define(eq=False, slots=False)
class FakeCheck:
    """Notes every probe; `answer`, if any, decides it at once, else the test does."""

    seconds: Callable[[], float]
    answer: Callable[[Address, Deferred[str]], None] | None = None
    asked: list[Asked] = field(factory=list)

    def probe(self, target: Address, timeout: float) -> Deferred[str]:
        """A Deferred that the test fires."""
        asked = Asked(self.seconds(), target, timeout, Deferred(lambda _: self._cancel(asked)))
        self.asked.append(asked)
        if self.answer is not None:
            self.answer(target, asked.deferred)
        return asked.deferred

    def _cancel(self, asked: Asked) -> None:
        asked.cancelled = True


@implementer(IServerCheck)
@define(eq=False, slots=False)
class FakeServerCheck(FakeCheck):
    """One that wants the server's name, and few at once."""

    at_once: int = 2
    names: list[str] = field(factory=list)

    def probe_server(self, server: str, target: Address, timeout: float) -> Deferred[str]:
        """Notes the name as well."""
        self.names.append(server)
        return self.probe(target, timeout)


def passing(target: Address, deferred: Deferred[str]) -> None:
    """Every probe passes at once."""
    deferred.callback("fine")
