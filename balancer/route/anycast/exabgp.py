"""
The ExaBGP of one station, ours or an operator's: the configuration that it is to have, its
sessions as its helper tells them, and what is wrong with it.

Knows sections' neighbors and the machine's routes to them. When it is to have what, and what it
announces, is `station`'s business.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from balancer.interfaces import IContext
from balancer.route.anycast import configuration, frames, program, reach
from balancer.route.anycast.configuration import Peer
from balancer.route.anycast.frames import Neighbor
from balancer.route.anycast.members import Members
from balancer.route.anycast.program import Program
from balancer.route.anycast.protocol import own_uids
from balancer.route.anycast.spawned import Spawned
from balancer.wire.keeping import Write

HELPER_WITHIN: Final = 10.0
"""Seconds after ExaBGP's start in which its helper should have reported."""

log = Logger()


def ours(
    context: IContext,
    write: Write,
    *,
    started: Callable[[], None],
    ended: Callable[[], None],
    unwritten: Callable[[], None],
) -> Spawned[Program]:
    """An ExaBGP that runs when it is to have something."""
    user = reach.user()
    path = os.path.join(context.state, "exabgp.conf")
    environment = program.environment(user, program.python(user))
    exabgp = Program(context.reactor, path, environment, ended, started=started)
    return Spawned(exabgp, write, unwritten)


class Exabgp:
    """`spawned` is our own; None if it is an operator's. Its helper comes to `socket_name`."""

    def __init__(
        self, members: Members, socket_name: str, spawned: Spawned[Program] | None = None
    ) -> None:
        self._members, self._socket_name, self._spawned = members, socket_name, spawned
        self._python = sys.executable if spawned is None else program.python(reach.user())
        self._lease = 0.0
        self.token = "" if spawned is None else secrets.token_hex(8)
        """What we know the helper by."""
        self.sessions: dict[str, Neighbor] = {}
        self.unreachable: tuple[str, ...] = ()
        """Neighbors to which there is no route."""
        self._has_no_helper = False

    @property
    def program(self) -> Program | None:
        """Our own; None if it is an operator's."""
        return None if self._spawned is None else self._spawned.program

    # -- the process

    def refresh(self) -> None:
        """Have ours run with the configuration that the sections make."""
        if self._spawned is not None:
            self._spawned.have(self.configuration())

    def kill(self) -> None:
        """Ours hangs: end it at once. It starts again."""
        if self._spawned is not None:
            self._spawned.program.kill()

    def stop(self) -> Deferred[None]:
        """Run ours no more; fires when it is gone."""
        return succeed(None) if self._spawned is None else self._spawned.stop()

    def ended(self) -> None:
        """It ended unasked."""
        self.sessions = {
            address: Neighbor(address, "down", "ExaBGP ended") for address in self.sessions
        }
        if self._spawned is not None:
            self._spawned.forget()

    # -- its helper

    def helper_came(self) -> None:
        """There is one."""
        self._has_no_helper = False

    def lacks_helper(self) -> None:
        """There is none, though it had its time: ours is started anew."""
        if self.program is not None and self.program.pid is not None:
            self._has_no_helper = True
            log.error("{fault}", fault=self._why_no_helper())
            self.program.kill()

    def session(self, told: Neighbor) -> None:
        """The helper tells of a session."""
        before = self.sessions.get(told.address)
        if before is None and len(self.sessions) >= frames.MAX_ROUTES:
            return
        self.sessions[told.address] = told
        if before is None or before.state != told.state:
            log.info(
                "neighbor {address} is {state} {reason}",
                address=told.address, state=told.state, reason=told.reason,
            )

    # -- its configuration

    def configuration(self) -> str:
        """What it is to have."""
        # Another lease is told with each wish: for its sake alone nothing is started again.
        self._lease = self._lease or self._members.lease
        socket_name = f"@{self._socket_name}"
        command = configuration.helper(self._python, socket_name, self._lease, own_uids())
        if self.program is not None:
            command += ("--token", self.token, "--orphan")
        else:
            command += configuration.only(self._members.prefixes())
        return configuration.configuration(command, self._peers())

    def _peers(self) -> tuple[Peer, ...]:
        found = reach.peers(
            ((each.settings, each.passwords) for each in self._members),
            # What the status and the log show has no secrets.
            secret=self.program is not None,
        )
        self.unreachable = found.unreachable
        return found.peers

    # -- what it tells

    def fault(self) -> str:
        """Why no helper can be there, in one sentence; '' if that is not known."""
        if self.program is not None and self.program.fault:
            return self.program.fault
        return self._why_no_helper() if self._has_no_helper else ""

    def _why_no_helper(self) -> str:
        whom = reach.user() or "whom we run as"
        return (
            f"ExaBGP's helper has not reported for {HELPER_WITHIN:g} s: expected that {whom} may "
            f"run {self._python} and read {program.ROOT}"
        )

    def status(self) -> Mapping[str, Any]:
        """Of its process, for JSON; of an operator's the configuration for it."""
        if self.program is None:
            return {"run": "external", "configuration": self.configuration()}
        return {
            "run": "spawn",
            "pid": self.program.pid,
            "starts_total": self.program.starts,
            "last_end": self.program.fault,
            "log": list(self.program.said),
        }
