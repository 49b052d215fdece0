"""
Who is nearest to an address, and for which prefix around it that answer holds.

A `Territory` is the tree of all prefixes, with rankings at its leaves. Each node also knows the set
of rankings beneath it, so that a query goes down from the root to the first node whose rankings all
lead to one answer: the widest prefix, as RFC 7871 7.2.1 wants a scope. Knows rankings as numbers,
and nothing of databases, places and servers. Pure.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Sequence
from typing import Final, Protocol

from attrs import frozen

from balancer.config.slices import Slices
from balancer.dns.geo.nodes import SHARDS, Nodes

MAX_MEMBERS: Final = 32
"""Rankings that a set lists; a larger set is a pair of sets. Some 300 bytes."""

MAX_STEPS: Final = 2000
"""Rankings and sets that one query may look at, some 0.3 ms. A query that would need more gets a
scope that is right, but may be narrower than it could be; what it found out, the next ones know."""

MAX_REMEMBERED: Final = 8192
"""Networks whose scope a `Scopes` remembers, some 2 MB; then it begins anew, as Python's `re`."""

_NODES_A_SLICE: Final = 512
"""Some 3 ms where every set is a new one."""

_MIXED: Final = -1
_UNFINISHED: Final = -2

V4_BITS: Final = 32
V6_BITS: Final = 128
_V4_BYTES: Final = 4
_V4_NETWORK: Final = 3  # bytes of a /24
_V6_NETWORK: Final = 7  # bytes of a /56


class Answers(Protocol):
    """An answer for each ranking's number, as a sequence has them; each is asked for but once, when
    it is first needed, so they may be made on the way."""

    def __getitem__(self, ranking: int, /) -> Hashable: ...


class Sets:
    """
    Sets of rankings; one with at most MAX_MEMBERS is there but once.

    A *reference* below zero is the set of `~reference` alone; any other is the number of a set.
    The `parts` of a set are references whose union it is.
    """

    def __init__(self) -> None:
        self.parts: list[tuple[int, ...]] = []
        self._known: list[dict[tuple[int, ...], int]] = [{} for _ in range(SHARDS)]
        self._joined: list[dict[int, int]] = [{} for _ in range(SHARDS)]

    def join(self, one: int, other: int) -> int:
        """The union of two sets."""
        if one == other:
            return one
        key = (one << 32) + other if one < other else (other << 32) + one
        shard = self._joined[(one ^ other) % SHARDS]
        known = shard.get(key)
        if known is None:
            known = shard[key] = self._union(one, other)
        return known

    def forgetting(self) -> Slices[None]:
        """Forget which sets are there, as nothing will be joined any more."""
        while self._known:
            self._known.pop()
            self._joined.pop()
            yield

    def _union(self, one: int, other: int) -> int:
        members = sorted({*self._members(one), *self._members(other)})
        parts = tuple(members) if len(members) <= MAX_MEMBERS else (one, other)
        known = self._known[hash(parts) % SHARDS].setdefault(parts, len(self.parts))
        if known == len(self.parts):
            self.parts.append(parts)
        return known

    def _members(self, reference: int) -> tuple[int, ...]:
        return (reference,) if reference < 0 else self.parts[reference]


@frozen(eq=False)
class Territory:
    """
    Every address of both families and its ranking.

    `rankings[n]` are the names of places, best first; `rankings[0]` is empty: no place can claim
    the client. IPv4-mapped addresses (::ffff:0:0/96) are IPv4 ones.
    """

    rankings: tuple[tuple[str, ...], ...]
    left: array[int]
    right: array[int]
    sets: array[int]
    parts: Sequence[tuple[int, ...]]
    v4: int
    v6: int

    def ranking(self, address: bytes) -> int:
        """The number of the ranking for an address of 4 or 16 bytes."""
        left, right = self.left, self.right
        node, shift = (self.v4, V4_BITS) if len(address) == _V4_BYTES else (self.v6, V6_BITS)
        bits = int.from_bytes(address, "big")
        while node >= 0:
            shift -= 1
            node = right[node] if bits >> shift & 1 else left[node]
        return ~node

    def scope(self, address: bytes, answer_of: Answers) -> tuple[int, int]:
        """A ranking that gives the answer for `address`, and the length of the widest prefix around
        it that gets this answer throughout; 0 when all of the family does. See `Scopes`."""
        return Scopes(self, answer_of).lookup(address)


