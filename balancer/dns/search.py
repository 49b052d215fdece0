"""
How a question finds its answer in a zone: RFC 1034 4.3.2 with 2308, 4592, 6672 and 8482.

Knows the names of one zone, static and dynamic, and no message. What a zone is made of, and the
short way for the ordinary question, is in `zone`.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from balancer.dns import codes, names, rdata
from balancer.dns.records import Record
from balancer.dns.tree import Node, Plain, RRset, Tree, find_type, records_of

MAX_CHAIN: Final = 16
"""Names that one question follows through CNAME and DNAME. BIND restarts a query 11 times, Knot
follows 20."""

MAX_ADDITIONAL: Final = 32
"""Records of an additional section: more are no help, and every one is looked up."""

_ADDRESSES: Final = frozenset({codes.A, codes.AAAA})
_NOT_FOLLOWED: Final = frozenset({codes.CNAME, codes.ANY})


class Dynamic(Protocol):
    """
    A name whose answers follow something that changes. `records` gives the RRset of one of its
    `types` for one client, None for no data.

    One whose answers are the same for every client may say so by an attribute `for_all = True`;
    then its addresses go into additional sections as static ones do.
    """

    @property
    def types(self) -> frozenset[int]:
        """The types that it answers, fixed for its life."""

    def records(self, qtype: int, client: object) -> RRset | None:
        """What a client gets that asks for the type."""


class Found(NamedTuple):
    """
    What a zone has to say to a question.

    `kind` is of the last name that the question came to: 'answer', 'nodata', 'nxdomain',
    'referral', 'dname-too-long', or 'outside' (no name of this zone: nothing is said). `answers`
    may then still hold the aliases on the way. `wildcard` is the key of the wildcard that
    stands for the question's own name, `follows` the keys of the dynamic names that were asked.
    """

    kind: str
    rcode: int
    aa: bool
    answers: tuple[Record, ...]
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    wildcard: bytes | None = None
    follows: tuple[bytes, ...] = ()


class Spot(NamedTuple):
    """What is at a name: static RRsets, and whoever answers dynamically, if anybody."""

    node: Node
    dynamic: Dynamic | None = None


class Ground(NamedTuple):
    """A zone to be searched: its tree, what lies over it (apex and dynamic names, the empty
    non-terminals above these), and the SOA of negative answers."""

    tree: Tree
    over: dict[bytes, Spot]
    negative: Record

    def spot(self, key: bytes) -> Spot | None:
        """What is at a name that is not below a cut, None if there is no such name."""
        found = self.over.get(key)
        if found is not None:
            return found
        node = self.tree.get(key)
        return None if node is None else Spot(node)


    def encloser(self, key: bytes) -> tuple[bytes, Spot]:
        """The longest name above a key that is there (RFC 4592 3.3.1), and what is at it. From the
        apex down: what is not there has nothing below it, and a name of 127 labels costs no more
        than the zone is deep."""
        starts = []
        at, end = 0, len(key) - len(self.tree.origin)
        while at < end:
            starts.append(at)
            at += 1 + key[at]
        found = self.tree.origin
        spot = self.spot(found)
        for start in reversed(starts):
            below = self.spot(key[start:])
            if below is None:
                break
            found, spot = key[start:], below
        assert spot is not None  # the apex is there
        return found, spot


class Search:
    """One question, from its name along the aliases to its end."""

    __slots__ = ("_additional", "_answers", "_client", "_follows", "_ground", "_qtype", "_wildcard")

    def __init__(self, ground: Ground, qtype: int, client: object) -> None:
        self._ground = ground
        self._qtype = qtype
        self._client = client
        self._answers: list[Record] = []
        self._additional: list[Record] = []
        self._follows: list[bytes] = []
        self._wildcard: bytes | None = None

    def run(self, name: bytes, key: bytes) -> Found:
        """The answer for the name, spelled as it was asked, and its key."""
        if not names.is_within(key, self._ground.tree.origin):
            return Found("outside", codes.REFUSED, False, ())
        seen: set[bytes] = set()
        while key not in seen and len(seen) < MAX_CHAIN:
            if not names.is_within(key, self._ground.tree.origin):
                break  # another zone's: the asker goes on there
            seen.add(key)
            step = self._step(name, key)
            if isinstance(step, Found):
                return step
            name, key = step, step.lower()
        # A loop, a chain too long, or out of the zone: what was found is all there is.
        return self._found("answer", codes.NOERROR)

    def _found(self, kind: str, rcode: int, authority: tuple[Record, ...] = ()) -> Found:
        aa = kind != "referral" or bool(self._answers)
        return Found(
            kind, rcode, aa, tuple(self._answers), authority, tuple(self._additional),
            self._wildcard, tuple(dict.fromkeys(self._follows)),
        )  # fmt: skip

    def _step(self, name: bytes, key: bytes) -> Found | bytes:
        """What is at one name: the end, or the name to go on with."""
        ground = self._ground
        cuts = ground.tree.cuts
        spot = ground.spot(key)
        if spot is not None:
            if key in cuts and self._is_cut(key, spot.node):
                return self._refer(key, spot.node)
            return self._take(name, key, spot)
        encloser, above = ground.encloser(key)
        if encloser in cuts:
            dname = find_type(above.node, codes.DNAME)
            if dname is None:
                return self._refer(encloser, above.node)
            return self._redirect(name, len(name) - len(encloser), dname)
        source = names.wildcard(encloser)
        spot = ground.spot(source)
        if spot is None:
            return self._found("nxdomain", codes.NXDOMAIN, (ground.negative,))
        if not self._answers:
            self._wildcard = source
        return self._take(name, source, spot)

    def _is_cut(self, key: bytes, node: Node) -> bool:
        """Whether what is asked at the name itself is the child zone's to say: all but DS (RFC
        4035 3.1.4.1). The owner of a DNAME is still the zone's own."""
        return self._qtype != codes.DS and find_type(node, codes.NS) is not None \
            and key != self._ground.tree.origin  # fmt: skip

    def _refer(self, cut: bytes, node: Node) -> Found:
        servers = find_type(node, codes.NS)
        if servers is None:
            raise AssertionError("a cut without NS and DNAME")
        self._add_addresses(cut, cut, (servers,))
        return self._found("referral", codes.NOERROR, tuple(records_of(cut, (servers,))))

    def _redirect(self, name: bytes, prefix: int, dname: Plain) -> Found | bytes:
        """RFC 6672 3.1: the DNAME, and the CNAME that it makes for this name."""
        _, ttl, (target,) = dname
        self._answers.append(Record(name[prefix:], codes.DNAME, ttl, target))
        made = name[:prefix] + target
        if len(made) > names.MAX_NAME:
            return self._found("dname-too-long", codes.YXDOMAIN)
        self._answers.append(Record(name, codes.CNAME, ttl, made))
        if self._qtype in _NOT_FOLLOWED:
            return self._found("answer", codes.NOERROR)
        return made

    def _take(self, name: bytes, key: bytes, spot: Spot) -> Found | bytes:
        """Answer for `name` from what is at `key`: the name itself, or a wildcard for it."""
        alias = find_type(spot.node, codes.CNAME)
        if alias is not None and self._qtype not in _NOT_FOLLOWED:
            self._answers += records_of(name, (alias,))
            return alias[2][0]
        one = self._choose(key, spot)
        if one is None or not one[2]:
            return self._found("nodata", codes.NOERROR, (self._ground.negative,))
        self._answers += records_of(name, (one,))
        self._add_addresses(name, key, (one,))
        return self._found("answer", codes.NOERROR)

    def _choose(self, key: bytes, spot: Spot) -> Plain | None:
        """The RRset that was asked for. For ANY it is the smallest that is there, a static one if
        there is any: RFC 8482 4.1, so that nobody is worth asking for the size of the answer."""
        if self._qtype != codes.ANY:
            return self._of_type(key, spot, self._qtype)
        if spot.node:
            return min(spot.node, key=lambda one: sum(map(len, one[2])))
        for type in sorted(spot.dynamic.types) if spot.dynamic is not None else ():
            one = self._of_type(key, spot, type)
            if one is not None and one[2]:
                return one
        return None

    def _of_type(self, key: bytes, spot: Spot, type: int) -> Plain | None:
        if spot.dynamic is None or type not in spot.dynamic.types:
            return find_type(spot.node, type)
        self._follows.append(key)
        return spot.dynamic.records(type, self._client)

    def _add_addresses(self, name: bytes, key: bytes, rrsets: Node) -> None:
        """The addresses of the names that the RRsets send to (RFC 1034 4.3.2 6, RFC 9460 4.1).
        They are those of `name`, made from what is at `key`."""
        for target in _targets(key, rrsets):
            owner = name if target == key else target
            for address in self._addresses(target):
                for record in records_of(owner, (address,)):
                    if len(self._additional) < MAX_ADDITIONAL:
                        self._additional.append(record)

    def _addresses(self, target: bytes) -> Node:
        spot = self._ground.over.get(target)
        if spot is None:
            return self._ground.tree.addresses(target)
        found = [each for each in spot.node if each[0] in _ADDRESSES]
        if spot.dynamic is not None and getattr(spot.dynamic, "for_all", False):
            for type in sorted(_ADDRESSES & spot.dynamic.types):
                one = self._of_type(target, spot, type)
                if one is not None:
                    found.append(one)
        return tuple(found)


def _targets(key: bytes, rrsets: Node) -> list[bytes]:
    """Keys of the names that they send to, each once."""
    found: dict[bytes, None] = {}
    for type, _, datas in rrsets:
        for data in datas:
            name = rdata.target(type, data)
            if name is not None:
                # RFC 9460 2.5.2: the root stands for the owner.
                found[key if name == names.ROOT else name.lower()] = None
    return list(found)
