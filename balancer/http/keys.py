"""
What a pool's algorithm chooses a server by: bytes made of a request, for pools that want any.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import Protocol

from balancer.http.message import RequestHead
from balancer.pool.settings import KeySource


class Asker(Protocol):
    """Who asks: the client behind trusted proxies. The port is the connection's own."""

    source: str
    peer_port: int


KeyOf = Callable[[Asker, RequestHead], bytes | None]


@lru_cache(maxsize=4096)  # a client comes again and again
def packed(source: str) -> bytes | None:
    """The 4 or 16 bytes of an address; None of what is none (a unix socket's peer)."""
    try:
        return ip_address(source).packed
    except ValueError:
        return None


def key_of(wanted: KeySource) -> KeyOf | None:
    """The function that makes the key; None when the algorithm needs none."""
    name = wanted.argument.encode()
    if wanted.kind == "source":
        return lambda asker, head: packed(asker.source)
    if wanted.kind == "address+port":
        return _address_and_port
    if wanted.kind == "uri":
        return lambda asker, head: head.path
    if wanted.kind == "header":
        lower = name.lower()
        return lambda asker, head: head.field(lower)
    if wanted.kind == "cookie":
        return lambda asker, head: head.cookie(name)
    if wanted.kind == "query":
        return lambda asker, head: head.query(name)
    return None


def _address_and_port(asker: Asker, head: RequestHead) -> bytes | None:
    address = packed(asker.source)
    return None if address is None else address + asker.peer_port.to_bytes(2, "big")
