"""
One section at work: follows what `when` names, and has its addresses placed and its prefixes
announced by that, until it is withdrawn.

Knows what happens in the site, and whom to tell what. When is `announcer`'s business, why is
`judge`'s, how is `station`'s, and the order of leaving is `withdrawal`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from balancer.config.values import Endpoint, Network
from balancer.interfaces import IContext, Published
from balancer.route.anycast.addresses import Addresses
from balancer.route.anycast.announcer import KEPT, PLACING, UP, Announcer, Timing
from balancer.route.anycast.asking import Asking
from balancer.route.anycast.frames import Key
from balancer.route.anycast.judge import Judge
from balancer.route.anycast.lines import Route
from balancer.route.anycast.settings import AnycastSettings
from balancer.route.anycast.station import Station
from balancer.route.anycast.timers import Timers, within
from balancer.route.anycast.vips import Run
from balancer.route.anycast.withdrawal import UNHEARD, Withdrawal

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at health, besides those that events cause."""

CLEAR_WITHIN: Final = 1.0
"""Seconds for the last withdrawal, if there was none before."""

log = Logger()


class Announcing:
    """One section's. `run` runs `ip`, `asking` asks the other sites."""

    settings: AnycastSettings
    station: Station

    def __init__(
        self, name: str, context: IContext, run: Run, asking: Callable[..., Asking]
    ) -> None:
        self._name, self._context = name, context
        self._reactor: Any = context.reactor
        self._timers = Timers(context.reactor)
        self._running = False
        self.passwords: Mapping[str, bytes] = {}
        self.announcer = Announcer(Timing(0.0, 0.0, None))
        self.judge = Judge(self.announcer)
        self.addresses = Addresses(context.reactor, run, self._placed)
        self._asking = asking(context.reactor, f"/api/status/anycast:{name}", self._heard)
        self._withdrawal = Withdrawal()
        self._waiting: list[Deferred[None]] = []
        """Who is told when it is withdrawn."""
        self.since = 0.0
        """When its state became what it is."""
        self.event = 0
        """The event that led to it."""

    # -- life

    def take(
        self, settings: AnycastSettings, passwords: Mapping[str, bytes], station: Station
    ) -> None:
        """Work by these from now on."""
        self.settings, self.passwords, self.station = settings, passwords, station
        self.announcer.timing = Timing(
            settings.hold_down, settings.drain_wait, settings.damping
        )
        self.addresses.use(settings.vip_device)
        station.join(self)
        self.judge.follow(settings)
        if self._running:
            self.start()
            self._apply()

    def start(self) -> None:
        """Begin to follow health, or go on by other settings."""
        self._running = True
        self._asking.want(self.settings.sites)
        self.station.start()
        self._look()

    def withdraw(self) -> Deferred[None]:
        """Leave for good; fires when others may drain."""
        if not self._running:
            self._withdrawal.skip()
        elif self._withdrawal.ask(
            self._now(), self.announcer.announced, self.settings.drain_wait
        ):
            self._await_withdrawal()
            self._moved(self.announcer.drain(self._now()))
            self._settle()
        if self._withdrawal.over:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def stop(self) -> Deferred[None]:
        """Withdraw, if that was not done, and remove the addresses; fires when that is done."""
        self._running = False
        self._asking.want(())
        self.announcer.leave(self._now())
        if not self._withdrawal.over:
            self.station.renew()
        self._timers.stop()
        gone = within(self._reactor, CLEAR_WITHIN, self._is_clear)
        gone.addCallback(lambda _: self.addresses.leave())
        return gone.addCallback(lambda _: self.station.leave(self))

    def _now(self) -> float:
        return float(self._reactor.seconds())

    # -- health

    def happened(self, published: Published) -> None:
        """Something happened in a pool."""
        # Thousands of servers may change in one turn: they are looked at once, after it.
        is_first = not self._timers.is_due("look")
        if is_first or published.pool in self._pools():
            self.event = published.id
        if self._running and is_first:
            self._timers.later("look", 0.0, self._look)

    def _pools(self) -> set[str]:
        """The pools that `when` names: their events are the reason, if others come beside."""
        return {each.name for each in self.settings.conditions if each.kind == "pool"}

    def _look(self) -> None:
        self._timers.later("look", LOOK_EVERY, self._look)
        judged = self.judge.look(self._now(), self._usable, self._context.healthy)
        self._moved(judged.moved)
        if judged.gave_way:
            # Routers first: whether that was wrong is known a round trip later.
            self._asking.ask_now()

    def _usable(self, pool: str) -> int:
        servers = self._context.pool(pool).servers
        return sum(1 for each in servers if each.usable and each.verdict == "up")

    def _heard(self, site: Endpoint, asked: float, answer: bytes, fault: str) -> None:
        """Another site was asked."""
        self._moved(self.judge.heard(self._now(), site, asked, answer, fault))
        if self.announcer.state == KEPT:
            self._look()

    def _due(self) -> None:
        self._moved(self.announcer.tick(self._now()))

    # -- what comes of it

    def _moved(self, moved: bool, told: bool = True) -> None:
        announcer = self.announcer
        if announcer.until is not None:
            self._timers.later("due", max(0.0, announcer.until - self._now()), self._due)
        if not moved:
            return
        self.since = self._now()
        why = f": {announcer.reason}" if announcer.reason else ""
        say = log.warn if announcer.state == KEPT else log.info
        say(
            "anycast {name} is {state}{why} (after event {event})",
            name=self._name, state=announcer.state, event=self.event, why=why,
        )
        # It is the operator who has it withdrawn for good.
        cause = 0 if self._withdrawal.asked else self.event
        self._context.tell(f"anycast:{self._name}", f"is {announcer.state}{why}", cause)
        self._apply(told)

    def _apply(self, told: bool = True) -> None:
        """Have addresses and routes as the announcer wants them: addresses first, and last."""
        if told:
            self.station.renew()
        self._settle()

    def _settle(self) -> None:
        """What waits for the helper's word goes on when it is there."""
        self._place()
        if self.announcer.announced or not self._withdrawal.asked or not self._is_clear():
            return
        if self._withdrawal.clear(self._now()):
            self._await_withdrawal()

    def _place(self) -> None:
        """Have addresses in place for what is to be announced, and for what still may be."""
        prefixes = self.settings.prefixes
        self.addresses.want(prefixes if self.announcer.placed else (), self._still_needed)
        if self.announcer.state == PLACING and self.addresses.have(prefixes):
            self._moved(self.announcer.placing("", self._now()))

    def _still_needed(self, prefix: Network) -> bool:
        # Connections in progress need them until all of the site has drained.
        return self._withdrawal.asked or self.station.wishes.may_have(str(prefix))

    def _placed(self, why: str) -> None:
        """Addresses have come, or cannot."""
        if self.announcer.placed:
            self._moved(self.announcer.placing(why, self._now()))
        self.station.renew()

    # -- as a member of its station

    def routes(self) -> Mapping[Key, Route]:
        """See `Member`."""
        if not self.announcer.announced:
            return {}
        return self.addresses.placed(self.settings.routes(self.announcer.state))

    def reported(self) -> None:
        """See `Member`."""
        self._settle()

    def lapsed(self, now: float) -> None:
        """See `Member`."""
        self._moved(self.announcer.lapsed(now), told=False)

    # -- leaving

    def _is_clear(self) -> bool:
        return self.station.wishes.clear_of(self.settings.routes(UP))

    def _await_withdrawal(self) -> None:
        until = self._withdrawal.until
        if until is not None:
            self._timers.later("withdrawn", max(0.0, until - self._now()), self._withdrawal_due)

    def _withdrawal_due(self) -> None:
        if not self._withdrawal.tick(self._now()):
            self._await_withdrawal()
            return
        if self._withdrawal.state == UNHEARD:
            log.error("anycast {name}: no helper says that it is withdrawn", name=self._name)
            self.announcer.leave(self._now())
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)
