"""
Which of the kernel's notifications are about a section. Pure.

A machine that speaks BGP hears of hundreds of thousands of routes: what is about others is known by
its bytes, before anything of it is read.
"""

from __future__ import annotations

from typing import Final

from balancer.config.values import Network
from balancer.kernel import nexthop, route
from balancer.kernel.netlink import Malformed, Message
from balancer.route.settings import IDS_A_SLOT

_LINKS: Final = frozenset((16, 17, 20, 21))
"""RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR."""


def is_about_links(message: Message) -> bool:
    """Whether a link or an address came, went or changed."""
    return message.kind in _LINKS


class Watch:
    """The route of one section, and its next hops."""

    def __init__(self, prefix: Network, table: int, first: int) -> None:
        self._packed = prefix.network_address.packed
        self._any = int(prefix.network_address) == 0  # the kernel leaves zeros out
        self._where = (str(prefix), table)
        self._ids = range(first, first + IDS_A_SLOT)

    def concerns(self, message: Message) -> bool:
        """Whether the message is about what is ours, or stands in its place."""
        try:
            if message.kind in (nexthop.NEW, nexthop.DELETE):
                return nexthop.read(message).id in self._ids
            if message.kind not in (route.NEW, route.DELETE):
                return False
            if not self._any and self._packed not in message.payload:
                return False
            found = route.read(message)
        except Malformed:
            return False
        return (found.prefix, found.table) == self._where
