"""
One question is looked up in its zone and becomes an `Entry`. Pure.

This is the long way that a question takes once, until something changes that its answer depends on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import frozen

from balancer.dns import ratelimit
from balancer.dns.codes import MNEMONICS, SERVFAIL, SOA
from balancer.dns.pools import ANYBODY, Asker, PoolName
from balancer.dns.prepared import Entry, Variant
from balancer.dns.records import Record
from balancer.dns.reply import Body, TooLong, render
from balancer.dns.served import SERIAL, Served
from balancer.dns.zone import Found

if TYPE_CHECKING:
    from balancer.dns.geo.prefixes import Territory

KINDS: Final = {
    "answer": ratelimit.ANSWERED,
    "nodata": ratelimit.NODATA,
    "nxdomain": ratelimit.NXDOMAIN,
    "referral": ratelimit.REFERRAL,
}
"""What an answer counts as for rate limits; the rest are errors."""



@frozen
class Shape:
    """Questions of one shape have one body: what differs between them is the name in the question,
    which the body points to. `source` is the wildcard, the cut or (for names that do not exist) the
    apex that answers all names of `length` bytes below it. All types that have no mnemonic are 0
    where the answer is the same for all."""

    source: bytes
    qtype: int
    length: int


def shape_of(served: Served, found: Found, key: bytes, qtype: int) -> Shape | None:
    """The shape of the question that found this; None: its name is there, and has its own entry."""
    if found.wildcard is not None and served.zone.tree.get(key) is None:
        return Shape(found.wildcard, qtype, len(key))
    if found.answers or found.wildcard is not None:  # an alias that ends at a wildcard is there
        return None
    counted = qtype if qtype in MNEMONICS else 0
    if found.kind == "nxdomain":
        return Shape(served.key, counted, len(key))
    if found.kind == "referral" and found.authority[0].name != key:
        return Shape(found.authority[0].name, counted, len(key))
    return None


def follows(served: Served, found: Found) -> tuple[bytes, ...]:
    """What the answer depends on: names that follow pools, and the serial."""
    if served.grows and any(each.type == SOA for each in (*found.authority, *found.answers)):
        return (*found.follows, SERIAL)
    return found.follows


def entry_of_shape(served: Served, found: Found, shape: Shape) -> Entry:
    """The entry for all names of one shape, one of which found this."""
    below = shape.source.removeprefix(b"\1*")
    wild = found.wildcard is not None
    for byte in range(256):
        labels = _filler(shape.length - len(below), byte)
        name = b"".join(labels) + below
        if wild:
            found = served.zone.find(name, name, shape.qtype, ANYBODY)
        if (found.wildcard == shape.source) is wild and not _mentions(found, labels[-1] + below):
            break
    return entry_of(served, found, name, shape.qtype)


def _mentions(found: Found, end: bytes) -> bool:
    """Whether a name in the data ends like that, and would be made to point into the question."""
    records = (*found.answers, *found.authority, *found.additional)
    return any(end in each.data.lower() for each in records)


def entry_of(served: Served, found: Found, key: bytes, qtype: int) -> Entry:
    """The entry for what was found of the name `key` when anybody asks."""
    names = [served.names[name] for name in found.follows if name in served.names]
    kind = ratelimit.WILDCARD if found.wildcard is not None else KINDS.get(
        found.kind, ratelimit.ERROR
    )
    own = kind in (ratelimit.ANSWERED, ratelimit.NODATA)
    asked = _Asked(served, key, qtype, kind, key if own else served.key, _last(names, qtype))
    fault = next((name.fault for name in names if name.fault is not None), None)
    # Where there is an answer it is another name's: the pool's would have gone beside it.
    if found.kind == "nodata" and any(name.refuses for name in names):
        entry = _constant(asked, Body(b"", (0, 0, 0), SERVFAIL, False))
    elif asked.last is None:
        entry = _constant(asked, body_of(found, key, names))
    elif asked.last.by_client and served.territory is not None:
        entry = _constant(asked, Body(b"", (0, 0, 0), found.rcode, True))
        entry.clients = ForClients(asked, served.territory, fault)
    else:
        entry = _in_turns(asked, ())
    entry.fault = fault
    return entry


@frozen
class _Asked:
    """What an entry is made for: `last` is the name at the end of the chain that follows a pool, if
    the answer's own records come from it."""

    served: Served
    key: bytes
    qtype: int
    kind: bytes
    name: bytes
    last: PoolName | None


