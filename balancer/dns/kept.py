"""
The zones that are served at one address, and the answers that are kept for them. Pure.

Knows what is kept, how long and how much of it. How a packet becomes an answer is `answering`'s,
and the shortest way `responder`'s.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from operator import neg
from struct import pack
from typing import Final

from attrs import frozen

from balancer.dns import codes, names
from balancer.dns.cookies import Cookies
from balancer.dns.envelope import SUBNET_AT, Envelope, SubnetEnvelope, is_subnet_alone
from balancer.dns.leftovers import Leftovers
from balancer.dns.lookup import Shape, entry_of, entry_of_shape, follows, shape_of
from balancer.dns.pools import ANYBODY
from balancer.dns.prepared import HEADS, Entries, Entry, Ready
from balancer.dns.query import Query
from balancer.dns.served import Served

MAX_ENVELOPES: Final = 4096
"""Ways of asking that are remembered: as many resolvers with a cookie each."""

MAX_SUBNETS: Final = 256
"""Ways of asking for a subnet: families, prefix lengths and sizes of UDP that there are."""

MAX_READY: Final = 16384
"""Whole packets whose answers are at hand, some 300 bytes each; when there are more, all are
forgotten and come again as they are asked."""

FREED_A_TIME: Final = 4
"""Items of tables that were given up, freed for each new answer that is kept: more than one, so
that they come to an end."""

LONGEST_TAIL: Final = 128
"""Bytes behind a question of a way of asking that is remembered: an OPT record with a cookie of 40
bytes, a client's subnet, and room for more."""

KEEPALIVE: Final = 10.0
"""Seconds that a TCP connection may be idle (RFC 7766 6.2.3 asks for a few): said to who asks."""

NO_OPT: Final = Envelope(None, b"")


@frozen
class World:
    """What a core has no way to know: `packed` makes 4 or 16 bytes of an address's text, `seconds`
    is a clock that does not jump, `unix` tells the seconds since 1970, for cookies and
    signatures."""

    packed: Callable[[str], bytes]
    seconds: Callable[[], float]
    unix: Callable[[], float]


