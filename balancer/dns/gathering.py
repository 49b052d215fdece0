"""
Records one by one, in any order, become the `Tree` of a zone.

Each record is held against what is already there as it comes (RFC 1034 3.6.2, 2181 5 and 10.1,
6672 2.3), the whole when all are there. Knows records and names, not where they were written but
by words that whoever adds them gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Final

from balancer.config.slices import Slices
from balancer.dns import codes, names, rdata
from balancer.dns.notes import Fault, Notes
from balancer.dns.tree import MASK, Node, Plain, Shards, Tree, fill, find_type, shards

MAX_DATAS: Final = 4000
"""Records in one RRset: more addresses than that fit into no message of 64 KiB. BIND 9.18.28 has
100 (max-records-per-type)."""

MAX_TYPES: Final = 100
"""RRsets at one name: BIND's max-types-per-name."""

NAMES_A_SLICE: Final = 2000
"""Names settled before others have their turn: about 3 ms."""

CUTS_A_SLICE: Final = 150
"""Delegations checked before others have their turn: about 3 ms."""

# RFC 6895 3.1: no data of these types are stored anywhere.
_META: Final = frozenset({0, codes.OPT, *range(128, 256)})

# Data that are one name are the same in any case (RFC 4343 3).
_ONE_NAME: Final = frozenset({codes.NS, codes.CNAME, codes.PTR, codes.DNAME})

# RFC 1034 3.6.2, RFC 6672 2.4, RFC 1035 6.1.
_SINGLE: Final = frozenset({codes.CNAME, codes.DNAME, codes.SOA})

SPECIAL: Final = frozenset({codes.SOA, codes.NS, codes.CNAME, codes.DNAME})
"""Types that concern more than their own RRset: these must go through `Gathering.add`."""


class Gathering:
    """What has come so far. `nodes` may be added to directly where nothing can clash: another
    type than `SPECIAL`, the first RRset of its name."""

    def __init__(self, origin: bytes) -> None:
        self.origin = origin
        self.nodes: Shards = shards()
        self.cuts: dict[bytes, str] = {}

    def add(self, key: bytes, one: tuple[int, int, bytes], where: object) -> str | None:
        """
        Take the record (type, TTL, data) at a name within the zone. `where` becomes text only if
        it is needed. Returns a warning that completes 'expected ...', or None. Raises `Fault`;
        then nothing has changed.
        """
        type, ttl, data = one
        shard = self.nodes[hash(key) & MASK]
        node = shard.get(key, ())
        there = None
        if type in SPECIAL or type in _META:
            self._check(key, type, node)
        for each in node:
            if each[0] == type:
                there = each
            elif each[0] == codes.CNAME:
                raise _not_alone(key, type)
        if there is not None:
            return self._extend(key, there, (ttl, data))
        if len(node) >= MAX_TYPES:
            raise Fault(f"at most {MAX_TYPES} types at one name")
        shard[key] = (*node, (type, ttl, (data,)))
        if type == codes.DNAME or (type == codes.NS and key != self.origin):
            self.cuts.setdefault(key, str(where))
        return None

    def _check(self, key: bytes, type: int, node: Node) -> None:
        """Whether a record of a type with rules of its own may stand there."""
        if type in _META:
            raise Fault("a type that zones hold", codes.type_text(type))
        if type == codes.SOA and key != self.origin:
            raise Fault(f"SOA at {names.to_text(self.origin)} only", names.to_text(key))
        if type in (codes.NS, codes.DNAME):
            if key.startswith(b"\x01*"):
                # RFC 4592 4.2 and 4.4 leave open what it would mean.
                raise Fault(f"no {codes.type_text(type)} at a wildcard", names.to_text(key))
            other = codes.NS + codes.DNAME - type
            if key != self.origin and find_type(node, other) is not None:
                # RFC 6672 2.3
                raise Fault(f"either NS or DNAME at {names.to_text(key)}", "NS and DNAME")
        if type == codes.CNAME:
            if key == self.origin:
                raise Fault("no CNAME at the zone's own name; an answer of a pool can be there")
            if node and node[0][0] != codes.CNAME:
                raise _not_alone(key, node[0][0])

    def _extend(self, key: bytes, there: Plain, new: tuple[int, bytes]) -> str | None:
        """One more record of a type that is there."""
        type, ttl, datas = there
        own, data = new
        least = min(ttl, own)
        if not _among(type, data, datas):
            if type in _SINGLE:
                word = codes.type_text(type)
                raise Fault(f"one {word} at {names.to_text(key)}", rdata.to_text(type, data))
            if len(datas) >= MAX_DATAS:
                raise Fault(f"at most {MAX_DATAS} records of one type at one name")
            datas = (*datas, data)
        shard = self.nodes[hash(key) & MASK]
        shard[key] = tuple(
            (type, least, datas) if each[0] == type else each for each in shard[key]
        )
        if own == ttl:
            return None
        what = f"{names.to_text(key)} {codes.type_text(type)}"
        return f"one TTL for all of {what}; the least, {least}, is taken"


