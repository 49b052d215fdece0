"""
A site file, read and checked as a whole: what one section says of another.

Pure: it gets the text and the makers' declarations, and gives a `Plan` or problems. It opens
nothing; whether an address can be bound is found out in `listeners`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Literal

from attrs import frozen

from balancer.config import schema
from balancer.config.schema import (
    Claim,
    Parsed,
    Problem,
    Reference,
    Section,
    SiteFile,
    nearest,
    quoted,
)
from balancer.config.slices import Slices, finish
from balancer.config.values import Misspelt, NotBuilt, Unreadable, one_of
from balancer.interfaces import IBalancerMaker, ICheck, ICheckMaker, IContext, PlannedServer
from balancer.site.order import Circle, arranged
from balancer.site.sections import LATER, POOL, SITE, CheckLine, Nothing, PoolSection, SiteSettings

WITHOUT_CONNECTIONS = frozenset(("udp", "dns", "ecmp"))
"""Kinds whose servers need not take TCP connections: a pool that only these use is not checked by
TCP unless it says so."""

WITHOUT_PORTS = frozenset(("dns", "ecmp"))
"""Kinds that tell clients where servers are, and leave the port to them."""

WATCHING = frozenset(("anycast",))
"""Kinds that only want to know whether a pool has servers up: they ask nothing of these, unless
nobody else uses the pool."""

SHARING = frozenset(("dns",))
"""The kinds whose sections may share a listener among themselves."""

MAX_CIRCLES = 20
"""How many circles of sections that need each other are told of; the rest is one more error."""


@frozen
class PoolPlan:
    """A pool to be made: `check` makes its check, None where servers are trusted."""

    name: str
    settings: PoolSection
    check: Callable[[IContext], ICheck] | None


@frozen
class BalancerPlan:
    """A balancer to be made, with the pools that it uses, directly or through others, the listeners
    that it claims, and the keys of the sections that it names and that are made ready before it."""

    kind: str
    name: str
    settings: Any
    pools: tuple[str, ...]
    claims: tuple[Claim, ...]
    needs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Its name in the whole site: `http:web`."""
        return f"{self.kind}:{self.name}"


@frozen
class InertPlan:
    """A section that others read, and of which nothing is made."""

    kind: str
    name: str
    settings: Any

    @property
    def key(self) -> str:
        """Its name in the whole site: `place:berlin`."""
        return f"{self.kind}:{self.name}"


@frozen
class Plan:
    """A sound site file: what is to be made."""

    path: str
    site: SiteSettings
    pools: tuple[PoolPlan, ...]
    balancers: tuple[BalancerPlan, ...]
    claims: tuple[Claim, ...]
    warnings: tuple[Problem, ...]
    inert: tuple[InertPlan, ...] = ()

    def in_order(self) -> tuple[BalancerPlan, ...]:
        """The balancers, each after those that it names."""
        by_key = {each.key: each for each in self.balancers}
        return tuple(by_key[key] for key in arranged({k: by_key[k].needs for k in by_key}))


def planned(plan: Plan, balancer: BalancerPlan) -> list[PlannedServer]:
    """The servers of the balancer's pools, as the site file has them."""
    return [
        PlannedServer(
            pool.name, line.name, line.endpoint.host, line.weight, line.backup, line.disabled
        )
        for pool in plan.pools
        if pool.name in balancer.pools
        for line in pool.settings.servers
    ]


