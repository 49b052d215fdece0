"""
A site file, read and checked as a whole: what one section says of another.

Pure: it gets the text and the makers' declarations, and gives a `Plan` or problems. It opens
nothing; whether an address can be bound is found out in `listeners`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Literal

from attrs import frozen

from balancer.config import schema
from balancer.config.schema import Claim, Parsed, Problem, Section, SiteFile, nearest, quoted
from balancer.config.slices import Slices, finish
from balancer.config.values import Misspelt, NotBuilt, Unreadable, one_of
from balancer.interfaces import IBalancerMaker, ICheck, ICheckMaker, IContext
from balancer.site.sections import LATER, POOL, SITE, CheckLine, Nothing, PoolSection, SiteSettings

WITHOUT_CONNECTIONS = frozenset(("udp", "dns", "ecmp"))
"""Kinds whose servers need not take TCP connections: a pool that only these use is not checked by
TCP unless it says so."""

SHARING = frozenset(("dns",))
"""The kinds whose sections may share a listener among themselves."""


@frozen
class PoolPlan:
    """A pool to be made: `check` makes its check, None where servers are trusted."""

    name: str
    settings: PoolSection
    check: Callable[[IContext], ICheck] | None


@frozen
class BalancerPlan:
    """A balancer to be made, with the pools that it uses and the listeners that it claims."""

    kind: str
    name: str
    settings: Any
    pools: tuple[str, ...]
    claims: tuple[Claim, ...]

    @property
    def key(self) -> str:
        """Its name in the whole site: `http:web`."""
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
    problems = [*file.problems, *draft.problems()]
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
        self._users = self._all_users()
        self._checks: dict[str, Callable[[IContext], ICheck] | None] = {}

    def problems(self) -> Iterator[Problem]:
        yield from self._bad_references()
        yield from self._bad_claims()
        yield from self._bad_checks()
        yield from self._unused_pools()
        yield from self._tls_problems()
        yield from self._unix_problems()

    def plan(self, warnings: tuple[Problem, ...]) -> Plan:
        site = next(s.settings for s in self._sections if s.kind == "site")
        balancers = tuple(
            self._balancer(section)
            for section in self._sections
            if section.kind not in ("site", "pool")
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
        )

    def _balancer(self, section: Parsed) -> BalancerPlan:
        declared = self._declared[section.kind]
        pools = tuple(
            dict.fromkeys(r.name for r in declared.references(section.settings) if r.kind == "pool")
        )
        claims = tuple(declared.claims(section.settings))
        return BalancerPlan(section.kind, section.name, section.settings, pools, claims)

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

    def _bad_references(self) -> Iterator[Problem]:
        for section in self._sections:
            for reference in self._declared[section.kind].references(section.settings):
                if (reference.kind, reference.name) in self._names:
                    continue
                names = [name for kind, name in self._names if kind == reference.kind]
                got = quoted(reference.name)
                text = f"expected the name of a [{reference.kind} NAME] section, got {got}"
                text += _meant(nearest(reference.name, names))
                yield self._problem(section, reference.option, reference.index, text)

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
            check = section.settings.check
            if check is None:
                users = self._users[section.name]
                if users and users <= WITHOUT_CONNECTIONS:
                    yield self._problem(section, "", 0, _UNCHECKED, "warning")
                    continue
                check = CheckLine("tcp")
            if check.name == "none":
                continue
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

    def _all_users(self) -> defaultdict[str, set[str]]:
        """The kinds of the sections that use each pool, by its name."""
        users: defaultdict[str, set[str]] = defaultdict(set)
        for section in self._sections:
            for reference in self._declared[section.kind].references(section.settings):
                if reference.kind == "pool":
                    users[reference.name].add(section.kind)
        return users


_UNVERIFIED = "servers with tls need not prove who they are: anybody at their addresses is believed"

_UNCHECKED = "its servers are taken to be up, since only udp uses it; set check, or check = none"


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
