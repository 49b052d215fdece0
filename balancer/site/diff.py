"""
What a new plan changes in the one in force: a typed list, the smallest that leads from one to the
other. Pure. `lbctl plan` prints it and a reload carries it out, so that both say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

import attrs
from attrs import frozen

from balancer.config.schema import Claim, options_of
from balancer.config.slices import Slices, finish
from balancer.config.values import Endpoint
from balancer.site.plan import BalancerPlan, InertPlan, Plan, PoolPlan
from balancer.site.values import ServerLine

ONLY_AT_RESTART = frozenset(("workers", "state"))
"""Options of [site] that a reload refuses to change."""

LINES_A_SLICE: Final = 500
"""Lines of `servers` compared in one slice: some 5 ms."""


@frozen
class OptionChange:
    """An option's value before and after, as values."""

    option: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.option} {_shown(self.old)} -> {_shown(self.new)}"


@frozen
class Added:
    """A pool, server, balancer or listener that is new: `what` says which."""

    what: str

    def text(self) -> str:
        """For the operator."""
        return f"+ {self.what}"


@frozen
class Removed:
    """A pool, server, balancer or listener that goes; what it has in progress may end."""

    what: str

    def text(self) -> str:
        """For the operator."""
        return f"- {self.what}"


@frozen
class Changed:
    """Something that stays, with other options."""

    what: str
    options: tuple[OptionChange, ...]

    def text(self) -> str:
        """For the operator."""
        return f"~ {self.what}: {'; '.join(map(str, self.options))}"


Change: TypeAlias = Added | Removed | Changed


def changing(old: Plan, new: Plan) -> Slices[tuple[Change, ...]]:
    """All that a reload from `old` to `new` does, in the order of the site file."""
    found: list[Change] = list(_options("site", old.site, new.site))
    for change in _pools(old, new):
        if change is None:
            yield
        else:
            found.append(change)
    yield
    balancers = _balancers(old.balancers, new.balancers)
    return (*found, *_balancers(old.inert, new.inert), *balancers, *_listeners(old, new))


def changes(old: Plan, new: Plan) -> tuple[Change, ...]:
    """The same at once."""
    return finish(changing(old, new))


def refused(old: Plan, new: Plan) -> tuple[str, ...]:
    """The options of [site] that differ and can only change at a restart."""
    return tuple(
        change.option
        for each in _options("site", old.site, new.site)
        for change in each.options
        if change.option in ONLY_AT_RESTART
    )


def _pools(old: Plan, new: Plan) -> Iterator[Change | None]:
    """The changes of pools; None after each slice of work."""
    before = {pool.name: pool for pool in old.pools}
    after = {pool.name: pool for pool in new.pools}
    for name in before.keys() - after.keys():
        yield Removed(f"pool {name}")
    for name, pool in after.items():
        if name not in before:
            yield Added(f"pool {name}")
        elif before[name].settings != pool.settings:
            yield from _pool(before[name], pool)
        yield None


def _pool(old: PoolPlan, new: PoolPlan) -> Iterator[Change | None]:
    yield from _options(f"pool {new.name}", old.settings, new.settings, without={"servers"})
    before = {line.name: line for line in old.settings.servers}
    after = {line.name: line for line in new.settings.servers}
    for name, line in before.items():
        if name not in after:
            yield Removed(_server(new.name, line))
    for at, (name, line) in enumerate(after.items()):
        if at % LINES_A_SLICE == 0:
            yield None
        was = before.get(name)
        if was is None:
            yield Added(_server(new.name, line))
        elif (was.endpoint, was.tls) != (line.endpoint, line.tls):
            # A new address makes it a new server, and so does another way to speak to it.
            yield Removed(_server(new.name, was))
            yield Added(_server(new.name, line))
        else:
            yield from _fields(f"server {new.name}/{name}", was, line)


def _server(pool: str, line: ServerLine) -> str:
    return f"server {pool}/{line.name} {line.where}"


def _balancers(
    old: Sequence[BalancerPlan | InertPlan], new: Sequence[BalancerPlan | InertPlan]
) -> Iterator[Change]:
    before = {each.key: each for each in old}
    after = {each.key: each for each in new}
    for key, each in before.items():
        if key not in after:
            yield Removed(f"{each.kind} {each.name}")
    for key, each in after.items():
        if key not in before:
            yield Added(f"{each.kind} {each.name}")
        else:
            yield from _options(f"{each.kind} {each.name}", before[key].settings, each.settings)


def _listeners(old: Plan, new: Plan) -> Iterator[Change]:
    before = {_where(claim) for claim in old.claims}
    after = {_where(claim) for claim in new.claims}
    yield from (Removed(f"listener {where}") for where in sorted(before - after))
    yield from (Added(f"listener {where}") for where in sorted(after - before))


def _where(claim: Claim) -> str:
    return f"{claim.protocol} {Endpoint(claim.host, claim.port)}"


def _options(
    what: str, old: Any, new: Any, without: frozenset[str] | set[str] = frozenset()
) -> Iterator[Changed]:
    """The options of two settings of one class that differ."""
    found = tuple(
        OptionChange(name, getattr(old, declared.attribute), getattr(new, declared.attribute))
        for name, declared in options_of(type(new)).items()
        if name not in without
        and getattr(old, declared.attribute) != getattr(new, declared.attribute)
    )
    if found:
        yield Changed(what, found)


def _fields(what: str, old: ServerLine, new: ServerLine) -> Iterator[Changed]:
    found = tuple(
        OptionChange(
            field.name.replace("_", "-"), getattr(old, field.name), getattr(new, field.name)
        )
        for field in attrs.fields(ServerLine)
        if getattr(old, field.name) != getattr(new, field.name)
    )
    if found:
        yield Changed(what, found)


def _shown(value: Any) -> str:
    """A value for the operator: short."""
    if value is None:
        return "off"
    if isinstance(value, tuple):
        return f"({len(value)} lines)" if len(value) > 1 else ", ".join(map(str, value)) or "none"
    text = str(value) or "none"
    return text if len(text) <= 60 else text[:57] + "..."