def _last(names: list[PoolName], qtype: int) -> PoolName | None:
    return names[-1] if names and qtype in names[-1].types else None


def _constant(asked: _Asked, body: Body) -> Entry:
    count = asked.served.figures.answer(asked.qtype, body.rcode)
    return Entry(asked.served, asked.kind, asked.name, count, [Variant(body)])


def _in_turns(asked: _Asked, ranking: tuple[str, ...]) -> Entry:
    """The entry for clients of that ranking, its variants made as their turn comes."""
    assert asked.last is not None
    schedule = asked.last.turns(asked.qtype, ranking)
    make = partial(_variant, asked, ranking)
    variants: list[Variant | None] = [None] * len(schedule.windows)
    variants[0] = first = make(0)
    count = asked.served.figures.answer(asked.qtype, first.body.rcode)
    entry = Entry(asked.served, asked.kind, asked.name, count, variants, schedule.next)
    entry.made_by(make)
    return entry


def _variant(asked: _Asked, ranking: tuple[str, ...], turn: int) -> Variant:
    found = asked.served.zone.find(asked.key, asked.key, asked.qtype, Asker(ranking, turn))
    assert asked.last is not None
    return Variant(body_of(found, asked.key, [asked.last]))


def body_of(found: Found, key: bytes, names: Sequence[PoolName] = ()) -> Body:
    """What was found, laid out behind a question for `key`."""
    authority = authority_of(found, names)
    try:
        return render(
            key, found.answers, authority, found.additional, rcode=found.rcode, aa=found.aa
        )
    except TooLong:
        return Body(b"", (0, 0, 0), SERVFAIL, False)


def authority_of(found: Found, names: Sequence[PoolName]) -> tuple[Record, ...]:
    """The authority section. That a name which follows a pool has no data holds no longer than its
    data would."""
    if not names or found.kind != "nodata":
        return found.authority
    most = min(name.ttl for name in names)
    return tuple(each._replace(ttl=min(each.ttl, most)) for each in found.authority)


def _filler(size: int, byte: int) -> list[bytes]:
    """Labels of that many bytes in all, at least 2, each full of `byte` (in lower case)."""
    pieces = []
    while size:
        # A label of no bytes would be the end of the name.
        label = min(size - 1, 63 if size - 64 != 1 else 62)
        pieces.append(bytes((label,)) + bytes((byte,)).lower() * label)
        size -= label + 1
    return pieces


class ForClients:
    """The entries of an answer that depends on who asks, made as they are asked for."""

    __slots__ = ("_asked", "_by_place", "_fault", "_places", "_scopes")

    def __init__(
        self, asked: _Asked, territory: Territory, fault: tuple[int, str] | None
    ) -> None:
        assert asked.last is not None
        self._asked = asked
        self._fault = fault
        # Who is answered by the same place gets the same, and is of one scope.
        self._places = asked.last.places(asked.qtype, territory.rankings)
        self._scopes = asked.last.scopes(asked.qtype, territory)
        self._by_place: dict[str, Entry] = {}

    def choose(self, address: bytes) -> tuple[Entry, int]:
        """See `prepared.IsForClients`."""
        ranking, scope = self._scopes.lookup(address)
        place = self._places[ranking]
        entry = self._by_place.get(place)
        if entry is None:
            entry = _in_turns(self._asked, (place,) if place else ())
            entry.fault = self._fault
            self._by_place[place] = entry
        return entry, scope
