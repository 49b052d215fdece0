"""
What a check may offer and say beyond `ICheck`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute

from balancer.interfaces import ICheck

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from balancer.wire.address import Address


class IServerCheck(ICheck):
    """A check that is told which server it probes, and that bounds how many run at once."""

    at_once: int = Attribute("How many probes of one pool may be in progress; others wait.")

    def probe_server(server: str, target: Address, timeout: float) -> Deferred[str]:
        """As `probe`, for the server known as `server` (POOL/NAME)."""


class NotAsked(Exception):
    """A probe could not be made for want of something of ours (descriptors, memory, processes). It
    says nothing about the server, so its verdict stays as it is."""
