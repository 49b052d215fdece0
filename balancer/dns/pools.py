"""
Names that follow pools: what one client gets for such a name now. Pure.

A `PoolName` stands in its zone as a dynamic name (`zone.Dynamic`). It looks at its pool when it is
told to `settle`, and answers from what it saw then. Knows servers and policies, and no message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from balancer.dns import turns
from balancer.dns.codes import AAAA, HTTPS, A, type_text
from balancer.dns.geo.prefixes import Scopes, Territory
from balancer.dns.settings import AnswerLine
from balancer.dns.standing import Standing, ttl_within, why_not
from balancer.dns.survey import SIZES, Survey, Target, packed
from balancer.dns.svcb import Service, service_data
from balancer.dns.tree import RRset
from balancer.dns.turns import Turns
from balancer.pool.pool import Pool
from balancer.pool.server import Server

SUBSTITUTE_TTL: Final = 5
"""Seconds for which another server's address stands under the name of one that is down: the name
is wanted back as soon as its server is."""

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
        self.types = ADDRESS_TYPES | {HTTPS} if line.https else ADDRESS_TYPES
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
        self._own_stands = False
        self._seen: object = None
        self._revision: int | None = None

    def settle(self, survey: Survey | None = None) -> bool:
        """Look at the pool, or at what others saw of it; True: answers made before are outdated."""
        line = self.line
        survey = survey or self.survey()
        self._revision = survey.revision
        self.standing = standing = survey.standing(line.when_down)
        self._own_stands = bool(self.own) and survey.stands(self.own, line.when_down)
        ttl = ttl_within(self._full_ttl, survey.turn)
        if self.own and not self._own_stands:
            ttl = min(ttl, SUBSTITUTE_TTL)
        targets = tuple(self._found(survey, kind) for kind in (A, AAAA))
        seen = (ttl, targets, standing.fault, standing.refuses, self.services, self._own_stands)
        if seen == self._seen:
            return False
        self._seen, self.ttl, self._targets = seen, ttl, dict(zip((A, AAAA), targets, strict=True))
        self.fault, self.refuses = standing.fault, standing.refuses
        self._turns, self._scopes = {}, {}
        return True

    @property
    def is_settled(self) -> bool:
        """Whether it has seen the pool as it is."""
        return self._revision == self.pool.revision

    def _found(self, survey: Survey, qtype: int) -> tuple[Target, ...]:
        if self._own_stands:
            return survey.own(self.own, qtype)
        return survey.targets(self.line.when_down, qtype, self.by_client)

    def survey(self) -> Survey:
        """The pool as it is now, for this name and others that follow it."""
        return Survey(self.pool, self._remembered)

    @property
    def answered_servers(self) -> tuple[Server, ...]:
        """Who is answered: the server whose name it is, while that stands, else all that do."""
        return (self.pool.server(self.own),) if self._own_stands else self.standing.servers

    def turns(self, qtype: int, ranking: tuple[str, ...] = ()) -> Turns:
        """In which order the variants of the answer to that client go out."""
        return self._schedule(qtype, ranking)[1]

    def records(self, qtype: int, client: object) -> RRset | None:
        """The RRset for `client`, an `Asker`; None: there is no such data (NODATA)."""
        asker = client if isinstance(client, Asker) else ANYBODY
        targets, schedule = self._schedule(qtype, asker.ranking)
        window = [targets[at] for at in schedule.windows[asker.turn % len(schedule.windows)]]
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
        if policy == "round-robin" or (self.own and not self._own_stands):
            return turns.rotating(len(targets), most)
        return turns.only(len(targets), most)

    def _for_client(self, qtype: int, ranking: tuple[str, ...]) -> tuple[Target, ...]:
        """The addresses of that type that this client may get, in the order of the site file."""
        everyone = self._of_type(qtype)
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
