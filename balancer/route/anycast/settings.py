"""
The options of `[anycast NAME]`, declared. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, ip_address
from typing import Final

from attrs import frozen

from balancer.config.schema import Finding, Reference, Section, option
from balancer.config.values import (
    Network,
    NotBuilt,
    Unreadable,
    choice,
    duration_within,
    integer,
    modifiers,
    network,
    or_off,
    path,
)
from balancer.route.anycast.announcer import DRAINING
from balancer.route.anycast.damping import Damping
from balancer.route.anycast.frames import MAX_ROUTES
from balancer.route.anycast.lines import Route
from balancer.route.anycast.when import Condition, conditions

MAX_PREFIXES: Final = 256
"""Prefixes of one section. An anycast service has a handful; a whole table is a router's work."""

MAX_NEIGHBORS: Final = 16
"""Neighbors of one section: the routers of a rack or two."""

MAX_COMMUNITIES: Final = 32

MAX_PREPEND: Final = 20
"""Repeats of our AS: what routers of the world drop for its length begins at some 50."""

AS_TRANS: Final = 23456
"""Nobody's AS (RFC 6793, 9)."""

_32_BITS: Final = 2**32 - 1

_WELL_KNOWN: Final = {
    "graceful-shutdown": "65535:0",
    "blackhole": "65535:666",
    "no-export": "65535:65281",
    "no-advertise": "65535:65282",
    "no-peer": "65535:65284",
}
"""RFC 8326, RFC 7999, RFC 1997, RFC 3765."""

_DEVICE: Final = re.compile(r"[^\s/:]{1,15}")
"""What the kernel takes for a name of a device (dev_valid_name)."""

_DAMPING: Final = re.compile(r"([0-9]{1,3}) in (\S+)")


@frozen
class NeighborLine:
    """A router that we speak BGP with. `hold_time` in seconds; 0 for what is not given."""

    address: str
    asn: int
    password_file: str = ""
    multihop: int = 0
    ttl_security: int = 0
    hold_time: int = 30

    @property
    def version(self) -> int:
        """4 or 6: it gets prefixes of that family."""
        return ip_address(self.address).version


def _asn(text: str) -> int:
    number = integer(1, _32_BITS - 1)(text)
    if number == AS_TRANS:
        raise Unreadable(f"an AS number other than {AS_TRANS}", text)
    return number


def _hold_time(text: str) -> int:
    # RFC 4271 4.2: 0 or at least 3 s. With 0, silence would never be noticed.
    seconds = duration_within("3s", "65535s")(text)
    if seconds != int(seconds):
        raise Unreadable("whole seconds", text)
    return int(seconds)


def _address(text: str) -> str:
    try:
        if "%" in text:
            raise NotBuilt(text)
        return str(ip_address(text))
    except NotBuilt:
        raise
    except ValueError:
        raise Unreadable("an IP address such as 192.0.2.1 or 2001:db8::1", text) from None


def neighbor(text: str) -> NeighborLine:
    """`ADDRESS as=N [password-file=P] [multihop=N] [ttl-security=N] [hold-time=30s]`."""
    first, *words = text.split() or [""]
    if not words:
        raise Unreadable("ADDRESS as=N, such as 192.0.2.1 as=65001", text)
    address = _address(first)
    keys: Mapping[str, Callable[[str], object]] = {
        "as": _asn,
        "password-file": path,
        "multihop": integer(2, 255),
        "ttl-security": integer(1, 254),
        "hold-time": _hold_time,
    }
    found = modifiers(words, keys)
    if "as" not in found:
        raise Unreadable("ADDRESS as=N", text)
    if "multihop" in found and "ttl-security" in found:
        raise Unreadable("multihop= or ttl-security=, not both", text)
    asn = found.pop("as")
    return NeighborLine(address, asn, **{key.replace("-", "_"): v for key, v in found.items()})


