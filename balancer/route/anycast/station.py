"""
One ExaBGP and all sections that announce through it: the socket to its helper, the wishes and
renewals that go there, the sessions that it tells of, and, if it is ours, its process.

Knows frames, configuration and processes. What is announced and when is its members' business.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from balancer.interfaces import IContext, PrepareError
from balancer.route.anycast import beside, bfd, configuration, frames, program, reach
from balancer.route.anycast.configuration import Peer
from balancer.route.anycast.frames import Key, Report
from balancer.route.anycast.lines import Route
from balancer.route.anycast.protocol import Door, Link, bind, own_uids
from balancer.route.anycast.settings import AnycastSettings
from balancer.route.anycast.spawned import Spawned
from balancer.wire.keeping import Write, in_a_thread

RENEWALS: Final = 4
"""Renewals within one lease: three may be late or lost."""

ORPHAN_WITHIN: Final = 0.7
"""Seconds in which the helper of an ExaBGP that a killed balancer left reports (`shim.RECONNECT`);
it is ended before ours starts, since a router has one session with an address."""

LOOK_EVERY: Final = 5.0
"""Seconds until a neighbor to which there was no route is looked at again."""

HELPER_WITHIN: Final = 10.0
"""Seconds after ExaBGP's start in which its helper should have reported."""

Bind = Callable[[str], socket.socket]

NOTHING: Final = Report(0, False, False, ())

log = Logger()


class Member(Protocol):
    """A section, as the station sees it."""

    settings: AnycastSettings
    passwords: Mapping[str, bytes]

    def routes(self) -> Mapping[Key, Route]:
        """What is to be announced for it."""

    def reported(self) -> None:
        """The station knows more of what is announced."""

    def lapsed(self, now: float) -> None:
        """The lease ran out."""


