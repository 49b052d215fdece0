"""
A zone: a tree of static names, and dynamic names over it. Asked with `find`.

Zones that differ in their dynamic names or serial only share their tree, so that a reload that
touches no file copies nothing. Knows neither messages nor pools: a `Dynamic` is asked as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from balancer.config.slices import Slices, finish
from balancer.dns import codes, names
from balancer.dns.gathering import cut_above
from balancer.dns.records import Record
from balancer.dns.search import Dynamic, Found, Ground, Search, Spot
from balancer.dns.tree import MASK, RRset, Tree, find_type, planted, records_of

__all__ = ["BadZone", "Dynamic", "Found", "RRset", "Record", "Zone", "apex", "clashes", "planted"]

NAMES_A_SLICE: Final = 100
"""Dynamic names looked at in one slice: some 1 ms."""

REFRESH: Final = 7200
RETRY: Final = 1800
EXPIRE: Final = 1209600
"""The SOA's timers where nobody says others, in seconds: RFC 1912 2.2."""

# Types that send on to other names: the long way adds the addresses.
_LONG: Final = frozenset({codes.NS, codes.MX, codes.SRV, codes.SVCB, codes.HTTPS})
_NO_ONE: Final[Mapping[bytes, Dynamic]] = {}


class BadZone(ValueError):
    """The dynamic names do not go with the static ones. `problems` says each in words for the
    operator."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Zone:
    """
    `tree` with `dynamic` names over it, by key; their static RRsets of other types stay. A serial
    takes the place of the SOA's. Raises `BadZone`.
    """

    __slots__ = ("_dynamic", "_ground", "_nodes", "_over", "origin", "soa", "tree")

    def __init__(
        self, tree: Tree, dynamic: Mapping[bytes, Dynamic] = _NO_ONE, serial: int | None = None
    ) -> None:
        finish(self._made_of(tree, dynamic, serial))

    @classmethod
    def making(cls, tree: Tree, dynamic: Mapping[bytes, Dynamic]) -> Slices[Zone]:
        """The same in slices: 5000 dynamic names take 40 ms. Raises `BadZone`."""
        zone = cls.__new__(cls)
        yield from zone._made_of(tree, dynamic, None)
        return zone

    def _made_of(
        self, tree: Tree, dynamic: Mapping[bytes, Dynamic], serial: int | None
    ) -> Slices[None]:
        problems: list[str] = []
        for at, (key, each) in enumerate(dynamic.items()):
            problems += clashes(tree, key, each.types)
            if at % NAMES_A_SLICE == 0:
                yield
        there = tree.get(tree.origin) or ()
        soa = find_type(there, codes.SOA)
        if soa is None:
            problems.append(f"{names.to_text(tree.origin)}: expected an SOA")
        if problems or soa is None:
            raise BadZone(problems)
        self.tree = tree
        self.origin = tree.origin
        self.soa = RRset(*soa) if serial is None else _with_serial(RRset(*soa), serial)
        self._dynamic = dict(dynamic)
        self._over = self._laid_over()
        self._nodes = tree.nodes
        self._ground = Ground(tree, self._over, negative(tree.origin, self.soa))

    def _laid_over(self) -> dict[bytes, Spot]:
        """The apex with the SOA at hand, the dynamic names, and the names that are only above
        these (RFC 4592 2.2.2)."""
        tree = self.tree
        apex = tuple(
            self.soa if each[0] == codes.SOA else each for each in tree.get(tree.origin) or ()
        )
        over = {tree.origin: Spot(apex, self._dynamic.get(tree.origin))}
        for key, each in self._dynamic.items():
            if key != tree.origin:
                over[key] = Spot(tree.get(key) or (), each)
        for key in self._dynamic:
            above = names.parent(key) if key != tree.origin else key
            while above not in over and tree.get(above) is None:
                over[above] = Spot(())
                above = names.parent(above)
        return over

    @property
    def serial(self) -> int:
        return int.from_bytes(self.soa.datas[0][-20:-16], "big")

    def with_dynamic(self, dynamic: Mapping[bytes, Dynamic], serial: int | None = None) -> Zone:
        """The zone with other dynamic names over the same tree; the serial stays unless another
        is given. Costs what the dynamic names do. Raises `BadZone`."""
        return Zone(self.tree, dynamic, self.serial if serial is None else serial)

    def with_serial(self, serial: int) -> Zone:
        """The same zone with another serial. Costs next to nothing."""
        zone = Zone.__new__(Zone)
        zone.tree, zone.origin, zone._nodes = self.tree, self.origin, self._nodes
        zone._dynamic = self._dynamic
        zone.soa = _with_serial(self.soa, serial)
        apex = self._over[self.origin]
        node = tuple(zone.soa if each[0] == codes.SOA else each for each in apex.node)
        zone._over = {**self._over, self.origin: Spot(node, apex.dynamic)}
        zone._ground = Ground(self.tree, zone._over, negative(self.origin, zone.soa))
        return zone

    def find(self, name: bytes, key: bytes, qtype: int, client: object = None) -> Found:
        """
        The answer to a question for a name within the zone, spelled as it was asked, and its key
        (RFC 1034 4.3.2). `client` is for the dynamic names.
        """
        node = self._nodes[hash(key) & MASK].get(key)
        # The ordinary question, which needs no search: a static name, one RRset, nobody else's.
        if node and key not in self._over and key not in self.tree.cuts:
            for type, ttl, datas in node:
                if type == qtype and qtype not in _LONG:
                    if len(datas) == 1:
                        return Found("answer", 0, True, (Record(name, type, ttl, datas[0]),))
                    records = tuple([Record(name, type, ttl, data) for data in datas])
                    return Found("answer", 0, True, records)
        return Search(self._ground, qtype, client).run(name, key)

    def records(self) -> Iterator[Record]:
        """
        Every record but the SOA, those of the apex first: what stands between the two SOAs of a
        transfer (RFC 5936 2.2). A step takes O(1). Dynamic names give what they give a client
        that nobody knows. The tree may be forgotten meanwhile.
        """
        return self._records(self.tree.records())

    def _records(self, static: Iterator[Record]) -> Iterator[Record]:
        for type, ttl, datas in self._over[self.origin].node:
            if type != codes.SOA:
                yield from records_of(self.origin, ((type, ttl, datas),))
        for key, dynamic in self._dynamic.items():
            for type in sorted(dynamic.types):
                rrset = dynamic.records(type, None)
                if rrset is not None:
                    yield from records_of(key, (rrset,))
        yield from static


def clashes(tree: Tree, key: bytes, types: frozenset[int]) -> Iterator[str]:
    """Why the name cannot have dynamic records of those types in that zone."""
    text = names.to_text(key)
    if not names.is_within(key, tree.origin):
        yield f"{text}: expected a name within {names.to_text(tree.origin)}"
        return
    cut = key if key in tree.cuts and key != tree.origin else cut_above(key, tree.origin, tree.cuts)
    if cut is not None:
        yield (
            f"{text}: expected no NS or DNAME at {names.to_text(cut)} ({tree.cuts[cut]}), which "
            "gives this name away; remove it or the answer"
        )
    for type, _, _ in tree.get(key) or ():
        if type == codes.CNAME or type in types:
            yield (
                f"{text}: expected no {codes.type_text(type)} of its own in the zone beside the "
                "answer of a pool; remove one of them"
            )


def _with_serial(soa: RRset, serial: int) -> RRset:
    data = soa.datas[0]
    return soa._replace(datas=(data[:-20] + serial.to_bytes(4, "big") + data[-16:],))


def negative(origin: bytes, soa: RRset) -> Record:
    """The SOA of negative answers: it lives as long as they do (RFC 2308 5)."""
    data = soa.datas[0]
    return Record(origin, codes.SOA, min(soa.ttl, int.from_bytes(data[-4:], "big")), data)


def apex(
    origin: bytes, ns: Sequence[bytes], contact: bytes, serial: int, ttl: int = 3600
) -> tuple[RRset, RRset]:
    """
    The SOA and NS of a zone without a file or without these in it: its servers' names, the first
    being the primary one, and the mailbox of whoever minds it as a name (RFC 1035 3.3.13). `ttl`
    is that of both and of negative answers. Raises ValueError without servers.
    """
    if not ns:
        raise ValueError(f"at least one name server of {names.to_text(origin)}")
    numbers = (serial, REFRESH, RETRY, EXPIRE, ttl)
    data = ns[0] + contact + b"".join(number.to_bytes(4, "big") for number in numbers)
    servers = tuple(dict.fromkeys(ns))
    return RRset(codes.SOA, ttl, (data,)), RRset(codes.NS, ttl, servers)