def prefixes(text: str) -> tuple[Network, ...]:
    """Networks with spaces or commas between them, each once."""
    words = text.replace(",", " ").split()
    if not words:
        raise Unreadable("prefixes such as 192.0.2.53/32 2001:db8::53/128")
    found = tuple(dict.fromkeys(network(word) for word in words))
    if len(found) > MAX_PREFIXES:
        raise Unreadable(f"at most {MAX_PREFIXES} prefixes", f"{len(found)} of them")
    for each in found:
        if each.prefixlen == 0:
            raise Unreadable("a prefix that is not the whole internet", str(each))
        if each.is_multicast or each.is_loopback or each.is_link_local:
            raise Unreadable("a prefix of unicast addresses that may be routed", str(each))
    return found


def communities(text: str) -> tuple[str, ...]:
    """Communities of RFC 1997 (65000:100), RFC 8092 (65000:1:2), and a few by name."""
    found = [_community(word) for word in text.replace(",", " ").split()]
    if not 0 < len(found) <= MAX_COMMUNITIES:
        raise Unreadable(f"1 to {MAX_COMMUNITIES} communities such as 65000:100", text)
    return tuple(dict.fromkeys(found))


def _community(word: str) -> str:
    if word in _WELL_KNOWN:
        return _WELL_KNOWN[word]
    parts = word.split(":")
    most = {2: 65535, 3: _32_BITS}.get(len(parts), -1)
    if not all(re.fullmatch(r"[0-9]{1,10}", part) and int(part) <= most for part in parts):
        expected = f"a community such as 65000:100, 65000:1:2, {', '.join(_WELL_KNOWN)}"
        raise Unreadable(expected, word)
    return ":".join(str(int(part)) for part in parts)


def damping(text: str) -> Damping:
    """`3 in 1m`."""
    match = _DAMPING.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= 100:
        raise Unreadable("a number of withdrawals from 1 to 100 and a time, such as 3 in 1m")
    return Damping(int(match[1]), duration_within("1s", "1d")(match[2]))


def next_hop(text: str) -> str:
    """`self` or an IP address."""
    if not text:
        raise Unreadable("self, or an IP address such as 192.0.2.1", text)
    return text if text == "self" else _address(text)


def router_id(text: str) -> str:
    """Four bytes, not zero, written as an IPv4 address (RFC 6286, 2.1)."""
    expected = "four bytes that are not zero, such as 192.0.2.1"
    try:
        found = IPv4Address(text)
    except ValueError:
        raise Unreadable(expected, text) from None
    if int(found) == 0:
        raise Unreadable(expected, text)
    return str(found)


def device(text: str) -> str:
    """A network device's name."""
    if _DEVICE.fullmatch(text) is None or text in (".", ".."):
        raise Unreadable("the name of a network device such as lo")
    return text


_MED: Final = integer(0, _32_BITS)
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
    local_as: int = option(_asn, required=True, help="Our AS number.")
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
        choice("off", later=("keep",)),
        default="off",
        help="Whether the last site that announces a prefix keeps it although it is not healthy.",
    )
    sites: str | None = option(path, later=True, help="The other sites, for `last-site`.")
    bfd: str = option(
        choice("off"), default="off", later=True, help="BFD timers (RFC 5880): `3x50ms`."
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


def _relations(settings: AnycastSettings) -> Iterable[Finding]:
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


def _together(
    sections: Mapping[str, AnycastSettings],
) -> Iterable[tuple[str, Finding] | None]:
    """One ExaBGP serves them all: a neighbor is the same to each, and a prefix is one section's."""
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
            same = (line, settings.local_as, settings.router_id)
            owner, other = neighbors.setdefault(line.address, (name, same))
            if other != same:
                text = (
                    f"expected {line.address} with the options, local-as and router-id that it has "
                    f"in [anycast {owner}], got others"
                )
                yield name, ("neighbors", index, text)


SECTION = Section(
    kind="anycast",
    settings=AnycastSettings,
    help="Prefixes that are announced by BGP while they are served, through ExaBGP.",
    references=_references,
    check=_relations,
    together=_together,
)
"""`exabgp` differs between sections without harm: the external ones have a helper of their own."""
