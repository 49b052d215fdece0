"""
The options of `[anycast NAME]`, declared. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Final

from attrs import frozen

from balancer.config.schema import Finding, NamedFile, Reference, Section, option
from balancer.config.values import Endpoint, Network, choice, duration_within, integer, or_off
from balancer.route.anycast.announcer import DRAINING
from balancer.route.anycast.bfd import Timers, timers
from balancer.route.anycast.damping import Damping
from balancer.route.anycast.frames import MAX_ROUTES
from balancer.route.anycast.lines import Route
from balancer.route.anycast.values import (
    MAX_PREPEND,
    MOST_32_BITS,
    NeighborLine,
    as_number,
    communities,
    damping,
    device,
    neighbor,
    next_hop,
    other_site,
    prefixes,
    router_id,
)
from balancer.route.anycast.when import Condition, conditions

MAX_NEIGHBORS: Final = 16
"""Neighbors of one section: the routers of a rack or two."""

MAX_SITES: Final = 16
"""Other sites that are asked, once a second each."""

_MED: Final = integer(0, MOST_32_BITS)
_PREPEND: Final = integer(0, MAX_PREPEND)


@frozen
class AnycastSettings:
    """`[anycast NAME]`: what is announced to whom, and when."""

    prefixes: tuple[Network, ...] = option(
        prefixes, required=True, help="What is announced: prefixes, spaces or commas between them."
    )
    when: tuple[tuple[Condition, ...], ...] = option(
        conditions,
        required=True,
        lines=True,
        help="Balancers and pools that must all be healthy: `http:www, pool:web>=2`. A pool is, "
        "with one server up, or with as many as are asked for.",
    )
    neighbors: tuple[NeighborLine, ...] = option(
        neighbor,
        required=True,
        lines=True,
        help="Routers to speak BGP with, one a line: `ADDRESS as=N [password-file=P] [multihop=N] "
        "[ttl-security=N] [hold-time=30s]`. Each gets the prefixes of its own family. "
        "`password-file` has the password of TCP MD5 (RFC 2385), `multihop` the hops to a router "
        "that is not on the link, `ttl-security` the hops that it may be away at most (RFC 5082).",
    )
    local_as: int = option(as_number, required=True, help="Our AS number.")
    router_id: str | None = option(
        router_id, help="Our BGP identifier; our address towards an IPv4 neighbor by default."
    )
    next_hop: str = option(
        next_hop,
        default="self",
        help="Where routers send the packets: an address, or `self`, ours towards each neighbor.",
    )
    med: int | None = option(_MED, help="MULTI_EXIT_DISC of the routes: less is better.")
    drain_med: int | None = option(_MED, help="The same while draining; `med` by default.")
    community: tuple[str, ...] | None = option(
        or_off(communities),
        help="Communities of the routes: `65000:100`, `65000:1:2`, `no-export`.",
    )
    drain_community: tuple[str, ...] | None = option(
        or_off(communities),
        help="Communities while draining, besides those of `community`: `graceful-shutdown` is "
        "what routers know (RFC 8326).",
    )
    prepend: int = option(_PREPEND, default="0", help="How often our AS is repeated in the path.")
    drain_prepend: int = option(
        _PREPEND, default="0", help="How many times more often while draining."
    )
    drain_wait: float = option(
        duration_within("0", "1h"),
        default="5s",
        unit="s",
        help="How long routers get to move traffic elsewhere before the withdrawal, when the "
        "balancer or the section leaves.",
    )
    damping: Damping | None = option(
        or_off(damping),
        default="3 in 1m",
        help="What was withdrawn so often in that time is not announced again for that long.",
    )
    last_site: str = option(
        choice("off", "keep"),
        default="off",
        help="`keep`: when none of `sites` says that it is up, the prefixes stay announced though "
        "what they stand for fails. `off`: they are withdrawn.",
    )
    sites: tuple[Endpoint, ...] = option(
        other_site,
        lines=True,
        help="The other sites, for `last-site = keep`: the `admin` address of each, one a line, as "
        "`http://ADDRESS:PORT/`. Their section has the same name.",
    )
    bfd: Timers | None = option(
        or_off(timers),
        default="off",
        help="BFD (RFC 5880) with the neighbors, by a BIRD beside ExaBGP: `3x50ms` for a packet "
        "each 50 ms, and a router that is gone after three are missing. The routers need BFD for "
        "their session with us, too. The same in all sections that have it.",
    )
    vip_device: str | None = option(
        or_off(device),
        default="lo",
        help="The device that has the prefixes' addresses while they are announced: a /32 or /128 "
        "as an address, others as a local route. `off`: that is somebody else's business.",
    )
    hold_down: float = option(
        duration_within("0", "1h"),
        default="10s",
        unit="s",
        help="How long everything must have been healthy before it is announced.",
    )
    lease: float = option(
        duration_within("1s", "1m"),
        default="3s",
        unit="s",
        help="How long a prefix stays announced when the balancer is silent: it crashed, hangs or "
        "is stopped.",
    )
    exabgp: str = option(
        choice("spawn", "external"),
        default="spawn",
        help="Who runs ExaBGP: `spawn`, the balancer; `external`, you, with the configuration that "
        "the status and the log show.",
    )

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All of them."""
        return tuple(each for line in self.when for each in line)

    def routes(self, state: str) -> dict[tuple[str, str], Route]:
        """What each neighbor gets in that state of the announcer's, by neighbor and prefix."""
        draining = state == DRAINING
        med = self.drain_med if draining and self.drain_med is not None else self.med
        tags = list(self.community or ())
        if draining:
            tags += self.drain_community or ()
        repeats = self.prepend + (self.drain_prepend if draining else 0)
        found = {}
        for line in self.neighbors:
            # A path that is given is the whole path: to another AS, with ours once without repeats.
            times = repeats + 1 if repeats and line.asn != self.local_as else repeats
            for prefix in self.prefixes:
                if prefix.version == line.version:
                    key = (line.address, str(prefix))
                    found[key] = Route(
                        str(prefix),
                        self.next_hop,
                        med,
                        tuple(dict.fromkeys(tags)),
                        (self.local_as,) * times,
                    )
        return found


