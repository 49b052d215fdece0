"""
What the machine says of itself, for ExaBGP: whom it may run as, and by which address a neighbor is
reached. Asks the kernel and the user database; sends nothing.
"""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress

from attrs import frozen

from balancer.route.anycast import program
from balancer.route.anycast.configuration import Peer
from balancer.route.anycast.protocol import own_uids
from balancer.route.anycast.settings import AnycastSettings


def user() -> str:
    """Whom ExaBGP is to run as; '' for whom we run as."""
    if os.geteuid() != 0:
        return ""
    for name in program.USERS:
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return ""


def uids() -> frozenset[int]:
    """Whom helpers may run as."""
    found = set(own_uids())
    for name in program.USERS:
        with suppress(KeyError):
            found.add(pwd.getpwnam(name).pw_uid)
    return frozenset(found)


def local_address(neighbor: str) -> str:
    """Our address towards the neighbor, as the kernel routes; '' if it does not. Sends nothing."""
    family = socket.AF_INET6 if ":" in neighbor else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((neighbor, 179))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


@frozen
class Reached:
    """Neighbors that there is a route to, and the addresses of the others."""

    peers: tuple[Peer, ...]
    unreachable: tuple[str, ...]


def peers(sections: Iterable[tuple[AnycastSettings, Mapping[str, bytes]]], secret: bool) -> Reached:
    """The neighbors of all sections, each once; with their passwords if that is to be `secret`."""
    found: dict[str, Peer] = {}
    unreachable: dict[str, None] = {}
    for settings, passwords in sections:
        for line in settings.neighbors:
            ours = local_address(line.address)
            router_id = settings.router_id or _router_id(settings)
            if not ours or not router_id:
                unreachable[line.address] = None
            elif line.address not in found:
                password = passwords.get(line.address, b"") if secret else b""
                found[line.address] = Peer(line, settings.local_as, router_id, ours, password)
    return Reached(tuple(found.values()), tuple(unreachable))


def _router_id(settings: AnycastSettings) -> str:
    """Our address towards the first IPv4 neighbor that there is a route to."""
    ours = (local_address(each.address) for each in settings.neighbors if each.version == 4)
    return next(filter(None, ours), "")
