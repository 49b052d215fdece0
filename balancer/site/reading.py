"""
A site file, read and checked as a whole, becomes a `Plan`, or all that is wrong with it is told.

Pure: it gets the text and the makers' declarations. It opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import frozen

from balancer.config import schema
from balancer.config.schema import Parsed, Problem
from balancer.config.slices import Slices, finish
from balancer.interfaces import ICheck, IContext
from balancer.site import claims, references, uses
from balancer.site.draft import Draft
from balancer.site.plan import BadSite, BalancerPlan, InertPlan, Makers, Plan, PoolPlan

Checks = dict[str, Callable[[IContext], ICheck] | None]
"""What makes the check of each pool, by its name."""


@frozen
class Drafted:
    """A site file's sections, what makes its pools' checks, and its problems by line."""

    draft: Draft
    checks: Checks
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is worse than a warning."""
        return all(problem.severity != "error" for problem in self.problems)


def read(text: str, path: str, makers: Makers) -> Plan:
    """
    The plan of the site file `text`; `path` is its name in messages.

    Raises `BadSite` with every problem of the file, if one of them is an error.
    """
    return finish(reading(text, path, makers))


def reading(text: str, path: str, makers: Makers) -> Slices[Plan]:
    """The same in slices."""
    drafted = yield from drafting(text, path, makers)
    if not drafted.ok:
        raise BadSite(drafted.problems)
    return _plan(drafted.draft, drafted.checks, drafted.problems)


def drafting(text: str, path: str, makers: Makers) -> Slices[Drafted]:
    """The sections, and all that is wrong with them, in slices. Raises nothing."""
    file = yield from schema.reading(text, path, makers.sections())
    draft, checks = Draft(file, makers), Checks()
    yield
    problems = list(file.problems)
    for problem in _problems(draft, checks):
        if problem is None:
            yield
        else:
            problems.append(problem)
    yield
    problems.sort(key=lambda problem: problem.line)
    return Drafted(draft, checks, tuple(problems))


def _problems(draft: Draft, checks: Checks) -> Iterator[Problem | None]:
    """All that is wrong; None after each few milliseconds of work."""
    yield from references.unknown(draft)
    yield from references.circles(draft)
    yield from claims.taken(draft)
    yield from uses.bad_checks(draft, checks)
    yield from uses.unused(draft)
    yield from uses.tls(draft)
    yield from uses.unix(draft)
    yield from uses.missing_ports(draft)
    yield from references.of_kinds(draft)


def _plan(draft: Draft, checks: Checks, warnings: tuple[Problem, ...]) -> Plan:
    site = next(each for each in draft.sections if each.kind == "site")
    kinds = [each for each in draft.sections if each.kind not in ("site", "pool")]
    inert = tuple(
        InertPlan(section.kind, section.name, section.settings, section.written)
        for section in kinds
        if draft.declared[section.kind].inert
    )
    balancers = tuple(
        _balancer(draft, section)
        for section in kinds
        if not draft.declared[section.kind].inert
    )
    return Plan(
        path=draft.path,
        site=site.settings,
        site_written=site.written,
        pools=tuple(
            PoolPlan(section.name, section.settings, checks[section.name], section.written)
            for section in draft.sections
            if section.kind == "pool"
        ),
        balancers=balancers,
        claims=tuple(claim for _, claim in draft.claims()),
        warnings=warnings,
        inert=inert,
    )


def _balancer(draft: Draft, section: Parsed) -> BalancerPlan:
    claimed = tuple(draft.declared[section.kind].claims(section.settings))
    pools = tuple(dict.fromkeys(draft.pools_of(section)))
    needs = tuple(draft.needs(section))
    return BalancerPlan(
        section.kind, section.name, section.settings, pools, claimed, needs, section.written
    )
