"""
`[ecmp NAME]` at work: keeps a route over those servers of a pool that are up.

Knows the site's seams, and when to look at the kernel. What should be there is `standing`'s and
`ecmp`'s to say, how it gets there `installed`'s. The route stays when the process ends.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from socket import socket
from typing import Any, Final

from attrs import evolve, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from balancer.interfaces import (
    IContext,
    IExplains,
    IPrepared,
    IShowsCommands,
    Metric,
    NoPrivilege,
    NotDone,
    PlannedServer,
    PrepareError,
    Published,
)
from balancer.kernel import service as kernel
from balancer.kernel.netlink import Message
from balancer.kernel.service import Monitor, Netlink, Refused
from balancer.pool.pool import Pool
from balancer.route.contest import Contest, backoff
from balancer.route.ecmp import Conflict, Desired, Target, steps
from balancer.route.installed import Installed, Outcome
from balancer.route.notices import Notices
from balancer.route.settings import EcmpSettings, first_id
from balancer.route.standing import stand
from balancer.route.telling import Figures, Seen, explanation, metrics, status
from balancer.route.wanting import dry_run, nothing, planned, used, wish
from balancer.route.watching import Watch, is_about_links

LOOK: Final = 0.1
"""Seconds between two looks for changes of weights, which are no events."""

SETTLE: Final = 0.05
"""Seconds in which what changes on links is gathered: a link that goes is told in many messages."""

OVERRUN_WAIT: Final = 1.0
"""Seconds after notifications were lost until everything is looked at anew: it is a flood."""

GROUPS: Final = (
    kernel.NEXT_HOPS,
    kernel.IPV4_ROUTES,
    kernel.IPV6_ROUTES,
    kernel.LINKS,
    kernel.IPV4_ADDRESSES,
    kernel.IPV6_ADDRESSES,
)
"""The kernel tells of a link that goes down, and not of the next hops that go with it."""

log = Logger()


@implementer(IPrepared)
@frozen
class Prepared:
    """Settings with their pool, and the sockets, opened for the first ones."""

    balancer: Ecmp
    settings: EcmpSettings
    pool: Pool
    installed: Installed
    monitor: Monitor

    def commit(self) -> None:
        """Put them in force."""
        self.balancer.take(self)

    def abandon(self) -> None:
        """Close what was opened for nothing."""
        self.balancer.give_up(self)


@implementer(IExplains, IShowsCommands)
class Ecmp(Service):
    """One section. `opened` opens a netlink socket."""

    def __init__(
        self, name: str, context: IContext, opened: Callable[[], socket] = kernel.opened
    ) -> None:
        # Not Service.name: siblings of other kinds may bear the same name.
        self._section = name
        self._context = context
        self._opened = opened
        self._settings: EcmpSettings | None = None
        self._pool: Pool | None = None
        self._installed: Installed | None = None
        self._monitor: Monitor | None = None
        self._protocols: set[int] = set()
        self._revision = -1
        self._look: IDelayedCall | None = None
        self._call: IDelayedCall | None = None
        self._suspect: int | None = None
        self._contest = Contest()
        self._attempts = 0
        self._refused: Mapping[str, str] = {}
        self._figures = Figures()
        self._notices = Notices(name, log)
        self._watch: Watch | None = None
        self._used: tuple[Target, ...] = ()
        self._event = 0
        self._told = ""

    # -- the site's life

    def prepare(self, settings: EcmpSettings) -> IPrepared:
        """See `IBalancer`. Nothing is changed in the kernel; whether we may is found out."""
        installed, monitor = self._installed, self._monitor
        fresh: list[Callable[[], None]] = []
        try:
            if installed is None or monitor is None:
                netlink = Netlink(self._opened())
                fresh.append(netlink.close)
                installed = Installed(netlink, first_id(self._section))
                heard = (self._heard, self._overrun)
                monitor = Monitor(self._context.reactor, GROUPS, *heard, self._opened())
                fresh.append(monitor.close)
            installed.try_out()
        except Refused as error:
            for close in fresh:
                close()
            raise _cannot(self._section, error) from error
        pool = self._context.pool(settings.pool)
        return Prepared(self, settings, pool, installed, monitor)

    def give_up(self, prepared: Prepared) -> None:
        """For `Prepared.abandon` alone."""
        if prepared.installed is not self._installed:
            prepared.monitor.close()
            prepared.installed.netlink.close()

    def take(self, prepared: Prepared) -> None:
        """Put prepared settings in force; for `Prepared.commit` alone."""
        if self._settings is None:
            self._context.subscribe(self._happened)
        self._settings, self._pool = prepared.settings, prepared.pool
        self._installed, self._monitor = prepared.installed, prepared.monitor
        self._protocols.add(prepared.settings.protocol)
        settings = prepared.settings
        self._watch = Watch(settings.prefix, settings.table, first_id(self._section))
        prepared.installed.forget()
        if self.running:
            self._settle()

    def startService(self) -> None:
        """The route is there when this returns, if the kernel takes it."""
        super().startService()
        assert self._monitor is not None
        self._monitor.start()
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
        if self._monitor is not None:
            self._monitor.close()
        if self._installed is not None:
            if not self._belongs():
                self._withdraw(self._installed)
            self._installed.netlink.close()
        return succeed(None)

    def _belongs(self) -> bool:
        try:
            return self._context.balancer(f"ecmp:{self._section}") is self
        except KeyError:
            return False

    def _withdraw(self, installed: Installed) -> None:
        assert self._settings is not None
        try:
            self._read(installed, self._settings)
            installed.follow(nothing(self._settings))
        except (Refused, Conflict) as error:
            log.error("[ecmp {name}] cannot be removed: {error}", name=self._section, error=error)

    # -- following the pool

    def _happened(self, published: Published) -> None:
        if self._settings is not None and published.pool == self._settings.pool:
            self._event = published.id
            self._again(0)

    def _look_for_weights(self) -> None:
        assert self._pool is not None
        self._look = self._context.reactor.callLater(LOOK, self._look_for_weights)
        if self._pool.revision != self._revision:
            self._settle()

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

    # -- following the kernel

    def _heard(self, messages: Sequence[Message]) -> None:
        """Something changed in the kernel. Our own changes are told as well."""
        assert self._installed is not None and self._watch is not None
        own = self._installed.netlink.port
        for message in messages:
            if message.port == own:
                continue
            if is_about_links(message):
                self._installed.forget()
                self._again(SETTLE)
            elif self._watch.concerns(message):
                self._installed.forget()
                self._suspect = message.port
                self._again(0)

    def _overrun(self) -> None:
        assert self._installed is not None
        self._figures.overruns_total += 1
        self._installed.forget()
        self._again(OVERRUN_WAIT)

    # -- making it so

    def _settle(self) -> None:
        """Make the kernel's route what it should be. What fails is tried again later."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
        assert self._installed is not None
        try:
            outcome = self._follow(self._installed)
        except (Refused, Conflict) as error:
            self._installed.forget()
            self._figures.errors_total += 1
            self._figures.error = str(error)
            self._notices.failed(str(error))
            self._retry()
            return
        if outcome is None:
            return
        self._refused = outcome.refused
        self._figures.changes_total += len(outcome.made)
        self._figures.error = ""
        self._notices.settled(outcome)
        self._tell(self._installed)
        if self._refused:
            self._retry()
        else:
            self._attempts = 0

    def _tell(self, installed: Installed) -> None:
        """Tell the site where the prefix goes now, if that has changed. Weights are not worth it:
        slow start changes them ten times a second."""
        settings = self._settings
        if settings is None or installed.present is None:
            return
        hops = sorted(each.gateway for each in used(settings, installed.present))
        did = f"sends {settings.prefix} to {', '.join(hops)}"
        if not hops:
            did = f"has no route for {settings.prefix}"
        before, self._told = self._told, did
        if did != before and (hops or before):
            self._context.tell(f"ecmp:{self._section}", did, self._event)

    def _retry(self) -> None:
        self._again(backoff(self._attempts))
        self._attempts += 1

    def _follow(self, installed: Installed) -> Outcome | None:
        """One attempt; None: it has to wait, since others take it away again and again."""
        settings, pool = self._settings, self._pool
        assert settings is not None and pool is not None
        self._revision = pool.revision
        if installed.present is None:
            self._read(installed, settings)
        found = wish(installed, settings, pool.servers, pool.panicking)
        desired = found.desired
        if self._has_to_wait(installed, desired):
            return None
        outcome = installed.follow(desired)
        if settings.last == "withdraw" and outcome.took_none(desired):
            withdrawn = installed.follow(nothing(settings))
            outcome = Outcome((*outcome.made, *withdrawn.made), outcome.refused)
        self._protocols = {settings.protocol}
        return Outcome(outcome.made, {**found.unreachable, **outcome.refused})

    def _read(self, installed: Installed, settings: EcmpSettings) -> None:
        installed.read((str(settings.prefix), settings.table), self._protocols)

    def _has_to_wait(self, installed: Installed, desired: Desired) -> bool:
        """Whether the kernel lacks what somebody has just removed, and it is too soon to put it
        there again."""
        suspect, self._suspect = self._suspect, None
        assert installed.present is not None
        if suspect is None or not steps(desired, installed.present):
            return False
        installed.present.reclaim = True
        wait = self._contest.lost(self._context.reactor.seconds())
        self._notices.lost(suspect, wait)
        if wait:
            self._again(wait)
        return wait > 0

    # -- what it tells

    def explain(self, question: Mapping[str, str]) -> Mapping[str, Any]:
        """See `IExplains`: which servers are next hops, with which weight, and why others are not.
        Which of them a packet takes is the kernel's to choose, by its hash."""
        parts = self._parts()
        if parts is None:
            raise NotDone(f"[ecmp {self._section}] has no settings yet; ask again later")
        return explanation(parts[0], parts[1], self._seen(*parts))

    def status(self) -> Mapping[str, Any]:
        """See `IBalancer`."""
        parts = self._parts()
        if parts is None:
            return {"kind": "ecmp"}
        return status(parts[0], self._seen(*parts), self._figures)

    def metrics(self) -> Sequence[Metric]:
        """See `IBalancer`."""
        parts = self._parts()
        if parts is None:
            return []
        return metrics(self._section, self._seen(*parts), self._figures)

    def _parts(self) -> tuple[EcmpSettings, Pool, Installed] | None:
        if self._settings is None or self._pool is None or self._installed is None:
            return None
        return self._settings, self._pool, self._installed

    def _seen(self, settings: EcmpSettings, pool: Pool, installed: Installed) -> Seen:
        if installed.present is not None:
            self._used = used(settings, installed.present)
        trusted = {each.gateway for each in self._used}
        standing = stand(pool.servers, settings.prefix.version, pool.panicking, trusted)
        return Seen(self._used, standing.reasons, self._refused, self._contest)

    def commands(
        self, settings: EcmpSettings | None, servers: Sequence[PlannedServer]
    ) -> Sequence[str]:
        """See `IShowsCommands`."""
        wanted = settings or self._settings
        if wanted is None:
            return ()
        former = wanted.protocol if self._settings is None else self._settings.protocol
        lines = planned(servers, () if self._pool is None else self._pool.servers)
        if settings is None:
            wanted, lines = evolve(wanted, last="withdraw"), []
        try:
            netlink = Netlink(self._opened())
            try:
                installed = Installed(netlink, first_id(self._section))
                return list(dry_run(installed, wanted, lines, former))
            finally:
                netlink.close()
        except (Refused, Conflict) as error:
            return [f"# [ecmp {self._section}]: {error}"]


def _cannot(section: str, error: Refused) -> PrepareError:
    """Why the section cannot work on this machine, in words for the operator."""
    if error.code == errno.EPERM:
        return NoPrivilege(f"[ecmp {section}] lacks a privilege: routes need CAP_NET_ADMIN")
    if error.code in (errno.EOPNOTSUPP, errno.EINVAL):
        text = "expected a kernel with next hop objects (Linux 5.3 and up)"
        return PrepareError(f"[ecmp {section}] {text}, got: {error}")
    return PrepareError(f"[ecmp {section}] cannot ask the kernel for routes: {error}")
