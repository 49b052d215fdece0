"""What happened to a server: frozen, in the past tense. Knows servers by their keys only."""

from __future__ import annotations

from attrs import frozen


@frozen
class WentUp:
    """Checks found the server working; before that it was down or not yet known."""

    server: str
    reason: str = ""

    def text(self) -> str:
        """The event in a few words for the log."""
        return _because(f"{self.server} went up", self.reason)


@frozen
class WentDown:
    """Checks found the server failing; it gets no new work."""

    server: str
    reason: str = ""

    def text(self) -> str:
        """The event in a few words for the log."""
        return _because(f"{self.server} went down", self.reason)


@frozen
class StartedDraining:
    """The operator keeps new work from the server; what is in flight may end."""

    server: str

    def text(self) -> str:
        """The event in a few words for the log."""
        return f"{self.server} started draining"


@frozen
class EnteredMaintenance:
    """The operator took the server out; panic does not use it either."""

    server: str

    def text(self) -> str:
        """The event in a few words for the log."""
        return f"{self.server} entered maintenance"


@frozen
class BecameReady:
    """The operator gave the server back; `state` is what it is now, which may be down."""

    server: str
    state: str = "up"

    def text(self) -> str:
        """The event in a few words for the log."""
        return f"{self.server} became ready and is {self.state}"


@frozen
class WasEjected:
    """The server failed too often at its work; it gets none until `until` (the clock of `now`)."""

    server: str
    until: float
    reason: str = ""

    def text(self) -> str:
        """The event in a few words for the log."""
        return _because(f"{self.server} was ejected", self.reason)


@frozen
class WasReadmitted:
    """The server's ejection ended."""

    server: str
    reason: str = ""

    def text(self) -> str:
        """The event in a few words for the log."""
        return _because(f"{self.server} was readmitted", self.reason)


@frozen
class WasAdded:
    """The site file has a new server, which is not yet known."""

    server: str
    address: str = ""

    def text(self) -> str:
        """The event in a few words for the log."""
        return f"{self.server} was added at {self.address}"


@frozen
class WasRemoved:
    """The site file has the server no more, or at another address. It gets no new work; the
    `in_flight` pieces of work that it had may end."""

    server: str
    in_flight: int = 0

    def text(self) -> str:
        """The event in a few words for the log."""
        return f"{self.server} was removed, {self.in_flight} in flight may end"


@frozen
class Moved:
    """The server's DNS name stands for another address: new work goes there, and what is in flight
    ends where it is."""

    server: str
    address: str = ""

    def text(self) -> str:
        """The event in a few words for the log."""
        return f"{self.server} moved to {self.address}"


Event = (
    WentUp
    | WentDown
    | StartedDraining
    | EnteredMaintenance
    | BecameReady
    | WasEjected
    | WasReadmitted
    | WasAdded
    | WasRemoved
    | Moved
)


def _because(text: str, reason: str) -> str:
    return f"{text}: {reason}" if reason else text
