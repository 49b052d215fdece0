"""
`[anycast NAME]` in the site: prepared, put in force, started, withdrawn and stopped, and what it
tells.

Knows the site's seams. The work itself is `announcing`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from balancer.interfaces import IContext, IPrepared, IWithdraws, Metric, PrepareError
from balancer.route.anycast import telling
from balancer.route.anycast.announcing import Announcing
from balancer.route.anycast.asking import Asking
from balancer.route.anycast.secrets import passwords
from balancer.route.anycast.settings import AnycastSettings
from balancer.route.anycast.station import Station, station_of
from balancer.route.anycast.vips import Run, ip_batch

log = Logger()


@implementer(IPrepared)
@frozen
class Prepared:
    """Settings, the passwords of their neighbors, and where they announce."""

    balancer: Anycast
    settings: AnycastSettings
    passwords: Mapping[str, bytes]
    station: Station

    def commit(self) -> None:
        """Put them in force."""
        self.balancer.take(self)

    def abandon(self) -> None:
        """Close what only they would have used."""
        self.station.close_unused()


@implementer(IWithdraws)
class Anycast(Service):
    """One section. `run` runs `ip`; `stations` gives the station of a name; `asking` asks the other
    sites."""

    def __init__(
        self,
        name: str,
        context: IContext,
        run: Run | None = None,
        stations: Callable[[IContext, str], Station] = station_of,
        asking: Callable[..., Asking] = Asking,
    ) -> None:
        self._stations = stations
        # Not Service.name: siblings of other kinds may bear the same name.
        self._section = name
        self._context = context
        self._station: Station | None = None
        self.work = Announcing(name, context, run or ip_batch(context.reactor), asking)

    # -- the site's life

    def prepare(self, settings: AnycastSettings) -> IPrepared:
        """See `IBalancer`."""
        title = f"[anycast {self._section}]"
        self._look_for_balancers(settings, title)
        found = passwords(self._section, settings)
        external = settings.exabgp == "external"
        station = self._stations(self._context, self._section if external else "")
        station.open()
        return Prepared(self, settings, found, station)

    def _look_for_balancers(self, settings: AnycastSettings, title: str) -> None:
        for each in settings.conditions:
            if each.kind != "pool":
                try:
                    self._context.balancer(each.key)
                except KeyError:
                    msg = f"{title} when: expected a balancer or a pool, got {each.key!r}"
                    raise PrepareError(msg) from None

    def take(self, prepared: Prepared) -> None:
        """Put prepared settings in force; for `Prepared.commit` alone."""
        before, self._station = self._station, prepared.station
        if before is None:
            self._context.subscribe(self.work.happened)
        elif before is not prepared.station:
            before.leave(self.work)
        self.work.take(prepared.settings, prepared.passwords, prepared.station)

    def startService(self) -> None:
        """Begin to follow health."""
        super().startService()
        if self.work.settings.exabgp == "external":
            self._instruct()
        self.work.start()

    def _instruct(self) -> None:
        """Say what an operator's own ExaBGP needs."""
        station = self.work.station
        log.info(
            "anycast {name}: ExaBGP needs this in its configuration, and exabgp.api.ack=true "
            "in its environment:\n{text}",
            name=self._section, text=station.exabgp.configuration(),
        )
        if self.work.settings.bfd is not None:
            log.info(
                "anycast {name}: BIRD needs this in its configuration, for BFD:\n{text}",
                name=self._section, text=station.detection.configuration(),
            )

    def withdraw(self) -> Deferred[None]:
        """See `IWithdraws`."""
        return self.work.withdraw()

    def drain(self) -> Deferred[None]:
        """See `IBalancer`: what is to drain here is the routers' traffic."""
        return self.work.withdraw()

    def stopService(self) -> Deferred[None]:
        """Withdraw, if that was not done, and remove the addresses."""
        super().stopService()
        self._context.unsubscribe(self.work.happened)
        return succeed(None) if self._station is None else self.work.stop()

    # -- what it tells

    def status(self) -> Mapping[str, Any]:
        """See `IBalancer`."""
        return telling.status(self.work, float(self._context.reactor.seconds()))

    def metrics(self) -> Sequence[Metric]:
        """See `IBalancer`."""
        return telling.metrics(self.work, {"balancer": self._section})
