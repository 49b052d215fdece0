"""
Answers that were made before they are asked for. Pure.

An `Entry` is the answer to one name and type: in one variant, in several that take turns, or in
several for different clients. Knows how an answer goes out; what is in it is `lookup`'s.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from struct import pack
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from balancer.dns import codes
from balancer.dns.envelope import Envelope, Fault
from balancer.dns.leftovers import Leftovers
from balancer.dns.reply import Body, fit
from balancer.dns.turns import ONLY, Order
from balancer.dns.walk import HEADER

if TYPE_CHECKING:
    from balancer.dns.served import Served

MAX_ENTRIES: Final = 16384
"""Answers kept for one set of zones, of some 600 bytes: more names than a site has that are asked
for often; the oldest go first."""

MAX_DROPPED: Final = 1024
"""Answers dropped one by one, some 5 us each, when a name changes that they depend on; when there
are more, such as a hoster's aliases of one name, all answers are forgotten, which takes no time."""

MAX_MADE: Final = 8
"""Variants of an answer that are kept with each of thousands of packets, of up to 1232 bytes each;
others are put together as their turn comes, in 1 us."""

# The header's second word is any of these in a usual query; AD is how a client says that it knows
# of DNSSEC (RFC 6840 5.7), and is not repeated.
_AD: Final = 0x0020
USUAL_FLAGS: Final = tuple(rd | ad | cd for rd in (0, codes.RD) for ad in (0, _AD)
                           for cd in (0, codes.CD))

HEADS: Final[Mapping[bytes, bool]] = {
    pack("!5H", flags, 1, 0, 0, additional): bool(additional)
    for flags in USUAL_FLAGS
    for additional in (0, 1)
}
"""The ten bytes after the id of a usual query, and whether a record (of EDNS, or the query is not
usual after all) follows the question."""


class Variant:
    """A body, and the ten bytes that come before the question for each of `HEADS`."""

    __slots__ = ("_heads", "body", "wire")

    def __init__(self, body: Body) -> None:
        self.body = body
        self.wire = body.wire
        self._heads: dict[bytes, bytes] = {}

    def head(self, asked: bytes) -> bytes:
        """What answers the ten bytes `asked`, one of `HEADS`."""
        head = self._heads.get(asked)
        if head is None:
            head = self._heads[asked] = self._head(asked)
        return head

    def _head(self, asked: bytes) -> bytes:
        body = self.body
        flags = codes.QR | int.from_bytes(asked[:2], "big") & (codes.RD | codes.CD)
        flags |= (codes.AA if body.aa else 0) | (codes.TC if body.tc else 0) | body.rcode & 0xF
        answers, authority, additional = body.counts
        return pack("!5H", flags, 1, answers, authority, additional + HEADS[asked])


class Ready:
    """
    The answer to one packet but for its first two bytes, and to all packets like it. `answer` is
    all of it, or None if variants take turns, or if it is counted apart: call `turn` then.
    """

    __slots__ = ("_asked", "_envelope", "_made", "_question", "answer", "count", "entry")

    def __init__(
        self, asked: bytes, question: bytes, entry: Entry, envelope: Envelope
    ) -> None:
        self._asked = asked
        self._question = question
        self._envelope = envelope
        self.entry = entry
        self.count = entry.count
        self._made: dict[int, bytes] = {}
        self.answer: bytes | None = None
        if len(entry.variants) == 1:
            made, truncated = self._make(0)
            self.answer = None if truncated else made

    def turn(self) -> bytes:
        """The answer that is due."""
        at = self.entry.next()
        answer = self._made.get(at)
        if answer is None:
            answer, truncated = self._make(at)
            if truncated:
                self.entry.zone.figures.truncated += 1
            elif len(self._made) < MAX_MADE:
                self._made[at] = answer
        return answer

    def _make(self, at: int) -> tuple[bytes, bool]:
        entry, envelope, question = self.entry, self._envelope, self._question
        variant = entry.variants[at] or entry.vary(at)
        opt = envelope.opt_for(entry.fault)
        room = envelope.limit - HEADER - len(question) - len(opt)
        if len(variant.wire) > room:
            variant = Variant(fit(variant.body, room))
        return b"".join((variant.head(self._asked), question, variant.wire, opt)), variant.body.tc


class IsForClients(Protocol):
    """Chooses among answers by who asks."""

    def choose(self, address: bytes) -> tuple[Entry, int]:
        """The entry for the client at that address, and for how long a prefix it holds."""


class Entry:
    """
    What is answered to one question. `next` says which of the `variants` is due; one that is None
    is made by `vary`. `fault`: see `pools.PoolName`. `kind` and `name` are what rate limits count
    it by, `count` is one more for each answer. With `clients`, these have the answers.
    """

    __slots__ = (
        "_make", "clients", "count", "fault", "kind", "name", "next", "variants", "zone",
    )

    def __init__(
        self,
        zone: Served,
        kind: bytes,
        name: bytes,
        count: list[int],
        variants: list[Variant | None],
        next: Order = ONLY,
    ) -> None:
        self.zone = zone
        self.kind = kind
        self.name = name
        self.count = count
        self.variants = variants
        self.next = next
        self.fault: Fault | None = None
        self.clients: IsForClients | None = None
        self._make: Callable[[int], Variant] | None = None

    def made_by(self, make: Callable[[int], Variant]) -> None:
        """Let `make` make the variants that are missing."""
        self._make = make

    def vary(self, at: int) -> Variant:
        """Make the variant at that place."""
        assert self._make is not None
        variant = self.variants[at] = self._make(at)
        self.zone.vary(len(variant.wire))
        return variant


QuestionT = TypeVar("QuestionT", bound=Hashable)


class Entries(Generic[QuestionT]):
    """A bounded table of entries, by question or by what stands for many. `table` is another one
    after what it held was given up to the `leftovers`."""

    __slots__ = ("_followers", "_leftovers", "_links", "_most", "table")

    def __init__(self, leftovers: Leftovers, most: int = MAX_ENTRIES) -> None:
        self._leftovers = leftovers
        self._most = most
        # Its first one is found at once; a dict looks for it among all that were pushed out.
        self.table: OrderedDict[QuestionT, Entry] = OrderedDict()
        # Key of a name that follows a pool -> the questions whose answers depend on it.
        self._followers: dict[bytes, set[QuestionT]] = {}
        self._links = 0

    def keep(self, question: QuestionT, entry: Entry, follows: tuple[bytes, ...]) -> None:
        """Answer `question` by `entry` from now on, until one of the names `follows` changes."""
        if self._links + len(follows) > 2 * self._most:
            # Questions that were pushed out are still linked: begin anew before that grows.
            self.clear()
        table = self.table
        if len(table) >= self._most and question not in table:
            table.popitem(last=False)
        table[question] = entry
        for name in follows:
            followers = self._followers.setdefault(name, set())
            self._links += question not in followers
            followers.add(question)

    def drop(self, names: Iterable[bytes]) -> None:
        """These names that follow pools have changed: so have the answers that depend on them."""
        followers = self._followers
        dropped = [followers.pop(name) for name in names if name in followers]
        if sum(map(len, dropped)) > MAX_DROPPED:
            self.clear()
            return
        for questions in dropped:
            self._links -= len(questions)
            for question in questions:
                self.table.pop(question, None)

    def clear(self) -> None:
        """Forget all."""
        self._leftovers.take(self.table)
        self._leftovers.take(self._followers)
        self.table, self._followers = OrderedDict(), {}
        self._links = 0