def _references(settings: AnycastSettings) -> Iterable[Reference]:
    for index, line in enumerate(settings.when):
        for each in line:
            yield Reference(each.kind, each.name, "when", index, through=each.kind != "pool")


def _files(settings: AnycastSettings) -> Iterable[NamedFile]:
    for index, line in enumerate(settings.neighbors):
        if line.password_file:
            yield NamedFile(line.password_file, "neighbors", index)


def _relations(settings: AnycastSettings) -> Iterable[Finding]:
    yield from _site_relations(settings)
    versions = {line.version for line in settings.neighbors}
    for prefix in settings.prefixes:
        if prefix.version not in versions:
            family = f"IPv{prefix.version}"
            yield "prefixes", 0, f"expected an {family} neighbor to announce {prefix} to, got none"
            break
    seen: set[str] = set()
    for index, line in enumerate(settings.neighbors):
        if line.address in seen:
            yield "neighbors", index, f"expected each neighbor once, got {line.address} again"
        seen.add(line.address)
        if settings.bfd is not None and (line.multihop or line.ttl_security > 1):
            text = f"expected a neighbor on the link, for bfd, got {line.address} hops away"
            yield "neighbors", index, text
    if len(settings.neighbors) > MAX_NEIGHBORS:
        text = f"expected at most {MAX_NEIGHBORS} neighbors, got {len(settings.neighbors)}"
        yield "neighbors", MAX_NEIGHBORS, text
    if versions == {6} and settings.router_id is None:
        yield "router-id", 0, "option missing; expected one, since no neighbor has an IPv4 address"
    if settings.next_hop != "self":
        version = ip_address(settings.next_hop).version
        other = next((each for each in settings.prefixes if each.version != version), None)
        if other is not None:
            yield "next-hop", 0, f"expected an address of {other}'s family, or self"


def _site_relations(settings: AnycastSettings) -> Iterable[Finding]:
    if settings.last_site == "keep" and not settings.sites:
        yield "last-site", 0, "expected the other sites in sites, got none"
    if settings.last_site == "off" and settings.sites:
        yield "sites", 0, "expected last-site = keep, which alone asks them"
    if len(settings.sites) > MAX_SITES:
        yield "sites", MAX_SITES, f"expected at most {MAX_SITES} sites, got {len(settings.sites)}"
    for index, site in enumerate(settings.sites):
        if site in settings.sites[:index]:
            yield "sites", index, f"expected each site once, got {site} again"


def _together(
    sections: Mapping[str, AnycastSettings],
) -> Iterable[tuple[str, Finding] | None]:
    """One ExaBGP serves them all: a neighbor is the same to each, and a prefix is one section's.
    One BIRD as well."""
    yield from _timers(sections)
    owners: dict[Network, str] = {}
    neighbors: dict[str, tuple[str, object]] = {}
    routes = 0
    for name, settings in sections.items():
        routes += len(settings.routes(""))
        if routes > MAX_ROUTES:
            yield name, ("prefixes", 0, f"expected at most {MAX_ROUTES} routes in all sections")
        for prefix in settings.prefixes:
            owner = owners.setdefault(prefix, name)
            if owner != name:
                text = f"expected prefixes of no other section, got {prefix}, of [anycast {owner}]"
                yield name, ("prefixes", 0, text)
        for index, line in enumerate(settings.neighbors):
            same = (line, settings.local_as, settings.router_id, settings.bfd)
            owner, other = neighbors.setdefault(line.address, (name, same))
            if other != same:
                text = (
                    f"expected {line.address} with the options, local-as, router-id and bfd that "
                    f"it has in [anycast {owner}], got others"
                )
                yield name, ("neighbors", index, text)


def _timers(sections: Mapping[str, AnycastSettings]) -> Iterable[tuple[str, Finding]]:
    """BIRD has its timers by device, not by router."""
    first: tuple[str, Timers] | None = None
    for name, settings in sections.items():
        if settings.bfd is None:
            continue
        owner, there = first = first or (name, settings.bfd)
        if settings.bfd != there:
            text = f"expected {there}, as [anycast {owner}] has it, or off, got {settings.bfd}"
            yield name, ("bfd", 0, text)


SECTION = Section(
    kind="anycast",
    settings=AnycastSettings,
    help="Prefixes that are announced by BGP while they are served, through ExaBGP.",
    references=_references,
    files=_files,
    check=_relations,
    together=_together,
)
"""`exabgp` differs between sections without harm: the external ones have a helper of their own."""