class BadSite(Exception):
    """A site file that has errors; `problems` are all of them, and the warnings, by line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@frozen
class Makers:
    """What is installed. `broken` gives, for a kind that cannot be used, the reason."""

    balancers: Mapping[str, IBalancerMaker]
    checks: Mapping[str, ICheckMaker]
    broken: Mapping[str, str] = {}

    def sections(self) -> tuple[Section, ...]:
        """Every section that a site file may have in this version, and those of later ones."""
        kinds = tuple(maker.section for maker in self.balancers.values())
        own = {section.kind for section in kinds}
        unusable = tuple(
            Section(what.removeprefix("kind "), Nothing, help="", unusable=reason)
            for what, reason in self.broken.items()
            if what.startswith("kind ") and what.removeprefix("kind ") not in own
        )
        later = tuple(section for section in LATER if section.kind not in own)
        return (SITE, POOL, *kinds, *unusable, *later)


def read(text: str, path: str, makers: Makers) -> Plan:
    """
    The plan of the site file `text`; `path` is its name in messages.

    Raises `BadSite` with every problem of the file, if one of them is an error.
    """
    return finish(reading(text, path, makers))


def reading(text: str, path: str, makers: Makers) -> Slices[Plan]:
    """The same in slices."""
    file = yield from schema.reading(text, path, makers.sections())
    draft = _Draft(file, makers)
    yield
    problems = list(file.problems)
    for problem in draft.problems():
        if problem is None:
            yield
        else:
            problems.append(problem)
    yield
    problems.sort(key=lambda problem: problem.line)
    if any(problem.severity == "error" for problem in problems):
        raise BadSite(problems)
    return draft.plan(tuple(problems))


class _Draft:
    """The sections of one file while they are held against each other."""

    def __init__(self, file: SiteFile, makers: Makers) -> None:
        self._path = file.path
        self._names = file.names
        self._sections = file.sections
        if ("site", "") not in file.names:
            # What [site] has by default stands beside the rest: it is line 0 of every file.
            self._sections = (Parsed("site", "", SiteSettings(), 0, {}), *file.sections)
        self._makers = makers
        self._declared = {section.kind: section for section in makers.sections()}
        self._by_key = {f"{each.kind}:{each.name}": each for each in self._sections}
        self._users = self._all_users()
        self._checks: dict[str, Callable[[IContext], ICheck] | None] = {}

    def problems(self) -> Iterator[Problem | None]:
        """All that is wrong; None after each few milliseconds of work."""
        yield from self._bad_references()
        yield from self._circles()
        yield from self._bad_claims()
        yield from self._bad_checks()
        yield from self._unused_pools()
        yield from self._tls_problems()
        yield from self._unix_problems()
        yield from self._missing_ports()
        yield from self._of_kinds()

    def plan(self, warnings: tuple[Problem, ...]) -> Plan:
        site = next(s.settings for s in self._sections if s.kind == "site")
        kinds = [each for each in self._sections if each.kind not in ("site", "pool")]
        inert = tuple(
            InertPlan(section.kind, section.name, section.settings)
            for section in kinds
            if self._declared[section.kind].inert
        )
        balancers = tuple(
            self._balancer(section)
            for section in kinds
            if not self._declared[section.kind].inert
        )
        return Plan(
            path=self._path,
            site=site,
            pools=tuple(
                PoolPlan(section.name, section.settings, self._checks[section.name])
                for section in self._sections
                if section.kind == "pool"
            ),
            balancers=balancers,
            claims=tuple(claim for _, claim in self._claims()),
            warnings=warnings,
            inert=inert,
        )

    def _balancer(self, section: Parsed) -> BalancerPlan:
        claims = tuple(self._declared[section.kind].claims(section.settings))
        pools = tuple(dict.fromkeys(self._pools_of(section)))
        needs = tuple(self._needs(section))
        return BalancerPlan(section.kind, section.name, section.settings, pools, claims, needs)

    def _references(self, section: Parsed) -> Iterable[Reference]:
        return self._declared[section.kind].references(section.settings)

    def _pools_of(self, section: Parsed) -> Iterator[str]:
        """The pools that the section uses, and those of the sections that it works through."""
        for reference in self._references(section):
            if reference.kind == "pool":
                yield reference.name
            elif reference.through:
                yield from self._pools_of(self._by_key[f"{reference.kind}:{reference.name}"])

    def _needs(self, section: Parsed) -> dict[str, Reference]:
        """The keys of the sections that must be ready before `section`, pools apart, with the first
        reference to each; what is not there is told elsewhere."""
        found: dict[str, Reference] = {}
        for reference in self._references(section):
            key = f"{reference.kind}:{reference.name}"
            if reference.kind != "pool" and not reference.loose and key in self._by_key:
                found.setdefault(key, reference)
        return found

    def _problem(
        self,
        section: Parsed,
        option: str,
        index: int,
        text: str,
        severity: Literal["error", "warning"] = "error",
    ) -> Problem:
        return Problem(
            path=self._path,
            line=section.line_of(option, index) if option else section.line,
            section=f"{section.kind} {section.name}".strip(),
            option=option,
            text=text,
            severity=severity,
        )

    def _circles(self) -> Iterator[Problem]:
        """Sections that need each other can be made ready in no order."""
        by_key = self._by_key
        all_needs = {key: self._needs(each) for key, each in by_key.items() if each.kind != "pool"}
        left = {key: list(needs) for key, needs in all_needs.items()}
        for told in range(MAX_CIRCLES + 1):
            try:
                arranged(left)
                return
            except Circle as circle:
                names = circle.names
            last = by_key[names[-1]]
            left[names[-1]].remove(names[0])
            text = "too many circles; the rest was not looked for"
            if told < MAX_CIRCLES:
                around = ", which needs ".join(f"[{by_key[key].title}]" for key in names)
                text = f"expected no circle, got [{last.title}], which needs {around}"
            reference = all_needs[names[-1]][names[0]]
            yield self._problem(last, reference.option, reference.index, text)

    def _bad_references(self) -> Iterator[Problem]:
        for section in self._sections:
            for reference in self._references(section):
                if (reference.kind, reference.name) in self._names:
                    continue
                names = [name for kind, name in self._names if kind == reference.kind]
                got = quoted(reference.name)
                text = f"expected the name of a [{reference.kind} NAME] section, got {got}"
                text += _meant(nearest(reference.name, names))
                yield self._problem(section, reference.option, reference.index, text)

    def _of_kinds(self) -> Iterator[Problem | None]:
        """What the sections of one kind must be to each other."""
        kinds: dict[str, dict[str, Parsed]] = {}
        for section in self._sections:
            kinds.setdefault(section.kind, {})[section.name] = section
        for kind, sections in kinds.items():
            settings = {name: section.settings for name, section in sections.items()}
            for found in self._declared[kind].together(settings):
                if found is None:
                    yield None
                else:
                    name, (option, index, text) = found
                    yield self._problem(sections[name], option, index, text)

    def _claims(self) -> Iterator[tuple[Parsed, Claim]]:
        for section in self._sections:
            for claim in self._declared[section.kind].claims(section.settings):
                yield section, claim

    def _bad_claims(self) -> Iterator[Problem]:
        taken: dict[tuple[str, int], list[tuple[Parsed, Claim]]] = {}
        for section, claim in self._claims():
            others = taken.setdefault((claim.protocol, claim.port), [])
            for other, earlier in others:
                shared = section.kind == other.kind and section.kind in SHARING
                if not _overlap(earlier.host, claim.host) or shared or not _fixed(claim):
                    continue
                line = other.line_of(earlier.option, earlier.index)
                text = (
                    f"expected a listener of its own, got {_shown(claim)}, which "
                    f"[{f'{other.kind} {other.name}'.strip()}] has "
                    + (f"at line {line}" if line else f"by default; set its {earlier.option}")
                )
                yield self._problem(section, claim.option, claim.index, text)
                break
            others.append((section, claim))

    def _bad_checks(self) -> Iterator[Problem]:
        for section in self._sections:
            if section.kind != "pool":
                continue
            self._checks[section.name] = None
            check, users = section.settings.check, self._users[section.name]
            portless = [line for line in section.settings.servers if line.portless]
            if check is None:
                if portless and not users:
                    continue  # nobody to say whether a port is missing
                if users and users <= WITHOUT_CONNECTIONS:
                    names = sorted(users)
                    who = f"{' and '.join(names)} {'uses' if len(names) == 1 else 'use'}"
                    yield self._problem(section, "", 0, _UNCHECKED.format(who), "warning")
                    continue
                check = CheckLine("tcp")
            if check.name == "none":
                continue
            if portless and check.port is None and users <= WITHOUT_PORTS:
                text = f"expected port=N or none, since {portless[0].name} has no port, got "
                text += quoted(" ".join((check.name, *check.words)))
                yield self._problem(section, "check", 0, text)
            maker = self._makers.checks.get(check.name)
            if maker is None:
                yield self._problem(section, "check", 0, self._unknown_check(check.name))
                continue
            try:
                self._checks[section.name] = maker.parse(check.words)
            except NotBuilt as unbuilt:
                yield self._problem(section, "check", 0, f"{unbuilt}, got {quoted(unbuilt.what)}")
            except Unreadable as error:
                got = " ".join((check.name, *check.words)) if error.got is None else error.got
                text = f"expected {error.expected}, got {quoted(got)}"
                if isinstance(error, Misspelt):
                    text += _meant(nearest(error.word, error.known))
                yield self._problem(section, "check", 0, text)

    def _unknown_check(self, name: str) -> str:
        broken = self._makers.broken.get(f"check {name}")
        if broken is not None:
            return f"the check {name!r} cannot be used: {broken}"
        known = [*self._makers.checks, "none"]
        return f"expected {one_of(sorted(known))}, got {quoted(name)}{_meant(nearest(name, known))}"

    def _unused_pools(self) -> Iterator[Problem]:
        for section in self._sections:
            if section.kind == "pool" and not self._users[section.name]:
                yield self._problem(section, "", 0, "no section uses this pool", "warning")

    def _tls_problems(self) -> Iterator[Problem]:
        """Servers with TLS that are not verified, or that get work for which there is no TLS."""
        for section in self._sections:
            if section.kind != "pool":
                continue
            secure = [at for at, line in enumerate(section.settings.servers) if line.tls]
            if secure and not section.settings.tls_verify:
                yield self._problem(section, "tls-verify", 0, _UNVERIFIED, "warning")
            for kind in sorted(self._users[section.name] & WITHOUT_CONNECTIONS):
                if secure:
                    text = f"expected no tls, since a [{kind}] section uses this pool, got tls"
                    yield self._problem(section, "servers", secure[0], text)

    def _unix_problems(self) -> Iterator[Problem]:
        """Servers on unix sockets that would get datagrams."""
        for section in self._sections:
            if section.kind != "pool" or "udp" not in self._users[section.name]:
                continue
            for at, line in enumerate(section.settings.servers):
                if line.endpoint.host.startswith("unix:"):
                    got = quoted(str(line.endpoint))
                    text = f"expected an address, since a [udp] section uses this pool, got {got}"
                    yield self._problem(section, "servers", at, text)

    def _missing_ports(self) -> Iterator[Problem]:
        """Servers without a port, where somebody who uses them has to know it."""
        for section in self._sections:
            others = sorted(self._users[section.name] - WITHOUT_PORTS)
            if section.kind != "pool" or not others:
                continue
            for at, line in enumerate(section.settings.servers):
                if line.portless:
                    since = f"since a [{others[0]}] section uses this pool"
                    text = f"expected ADDRESS:PORT, {since}, got {quoted(line.where)}"
                    yield self._problem(section, "servers", at, text)

    def _all_users(self) -> defaultdict[str, set[str]]:
        """The kinds of the sections that use each pool, by its name."""
        users: defaultdict[str, set[str]] = defaultdict(set)
        for section in self._sections:
            for reference in self._references(section):
                if reference.kind == "pool":
                    users[reference.name].add(section.kind)
        for kinds in users.values():
            if kinds - WATCHING:
                kinds -= WATCHING
        return users


_UNVERIFIED = "servers with tls need not prove who they are: anybody at their addresses is believed"

_UNCHECKED = "its servers are taken to be up, since only {} it; set check, or check = none"


def _meant(word: str | None) -> str:
    return f"; did you mean {quoted(word)}?" if word else ""


def _fixed(claim: Claim) -> bool:
    """Whether the claim names a port: port 0 is another one each time it is bound."""
    return claim.port != 0 or claim.host.startswith("unix:")


def _shown(claim: Claim) -> str:
    if claim.host.startswith("unix:"):
        return claim.host
    host = f"[{claim.host}]" if ":" in claim.host else claim.host
    return f"{host}:{claim.port}"


def _overlap(one: str, other: str) -> bool:
    """Whether two hosts on the same port are the same, or one of them covers the other."""
    if one == other:
        return True
    if one.startswith("unix:") or other.startswith("unix:"):
        return False
    first, second = ip_address(one), ip_address(other)
    if first.version != second.version:
        return False
    return first == second or first.is_unspecified or second.is_unspecified