class Kept:
    """
    What a responder knows. `nsid` is empty if the site has no name to tell.
    """

    def __init__(self, cookies: Cookies, world: World, nsid: bytes = b"") -> None:
        self.cookies = cookies
        self.nsid = nsid
        self._packed = world.packed
        self._seconds = world.seconds
        self._unix = world.unix
        self._serving: dict[Served, None] = {}
        self._zones: dict[bytes, Served] = {}
        self._lengths: list[int] = []
        self._leftovers = Leftovers()
        self._entries: Entries[bytes] = Entries(self._leftovers)
        self._shapes: Entries[Shape] = Entries(self._leftovers)
        self._table = self._entries.table
        self._envelopes: dict[bytes, Envelope] = {b"": NO_OPT}
        self._subnets: dict[bytes, SubnetEnvelope] = {}
        self._ready: dict[bytes, Ready] = {}
        self._limiting: tuple[Served, ...] | None = None

    def equip(self, cookies: Cookies, nsid: bytes) -> None:
        """Use these from now on."""
        if cookies is self.cookies and nsid == self.nsid:
            return
        self.cookies, self.nsid = cookies, nsid
        self.renewed()

    def serve(self, zones: Iterable[Served]) -> None:
        """Answer for these zones from now on, and for no others."""
        for served in tuple(self._serving):
            self.leave(served)
        for served in zones:
            self.join(served)

    def join(self, served: Served) -> None:
        """Answer for this zone too; of several with one name, for the one that joined last."""
        self._serving[served] = None
        self._zones[served.key] = served
        served.watchers.append(self)
        if len(served.key) not in self._lengths:
            insort(self._lengths, len(served.key), key=neg)
        self.renewed()

    def leave(self, served: Served) -> None:
        """Answer for this zone no more."""
        del self._serving[served]
        served.watchers.remove(self)
        key = served.key
        if self._zones[key] is served:
            del self._zones[key]
            for other in self._serving:
                if other.key == key:
                    self._zones[key] = other
        if not any(len(each) == len(key) for each in self._zones):
            self._lengths.remove(len(key))
        self.renewed()

    def outdated(self, keys: Iterable[bytes]) -> None:
        """See `served.Watcher`."""
        keys = tuple(keys)
        self._entries.drop(keys)
        self._shapes.drop(keys)
        self._forget_ready()

    def renewed(self) -> None:
        """See `served.Watcher`."""
        self._entries.clear()
        self._shapes.clear()
        self._forget_ready()
        self._subnets.clear()
        self._leftovers.take(self._envelopes)
        self._envelopes = {b"": NO_OPT}
        self._limiting = None

    def limiting(self) -> Served | None:
        """The zone whose rate limit holds for answers that are no zone's: the first that has one;
        None: none has."""
        if self._limiting is None:
            self._limiting = tuple(each for each in self._zones.values() if each.limit is not None)
        return self._limiting[0] if self._limiting else None

    def _forget_ready(self) -> None:
        self._leftovers.take(self._ready)
        self._ready = {}
        self._table = self._entries.table

    def tidy(self, count: int) -> bool:
        """Free that many of the answers that hold no more; False: there were none."""
        return self._leftovers.free(count)

    def zone_of(self, key: bytes, qtype: int = codes.A) -> Served | None:
        """The zone with the longest match (RFC 1034 4.3.2 2). A DS is the parent's to say, if that
        is served here too (RFC 4035 3.1.4.1)."""
        zones = self._zones
        if qtype == codes.DS and key in zones and key[0]:
            return self.zone_of(names.parent(key)) or zones[key]
        size = len(key)
        for length in self._lengths:
            if length <= size:
                served = zones.get(key[size - length :])
                if served is not None and names.is_within(key, served.key):
                    return served
        return None

    def entry(self, served: Served, key: bytes, qtype: int) -> Entry:
        """The entry for a name of the zone, made if it is not there."""
        question = key + pack("!HH", qtype, codes.IN)
        entry = self._table.get(question)
        if entry is not None:
            return entry
        self._leftovers.free(FREED_A_TIME)
        found = served.zone.find(key, key, qtype, ANYBODY)
        shape = shape_of(served, found, key, qtype)
        if shape is None:
            entry = entry_of(served, found, key, qtype)
            self._entries.keep(question, entry, follows(served, found))
            self._table = self._entries.table
            return entry
        entry = self._shapes.table.get(shape)
        if entry is None:
            entry = entry_of_shape(served, found, shape)
            self._shapes.keep(shape, entry, follows(served, found))
        return entry

    def _envelope(self, packet: bytes, query: Query, tcp: bool) -> Envelope:
        """What surrounds the answer; remembered where the hot path can use it again."""
        tail = packet[query.end :]
        if tcp or len(tail) > LONGEST_TAIL or not HEADS.get(packet[2:12]):
            return Envelope(query.edns, self.nsid, KEEPALIVE if tcp else None)
        if is_subnet_alone(tail, query.edns):
            if len(self._subnets) >= MAX_SUBNETS:
                self._subnets.clear()
            assert query.edns is not None
            self._subnets[tail[:SUBNET_AT]] = SubnetEnvelope(query.edns, tail)
            return Envelope(query.edns, self.nsid)
        envelopes = self._envelopes
        envelope = envelopes.get(tail)
        if envelope is None:
            envelope = Envelope(query.edns, self.nsid)
            if query.edns is not None and not query.edns.version:
                if len(envelopes) >= MAX_ENVELOPES:
                    self._leftovers.take(envelopes)
                    self._envelopes = envelopes = {b"": NO_OPT}
                envelopes[tail] = envelope
        return envelope
