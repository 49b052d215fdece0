"""
Names that follow pools: what one client gets for such a name now. Pure.

A `PoolName` stands in its zone as a dynamic name (`zone.Dynamic`). It looks at its pool when it is
told to `settle`, and answers from what it saw then. Knows servers and policies, and no message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from zlib import crc32

from attrs import frozen

from balancer.dns import turns
from balancer.dns.codes import AAAA, HTTPS, A, type_text
from balancer.dns.geo.prefixes import Scopes, Territory
from balancer.dns.standing import Standing, ttl_within, why_not
from balancer.dns.survey import SIZES, Survey, Target, packed
from balancer.dns.svcb import Service, service_data
from balancer.dns.tree import RRset
from balancer.dns.turns import Turns
from balancer.dns.values import MAX_ADDRESSES, AnswerLine
from balancer.pool.pool import Pool
from balancer.pool.server import Server

SUBSTITUTE_TTL: Final = 5
"""Seconds for which another server's address stands under the name of one that is down: the name
is wanted back as soon as its server is."""

MAX_SUBSTITUTES: Final = 8
"""Addresses under the name of a server that is down: whoever tries one after the other needs no
more, and 8 of IPv6 fit into 512 bytes."""

SUBSTITUTE_WAYS: Final = 32
"""Variants of such an answer that take turns. Thousands of names may be of servers that are down,
so each has few, and each begins elsewhere among the servers."""

ADDRESS_TYPES: Final = frozenset((A, AAAA))


@frozen
class Asker:
    """What the answer may depend on: the `ranking` of places for the client, best first (empty: no
    place can claim it), and which `turn` of the answer it is."""

    ranking: tuple[str, ...] = ()
    turn: int = 0


ANYBODY = Asker()


class Places:
    """For each ranking, by its number, the first place that has an address to give; '' if none has,
    and all are given. Where all addresses are in one place, it answers everybody. There may be
    thousands of rankings, so each is looked at when it is asked for."""

    __slots__ = ("_else", "_rankings", "_there")

    def __init__(self, rankings: Sequence[tuple[str, ...]], there: frozenset[str]) -> None:
        self._rankings = rankings
        self._there = there
        self._else = next(iter(there)) if len(there) == 1 else ""

    def __getitem__(self, ranking: int) -> str:
        return next((each for each in self._rankings[ranking] if each in self._there), self._else)


def types_of(line: AnswerLine) -> frozenset[int]:
    """The types of records that a name of `answers` has."""
    return ADDRESS_TYPES | {HTTPS} if line.https else ADDRESS_TYPES


class PoolName:
    """
    One name that follows a pool. `own` is the server whose name it is, or '' (`[subdomains]`).

    `fault` is what an extended error says while the answer is degraded, `refuses` whether the
    answer is SERVFAIL, `by_client` whether it depends on who asks, `ttl` what it is now.
    """

    def __init__(
        self,
        line: AnswerLine,
        pool: Pool,
        ttl: int,
        remembered: frozenset[str] = frozenset(),
        own: str = "",
    ) -> None:
        self.line = line
        self.pool = pool
        self.own = own
        self.by_client = line.policy == "geo"
        self.for_all = not self.by_client
        self.types = types_of(line)
        self.services: tuple[Service, ...] = ()
        """What the http balancer of `https=` serves for the pool, best first."""
        self.standing = Standing(())
        self.fault: tuple[int, str] | None = None
        self.refuses = False
        self.ttl = self._full_ttl = ttl if line.ttl is None else line.ttl
        self._remembered = remembered
        self._targets: dict[int, tuple[Target, ...]] = {}
        self._turns: dict[tuple[int, tuple[str, ...]], tuple[tuple[Target, ...], Turns]] = {}
        # By type: each remembers thousands of networks, and a wildcard has hundreds of entries.
        self._scopes: dict[int, Scopes] = {}
        self.revision = -1
        """That of the pool when it was looked at last."""
        self._own_stands = False
        self._mine: Server | None = None
        self._seen: object = None

    def serve(self, services: tuple[Service, ...]) -> None:
        """This is what HTTPS records are made of from the next `settle` on."""
        if services != self.services:
            self.services = services
            self.revision = -1

    def settle(self, survey: Survey | None = None) -> bool:
        """Look at the pool, or at what others saw of it; True: answers made before are outdated."""
        when_down = self.line.when_down
        survey = survey or self.survey()
        own = survey.own(self.own, when_down) if self.own else None
        self._mine = None if own is None else self.pool.server(self.own)
        turn = survey.turn if own is None else survey.turn_of(self.own)
        ttl = ttl_within(self._full_ttl, turn)
        if self.own and own is None:
            ttl = min(ttl, SUBSTITUTE_TTL)
        self.standing = standing = survey.standing(when_down)
        targets: tuple[tuple[Target, ...], ...]
        if own is None:
            placed = self.by_client
            targets = tuple(survey.targets(when_down, kind, placed) for kind in (A, AAAA))
        else:
            targets = tuple((own,) if len(own.data) == SIZES[kind] else () for kind in (A, AAAA))
        self.revision = survey.revision
        seen = (ttl, standing.fault, standing.refuses, self.services, own is None)
        before, self._targets = self._targets, dict(zip((A, AAAA), targets, strict=True))
        same = bool(before) and all(map(survey.same, before.values(), targets))
        if same and seen == self._seen:
            return False
        self._seen, self.ttl, self._own_stands = seen, ttl, own is not None
        if not same:
            # Otherwise the turns go on: a verdict that is pending changes nothing but the TTL.
            self._turns, self._scopes = {}, {}
        self.fault, self.refuses = standing.fault, standing.refuses
        return True

    @property
    def servers(self) -> tuple[Server, ...]:
        """Those that may be in an answer; a few of them for a name of a server that is down."""
        if self._mine is not None:
            return (self._mine,)
        return self.standing.servers[: MAX_SUBSTITUTES if self.own else None]

    def survey(self, before: Survey | None = None) -> Survey:
        """The pool as it is now, for this name and others that follow it; `before`: what was seen
        of it last."""
        return Survey(self.pool, self._remembered, before)

    def turns(self, qtype: int, ranking: tuple[str, ...] = ()) -> Turns:
        """In which order the variants of the answer to that client go out."""
        return self._schedule(qtype, ranking)[1]

    def records(self, qtype: int, client: object) -> RRset | None:
        """The RRset for `client`, an `Asker`; None: there is no such data (NODATA). For nobody, as
        in a transfer, the turns of `weighted` are all in one: a secondary takes none."""
        asker = client if isinstance(client, Asker) else ANYBODY
        targets, schedule = self._schedule(qtype, asker.ranking)
        window = [targets[at] for at in schedule.windows[asker.turn % len(schedule.windows)]]
        if client is None and self.line.policy == "weighted":
            window = list(targets[:MAX_ADDRESSES])
        if qtype == HTTPS:
            return self._https(window)
        if not window:
            return None
        return RRset(qtype, self.ttl, tuple(target.data for target in window))

    def places(self, qtype: int, rankings: Sequence[tuple[str, ...]]) -> Places:
        """Which place answers the clients of each ranking."""
        return Places(rankings, frozenset(target.place for target in self._of_type(qtype)))

    def scopes(self, qtype: int, territory: Territory) -> Scopes:
        """For which prefixes the answers to clients hold, for all who ask by whatever name."""
        known = self._scopes.get(qtype)
        if known is None or known.territory is not territory:
            places = self.places(qtype, territory.rankings)
            known = self._scopes[qtype] = Scopes(territory, places)
        return known

    def answered(self, qtype: int, ranking: tuple[str, ...]) -> list[tuple[str, bytes]]:
        """The names and addresses of the servers that clients of that ranking get, in some turn."""
        datas = {target.data for target in self._schedule(qtype, ranking)[0]}
        found = ((server.name, packed(server)) for server in self.standing.servers)
        return [(name, data) for name, data in found if data in datas]

    def reasons(self, qtype: int, ranking: tuple[str, ...]) -> list[tuple[Server, str]]:
        """Every server of the pool, and why such clients do not get it; '' for those they get."""
        standing = set(self.standing.servers)
        answered = {name for name, _ in self.answered(qtype, ranking)}
        size = SIZES.get(qtype)
        found = []
        for server in self.pool.servers:
            if server not in standing:
                why = why_not(server)
            elif not packed(server) or size not in (None, len(packed(server))):
                why = f"no {type_text(qtype)} address"
            elif server.name not in answered:
                why = self._elsewhere(server)
            else:
                why = ""
            found.append((server, why))
        return found

    def _elsewhere(self, server: Server) -> str:
        if self.own:
            return f"the name is {self.own}'s own, which is up"
        place = server.settings.place
        return f"in place {place}, and a nearer one answers" if place else "in no place"

    def _schedule(
        self, qtype: int, ranking: tuple[str, ...]
    ) -> tuple[tuple[Target, ...], Turns]:
        key = (qtype, ranking if self.by_client else ())
        found = self._turns.get(key)
        if found is None:
            targets = self._for_client(qtype, key[1])
            found = self._turns[key] = (targets, self._ordered(targets))
        return found

    def _ordered(self, targets: Sequence[Target]) -> Turns:
        policy, most = self.line.policy, self.line.most
        if policy == "weighted":
            return turns.weighted([target.weight for target in targets], most)
        if self.own and not self._own_stands:
            start = crc32(self.own.encode())
            return turns.rotating(len(targets), MAX_SUBSTITUTES, start, SUBSTITUTE_WAYS)
        if policy in ("round-robin", "geo"):
            return turns.rotating(len(targets), most)
        return turns.only(len(targets), most)

    def _for_client(self, qtype: int, ranking: tuple[str, ...]) -> tuple[Target, ...]:
        """The addresses of that type that this client may get, in the order of the site file."""
        everyone = self._of_type(qtype)
        if not self.by_client:
            return everyone
        for place in ranking:
            there = tuple(each for each in everyone if each.place == place)
            if there:
                return there
        return tuple({each.data: each for each in everyone}.values())

    def _of_type(self, qtype: int) -> tuple[Target, ...]:
        if qtype == HTTPS:
            return (*self._targets.get(A, ()), *self._targets.get(AAAA, ()))
        return self._targets.get(qtype, ())

    def _https(self, window: Sequence[Target]) -> RRset | None:
        if not self.services or not window:
            return None
        v4 = [target.data for target in window if len(target.data) == 4]
        v6 = [target.data for target in window if len(target.data) == 16]
        datas = [service_data(at, each, v4, v6) for at, each in enumerate(self.services, 1)]
        return RRset(HTTPS, self.ttl, tuple(datas))
