"""
The verb `kernel`: what the service needs to change routes, next hops and addresses, as a drop-in of
systemd's. Pure.
"""

from __future__ import annotations

from typing import Final

from balancer.setup.steps import MARK, Plan, Run, Step, placed, taken_away

PATH: Final = "/etc/systemd/system/balancer.service.d/kernel.conf"

# systemd adds up the lines of a unit and its drop-ins for capabilities and address families
# (systemd.exec(5)), so the unit's own CAP_NET_BIND_SERVICE stays.
TEXT: Final = f"""\
{MARK} kernel; `balancer-setup undo kernel` removes it.
# Do not change it: a drop-in of your own beside it counts as well.
[Service]
# Routes, next hops and addresses. Ambient, so that the `ip` that the balancer runs has it, too.
AmbientCapabilities=CAP_NET_ADMIN
CapabilityBoundingSet=CAP_NET_ADMIN
# The kernel is asked over netlink. All four, since a list that stands alone shuts the others out.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
# The capability has to count in the machine's own network, not in one of the service's own.
PrivateNetwork=no
PrivateUsers=no
"""

RELOAD: Final = Run(("systemctl", "daemon-reload"))

RESTART: Final = "systemctl restart balancer: a running one keeps the rights that it began with"

FORWARDING: Final = {
    "/proc/sys/net/ipv4/ip_forward": "net.ipv4.ip_forward",
    "/proc/sys/net/ipv6/conf/all/forwarding": "net.ipv6.conf.all.forwarding",
}
"""What says whether the machine passes on packets of others, and the name of that setting."""


def plan(there: str | None, forwards: dict[str, bool], booted: bool) -> Plan:
    """
    From the drop-in that is `there`. `forwards` has settings of `FORWARDING` that are known;
    `booted` says whether systemd runs the machine.
    """
    steps = placed(PATH, TEXT, there)
    settled = () if steps else (f"{PATH} is as it should be",)
    off = tuple(name for name, is_on in forwards.items() if not is_on)
    notes = tuple(f"for [ecmp]: {name} is 0, this machine is no router yet" for name in off)
    return Plan((*steps, *_reload(steps, booted)), settled, (*_restart(steps), *notes))


def undone(there: str | None, booted: bool) -> Plan:
    """The service without these rights again."""
    steps = taken_away(PATH, there)
    settled = () if steps else (f"{PATH} is not there",)
    return Plan((*steps, *_reload(steps, booted)), settled, _restart(steps))


def _reload(steps: tuple[Step, ...], booted: bool) -> tuple[Step, ...]:
    return (RELOAD,) if steps and booted else ()


def _restart(steps: tuple[Step, ...]) -> tuple[str, ...]:
    return (RESTART,) if steps else ()
