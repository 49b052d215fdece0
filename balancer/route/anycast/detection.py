"""
BFD with the neighbors of one station, by a BIRD of ours or an operator's.

Knows which neighbors are to be watched, and what BIRD says of them. How BIRD runs is `beside`'s
business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, succeed

from balancer.interfaces import IContext
from balancer.route.anycast import beside, bfd
from balancer.route.anycast.members import Members
from balancer.route.anycast.spawned import Spawned
from balancer.wire.keeping import Write


def ours(
    context: IContext, write: Write, unwritten: Callable[[], None]
) -> Spawned[beside.Bird]:
    """A BIRD that runs when it is to have something."""
    return Spawned(beside.bird(context.reactor, context.state), write, unwritten)


@frozen(eq=False)
class Detection:
    """`spawned` is our own BIRD; None if it is an operator's."""

    members: Members
    spawned: Spawned[beside.Bird] | None = None

    @property
    def bird(self) -> beside.Bird | None:
        """Our own BIRD; None if it is an operator's."""
        return None if self.spawned is None else self.spawned.program

    def configuration(self) -> str:
        """What BIRD is to have, an operator's besides its own; '' if there is to be none."""
        text = bfd.protocol if self.spawned is None else bfd.configuration
        return text(self.members.watched())

    def refresh(self) -> None:
        """Have ours run with that, if it is to have anything."""
        if self.spawned is None:
            return
        text = self.configuration()
        if text:
            self.spawned.have(text)
        else:
            self.spawned.stop()

    def stop(self) -> Deferred[None]:
        """Run ours no more; fires when it is gone."""
        return succeed(None) if self.spawned is None else self.spawned.stop()

    def of(self, address: str) -> str:
        """`up` or `down`, `unknown` if nobody says, `off` if nobody is to."""
        if address not in self.members.watched():
            return "off"
        return "unknown" if self.bird is None else self.bird.sessions.get(address, "unknown")

    def status(self) -> Mapping[str, Any] | None:
        """Of BIRD, for JSON; None if there is to be none."""
        watched, bird = self.members.watched(), self.bird
        if not watched:
            return None
        if bird is None:
            return {"run": "external", "configuration": self.configuration()}
        fault = bird.broken() or (bfd.unseen(watched, bird.sessions) if bird.known else "")
        return {
            "run": "spawn",
            "pid": bird.pid,
            "adopted": bird.adopted,
            "starts_total": bird.starts,
            "fault": fault,
            "last_end": bird.fault,
            "log": list(bird.said),
        }
