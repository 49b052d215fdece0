"""
The options of `[ecmp NAME]`, declared, and the numbers of its objects in the kernel. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

from attrs import frozen

from balancer.config.schema import Finding, Reference, Section, option
from balancer.config.values import (
    Network,
    Unreadable,
    boolean,
    choice,
    duration_within,
    integer,
    name,
    network,
)
from balancer.kernel.nexthop import Resilient
from balancer.kernel.route import MAIN

PROTOCOL: Final = 196
"""What marks our routes and next hops as ours. Nobody in /etc/iproute2/rt_protos has the number."""

FIRST_ID: Final = 0x2000_0000
"""Ids of next hop objects from here up are ours: FRR numbers from 1, `ip` takes what it is told."""

SLOTS: Final = 1 << 20
"""Ranges of ids, one for each section, by its name: the same after a restart."""

IDS_A_SLOT: Final = 256
"""Two groups, next hops, and the last id, which nobody ever has."""

MAX_HOPS: Final = IDS_A_SLOT - 4
"""Next hops of one section: routers take 64 to 256 paths of equal cost."""

LONGEST_TIMER: Final = "24h"


def table(text: str) -> int:
    """A routing table by its number, or `main`."""
    if text == "main":
        return MAIN
    try:
        return integer(1, 2**32 - 1)(text)
    except Unreadable:
        raise Unreadable("main, or the number of a table from 1") from None


def device(text: str) -> str:
    """The name of a network device: at most 15 bytes, no space and no slash."""
    sound = 0 < len(text.encode()) <= 15 and text not in (".", "..")
    if not sound or any(each.isspace() or each in "/:\0" for each in text):
        raise Unreadable("the name of a network device such as eth0", text)
    return text


def first_id(section: str) -> int:
    """The first id of the section's next hop objects."""
    digest = int.from_bytes(sha256(section.encode()).digest()[:4], "big")
    return FIRST_ID + digest % SLOTS * IDS_A_SLOT


@frozen
class EcmpSettings:
    """`[ecmp NAME]`: a route whose next hops are a pool's servers."""

    prefix: Network = option(
        network, required=True, help="The prefix that is routed to the pool's servers."
    )
    pool: str = option(
        name,
        required=True,
        help="The pool whose servers are the next hops: those that are up, drained by nobody, and "
        "of the prefix's address family. Their ports do not matter here.",
    )
    table: int = option(
        table, default="main", help="The routing table that has the route: `main`, or a number."
    )
    resilient: bool = option(
        boolean,
        default="yes",
        help="Keep flows on their next hop while others come and go. Needs Linux 5.13. With `no` "
        "flows are spread by their hash alone, and many move at each change.",
    )
    buckets: int = option(
        integer(1, 32768),
        default="128",
        help="Into how many buckets flows are spread; a next hop has its share of them. Ten for "
        "each next hop and more spread evenly.",
    )
    idle_timer: float = option(
        duration_within("0", LONGEST_TIMER),
        default="60s",
        help="A bucket without packets for so long may be given to a next hop that came back or "
        "has fewer than its share.",
    )
    unbalanced_timer: float = option(
        duration_within("0", LONGEST_TIMER),
        default="0",
        help="After so long out of balance, buckets are given away though they are in use. 0: "
        "never.",
    )
    last: str = option(
        choice("keep", "withdraw"),
        default="keep",
        help="When no server is left: `keep` leaves the last next hops as they are, `withdraw` "
        "removes the route.",
    )
    device: str | None = option(
        device,
        help="The network device on which the next hops are; link-local addresses need it. By "
        "default the one that the kernel would send to them by.",
    )
    protocol: int = option(
        integer(5, 255),
        default=str(PROTOCOL),
        help="The protocol number of the route and the next hops. Nothing with another one is "
        "touched: no other program may use it.",
    )


    @property
    def resilience(self) -> Resilient | None:
        """The options of a resilient group, as the kernel keeps them; None for the other type."""
        if not self.resilient:
            return None
        return Resilient(self.buckets, round(self.idle_timer, 2), round(self.unbalanced_timer, 2))


def _references(settings: EcmpSettings) -> Iterable[Reference]:
    yield Reference("pool", settings.pool, "pool")


def _relations(settings: EcmpSettings) -> Iterable[Finding]:
    if settings.resilient:
        return
    for given, usual in (("buckets", 128), ("idle-timer", 60.0), ("unbalanced-timer", 0.0)):
        if getattr(settings, given.replace("-", "_")) != usual:
            yield given, 0, "expected resilient = yes beside it, got no, which has no buckets"


def _together(sections: Mapping[str, EcmpSettings]) -> Iterable[tuple[str, Finding] | None]:
    """Two sections may have neither the same route nor the same ids."""
    routes: dict[tuple[str, int], str] = {}
    ids: dict[int, str] = {}
    for section, settings in sections.items():
        route = (str(settings.prefix), settings.table)
        if route in routes:
            text = f"expected a prefix of its own, got {route[0]}, which [ecmp {routes[route]}] has"
            yield section, ("prefix", 0, text)
        routes.setdefault(route, section)
        first = first_id(section)
        if first in ids:
            text = f"its name makes the same next hop ids as [ecmp {ids[first]}]; change one name"
            yield section, ("", 0, text)
        ids.setdefault(first, section)


SECTION = Section(
    kind="ecmp",
    settings=EcmpSettings,
    help="A route in the kernel over several next hops, the servers of a pool, which follow its "
    "verdicts.",
    references=_references,
    check=_relations,
    together=_together,
)
