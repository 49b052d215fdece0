"""
From what the kernel has to what it should have, in the fewest steps. Pure.

The order of the steps is what keeps traffic flowing: next hops are there before a group has them, a
group before the route goes through it, and nothing is removed that something still uses.

Measured with `ip nexthop bucket show`: replacing a resilient group by one with another next hop in
place of one hands the buckets of that one over and touches no other; taking one out shares out its
buckets alone; and one that is added gets idle buckets only. So a group is always replaced as a
whole, under its id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from math import gcd
from typing import Final, TypeAlias

from attrs import define, evolve, field, frozen

from balancer.kernel.nexthop import MAX_WEIGHT, Group, Hop, Other, Resilient
from balancer.kernel.route import Route
from balancer.route.settings import IDS_A_SLOT, MAX_HOPS

GROUPS: Final = 2
"""Groups of a section: a new one takes over where the kernel will not change the old one."""

SPARE: Final = IDS_A_SLOT - 1
"""Counted from the section's first id, the one that nobody ever has."""


@frozen
class Target:
    """A next hop that is wanted, on the link of the index `device`, with a weight from 1."""

    gateway: str
    device: int
    weight: int


@frozen
class Desired:
    """What a section wants of the kernel. Without targets: nothing."""

    prefix: str
    table: int
    protocol: int
    resilient: Resilient | None
    targets: tuple[Target, ...]


class Conflict(Exception):
    """Others have what we need; the text says what."""


@define
class Present:
    """What the kernel has of a section's. `first` is its first id, `taken` has the ids from there
    on that others use."""

    first: int
    hops: dict[int, Hop] = field(factory=dict)
    groups: dict[int, Group] = field(factory=dict)
    routes: dict[tuple[str, int], Route] = field(factory=dict)
    taken: set[int] = field(factory=set)
    reclaim: bool = False
    """Whether somebody has just put a route of theirs in place of ours."""

    @property
    def ids(self) -> range:
        """The section's own."""
        return range(self.first, self.first + IDS_A_SLOT)

    def see(self, found: Hop | Group | Other, protocols: Iterable[int]) -> None:
        """An object that the kernel has."""
        if found.id not in self.ids:
            return
        if found.protocol not in protocols or isinstance(found, Other):
            self.taken.add(found.id)
        elif isinstance(found, Hop):
            self.hops[found.id] = found
        else:
            self.groups[found.id] = found

    def see_route(self, route: Route, protocols: Iterable[int], own: tuple[str, int]) -> None:
        """A route that the kernel has; `own` is the prefix and table of the section's."""
        where = (route.prefix, route.table)
        if route.protocol in protocols and (route.through in self.ids or where == own):
            self.routes[where] = route


@frozen
class PutHop:
    """Make a next hop, or have it taken over."""

    hop: Hop
    replace: bool = False


@frozen
class PutGroup:
    """Make a group, or change it."""

    group: Group


@frozen
class PutRoute:
    """Add the route, or have it go elsewhere."""

    route: Route
    replace: bool


@frozen
class DropRoute:
    """Remove a route."""

    route: Route


@frozen
class Drop:
    """Remove a next hop or a group."""

    id: int


Step: TypeAlias = PutHop | PutGroup | PutRoute | DropRoute | Drop


def steps(desired: Desired, present: Present) -> list[Step]:
    """What leads from `present` to `desired`, in order. Raises `Conflict`."""
    if not desired.targets:
        return [*_leftovers(present, None, None, ())]
    hops = _hops(desired, present)
    group = _group(desired, present, hops)
    route = Route(desired.prefix, desired.table, group.id, desired.protocol)
    found: list[Step] = [
        PutHop(hop, hop.id in present.hops)
        for hop in hops
        if present.hops.get(hop.id) != hop
    ]
    if not _same(present.groups.get(group.id), group):
        found.append(PutGroup(group))
    before = present.routes.get((route.prefix, route.table))
    if before != route:
        found.append(PutRoute(route, before is not None or present.reclaim))
    return [*found, *_leftovers(present, route, group, hops)]


def done(step: Step, present: Present) -> None:
    """The kernel has done it."""
    if isinstance(step, PutHop):
        present.hops[step.hop.id] = step.hop
    elif isinstance(step, PutGroup):
        present.groups[step.group.id] = step.group
    elif isinstance(step, PutRoute):
        present.routes[step.route.prefix, step.route.table] = step.route
        present.reclaim = False
    elif isinstance(step, DropRoute):
        present.routes.pop((step.route.prefix, step.route.table), None)
    else:
        present.hops.pop(step.id, None)
        present.groups.pop(step.id, None)


def in_use(desired: Desired, present: Present) -> tuple[Target, ...]:
    """The next hops that the kernel sends the prefix to now, as targets."""
    route = present.routes.get((desired.prefix, desired.table))
    group = None if route is None else present.groups.get(route.through)
    if group is None:
        return ()
    return tuple(
        Target(present.hops[id].gateway, present.hops[id].device, weight)
        for id, weight in group.hops
        if id in present.hops
    )