def surveying(
    rankings: tuple[tuple[str, ...], ...], nodes: Nodes, v4: int, v6: int
) -> Slices[Territory]:
    """The territory of a tree whose leaves are rankings: finds the sets beneath its nodes."""
    sets = Sets()
    beneath = array("i")
    for node in range(len(nodes)):
        if node % _NODES_A_SLICE == 0:
            yield
        left, right = nodes.left[node], nodes.right[node]
        beneath.append(sets.join(
            beneath[left] if left >= 0 else left, beneath[right] if right >= 0 else right
        ))
    yield from sets.forgetting()
    return Territory(rankings, nodes.left, nodes.right, beneath, sets.parts, v4, v6)


class Scopes:
    """
    The scopes of a territory while rankings lead to the answers `answer_of`, by ranking.

    Make one for each state of answers and keep it while the state lasts. Equal answers are one.
    """

    __slots__ = ("_answers", "_firsts", "_left", "_remembered", "_same", "_values", "territory")

    def __init__(self, territory: Territory, answer_of: Answers) -> None:
        self.territory = territory
        self._answers = answer_of
        self._firsts: dict[Hashable, int] = {}
        self._same: dict[int, int] = {}
        self._values: dict[int, int] = {}
        self._remembered: dict[bytes, tuple[int, int]] = {}
        self._left = 0

    def lookup(self, address: bytes) -> tuple[int, int]:
        """
        A ranking that gives the answer for an `address` of 4 or 16 bytes, not always the address's
        own (`Territory.ranking` tells that), and how many leading bits of it share the answer.
        """
        network = address[:_V4_NETWORK if len(address) == _V4_BYTES else _V6_NETWORK]
        known = self._remembered.get(network) or self._remembered.get(address)
        return known if known is not None else self._search(address, network)

    def _search(self, address: bytes, network: bytes) -> tuple[int, int]:
        self._left = MAX_STEPS
        ranking, length = self._descend(address)
        if self._left >= 0:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            # A scope within the /24 or /56 says nothing of the others there.
            key = network if length <= 8 * len(network) else address
            self._remembered[key] = ranking, length
        return ranking, length

    def _descend(self, address: bytes) -> tuple[int, int]:
        territory, values = self.territory, self._values
        left, right, sets = territory.left, territory.right, territory.sets
        width = 8 * len(address)
        node = territory.v4 if width == V4_BITS else territory.v6
        bits, shift = int.from_bytes(address, "big"), width
        while node >= 0:
            value = values.get(sets[node])
            if value is None:
                value = self._value(sets[node])
            if value >= 0:
                return value, width - shift
            shift -= 1
            node = right[node] if bits >> shift & 1 else left[node]
        return self._first(~node), width - shift

    def _value(self, reference: int) -> int:
        """The first ranking met with the one answer of a set; _MIXED if it has several,
        _UNFINISHED if finding out takes more steps than this query has left."""
        if reference < 0:
            return self._first(~reference)
        known = self._values.get(reference)
        if known is not None:
            return known
        parts = self.territory.parts[reference]
        self._left -= len(parts)
        if self._left < 0:
            return _UNFINISHED
        result = self._value(parts[0])
        for part in parts:
            if result < 0:
                break
            value = self._value(part)
            if value != result:
                result = min(value, _MIXED)
        if result != _UNFINISHED:
            self._values[reference] = result
        return result

    def _first(self, ranking: int) -> int:
        """The first ranking met with the answer of `ranking`."""
        known = self._same.get(ranking)
        if known is None:
            answer = self._answers[ranking]
            known = self._same[ranking] = self._firsts.setdefault(answer, ranking)
        return known
