"""
What is to be made of a site file, in values; and what makers there are.

Pure: how a file becomes a `Plan` is `reading`'s, whether an address can be bound is found out in
`listeners`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from attrs import field, frozen

from balancer.config.schema import Claim, Problem, Section
from balancer.interfaces import IBalancerMaker, ICheck, ICheckMaker, IContext, PlannedServer
from balancer.site.order import arranged
from balancer.site.pool_section import POOL, PoolSection
from balancer.site.sections import LATER, SITE, Nothing, SiteSettings

Written: TypeAlias = Mapping[str, str]
"""The options of a section that were given in one line, as they stand in the site file."""


@frozen
class PoolPlan:
    """A pool to be made: `check` makes its check, None where servers are trusted."""

    name: str
    settings: PoolSection
    check: Callable[[IContext], ICheck] | None
    written: Written = field(factory=dict, eq=False)


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
    written: Written = field(factory=dict, eq=False)

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
    written: Written = field(factory=dict, eq=False)

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
    site_written: Written = field(factory=dict, eq=False)

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