def shares(weights: Sequence[int]) -> list[int]:
    """Weights in the same proportion, from 1 to 256 as the kernel takes them; nobody with a weight
    is left without a share."""
    divisor = gcd(*weights) or 1
    small = [weight // divisor for weight in weights]
    greatest = max(small, default=1)
    if greatest <= MAX_WEIGHT:
        return small
    return [max(1, round(weight * MAX_WEIGHT / greatest)) for weight in small]


def _hops(desired: Desired, present: Present) -> list[Hop]:
    """Each target's next hop: the one that the kernel has, under the id that it has."""
    at = {(hop.gateway, hop.device): hop.id for hop in present.hops.values()}
    used = {*present.hops, *present.taken}
    found = []
    for target in desired.targets:
        id = at.get((target.gateway, target.device))
        if id is None:
            id = _free(target, present.first, used)
            used.add(id)
        found.append(Hop(id, target.gateway, target.device, desired.protocol))
    return found


def _free(target: Target, first: int, used: set[int]) -> int:
    """An id that follows from the address: the same one each time, unless it is used."""
    digest = sha256(f"{target.gateway}%{target.device}".encode()).digest()
    start = int.from_bytes(digest[:4], "big")
    for step in range(MAX_HOPS):
        id = first + GROUPS + (start + step) % MAX_HOPS
        if id not in used:
            return id
    raise Conflict(f"no next hop id from {first + GROUPS} to {first + SPARE - 2} is free")


def _group(desired: Desired, present: Present, hops: Sequence[Hop]) -> Group:
    """The group under the id in use; under the other one, where the kernel would not change it."""
    members = zip(hops, shares([target.weight for target in desired.targets]), strict=True)
    pairs = tuple(sorted((hop.id, weight) for hop, weight in members))
    wanted = Group(present.first, pairs, desired.protocol, desired.resilient)
    route = present.routes.get((desired.prefix, desired.table))
    through = None if route is None else route.through
    ids = sorted(
        set(range(present.first, present.first + GROUPS)) - present.taken,
        key=lambda id: (id != through, id not in present.groups, id),
    )
    for id in ids:
        old = present.groups.get(id)
        if old is None or _shape(old) == _shape(wanted):
            return evolve(wanted, id=id)
    raise Conflict(f"next hop ids {present.first} and {present.first + 1} are used by others")


def _shape(group: Group) -> int | None:
    """What the kernel refuses to change."""
    return None if group.resilient is None else group.resilient.buckets


def _same(old: Group | None, new: Group) -> bool:
    return old is not None and evolve(old, hops=tuple(sorted(old.hops))) == new


def _leftovers(
    present: Present, route: Route | None, group: Group | None, hops: Sequence[Hop]
) -> Iterator[Step]:
    """What is not needed any more; what uses others first."""
    keep = {hop.id for hop in hops} | ({group.id} if group else set())
    here = (route.prefix, route.table) if route else None
    for where, old in present.routes.items():
        # What goes through another section's group is that one's by now.
        if where != here and old.through in present.ids:
            yield DropRoute(old)
    yield from (Drop(id) for id in present.groups if id not in keep)
    yield from (Drop(id) for id in present.hops if id not in keep)


def command(step: Step, device: Callable[[int], str]) -> str:
    """The `ip` command that would do the same; `device` gives a link's name."""
    if isinstance(step, PutHop):
        hop, verb = step.hop, "replace" if step.replace else "add"
        where = f"via {hop.gateway} dev {device(hop.device)}"
        return f"ip nexthop {verb} id {hop.id} {where} protocol {hop.protocol}"
    if isinstance(step, PutGroup):
        return _group_command(step.group)
    if isinstance(step, PutRoute):
        return f"ip route {'replace' if step.replace else 'add'} {_route_words(step.route)}"
    if isinstance(step, DropRoute):
        return f"ip route del {_route_words(step.route)}"
    return f"ip nexthop del id {step.id}"


def _group_command(group: Group) -> str:
    hops = "/".join(f"{id},{weight}" if weight > 1 else f"{id}" for id, weight in group.hops)
    words = f"ip nexthop replace id {group.id} group {hops}"
    if group.resilient is not None:
        timers: Mapping[str, float] = {
            "idle_timer": group.resilient.idle,
            "unbalanced_timer": group.resilient.unbalanced,
        }
        words += f" type resilient buckets {group.resilient.buckets} "
        words += " ".join(f"{name} {value:g}" for name, value in timers.items())
    return f"{words} protocol {group.protocol}"


def _route_words(route: Route) -> str:
    through = f" nhid {route.through}" if route.through else ""
    return f"{route.prefix}{through} table {route.table} protocol {route.protocol}"
