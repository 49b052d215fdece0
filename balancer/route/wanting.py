"""
What a section should have in the kernel now, of its settings and the servers of its pool.

Glue: it asks the kernel on which links the servers are. Changes nothing.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import evolve, frozen

from balancer.kernel.netlink import Failure
from balancer.kernel.service import Refused
from balancer.pool.server import Server
from balancer.route.ecmp import Desired, Present, Target, in_use
from balancer.route.installed import Installed, index_of
from balancer.route.settings import MAX_HOPS, EcmpSettings
from balancer.route.standing import Standing, is_link_local, stand, weighed

_LINK_LOCAL: Final = Failure(errno.ENODEV, "a link-local address, which needs the option device")
_TOO_MANY: Final = Failure(errno.E2BIG, f"over {MAX_HOPS} next hops")


@frozen
class Wish:
    """`desired` is what should be there. `unreachable` gives the addresses that cannot be next hops
    now, with the reasons, and `standing` what the pool says of its servers."""

    desired: Desired
    unreachable: Mapping[str, str]
    standing: Standing


def nothing(settings: EcmpSettings) -> Desired:
    """The section's route shall not be."""
    options, prefix = settings.resilience, str(settings.prefix)
    return Desired(prefix, settings.table, settings.protocol, options, ())


def used(settings: EcmpSettings, present: Present | None) -> tuple[Target, ...]:
    """The next hops in use."""
    return () if present is None else in_use(nothing(settings), present)


def wish(
    installed: Installed, settings: EcmpSettings, servers: Sequence[Server], panicking: bool
) -> Wish:
    """What should be there."""
    now = used(settings, installed.present)
    trusted = {each.gateway for each in now}
    standing = stand(servers, settings.prefix.version, panicking, trusted)
    targets: list[Target] = []
    unreachable: dict[str, str] = {}
    for address, weight in weighed(standing.chosen).items():
        try:
            if len(targets) >= MAX_HOPS:
                raise Refused(_TOO_MANY)
            targets.append(Target(address, _device(installed, settings, address), weight))
        except Refused as error:
            unreachable[address] = str(error)
    if not targets and settings.last == "keep":
        targets = list(now)
    desired = evolve(nothing(settings), targets=tuple(targets))
    return Wish(desired, unreachable, standing)


def _device(installed: Installed, settings: EcmpSettings, address: str) -> int:
    if settings.device is not None:
        return index_of(settings.device)
    if is_link_local(address):
        raise Refused(_LINK_LOCAL)
    return installed.device(address)
