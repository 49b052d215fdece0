"""Checks under the tests' control, and pools for them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.testing import MemoryReactorClock
from zope.interface import alsoProvides, implementer

from balancer.check.interfaces import IServerCheck
from balancer.interfaces import ICheck
from balancer.pool.pool import Pool
from balancer.pool.settings import PoolSettings, ServerSettings
from balancer.wire.address import Address, literal
from balancer.wire.deadlines import Wheel


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


class FakeReactor(MemoryReactorClock):
    """A reactor without sockets, that notes the programs it should start."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[tuple[Any, str, list[str], dict[str, str]]] = []
        self.spawn_error: OSError | None = None

    def spawnProcess(self, protocol: Any, executable: Any, args: Any, env: Any) -> Any:
        """As IReactorProcess has it, for the arguments that we give."""
        if self.spawn_error is not None:
            raise self.spawn_error
        self.spawned.append((protocol, executable, args, env))


def reactor_of(fake: FakeReactor) -> Any:
    """`fake` as what it stands in for: it has as much of it as checks use."""
    return fake


class FakeContext:
    """What makers of checks take from the site."""

    def __init__(self) -> None:
        self.reactor: Any = FakeReactor()
        alsoProvides(self.reactor, IReactorProcess)
        self.wheel = Wheel(0.0)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a check has no business with {name}")
