"""
The two sockets of one section: the one by which it asks the kernel, and the one that hears what
others change.

Knows what a kernel must be able to do, and which privilege it takes. What is asked for and what
follows from the news is the owner's business.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from socket import socket
from typing import Any, Final

from attrs import frozen

from balancer.interfaces import NoPrivilege, PrepareError
from balancer.kernel import service as kernel
from balancer.kernel.netlink import Message
from balancer.kernel.service import Monitor, Netlink, Refused
from balancer.route.installed import Installed
from balancer.route.settings import first_id

GROUPS: Final = (
    kernel.NEXT_HOPS,
    kernel.IPV4_ROUTES,
    kernel.IPV6_ROUTES,
    kernel.LINKS,
    kernel.IPV4_ADDRESSES,
    kernel.IPV6_ADDRESSES,
)
"""The kernel tells of a link that goes down, and not of the next hops that go with it."""

Open = Callable[[], socket]
"""Opens a netlink socket. Raises `Refused`."""


@frozen(eq=False)
class Sockets:
    """What asks, and what hears."""

    installed: Installed
    monitor: Monitor

    def close(self) -> None:
        """The end of both; harmless if it was before."""
        self.monitor.close()
        self.installed.netlink.close()


def opened(
    section: str,
    reactor: Any,
    open: Open,
    heard: Callable[[Sequence[Message]], None],
    overrun: Callable[[], None],
) -> Sockets:
    """Both, for the section of that name, and tried out; nobody listens yet. Raises
    `PrepareError`."""
    try:
        netlink = Netlink(open())
        try:
            monitor = Monitor(reactor, GROUPS, heard, overrun, open())
        except Refused:
            netlink.close()
            raise
    except Refused as error:
        raise _cannot(section, error) from error
    sockets = Sockets(Installed(netlink, first_id(section)), monitor)
    try:
        try_out(section, sockets)
    except PrepareError:
        sockets.close()
        raise
    return sockets


def try_out(section: str, sockets: Sockets) -> None:
    """Raises `PrepareError` if the section may not change routes here. Changes nothing."""
    try:
        sockets.installed.try_out()
    except Refused as error:
        raise _cannot(section, error) from error


def _cannot(section: str, error: Refused) -> PrepareError:
    """Why the section cannot work on this machine, in words for the operator."""
    if error.code == errno.EPERM:
        return NoPrivilege(f"[ecmp {section}] lacks a privilege: routes need CAP_NET_ADMIN")
    if error.code in (errno.EOPNOTSUPP, errno.EINVAL):
        text = "expected a kernel with next hop objects (Linux 5.3 and up)"
        return PrepareError(f"[ecmp {section}] {text}, got: {error}")
    return PrepareError(f"[ecmp {section}] cannot ask the kernel for routes: {error}")
