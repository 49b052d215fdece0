"""
What the kernel has of one section, and how it gets what it should have.

Glue: each call asks the kernel. Knows no pool and no clock; when to try again is `service`'s
business.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from attrs import evolve, field, frozen

from balancer.kernel import nexthop, route
from balancer.kernel.netlink import Failure, Malformed
from balancer.kernel.service import Netlink, Refused
from balancer.route.ecmp import (
    SPARE,
    Conflict,
    Desired,
    Drop,
    DropRoute,
    Present,
    PutGroup,
    PutHop,
    PutRoute,
    Step,
    done,
    steps,
)

GONE: Final = frozenset((errno.ENOENT, errno.ESRCH, errno.ENODEV))
"""What the kernel says when it shall remove what is not there."""

NOT_OF_ONE: Final = frozenset((errno.EPERM, errno.EEXIST, errno.ENOMEM, errno.ENOBUFS))
"""Refusals of a next hop that say nothing of that one."""


@frozen
class Outcome:
    """`made` was done. `refused` gives the gateways that the kernel would not take, and why."""

    made: tuple[Step, ...]
    refused: Mapping[str, str] = field(factory=dict)

    def took_none(self, desired: Desired) -> bool:
        """Whether the kernel refused each next hop that was desired."""
        return bool(desired.targets) and all(
            each.gateway in self.refused for each in desired.targets
        )


class Installed:
    """`present` is what the kernel has, None before it was read."""

    def __init__(self, netlink: Netlink, first: int) -> None:
        self.netlink = netlink
        self._first = first
        self.present: Present | None = None

    def try_out(self) -> None:
        """Raises `Refused` if we may not change next hops here, or the kernel has none."""
        self._drop(lambda number: nexthop.drop(self._first + SPARE, number))

    def read(self, own: tuple[str, int], protocols: Iterable[int]) -> Present:
        """Look at what the kernel has under `protocols`; `own` is the section's prefix and table.
        Raises `Refused`."""
        numbers = frozenset(protocols)
        self.present = None
        present = Present(self._first)
        try:
            for message in self.netlink.dump(nexthop.dump):
                present.see(nexthop.read(message), numbers)
            for version in (4, 6):
                for number in numbers:
                    for message in self.netlink.dump(_routes(version, number)):
                        present.see_route(route.read(message), numbers, own)
        except Malformed as error:
            raise Refused(Failure(errno.EBADMSG, str(error))) from error
        self.present = present
        return present

    def forget(self) -> None:
        """What is known of the kernel may not be so any more."""
        self.present = None

    def device(self, address: str) -> int:
        """The index of the link on which the neighbour is. Raises `Refused`."""
        message = self.netlink.ask(lambda number: route.way(address, number))
        if message is None:
            raise Refused(Failure(errno.ENETUNREACH, "no way to it"))
        way = route.read_way(message)
        if not way.direct:
            raise Refused(Failure(errno.EHOSTUNREACH, "behind a gateway, not on a link of ours"))
        return way.device

    def follow(self, desired: Desired) -> Outcome:
        """
        Make what the kernel has what is desired. Next hops that it does not take are left out; if
        it takes none of them, nothing else is done. Raises `Refused` and `Conflict`; what was done
        until then stays, and is read anew.
        """
        assert self.present is not None
        made: list[Step] = []
        refused: dict[str, str] = {}
        while True:
            left = tuple(each for each in desired.targets if each.gateway not in refused)
            if desired.targets and not left:
                return Outcome(tuple(made), refused)
            try:
                self._carry_out(steps(evolve(desired, targets=left), self.present), made)
                return Outcome(tuple(made), refused)
            except _NotThatOne as error:
                refused[error.gateway] = error.reason
            except BaseException:
                self.present = None
                raise

    def _carry_out(self, found: Iterable[Step], made: list[Step]) -> None:
        assert self.present is not None
        for step in found:
            ask = self._drop if isinstance(step, (Drop, DropRoute)) else self.netlink.ask
            try:
                ask(_request(step))
            except Refused as error:
                if isinstance(step, PutHop) and error.code not in NOT_OF_ONE:
                    raise _NotThatOne(step.hop.gateway, str(error)) from error
                if isinstance(step, PutRoute) and error.code == errno.EEXIST:
                    where = f"{step.route.prefix} is in table {step.route.table} already"
                    msg = f"a route of others for {where}: remove it, or set another table"
                    raise Conflict(msg) from error
                raise
            done(step, self.present)
            made.append(step)

    def _drop(self, request: _Request) -> None:
        """Remove what may be gone already."""
        try:
            self.netlink.ask(request)
        except Refused as error:
            if error.code not in GONE:
                raise


_Request = Callable[[int], bytes]


class _NotThatOne(Exception):
    """The kernel does not take that next hop."""

    def __init__(self, gateway: str, reason: str) -> None:
        super().__init__(reason)
        self.gateway = gateway
        self.reason = reason


def _routes(version: int, protocol: int) -> _Request:
    return lambda number: route.dump(version, protocol, number)


def _request(step: Step) -> _Request:
    if isinstance(step, PutHop):
        hop, replace = step.hop, step.replace
        return lambda number: nexthop.put_hop(hop, number, replace=replace)
    if isinstance(step, PutGroup):
        group = step.group
        return lambda number: nexthop.put_group(group, number)
    if isinstance(step, PutRoute):
        added, instead = step.route, step.replace
        return lambda number: route.put(added, number, replace=instead)
    if isinstance(step, DropRoute):
        old = step.route
        return lambda number: route.drop(old, number)
    id = step.id
    return lambda number: nexthop.drop(id, number)


def index_of(device: str) -> int:
    """A link's index by its name. Raises `Refused`."""
    try:
        return socket.if_nametoindex(device)
    except OSError as error:
        raise Refused(Failure(errno.ENODEV, f"there is no device {device}")) from error


def name_of(index: int) -> str:
    """A link's name, or its index where it has none any more."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"if{index}"