def _not_alone(key: bytes, other: int) -> Fault:
    """RFC 1034 3.6.2, RFC 2181 10.1."""
    return Fault(f"CNAME alone at {names.to_text(key)}", f"CNAME and {codes.type_text(other)}")


def _among(type: int, data: bytes, datas: tuple[bytes, ...]) -> bool:
    if type in _ONE_NAME:
        return data.lower() in [each.lower() for each in datas]
    return data in datas


def settling(gathered: Gathering, path: str, found: tuple[Notes, Notes]) -> Slices[Tree]:
    """
    The tree of all that was gathered, which is used up. What is wrong with the whole zone goes to
    the problems and warnings `found`, `path` first.
    """
    problems, warnings = found
    origin = gathered.origin
    apex = gathered.nodes[hash(origin) & MASK].get(origin, ())
    for type in (codes.SOA, codes.NS):
        if find_type(apex, type) is None:
            word = codes.type_text(type)
            problems.add(path, f"{word} at {names.to_text(origin)}, which has none")
    below = shards()
    if gathered.cuts:
        yield from _cutting(gathered, below)
    yield from _filling(gathered)
    tree = Tree(origin, gathered.nodes, below, gathered.cuts)
    yield from _checking(tree, path, warnings)
    return tree


def _cutting(gathered: Gathering, below: Shards) -> Slices[None]:
    """Move what lies below a cut out of what the zone is authoritative for."""
    done = 0
    for shard, lower in zip(gathered.nodes, below, strict=True):
        for key in [each for each in shard if cut_above(each, gathered.origin, gathered.cuts)]:
            lower[key] = shard.pop(key)
            gathered.cuts.pop(key, None)  # what lies below it lies below the cut above it too
        done += len(shard)
        if done >= NAMES_A_SLICE:
            done = 0
            yield


def cut_above(key: bytes, origin: bytes, cuts: Iterable[bytes]) -> bytes | None:
    """The cut nearest above a key of the zone, itself not."""
    while key != origin:
        key = names.parent(key)
        if key in cuts:
            return key
    return None


def _filling(gathered: Gathering) -> Slices[None]:
    done = 0
    for shard in gathered.nodes:
        for key in list(shard):
            fill(key, gathered.origin, gathered.nodes)
        done += len(shard)
        if done >= NAMES_A_SLICE:
            done = 0
            yield


def _checking(tree: Tree, path: str, warnings: Notes) -> Slices[None]:
    """Warn of name servers without addresses, and of what no query will ever see."""
    glue: list[set[bytes]] = [set() for _ in tree.below]
    for at, (key, where) in enumerate(chain([(tree.origin, path)], tree.cuts.items()), 1):
        there = find_type(tree.get(key) or (), codes.NS)
        for data in there[2] if there is not None else ():
            target = data.lower()
            place = hash(target) & MASK
            if target in tree.below[place]:
                glue[place].add(target)
            if names.is_within(target, tree.origin) and not _has_address(tree, target, key):
                _warn_lonely(key, target, where, warnings)
        if not at % CUTS_A_SLICE:
            yield
    yield
    for shard, wanted in zip(tree.below, glue, strict=True):
        for key, node in shard.items():
            if key not in wanted or any(t not in (codes.A, codes.AAAA) for t, _, _ in node):
                _warn_hidden(tree, key, warnings)
        wanted.clear()  # all at once would take long
        yield


def _warn_lonely(zone: bytes, server: bytes, where: str, warnings: Notes) -> None:
    if warnings.full:
        warnings.skip()
    else:
        words = f"A or AAAA of {names.to_text(server)}, a name server of {names.to_text(zone)}"
        warnings.add(where, words)


def _has_address(tree: Tree, key: bytes, zone: bytes) -> bool:
    """Whether a server of `zone`, which has its NS in this tree, has an address here or needs
    none: below another zone's cut its addresses are not ours (RFC 1034 4.2.1)."""
    cut = key if key in tree.cuts else cut_above(key, tree.origin, tree.cuts)
    if cut is not None and cut != zone:
        return True
    if cut is None and tree.get(key) is None:
        encloser = next(each for each in names.ancestors(key) if tree.get(each) is not None)
        key = names.wildcard(encloser)
    return bool(tree.addresses(key))


def _warn_hidden(tree: Tree, key: bytes, warnings: Notes) -> None:
    cut = None if warnings.full else cut_above(key, tree.origin, tree.cuts)
    if cut is None:
        warnings.skip()
        return
    kind = "the DNAME" if find_type(tree.get(cut) or (), codes.DNAME) else "the delegation"
    warnings.add(
        tree.cuts[cut],
        f"below {kind} of {names.to_text(cut)} nothing but addresses of name servers",
        names.to_text(key),
    )
