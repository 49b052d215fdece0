"""
`[anycast NAME]` at work: follows what `when` names, and has its prefixes announced meanwhile.

Knows the site's seams. When is `announcer`'s business, how is `station`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from balancer.config.values import Endpoint, Network
from balancer.interfaces import (
    IContext,
    IPrepared,
    IWithdraws,
    Metric,
    PrepareError,
    Published,
)
from balancer.route.anycast import telling
from balancer.route.anycast.announcer import DOWN, KEPT, PLACING, UP, Announcer, Timing
from balancer.route.anycast.asking import Asking
from balancer.route.anycast.frames import Key
from balancer.route.anycast.lastsite import LastSite, Said, understand
from balancer.route.anycast.lines import Route
from balancer.route.anycast.secrets import passwords
from balancer.route.anycast.settings import AnycastSettings
from balancer.route.anycast.station import Station, station_of
from balancer.route.anycast.vips import Run, Vips, ip_batch
from balancer.route.anycast.when import why_not

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at health, besides those that events cause."""

ACKNOWLEDGED_WITHIN: Final = 5.0
"""Seconds that a withdrawal is waited for when the balancer leaves; it takes milliseconds."""

STOP_WITHIN: Final = 1.0
"""Seconds for each step of the last one: the withdrawal, and the removal of addresses."""

