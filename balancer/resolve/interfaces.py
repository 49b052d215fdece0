"""
What the site asks of a resolver.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from balancer.resolve.looking import Found, Nothing


class IResolver(Interface):
    """Finds the addresses of names."""

    def use(servers: Sequence[tuple[str, int]]) -> None:
        """Ask these DNS servers (address and port) from now on; none: those of resolv.conf."""

    def changed() -> bool:
        """Whether another answer may come since the last call, because the hosts file, resolv.conf
        or `use` changed."""

    def look_up(name: str) -> Deferred[Found | Nothing]:
        """Fires with addresses or with the reason why there are none. Cancelling frees what it
        holds."""

    def source_of(address: str) -> str | None:
        """The address of this machine from which `address` is reached; None: there is no way."""
