"""
What the kinds `tcp` and `udp` share at work: settings, borrowed sockets, the log, and how what is
counted is shown.

Knows the site's seams. What a connection or a flow does is in `tcp` and `udp`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from balancer.config.values import Endpoint, Unreadable, endpoint
from balancer.interfaces import (
    IContext,
    IExplains,
    IPrepared,
    Metric,
    NotDone,
    PrepareError,
    Sample,
)
from balancer.pool.pool import Pool
from balancer.relay.histogram import Histogram
from balancer.relay.limits import Limits, key_of
from balancer.relay.lines import Ended, Stamp, line
from balancer.relay.settings import RelaySettings
from balancer.wire.datagrams import DatagramPort
from balancer.wire.listener import Listener
from balancer.wire.logfile import LogFile

BoundT = TypeVar("BoundT", Listener, DatagramPort)
SettingsT = TypeVar("SettingsT", bound=RelaySettings)

Kind = Literal["counter", "gauge"]


@implementer(IPrepared)
@define
class Prepared:
    """A change that `take` puts in force. Nothing was opened for it that must be closed."""

    take: Callable[[], None]

    def commit(self) -> None:
        """Put it in force."""
        self.take()

    def abandon(self) -> None:
        """Drop it."""


@implementer(IExplains)
class Relay(Service, Generic[SettingsT, BoundT]):
    """What the two kinds share: taking on settings, their borrowed sockets, and the log."""

    def __init__(self, name: str, context: IContext) -> None:
        # Not Service.name: siblings of other kinds may bear the same name.
        self.section = name
        self.context = context
        self.settings: SettingsT | None = None
        self.pool: Pool | None = None
        self.limits: Limits | None = None
        self.draining = False
        self._forgotten_before = 0
        self._bound: tuple[BoundT, ...] = ()
        self._log: LogFile | None = None
        self._stamp = Stamp()
        self._idle: list[Deferred[None]] = []

    def prepare(self, settings: SettingsT) -> IPrepared:
        """See `IBalancer`. Raises `PrepareError` when the access log cannot be opened."""
        pool = self.context.pool(settings.pool)
        bound = tuple(self._borrow(endpoint) for endpoint in settings.listen)
        access_log = None
        if settings.access_log is not None:
            try:
                access_log = self.context.log_file(settings.access_log)
            except OSError as error:
                msg = f"cannot open the access log {settings.access_log}: {error.strerror}"
                raise PrepareError(msg) from error
        return Prepared(partial(self._take, settings, pool, bound, access_log))

    def _take(
        self, settings: SettingsT, pool: Pool, bound: tuple[BoundT, ...], access_log: LogFile | None
    ) -> None:
        for each in self._bound:
            if each not in bound:
                self._give_back(each)
        if self.limits is None or not self.limits.fit(settings):
            self._forgotten_before = self.forgotten_total
            self.limits = Limits(settings)
        self.settings, self.pool, self._bound, self._log = settings, pool, bound, access_log
        self._settled(settings, pool, self.limits)
        if self.running:
            self._open()

    @property
    def forgotten_total(self) -> int:
        """See `Limits.forgotten_total`; over all limits that there have been."""
        limits = self.limits
        return self._forgotten_before + (0 if limits is None else limits.forgotten_total)

    def _tell_of_rates(self, found: Families) -> None:
        text = "Sources whose rate was forgotten for others before it was full again."
        found.one("counter", "rate_forgotten", text, self.forgotten_total)

    def startService(self) -> None:
        """Begin to accept."""
        super().startService()
        self._open()

    def explain(self, question: Mapping[str, str]) -> Mapping[str, Any]:
        """See `IExplains`: where the next connection or flow from `from` (ADDRESS:PORT) goes."""
        pool = self.pool
        if pool is None:
            raise NotDone(f"{self.section} has no settings yet; ask again when it has started")
        try:
            asker = endpoint(question.get("from", ""))
        except Unreadable as error:
            got = question.get("from", "")
            raise NotDone(f"from: expected {error.expected}, got {got!r}") from error
        key = key_of(pool.needs_key.kind, asker.host, asker.port)
        best = next(pool.rank(key), None)
        return {
            "rule": f"pool = {pool.name}",
            "pool": pool.name,
            "candidates": [
                {"server": server.name, "usable": usable, "why": why}
                for server, usable, why in pool.candidates()
            ],
            "chosen": None if best is None else best.name,
        }

    def drain(self) -> Deferred[None]:
        """Take nothing new, and fire when nothing is left."""
        self.draining = True
        self._close()
        return self._when_empty()

    def stopService(self) -> Deferred[None]:
        """End what is left, at once."""
        super().stopService()
        self.draining = True
        self._close()
        self._end_all()
        return self._when_empty()

    def _when_empty(self) -> Deferred[None]:
        if not self._busy():
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._idle.append(done)
        return done

    def _tell_if_empty(self) -> None:
        if self._idle and not self._busy():
            idle, self._idle = self._idle, []
            for done in idle:
                done.callback(None)

    def _write(self, ended: Ended) -> None:
        if self._log is not None:
            self._log.write(line(ended, self._stamp))

    def _borrow(self, endpoint: Endpoint) -> BoundT:
        raise NotImplementedError

    def _give_back(self, bound: BoundT) -> None:
        raise NotImplementedError

    def _settled(self, settings: SettingsT, pool: Pool, limits: Limits) -> None:
        """New settings are in force for what comes from now on."""
        raise NotImplementedError

    def _open(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        for each in self._bound:
            self._give_back(each)

    def _busy(self) -> bool:
        raise NotImplementedError

    def _end_all(self) -> None:
        raise NotImplementedError


@define
class Families:
    """Collects the metrics of the balancer named `balancer`; names begin with `prefix`."""

    prefix: str
    balancer: str
    found: list[Metric] = field(factory=list)

    def one(self, kind: Kind, name: str, help: str, value: float) -> None:
        """A metric without labels of its own."""
        self.by(kind, name, help, "", {"": value})

    def by(self, kind: Kind, name: str, help: str, label: str, values: Mapping[str, float]) -> None:
        """A metric with one value for each value of `label`."""
        samples = (
            Sample(self._labels(label, each), float(value)) for each, value in values.items()
        )
        self.found.append(Metric(self.prefix + name, help, kind, tuple(samples)))

    def histogram(self, name: str, help: str, histogram: Histogram) -> None:
        """A histogram in seconds."""
        samples = (
            Sample(self._labels("le", bound), value, suffix)
            for suffix, bound, value in histogram.samples()
        )
        self.found.append(Metric(self.prefix + name, help, "histogram", tuple(samples)))

    def _labels(self, label: str, value: str) -> dict[str, str]:
        labels = {"balancer": self.balancer}
        if value:
            labels[label] = value
        return labels
