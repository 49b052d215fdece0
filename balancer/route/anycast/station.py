"""
One ExaBGP and all sections that announce through it: brings together what they ask for (`members`),
what is wished and known (`wishes`), the helper that is told (`helper`), and the processes.

Knows when who is told. What is announced and when is its members' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from balancer.interfaces import IContext
from balancer.route.anycast import detection, exabgp, frames
from balancer.route.anycast.detection import Detection
from balancer.route.anycast.exabgp import HELPER_WITHIN, Exabgp
from balancer.route.anycast.helper import Bind, Helper, socket_name
from balancer.route.anycast.members import Member, Members
from balancer.route.anycast.protocol import bind
from balancer.route.anycast.timers import Timers
from balancer.route.anycast.wishes import SILENT, Wishes
from balancer.wire.keeping import Write, in_a_thread

RENEWALS: Final = 4
"""Renewals within one lease: three may be late or lost."""

ORPHAN_WITHIN: Final = 0.7
"""Seconds in which the helper of an ExaBGP that a killed balancer left reports (`shim.RECONNECT`);
it is ended before ours starts, since a router has one session with an address."""

LOOK_EVERY: Final = 5.0
"""Seconds until a neighbor to which there was no route is looked at again."""

log = Logger()


class Station:
    """`name` is '' for our own ExaBGP, which all share, else the section's that has another."""

    def __init__(
        self, context: IContext, name: str = "", bind: Bind = bind, write: Write | None = None
    ) -> None:
        self._reactor: Any = context.reactor
        self._timers = Timers(context.reactor)
        self._running = False
        self._members = Members()
        self.wishes = Wishes()
        self.socket_name = socket_name(context.state, name)
        ours = bird = None
        if not name:
            write, again = write or in_a_thread(context.reactor), self._look_again
            ours = exabgp.ours(
                context, write, started=self._await_helper, ended=self._ended, unwritten=again
            )
            bird = detection.ours(context, write, again)
        self.exabgp = Exabgp(self._members, self.socket_name, ours)
        self.detection = Detection(self._members, bird)
        self._helper = Helper(
            self.socket_name, self.exabgp.token, bind, self._came, self._said, self._went
        )

    # -- life

    def open(self) -> None:
        """Bind the socket, unless it is. Raises `PrepareError`."""
        self._helper.open()

    def close_unused(self) -> None:
        """Close the socket if no section uses it."""
        if not self._members:
            self._helper.close()

    def join(self, member: Member) -> None:
        """A section announces here from now on, or has other settings."""
        self._members.join(member)
        if self._running:
            self.refresh()
            self.renew()

    def leave(self, member: Member) -> Deferred[None]:
        """A section announces here no more; fires when what only it needed is gone."""
        self._members.leave(member)
        if self._members:
            self.refresh()
            self.renew()
            return succeed(None)
        return self._stop()

    def start(self) -> None:
        """Accept the helper and, if it is ours, start ExaBGP. Harmless when it is done."""
        if self._running:
            return
        self._running = True
        self._helper.listen(self._reactor)
        self.wishes.begin(self._now())
        self._tick()
        if self.exabgp.program is not None:
            self._timers.later("refresh", ORPHAN_WITHIN, self.refresh)

    def _stop(self) -> Deferred[None]:
        self.close_unused()
        self._running = False
        self._timers.stop()
        self._helper.deafen()
        ended = self.exabgp.stop()
        # Only then: a router whose BFD fails takes the end of BGP for an error.
        ended.addCallback(lambda _: None if self._running else self.detection.stop())
        self._helper.hang_up()
        return ended

    def _now(self) -> float:
        return float(self._reactor.seconds())

    # -- wishes

    def _tick(self) -> None:
        self._timers.later("renew", self._members.lease / RENEWALS, self._tick)
        self.renew()
        if self.wishes.falls_silent(self._now(), self._members.lease):
            self._helper_hangs()

    def renew(self) -> None:
        """Tell the helper what is to be announced, and that we live."""
        if not self._running:
            return
        now = self._now()
        overslept = self.wishes.overslept(now, self._members.lease)
        if overslept:
            log.warn("the lease ran out: {s:.1f} s without a renewal", s=overslept)
            self._members.lapsed(now)
        wish = self.wishes.renew(self._members.routes(), self._members.lease, now)
        if wish is not None:
            self._helper.tell(wish)

    # -- the helper

    def _came(self) -> None:
        self.exabgp.helper_came()
        self.wishes.came()
        self.renew()

    def _said(self, frame: frames.Frame) -> None:
        if self.wishes.answered():
            log.info("ExaBGP's helper answers again")
        if isinstance(frame, frames.Neighbor):
            self.exabgp.session(frame)
        elif isinstance(frame, frames.Report):
            self._take(frame)

    def _take(self, report: frames.Report) -> None:
        news = self.wishes.take(report)
        if news.fault:
            log.error("{fault}", fault=news.fault)
        if news.late and self.exabgp.program is not None:
            log.error("ExaBGP does not answer: it is ended, and starts again")
            self.exabgp.kill()
        if news.lapsed:
            self._members.lapsed(self._now())
            self.renew()
        self._members.reported()

    def _helper_hangs(self) -> None:
        """It would not withdraw if we died now. One of ours is ended: ExaBGP keeps the routes, and
        starts another, which sees what there is."""
        log.error("{fault}", fault=self._silence())
        if self.exabgp.program is None:
            return
        if self._helper.kill():
            self._await_helper()
        else:
            self.exabgp.kill()

    def _went(self) -> None:
        self.wishes.went()
        if self._running:
            log.warn("ExaBGP's helper is gone")
            if self.exabgp.program is not None:
                # It has its time from now on, however long ago ExaBGP started.
                self._await_helper()

    def _await_helper(self) -> None:
        self._timers.later("helper", HELPER_WITHIN, self._no_helper)

    def _no_helper(self) -> None:
        if not self._helper.connected:
            self.exabgp.lacks_helper()

    # -- ExaBGP, and BIRD

    def refresh(self) -> None:
        """Have our own run with the configuration that the sections make."""
        if self.exabgp.program is None or not self._running:
            return
        self.exabgp.refresh()
        if self.exabgp.unreachable:
            self._look_again()
        self.detection.refresh()

    def _look_again(self) -> None:
        self._timers.later("refresh", LOOK_EVERY, self.refresh)

    def _ended(self) -> None:
        # Its routes went with it; routers keep them for as long as graceful restart says.
        self.wishes.forget()
        self.exabgp.ended()
        self.refresh()

    # -- what it tells

    def fault(self) -> str:
        """What does not work, in one sentence; '' if all does."""
        connected = self._helper.connected
        if not connected and self.exabgp.fault():
            return self.exabgp.fault()
        if self.wishes.state == SILENT:
            return self._silence()
        if self.wishes.report.fault:
            return self.wishes.report.fault
        if self.exabgp.unreachable:
            return f"there is no route to {', '.join(self.exabgp.unreachable)}"
        return "" if connected else "ExaBGP's helper is not connected"

    def _silence(self) -> str:
        return (
            f"ExaBGP's helper has not answered for {self._members.lease:g} s: it would not "
            "withdraw the routes if the balancer died"
        )

    def status(self) -> Mapping[str, Any]:
        """Of ExaBGP and its helper, for JSON."""
        return {
            "helper": self._helper.pid,
            "socket": f"@{self.socket_name}",
            "fault": self.fault(),
            **self.exabgp.status(),
        }


_stations: WeakKeyDictionary[IContext, dict[str, Station]] = WeakKeyDictionary()


def station_of(context: IContext, name: str = "") -> Station:
    """The site's station of that name."""
    found = _stations.setdefault(context, {})
    if name not in found:
        found[name] = Station(context, name)
    return found[name]
