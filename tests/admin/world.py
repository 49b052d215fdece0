"""A site and an operator that remember what they were asked."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from balancer.interfaces import IOperator, ISite, Metric, NotDone, Published, Snapshot
from balancer.pool.events import WentDown


def event(number: int, text: str = "refused") -> Published:
    """Event `number` of server web/a."""
    return Published(number, 1000.0 + number, "web", WentDown("web/a", text))


@implementer(ISite)
@define(eq=False)
class FakeSite:
    """A site with the events that a test gives it."""

    kept: list[Published] = field(factory=list)
    subscribers: list[Callable[[Published], None]] = field(factory=list)

    def snapshot(self) -> Snapshot:
        return Snapshot({"site": {"name": "test"}, "pools": {}, "balancers": {}}, ())

    def telling(self) -> Generator[None, None, Mapping[str, Any]]:
        yield
        return self.snapshot().status

    def telling_of(self, key: str) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = self.snapshot().status["balancers"].get(key)
        return found

    def metrics(self) -> Iterable[Metric]:
        return self.snapshot().metrics

    def healthy(self) -> bool:
        return True

    def events(self) -> Sequence[Published]:
        return tuple(self.kept)

    def subscribe(self, subscriber: Callable[[Published], None]) -> None:
        self.subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Callable[[Published], None]) -> None:
        self.subscribers.remove(subscriber)

    def publish(self, published: Published) -> None:
        """Something happens."""
        self.kept.append(published)
        for each in list(self.subscribers):
            each(published)


@implementer(IOperator)
@define(eq=False)
class FakeOperator:
    """Notes what it is asked, and answers `result` (or a Deferred of it), or raises `error`."""

    asked: list[tuple[Any, ...]] = field(factory=list)
    result: Any = field(factory=lambda: {"done": True})
    error: Exception | None = None
    later: list[Deferred[Any]] | None = None
    """When there is such a list, reloads are Deferreds that it takes up."""

    def _ask(self, *what: Any) -> Any:
        self.asked.append(what)
        if self.error is not None:
            raise self.error
        return self.result

    def _ask_later(self, *what: Any) -> Deferred[Mapping[str, Any]]:
        result = self._ask(*what)
        if self.later is not None:
            self.later.append(Deferred())
            return self.later[-1]
        return result if isinstance(result, Deferred) else succeed(result)

    def check(self, path: str) -> Deferred[Mapping[str, Any]]:
        return self._ask_later("check", path)

    def plan(self, path: str) -> Deferred[Mapping[str, Any]]:
        return self._ask_later("plan", path)

    def reload(self) -> Deferred[Mapping[str, Any]]:
        return self._ask_later("reload")

    def drain(self, server: str) -> Mapping[str, Any]:
        result: Mapping[str, Any] = self._ask("drain", server)
        return result

    def ready(self, server: str) -> Mapping[str, Any]:
        result: Mapping[str, Any] = self._ask("ready", server)
        return result

    def maintain(self, server: str) -> Mapping[str, Any]:
        result: Mapping[str, Any] = self._ask("maintain", server)
        return result

    def weigh(self, server: str, weight: int) -> Mapping[str, Any]:
        result: Mapping[str, Any] = self._ask("weigh", server, weight)
        return result

    def explain(self, kind: str, name: str, question: Mapping[str, str]) -> Mapping[str, Any]:
        result: Mapping[str, Any] = self._ask("explain", kind, name, dict(question))
        return result


def not_done(text: str, *problems: str) -> NotDone:
    """What an operator raises."""
    return NotDone(text, problems)