class Station:
    """`name` is '' for our own ExaBGP, which all share, else the section's that has another."""

    def __init__(
        self, context: IContext, name: str = "", bind: Bind = bind, write: Write | None = None
    ) -> None:
        self._bind = bind
        self._reactor: Any = context.reactor
        self._python = sys.executable if name else program.python(reach.user())
        digest = hashlib.sha256(context.state.encode()).hexdigest()[:16]
        self.socket_name = f"balancer-anycast-{digest}{'-' if name else ''}{name}"
        self._members: dict[Member, None] = {}
        self._sock: socket.socket | None = None
        self._port: Any = None
        self._door = Door(reach.uids(), self._said, self._lost)
        self._link: Link | None = None
        self.report = NOTHING
        self.sessions: dict[str, frames.Neighbor] = {}
        self.serial = 0
        self._routes: dict[Key, Route] = {}
        self._may_be: set[Key] = set()
        self._renewed = 0.0
        self._unanswered: float | None = None
        """When the helper got the first wish of those that it has not answered."""
        self._silent = False
        self._calls: dict[str, IDelayedCall] = {}
        self._token = "" if name else secrets.token_hex(8)
        self._lease = 0.0
        self._running = False
        self._helper_late = False
        self.unreachable: tuple[str, ...] = ()
        self._spawned = None if name else self._spawn(context, write)
        self._beside = None if name else self._lay_beside(context, write)

    def _spawn(self, context: IContext, write: Write | None) -> Spawned[program.Program]:
        path = os.path.join(context.state, "exabgp.conf")
        environment = program.environment(reach.user(), self._python)
        ours = program.Program(self._reactor, path, environment, self._ended)
        ours.started = lambda: self._later("helper", HELPER_WITHIN, self._no_helper)
        return Spawned(ours, write or in_a_thread(context.reactor), self._unwritten)

    def _lay_beside(self, context: IContext, write: Write | None) -> Spawned[beside.Bird]:
        bird = beside.bird(self._reactor, context.state)
        return Spawned(bird, write or in_a_thread(context.reactor), self._unwritten)

    @property
    def program(self) -> program.Program | None:
        """Our own ExaBGP; None if it is an operator's."""
        return None if self._spawned is None else self._spawned.program

    @property
    def bird(self) -> beside.Bird | None:
        """Our own BIRD; None if it is an operator's."""
        return None if self._beside is None else self._beside.program

    # -- life

    def open(self) -> None:
        """Bind the socket, unless it is. Raises `PrepareError`."""
        if self._sock is not None or self._port is not None:
            return
        try:
            self._sock = self._bind(self.socket_name)
        except OSError as error:
            raise PrepareError(
                f"the socket @{self.socket_name} cannot be bound ({error.strerror}): expected no "
                f"other balancer with the same state directory; stop it, or set state in [site]"
            ) from error

    def close_unused(self) -> None:
        """Close the socket if no section uses it."""
        if not self._members and self._sock is not None:
            self._sock.close()
            self._sock = None

    def join(self, member: Member) -> None:
        """A section announces here from now on, or has other settings."""
        self._members[member] = None
        if self._running:
            self.refresh()
            self.renew()

    def leave(self, member: Member) -> Deferred[None]:
        """A section announces here no more; fires when what only it needed is gone."""
        self._members.pop(member, None)
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
        assert self._sock is not None
        self._port = self._reactor.adoptStreamPort(
            self._sock.fileno(), socket.AF_UNIX, self._door
        )
        self._sock.close()
        self._sock = None
        self._renewed = self._reactor.seconds()
        self._tick()
        if self.program is not None:
            self._later("refresh", ORPHAN_WITHIN, self.refresh)

    def _stop(self) -> Deferred[None]:
        self.close_unused()
        self._running = False
        for call in self._calls.values():
            if call.active():
                call.cancel()
        self._calls = {}
        if self._port is not None:
            self._port.stopListening()
            self._port = None
        ended = succeed(None) if self._spawned is None else self._spawned.stop()
        # Only then: a router whose BFD fails takes the end of BGP for an error.
        ended.addCallback(lambda _: self._stop_beside())
        for link in list(self._door.links):
            link.transport.loseConnection()
        return ended

    def _stop_beside(self) -> Deferred[None] | None:
        return None if self._running or self._beside is None else self._beside.stop()

    def _later(self, what: str, seconds: float, call: Any) -> None:
        before = self._calls.pop(what, None)
        if before is not None and before.active():
            before.cancel()
        self._calls[what] = self._reactor.callLater(seconds, call)

    # -- wishes

    @property
    def lease(self) -> float:
        """The shortest that a section asks for."""
        return min((each.settings.lease for each in self._members), default=3.0)

    def _tick(self) -> None:
        self._later("renew", self.lease / RENEWALS, self._tick)
        self.renew()
        since = self._unanswered
        if since is not None and self._reactor.seconds() - since > self.lease:
            self._helper_hangs()

    def renew(self) -> None:
        """Tell the helper what is to be announced, and that we live."""
        if not self._running:
            return
        now = self._reactor.seconds()
        if now - self._renewed > self.lease:
            # We stood still for so long that all is withdrawn, and verdicts are old.
            log.warn("the lease ran out: {s:.1f} s without a renewal", s=now - self._renewed)
            for member in self._members:
                member.lapsed(now)
            # The helper may have answered: nobody has looked.
            self._unanswered = None
        self._renewed = now
        routes: dict[Key, Route] = {}
        for member in self._members:
            routes.update(member.routes())
        if routes != self._routes:
            self._routes = routes
            self.serial += 1
        if self._link is not None:
            self._may_be.update(routes)
            if self._unanswered is None:
                self._unanswered = now
            self._link.tell(frames.Wish(self.serial, self.lease, routes))

    def may_have(self, prefix: str) -> bool:
        """Whether the prefix may be announced to anybody."""
        return any(key[1] == prefix for key in self._may_be)

    def clear_of(self, keys: Mapping[Key, Any]) -> bool:
        """Whether none of these is announced: the helper says so, or was never told to."""
        known = self._link is None or self.acknowledged
        return known and not any(key in self._may_be for key in keys)

    @property
    def acknowledged(self) -> bool:
        """Whether what was wished last is what is."""
        return self.report.settled and self.report.serial == self.serial

    # -- the helper

    def _said(self, link: Link, frame: frames.Frame) -> None:
        if isinstance(frame, frames.Hello):
            self._greet(link, frame)
            return
        if link is not self._link:
            return
        self._unanswered = None
        if self._silent:
            self._silent = False
            log.info("ExaBGP's helper answers again")
        if isinstance(frame, frames.Neighbor):
            self._session(frame)
        elif isinstance(frame, Report):
            self._take(frame)

    def _greet(self, link: Link, hello: frames.Hello) -> None:
        if self._token and hello.token != self._token:
            log.info("an ExaBGP of a balancer that is gone ends: {pid}", pid=hello.exabgp)
            link.tell(frames.Quit())
            return
        if self._link is not None and self._link is not link:
            self._link.transport.abortConnection()
        self._link = link
        self._helper_late = self._silent = False
        self._unanswered = None
        log.info("ExaBGP's helper has connected: {pid}", pid=hello.pid)
        self.renew()

    def _session(self, frame: frames.Neighbor) -> None:
        before = self.sessions.get(frame.address)
        if before is None and len(self.sessions) >= frames.MAX_ROUTES:
            return
        self.sessions[frame.address] = frame
        if before is None or before.state != frame.state:
            log.info(
                "neighbor {address} is {state} {reason}",
                address=frame.address, state=frame.state, reason=frame.reason,
            )

    def _take(self, report: Report) -> None:
        before, self.report = self.report, report
        if self.acknowledged:
            self._may_be = set(report.announced)
        else:
            self._may_be.update(report.announced)
        if report.fault and report.fault != before.fault:
            log.error("{fault}", fault=report.fault)
        if report.late and not before.late and self.program is not None:
            log.error("ExaBGP does not answer: it is ended, and starts again")
            self.program.kill()
        if report.lapsed and not before.lapsed:
            now = self._reactor.seconds()
            for member in self._members:
                member.lapsed(now)
            self.renew()
        for member in list(self._members):
            member.reported()

    def _helper_hangs(self) -> None:
        """It would not withdraw if we died now. One of ours is ended: ExaBGP keeps the routes, and
        starts another, which sees what there is."""
        if not self._silent:
            log.error("{fault}", fault=self._silence())
        self._silent = True
        link = self._link
        if self.program is None or link is None:
            return
        if link.kill():
            self._later("helper", HELPER_WITHIN, self._no_helper)
        else:
            self.program.kill()

    def _silence(self) -> str:
        return (
            f"ExaBGP's helper has not answered for {self.lease:g} s: it would not withdraw the "
            "routes if the balancer died"
        )

    def _lost(self, link: Link) -> None:
        if link is not self._link:
            return
        self._link = self._unanswered = None
        self._silent = False
        # What is announced is not known until a helper reports; it was what it was.
        self.report = self.report._replace(settled=False)
        if self._running:
            log.warn("ExaBGP's helper is gone")

    # -- ExaBGP

    def _ended(self) -> None:
        self.sessions = {
            address: frames.Neighbor(address, "down", "ExaBGP ended") for address in self.sessions
        }
        # Its routes went with it; routers keep them for as long as graceful restart says.
        self.report, self._may_be = NOTHING, set()
        if self._spawned is not None:
            self._spawned.forget()
        self.refresh()

    def refresh(self) -> None:
        """Have ExaBGP run with the configuration that the sections make."""
        if self._spawned is None or not self._running:
            return
        text = self.configuration()
        if self.unreachable:
            self._later("refresh", LOOK_EVERY, self.refresh)
        self._spawned.have(text)
        assert self._beside is not None
        text = self.bfd_configuration()
        if text:
            self._beside.have(text)
        else:
            self._beside.stop()

    def _unwritten(self) -> None:
        self._later("refresh", LOOK_EVERY, self.refresh)

    def _no_helper(self) -> None:
        if self._link is None and self.program is not None and self.program.pid is not None:
            self._helper_late = True
            log.error("{fault}", fault=self._helper_fault())
            self.program.kill()

    def _helper_fault(self) -> str:
        whom = reach.user() or "whom we run as"
        return (
            f"ExaBGP's helper has not reported for {HELPER_WITHIN:g} s: expected that {whom} may "
            f"run {self._python} and read {program.ROOT}"
        )

    def _peers(self) -> list[Peer]:
        found = reach.peers(
            ((each.settings, each.passwords) for each in self._members),
            # What the status and the log show has no secrets.
            secret=self.program is not None,
        )
        self.unreachable = found.unreachable
        return list(found.peers)

    def configuration(self) -> str:
        """What ExaBGP is to have."""
        self._lease = self._lease or self.lease
        socket_name = f"@{self.socket_name}"
        command = configuration.helper(self._python, socket_name, self._lease, own_uids())
        if self.program is not None:
            command += ("--token", self._token, "--orphan")
        else:
            settings = [member.settings for member in self._members]
            command += configuration.only(each for one in settings for each in one.prefixes)
        return configuration.configuration(command, self._peers())

    def watched(self) -> Mapping[str, bfd.Timers]:
        """The neighbors that BFD watches."""
        return {
            line.address: member.settings.bfd
            for member in self._members
            if member.settings.bfd is not None
            for line in member.settings.neighbors
        }

    def bfd_configuration(self) -> str:
        """What BIRD is to have, an operator's besides its own; '' if there is to be none."""
        text = bfd.protocol if self.bird is None else bfd.configuration
        return text(self.watched())

    # -- what it tells

    def bfd_of(self, address: str) -> str:
        """`up` or `down`, `unknown` if nobody says, `off` if nobody is to."""
        if address not in self.watched():
            return "off"
        return "unknown" if self.bird is None else self.bird.sessions.get(address, "unknown")

    def bird_status(self) -> Mapping[str, Any] | None:
        """Of BIRD, for JSON; None if there is to be none."""
        watched, ours = self.watched(), self.bird
        if not watched:
            return None
        if ours is None:
            return {"run": "external", "configuration": self.bfd_configuration()}
        fault = ours.broken() or (bfd.unseen(watched, ours.sessions) if ours.known else "")
        return {
            "run": "spawn",
            "pid": ours.pid,
            "adopted": ours.adopted,
            "starts_total": ours.starts,
            "fault": fault,
            "last_end": ours.fault,
            "log": list(ours.said),
        }

    def fault(self) -> str:
        """What does not work, in one sentence; '' if all does."""
        ours = self.program
        if ours is not None and self._link is None and ours.fault:
            return ours.fault
        if self._helper_late and self._link is None:
            return self._helper_fault()
        if self._silent:
            return self._silence()
        if self.report.fault:
            return self.report.fault
        if self.unreachable:
            return f"there is no route to {', '.join(self.unreachable)}"
        return "" if self._link is not None else "ExaBGP's helper is not connected"

    def status(self) -> Mapping[str, Any]:
        """Of ExaBGP and its helper, for JSON."""
        ours = self.program
        found: dict[str, Any] = {
            "helper": None if self._link is None or self._link.hello is None
            else self._link.hello.pid,
            "socket": f"@{self.socket_name}",
            "fault": self.fault(),
        }
        if ours is None:
            return {**found, "run": "external", "configuration": self.configuration()}
        return {
            **found,
            "run": "spawn",
            "pid": ours.pid,
            "starts_total": ours.starts,
            "last_end": ours.fault,
            "log": list(ours.said),
        }


_stations: WeakKeyDictionary[IContext, dict[str, Station]] = WeakKeyDictionary()


def station_of(context: IContext, name: str = "") -> Station:
    """The site's station of that name."""
    found = _stations.setdefault(context, {})
    if name not in found:
        found[name] = Station(context, name)
    return found[name]
