"""
The files that tell a resolver how to work: resolv.conf(5) and hosts(5), read. Pure.

Of resolv.conf `nameserver`, `search`, `domain` and the options ndots, timeout and attempts count.
Not done: `rotate`, `sortlist`, EDNS, `trust-ad`, the local domain that glibc takes from the host's
name, and what else nsswitch.conf(5) may ask (mDNS, directories): names come from the hosts file and
from DNS.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final

from attrs import evolve, frozen

MAX_FILE: Final = 1024 * 1024
"""Bytes of either file: 20,000 lines of a hosts file."""

MAX_SERVERS: Final = 8
"""DNS servers that are asked: glibc takes 3 of resolv.conf; `[site] resolvers` may have more."""

MAX_SEARCH: Final = 6
"""Domains of a search list, as glibc's bound was."""

MAX_NDOTS, MAX_TIMEOUT, MAX_ATTEMPTS = 15, 30, 5
"""What glibc caps the options at (resolv.conf(5))."""

MAX_OF_A_NAME: Final = 256
"""Lines of the hosts file that count for one name."""

PORT: Final = 53

Hosts = Mapping[str, tuple[str, ...]]
"""What the hosts file has for each name, in lower case."""


@frozen
class Conf:
    """
    How to ask: `servers` in turn (host and port), each for `timeout` seconds, all `attempts` times.

    glibc's timeout is 5 s; a server that does not answer within 2 will not, and the next waits.
    """

    servers: tuple[tuple[str, int], ...] = (("127.0.0.1", PORT),)
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout: float = 2.0
    attempts: int = 2

    def candidates(self, name: str) -> tuple[str, ...]:
        """
        The absolute names that `name` may stand for, in turn. One with `ndots` dots or a dot at its
        end stands for itself alone; glibc would try the search list after it.
        """
        if name.endswith(".") or name.count(".") >= self.ndots:
            return (name.removesuffix("."),)
        return (*(f"{name}.{domain}" for domain in self.search), name)


def read_conf(text: str) -> Conf:
    """What resolv.conf says; what cannot be read in it is passed over, as glibc does."""
    servers: list[tuple[str, int]] = []
    found = Conf()
    for line in text.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        if len(words) < 2:
            continue
        key, first = words[0], words[1]
        if key == "nameserver" and len(servers) < MAX_SERVERS and _is_address(first):
            servers.append((first, PORT))
        elif key in ("search", "domain"):
            domains = (word.strip(".").lower() for word in words[1:])
            found = evolve(found, search=tuple(filter(None, domains))[:MAX_SEARCH])
        elif key == "options":
            found = _with_options(found, words[1:])
    return evolve(found, servers=tuple(servers)) if servers else found


def _with_options(conf: Conf, words: list[str]) -> Conf:
    for word in words:
        key, _, value = word.partition(":")
        if not value.isdecimal():
            continue
        number = int(value[:9])
        if key == "ndots":
            conf = evolve(conf, ndots=min(number, MAX_NDOTS))
        elif key == "timeout":
            conf = evolve(conf, timeout=float(max(1, min(number, MAX_TIMEOUT))))
        elif key == "attempts":
            conf = evolve(conf, attempts=max(1, min(number, MAX_ATTEMPTS)))
    return conf


def read_hosts(text: str) -> Hosts:
    """
    What a hosts file says: the first word of each line that has the name, in their order.
    `addresses_of` tells what is an address: looking at 20,000 of them would take a long turn.
    """
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].lower().split()
        for name in words[1:]:
            found[name] = (*found[name], words[0]) if name in found else (words[0],)
    return found


def addresses_of(name: str, hosts: Hosts) -> tuple[str, ...]:
    """The addresses that the hosts file has for a name in lower case, each once."""
    found = hosts.get(name) or hosts.get(name.removesuffix(".")) or ()
    return tuple(dict.fromkeys(filter(_is_address, found[:MAX_OF_A_NAME])))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
