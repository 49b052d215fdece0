"""
`[ecmp NAME]` at work: keeps a route over those servers of a pool that are up.

Knows the site's seams, and when the route is to be looked at: after which events, and after what
the kernel tells. How it is made what it should be is `upkeep`'s business. It stays when the process
ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from balancer.interfaces import (
    IContext,
    IExplains,
    IPrepared,
    IShowsCommands,
    Metric,
    NotDone,
    PlannedServer,
    Published,
)
from balancer.kernel import service as kernel
from balancer.kernel.netlink import Message
from balancer.pool.pool import Pool
from balancer.route.planning import commands, gone, planned
from balancer.route.settings import EcmpSettings, first_id
from balancer.route.sockets import Open, Sockets, opened, try_out
from balancer.route.telling import explanation, metrics, status
from balancer.route.upkeep import Upkeep
from balancer.route.watching import Watch, is_about_links

LOOK: Final = 0.1
"""Seconds between two looks for changes of weights, which are no events."""

SETTLE: Final = 0.05
"""Seconds in which what changes on links is gathered: a link that goes is told in many messages."""

OVERRUN_WAIT: Final = 1.0
"""Seconds after notifications were lost until everything is looked at anew: it is a flood."""


@implementer(IPrepared)
@frozen
class Prepared:
    """Settings with their pool, and the sockets, opened for the first ones."""

    balancer: Ecmp
    settings: EcmpSettings
    pool: Pool
    sockets: Sockets

    def commit(self) -> None:
        """Put them in force."""
        self.balancer.take(self)

    def abandon(self) -> None:
        """Close what was opened for nothing."""
        self.balancer.give_up(self)


@implementer(IExplains, IShowsCommands)
class Ecmp(Service):
    """One section. `open` opens a netlink socket."""

    def __init__(
        self, name: str, context: IContext, open: Open = kernel.opened
    ) -> None:
        # Not Service.name: siblings of other kinds may bear the same name.
        self._section = name
        self._context = context
        self._open = open
        self._upkeep: Upkeep | None = None
        self._sockets: Sockets | None = None
        self._watch: Watch | None = None
        self._look: IDelayedCall | None = None
        self._call: IDelayedCall | None = None
        self._event = 0

    # -- the site's life

    def prepare(self, settings: EcmpSettings) -> IPrepared:
        """See `IBalancer`. Nothing is changed in the kernel; whether we may is found out."""
        sockets = self._sockets
        if sockets is None:
            heard = self._heard, self._overrun
            sockets = opened(self._section, self._context.reactor, self._open, *heard)
        else:
            try_out(self._section, sockets)
        return Prepared(self, settings, self._context.pool(settings.pool), sockets)

    def give_up(self, prepared: Prepared) -> None:
        """For `Prepared.abandon` alone."""
        if prepared.sockets is not self._sockets:
            prepared.sockets.close()

    def take(self, prepared: Prepared) -> None:
        """Put prepared settings in force; for `Prepared.commit` alone."""
        settings, pool = prepared.settings, prepared.pool
        if self._upkeep is None:
            self._context.subscribe(self._happened)
            self._sockets = prepared.sockets
            self._upkeep = Upkeep(self._section, self._sockets.installed, settings, pool)
        else:
            self._upkeep.take(settings, pool)
        self._watch = Watch(settings.prefix, settings.table, first_id(self._section))
        if self.running:
            self._settle()

    def startService(self) -> None:
        """The route is there when this returns, if the kernel takes it."""
        super().startService()
        assert self._sockets is not None
        self._sockets.monitor.start()
        self._settle()
        self._look = self._context.reactor.callLater(LOOK, self._look_for_weights)

    def drain(self) -> Deferred[None]:
        """Nothing is in progress here: packets go their way without us."""
        return succeed(None)

    def stopService(self) -> Deferred[None]:
        """Leave the route as it is, for the next process. If the site has no such section any more,
        remove it."""
        super().stopService()
        for call in (self._look, self._call):
            if call is not None and call.active():
                call.cancel()
        self._look = self._call = None
        self._context.unsubscribe(self._happened)
        if self._upkeep is not None and not self._belongs():
            self._upkeep.remove()
        if self._sockets is not None:
            self._sockets.close()
        return succeed(None)

    def _belongs(self) -> bool:
        try:
            return self._context.balancer(f"ecmp:{self._section}") is self
        except KeyError:
            return False

    # -- following the pool

    def _happened(self, published: Published) -> None:
        if self._upkeep is not None and published.pool == self._upkeep.settings.pool:
            self._event = published.id
            self._again(0)

    def _look_for_weights(self) -> None:
        assert self._upkeep is not None
        self._look = self._context.reactor.callLater(LOOK, self._look_for_weights)
        if self._upkeep.is_stale:
            self._settle()

    # -- following the kernel

    def _heard(self, messages: Sequence[Message]) -> None:
        """Something changed in the kernel. Our own changes are told as well."""
        assert self._upkeep is not None and self._watch is not None
        own = self._upkeep.installed.netlink.port
        for message in messages:
            if message.port == own:
                continue
            if is_about_links(message):
                self._upkeep.doubt()
                self._again(SETTLE)
            elif self._watch.concerns(message):
                self._upkeep.doubt(message.port)
                self._again(0)

    def _overrun(self) -> None:
        assert self._upkeep is not None
        self._upkeep.figures.overruns_total += 1
        self._upkeep.doubt()
        self._again(OVERRUN_WAIT)

    # -- making it so

    def _again(self, delay: float) -> None:
        """Look again after so many seconds, or sooner if that was to be."""
        if not self.running:
            return
        reactor, call = self._context.reactor, self._call
        if call is not None and call.active():
            if call.getTime() <= reactor.seconds() + delay:
                return
            call.cancel()
        self._call = reactor.callLater(delay, self._settle)

    def _settle(self) -> None:
        """Make the kernel's route what it should be, and tell of it. What fails is tried again."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
        assert self._upkeep is not None
        attempt = self._upkeep.attempt(self._context.reactor.seconds())
        if attempt.did:
            self._context.tell(f"ecmp:{self._section}", attempt.did, self._event)
        if attempt.again is not None:
            self._again(attempt.again)

    # -- what it tells

    def explain(self, question: Mapping[str, str]) -> Mapping[str, Any]:
        """See `IExplains`: which servers are next hops, with which weight, and why others are not.
        Which of them a packet takes is the kernel's to choose, by its hash."""
        upkeep = self._upkeep
        if upkeep is None:
            raise NotDone(f"[ecmp {self._section}] has no settings yet; ask again later")
        return explanation(upkeep.settings, upkeep.pool, upkeep.seen())

    def status(self) -> Mapping[str, Any]:
        """See `IBalancer`."""
        upkeep = self._upkeep
        if upkeep is None:
            return {"kind": "ecmp"}
        return status(upkeep.settings, upkeep.seen(), upkeep.figures)

    def metrics(self) -> Sequence[Metric]:
        """See `IBalancer`."""
        upkeep = self._upkeep
        return [] if upkeep is None else metrics(self._section, upkeep.seen(), upkeep.figures)

    def commands(
        self, settings: EcmpSettings | None, servers: Sequence[PlannedServer]
    ) -> Sequence[str]:
        """See `IShowsCommands`."""
        upkeep = self._upkeep
        before = None if upkeep is None else upkeep.settings
        wanted = settings or before
        if wanted is None:
            return ()
        former = (before or wanted).protocol
        if settings is None:
            return commands(self._section, self._open, gone(wanted), (), former)
        lines = planned(servers, () if upkeep is None else upkeep.pool.servers)
        return commands(self._section, self._open, wanted, lines, former)