SETTLED_AFTER: Final = 1.0
"""Seconds from that until others drain: ExaBGP has queued the withdrawal, and routers take their
time to obey and to pass it on."""

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

    settings: AnycastSettings

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
        self._reactor: Any = context.reactor
        self._run = run or ip_batch(context.reactor)
        self._announcer = Announcer(Timing(0.0, 0.0, None))
        self._others = LastSite()
        self._asking = asking(context.reactor, f"/api/status/anycast:{name}", self._heard)
        self._station: Station | None = None
        self._vips: Vips | None = None
        self.passwords: Mapping[str, bytes] = {}
        self._calls: dict[str, IDelayedCall] = {}
        self._event = 0
        self._withdrawing: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []
        self._since = 0.0
        self._was_up = self._settling = False

    # -- the site's life

    def prepare(self, settings: AnycastSettings) -> IPrepared:
        """See `IBalancer`."""
        title = f"[anycast {self._section}]"
        for each in settings.conditions:
            if each.kind != "pool":
                try:
                    self._context.balancer(each.key)
                except KeyError:
                    msg = f"{title} when: expected a balancer or a pool, got {each.key!r}"
                    raise PrepareError(msg) from None
        found = passwords(self._section, settings)
        external = settings.exabgp == "external"
        station = self._stations(self._context, self._section if external else "")
        station.open()
        return Prepared(self, settings, found, station)

    def take(self, prepared: Prepared) -> None:
        """Put prepared settings in force; for `Prepared.commit` alone."""
        before = self._station
        if before is None:
            self._context.subscribe(self._happened)
        elif before is not prepared.station:
            before.leave(self)
        old = getattr(self, "settings", None)
        self.settings, self.passwords = prepared.settings, prepared.passwords
        self._station = prepared.station
        settings = self.settings
        self._announcer.timing = Timing(
            settings.hold_down, settings.drain_wait, settings.damping
        )
        if old is None or old.vip_device != settings.vip_device:
            self._forget_vips()
            if settings.vip_device is not None:
                self._vips = Vips(self._reactor, settings.vip_device, self._run, self._placed)
        self._station.join(self)
        self._others.follow(settings.sites)
        if self.running:
            self._asking.want(settings.sites)
            self._station.start()
            self._look()
            self._apply()

    def startService(self) -> None:
        """Begin to follow health."""
        super().startService()
        assert self._station is not None
        self._station.start()
        self._asking.want(self.settings.sites)
        if self.settings.exabgp == "external":
            log.info(
                "anycast {name}: ExaBGP needs this in its configuration, and exabgp.api.ack=true "
                "in its environment:\n{text}",
                name=self._section, text=self._station.configuration(),
            )
            if self.settings.bfd is not None:
                log.info(
                    "anycast {name}: BIRD needs this in its configuration, for BFD:\n{text}",
                    name=self._section, text=self._station.bfd_configuration(),
                )
        self._look()

    def withdraw(self) -> Deferred[None]:
        """See `IWithdraws`."""
        if self._withdrawing is None:
            self._withdrawing = Deferred()
            if not self.running:
                self._withdrawing.callback(None)
                return succeed(None)
            self._was_up = self._announcer.announced
            seconds = self.settings.drain_wait if self._was_up else 0.0
            self._later("withdrawn", seconds + ACKNOWLEDGED_WITHIN, self._unacknowledged)
            self._moved(self._announcer.drain(self._now()))
            self._settle()
        if self._withdrawing.called:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def drain(self) -> Deferred[None]:
        """See `IBalancer`: what is to drain here is the routers' traffic."""
        return self.withdraw()

    def stopService(self) -> Deferred[None]:
        """Withdraw, if that was not done, and remove the addresses."""
        super().stopService()
        self._context.unsubscribe(self._happened)
        self._asking.want(())
        self._announcer.leave(self._now())
        station = self._station
        if station is None:
            return succeed(None)
        if self._withdrawing is None or not self._withdrawing.called:
            station.renew()
        for call in self._calls.values():
            if call.active():
                call.cancel()
        keys = self._keys()
        gone = self._within(STOP_WITHIN, lambda: station.clear_of(keys))
        gone.addCallback(lambda _: self._forget_vips())
        return gone.addCallback(lambda _: station.leave(self))

    def _within(self, seconds: float, true: Callable[[], bool]) -> Deferred[None]:
        """Fires when that is true, or not to be waited for any longer."""
        done: Deferred[None] = Deferred()
        end = self._now() + seconds

        def look() -> None:
            if true() or self._now() >= end:
                done.callback(None)
            else:
                self._reactor.callLater(0.01, look)

        look()
        return done

    def _forget_vips(self) -> Deferred[None]:
        vips, self._vips = self._vips, None
        if vips is None:
            return succeed(None)
        vips.changed = lambda why: None
        vips.want(())
        return self._within(STOP_WITHIN, lambda: vips.idle)

    # -- health

    def _now(self) -> float:
        return float(self._reactor.seconds())

    def _later(self, what: str, seconds: float, call: Any) -> None:
        before = self._calls.pop(what, None)
        if before is not None and before.active():
            before.cancel()
        self._calls[what] = self._reactor.callLater(seconds, call)

    def _happened(self, published: Published) -> None:
        # Thousands of servers may change in one turn: they are looked at once, after it.
        call = self._calls.get("look")
        is_first = call is None or not call.active() or call.getTime() > self._now()
        if is_first or published.pool in self._pools():
            self._event = published.id
        if self.running and is_first:
            self._later("look", 0.0, self._look)

    def _pools(self) -> set[str]:
        """The pools that `when` names: their events are the reason, if others come beside."""
        return {each.name for each in self.settings.conditions if each.kind == "pool"}

    def _look(self) -> None:
        self._later("look", LOOK_EVERY, self._look)
        now, before = self._now(), self._announcer.announced
        moved = self._judge(now)
        self._moved(moved)
        gave_way = moved and before and self._announcer.state == DOWN
        if gave_way and self.settings.last_site == "keep":
            # Routers first: whether that was wrong is known a round trip later.
            self._others.withdrew(now)
            self._asking.ask_now()

    def _judge(self, now: float) -> bool:
        why = why_not(self.settings.conditions, self._usable, self._context.healthy)
        reason = self._why_kept(now)
        if why and reason and self._announcer.announced:
            why += f", and {reason}"
        return self._announcer.judge(why, now, bool(reason))

    def _why_kept(self, now: float) -> str:
        """Why a prefix that is announced stays so; '': another site is up, or it is not to be
        kept."""
        if self.settings.last_site != "keep":
            return ""
        if self._others.alone:
            return "no other site is up"
        doubted = self._others.doubts(now)
        return "the others were up and were not, again and again" if doubted else ""

    def _heard(self, site: Endpoint, asked: float, answer: bytes, fault: str) -> None:
        """Another site was asked."""
        said = Said(asked, fault=fault)
        if not fault:
            said = understand(answer, self.settings.prefixes, asked)
        self._others.heard(site, said)
        if self._others.regrets(self._now()):
            self._moved(self._announcer.regret(self._now()))
        if self._announcer.state == KEPT:
            self._look()

    def _usable(self, pool: str) -> int:
        servers = self._context.pool(pool).servers
        return sum(1 for each in servers if each.usable and each.verdict == "up")

    def _due(self) -> None:
        self._moved(self._announcer.tick(self._now()))

    def lapsed(self, now: float) -> None:
        """See `station.Member`."""
        self._moved(self._announcer.lapsed(now), told=False)

    # -- what comes of it

    def _moved(self, moved: bool, told: bool = True) -> None:
        announcer = self._announcer
        if announcer.until is not None:
            self._later("due", max(0.0, announcer.until - self._now()), self._due)
        if not moved:
            return
        self._since = self._now()
        why = f": {announcer.reason}" if announcer.reason else ""
        say = log.warn if announcer.state == KEPT else log.info
        say(
            "anycast {name} is {state}{why} (after event {event})",
            name=self._section, state=announcer.state, event=self._event, why=why,
        )
        # It is the operator who has it withdrawn for good.
        cause = self._event if self._withdrawing is None else 0
        self._context.tell(f"anycast:{self._section}", f"is {announcer.state}{why}", cause)
        self._apply(told)

    def _apply(self, told: bool = True) -> None:
        """Have addresses and routes as the announcer wants them: addresses first, and last."""
        if told and self._station is not None:
            self._station.renew()
        self._settle()

    def _place(self) -> None:
        """Have addresses in place for what is to be announced, and for what still may be."""
        vips, station = self._vips, self._station
        assert station is not None
        if vips is not None:
            wanted = set(self.settings.prefixes) if self._announcer.placed else set()
            wanted.update(
                each
                for each in vips.wanted
                # Connections in progress need them until all of the site has drained.
                if self._withdrawing is not None or station.may_have(str(each))
            )
            vips.want(wanted)
        if self._announcer.state == PLACING and self._in_place(self.settings.prefixes):
            self._moved(self._announcer.placing("", self._now()))

    def _in_place(self, prefixes: Iterable[Network]) -> bool:
        return self._vips is None or self._vips.there.issuperset(prefixes)

    def _placed(self, why: str) -> None:
        """Addresses have come, or cannot."""
        station = self._station
        if self._announcer.placed:
            self._moved(self._announcer.placing(why, self._now()))
        if station is not None:
            station.renew()

    def routes(self) -> Mapping[Key, Route]:
        """See `station.Member`."""
        if not self._announcer.announced:
            return {}
        there = None if self._vips is None else {str(each) for each in self._vips.there}
        routes = self.settings.routes(self._announcer.state)
        return {key: each for key, each in routes.items() if there is None or key[1] in there}

    def _keys(self) -> Mapping[Key, Route]:
        return self.settings.routes(UP)

    def reported(self) -> None:
        """See `station.Member`."""
        self._settle()

    def _settle(self) -> None:
        """What waits for a withdrawal goes on when it is acknowledged."""
        station = self._station
        assert station is not None
        self._place()
        if self._withdrawing is None or self._settling or self._announcer.announced:
            return
        if station.clear_of(self._keys()):
            self._settling = True
            self._later("withdrawn", SETTLED_AFTER if self._was_up else 0.0, self._withdrawn)

    def _withdrawn(self) -> None:
        if self._withdrawing is None or self._withdrawing.called:
            return
        self._withdrawing.callback(None)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def _unacknowledged(self) -> None:
        if self._withdrawing is not None and not self._withdrawing.called:
            log.error("anycast {name}: no helper says that it is withdrawn", name=self._section)
            self._announcer.leave(self._now())
            self._withdrawn()

    # -- what it tells

    def status(self) -> Mapping[str, Any]:
        """See `IBalancer`."""
        announcer, station = self._announcer, self._station
        assert station is not None
        now = self._now()
        return {
            **telling.state(announcer, now),
            "for": round(now - self._since, 1),
            "event": self._event,
            **telling.asked_for(self.settings),
            "sites": telling.sites(self._others),
            "vip_fault": "" if self._vips is None else self._vips.fault,
            "exabgp": station.status(),
            "bird": station.bird_status(),
            "neighbors": telling.neighbors(self.settings, station),
        }

    def metrics(self) -> Sequence[Metric]:
        """See `IBalancer`."""
        assert self._station is not None
        labels = {"balancer": self._section}
        return [
            *telling.announcing(labels, self._announcer),
            *telling.others(labels, self._others),
            *telling.exabgp(labels, self.settings, self._station),
        ]
