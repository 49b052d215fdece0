"""
The static names of one zone and what is known of them once they are all there.

A `Tree` never changes: zones that differ in their dynamic names alone share one. It knows which
names exist (empty non-terminals among them, RFC 4592 2.2.2), where the zone is cut, and what lies
below the cuts. How a query walks it is in `search`; what grows it from records, in `gathering`.

A million names are plain tuples in plain dicts, since nothing smaller can hold them: the garbage
collector forgets tuples of bytes and numbers after it saw them once, and never a NamedTuple.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

from attrs import frozen

from balancer.config.slices import Slices
from balancer.dns import codes, names
from balancer.dns.records import Record


class RRset(NamedTuple):
    """All records of one type at one name: one TTL in seconds (RFC 2181 5.2), uncompressed data."""

    type: int
    ttl: int
    datas: tuple[bytes, ...]


Plain: TypeAlias = tuple[int, int, tuple[bytes, ...]]
"""What an `RRset` is, with or without its names."""

Node: TypeAlias = tuple[Plain, ...]
"""The RRsets of one name, none for an empty non-terminal."""

Shards: TypeAlias = list[dict[bytes, Node]]
"""A dict cut into `SHARDS` by the hash of its keys."""

SHARDS: Final = 256
"""A dict of a million names grows in one step of 35 ms, and is freed in one of 350. Of 256, 0.1
and 1.5 ms."""

MASK: Final = SHARDS - 1


def shards() -> Shards:
    """Empty ones."""
    return [{} for _ in range(SHARDS)]


def find_type(node: Node, type: int) -> Plain | None:
    """The node's RRset of that type."""
    for each in node:
        if each[0] == type:
            return each
    return None


@frozen(eq=False)
class Tree:
    """
    `nodes`: what the zone is authoritative for, and the names with the cuts themselves; `below`:
    what lies below a cut, glue among it; `cuts`: the names with NS (the apex not) or DNAME, and
    where that was written.
    All names are keys.
    """

    origin: bytes
    nodes: Shards
    below: Shards
    cuts: Mapping[bytes, str]

    @property
    def size(self) -> int:
        """How many names it has."""
        return sum(map(len, self.nodes)) + sum(map(len, self.below))

    def get(self, key: bytes) -> Node | None:
        """The RRsets of a name that is not below a cut, None if there is no such name."""
        return self.nodes[hash(key) & MASK].get(key)

    def addresses(self, key: bytes) -> Node:
        """The A and AAAA RRsets of a name, be it glue or not (RFC 1034 4.3.2 6)."""
        place = hash(key) & MASK
        node = self.nodes[place].get(key) or self.below[place].get(key) or ()
        return tuple(each for each in node if each[0] in (codes.A, codes.AAAA))

    def records(self) -> Iterator[Record]:
        """Every record but the apex's, name by name, in no order of names. O(1) a step."""
        # A list of its own, so that `forgetting` takes nothing away from a transfer under way.
        return self._records([*self.nodes, *self.below])

    def _records(self, parts: Shards) -> Iterator[Record]:
        for shard in parts:
            for key, node in shard.items():
                if key != self.origin:
                    yield from records_of(key, node)

    def forgetting(self) -> Slices[None]:
        """Free a tree that no zone uses any more, in slices: a million names at once take 350 ms.
        It must not be asked afterwards."""
        for part in (self.nodes, self.below):
            while part:
                part.pop()
                yield


def records_of(name: bytes, node: Iterable[Plain]) -> Iterator[Record]:
    """The records of a node."""
    for type, ttl, datas in node:
        for data in datas:
            yield Record(name, type, ttl, data)


def planted(origin: bytes, rrsets: Mapping[bytes, Node]) -> Tree:
    """A small tree of a few names without cuts: what a zone without a file has."""
    nodes = shards()
    for key, node in {origin: (), **rrsets}.items():
        nodes[hash(key) & MASK][key] = node
        fill(key, origin, nodes)
    return Tree(origin, nodes, shards(), {})


def fill(key: bytes, origin: bytes, nodes: Shards) -> None:
    """Make the empty non-terminals between a key and the zone's apex."""
    while key != origin:
        key = names.parent(key)
        shard = nodes[hash(key) & MASK]
        if key in shard:
            return
        shard[key] = ()
