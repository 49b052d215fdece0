"""
What a new plan changes in the one in force: a typed list, the smallest that leads from one to the
other. Pure. `lbctl plan` prints it and a reload carries it out, so that both say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
from attrs import frozen

from balancer.config.schema import Claim, Declared, options_of
from balancer.config.slices import Slices, finish
from balancer.config.values import Endpoint
from balancer.site.plan import BalancerPlan, InertPlan, Plan, PoolPlan, Written
from balancer.site.values import ServerLine

ONLY_AT_RESTART = frozenset(("workers", "state"))
"""Options of [site] that a reload refuses to change."""

MOST_SHOWN: Final = 60
"""Characters of a value that are shown."""

Given: TypeAlias = tuple[Any, Written]
"""Settings, and how they stand in the site file."""

LINES_A_SLICE: Final = 500
"""Lines of `servers` compared in one slice: some 5 ms."""


@frozen
class OptionChange:
    """An option's value before and after, in the words of the site file."""

    option: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.option} {_short(self.old)} -> {_short(self.new)}"


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
    found: list[Change] = list(_site(old, new))
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
        for each in _site(old, new)
        for change in each.options
        if change.option in ONLY_AT_RESTART
    )


def _site(old: Plan, new: Plan) -> Iterator[Changed]:
    return _options("site", (old.site, old.site_written), (new.site, new.site_written))


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
    given = (old.settings, old.written), (new.settings, new.written)
    yield from _options(f"pool {new.name}", *given, without=frozenset(("servers",)))
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
            was = before[key]
            given = ((was.settings, was.written), (each.settings, each.written))
            yield from _options(f"{each.kind} {each.name}", *given)


def _listeners(old: Plan, new: Plan) -> Iterator[Change]:
    before = {_where(claim) for claim in old.claims}
    after = {_where(claim) for claim in new.claims}
    yield from (Removed(f"listener {where}") for where in sorted(before - after))
    yield from (Added(f"listener {where}") for where in sorted(after - before))


def _where(claim: Claim) -> str:
    return f"{claim.protocol} {Endpoint(claim.host, claim.port)}"


def _options(
    what: str, old: Given, new: Given, without: frozenset[str] = frozenset()
) -> Iterator[Changed]:
    """The options of two settings of one class that differ."""
    (before, was_written), (after, is_written) = old, new
    found = tuple(
        OptionChange(
            name,
            was_written.get(name) or _shown(getattr(before, declared.attribute), declared),
            is_written.get(name) or _shown(getattr(after, declared.attribute), declared),
        )
        for name, declared in options_of(type(after)).items()
        if name not in without
        and getattr(before, declared.attribute) != getattr(after, declared.attribute)
    )
    if found:
        yield Changed(what, found)


def _shown(value: Any, declared: Declared) -> str:
    """A value that does not stand in one line of the site file: of many lines, or the default."""
    if isinstance(value, (tuple, Mapping)) and value and value != declared.value_of_default():
        return f"({len(value)} line{'s' if len(value) > 1 else ''})"
    if declared.default is not None:
        return declared.default.replace("\n", ", ")
    return "none" if declared.lines or declared.keyed else "off"


def _fields(what: str, old: ServerLine, new: ServerLine) -> Iterator[Changed]:
    found = tuple(
        OptionChange(name.replace("_", "-"), str(getattr(old, name)), str(getattr(new, name)))
        for name in attrs.fields_dict(ServerLine)
        if getattr(old, name) != getattr(new, name)
    )
    if found:
        yield Changed(what, found)


def _short(text: str) -> str:
    text = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN - 3]}..."
    return f'"{text}"' if "->" in text else text
