"""
What a site file that is only looked at would do to the kernel, as `ip` commands.

Glue: it asks the kernel what there is, by a socket of its own. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import evolve

from balancer.interfaces import PlannedServer
from balancer.kernel.service import Netlink, Refused
from balancer.pool.server import Server
from balancer.pool.settings import ServerSettings
from balancer.route.ecmp import Conflict, command, steps
from balancer.route.installed import Installed, name_of
from balancer.route.settings import EcmpSettings, first_id
from balancer.route.sockets import Open
from balancer.route.standing import gateway
from balancer.route.wanting import wish


def commands(
    section: str,
    open: Open,
    settings: EcmpSettings,
    servers: Sequence[Server],
    former: int,
) -> Sequence[str]:
    """See `IShowsCommands`. `former` is the protocol number under which the section's route is in
    the kernel now."""
    try:
        netlink = Netlink(open())
        try:
            installed = Installed(netlink, first_id(section))
            return list(dry_run(installed, settings, servers, former))
        finally:
            netlink.close()
    except (Refused, Conflict) as error:
        return [f"# [ecmp {section}]: {error}"]


def gone(settings: EcmpSettings) -> EcmpSettings:
    """The settings under which nothing is left of a section that has no servers."""
    return evolve(settings, last="withdraw")


def dry_run(
    installed: Installed, settings: EcmpSettings, servers: Sequence[Server], former: int
) -> Iterator[str]:
    """The `ip` commands that lead from what the kernel has, under the protocol number `former`, to
    what `settings` want of `servers`. Raises `Refused` and `Conflict`."""
    own = (str(settings.prefix), settings.table)
    present = installed.read(own, (former, settings.protocol))
    found = wish(installed, settings, servers, False)
    for step in steps(found.desired, present):
        yield command(step, name_of)
    for address, reason in found.unreachable.items():
        yield f"# no next hop {address}: {reason}"


def planned(lines: Sequence[PlannedServer], known: Sequence[Server]) -> list[Server]:
    """Servers as a site file has them, with the verdicts that are known; others count as up."""
    by_name = {server.name: server for server in known}
    found = []
    for line in lines:
        settings = ServerSettings(line.name, weight=line.weight, backup=line.backup,
                                  disabled=line.disabled)
        server = Server.of(line.pool, settings, line, 0.0)
        server.verdict = "up"
        present = by_name.get(line.name)
        if present is not None and (not gateway(server) or gateway(server) == gateway(present)):
            server.address, server.verdict = present.address, present.verdict
            server.ejected_until, server.reason = present.ejected_until, present.reason
            if not line.disabled:
                server.admin = present.admin
        found.append(server)
    return found
