"""
Who the client is, and how servers are told: X-Forwarded-*, Forwarded (RFC 7239).

Knows addresses and fields. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from balancer.config.values import Network
from balancer.http.message import RequestHead

MAX_HOPS: Final = 32
"""Addresses of a chain that are looked at, from the right. More proxies than that are a loop."""

_CHAIN: Final = re.compile(rb"\r\nx-forwarded-for:[ \t]*+([^\r]*+)", re.IGNORECASE)
_ELEMENTS: Final = re.compile(rb"\r\nforwarded:[ \t]*+([^\r]*+)", re.IGNORECASE)
_FOR: Final = re.compile(rb"(?:\A|[;,])[ \t]*+for=(\"[^\"]*+\"|[^;,\" \t]*+)", re.IGNORECASE)

Client = IPv4Address | IPv6Address


@lru_cache(maxsize=4096)  # a client comes again and again
def address_of(text: str) -> Client | None:
    """The address that `text` is, without brackets and port; None if it is none."""
    text = text.strip(' \t"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_trusted(client: Client | None, proxies: Iterable[Network]) -> bool:
    """Whether `client` lies in one of `proxies`."""
    return client is not None and any(client in network for network in proxies)


def chain(head: RequestHead) -> Sequence[str]:
    """The addresses that proxies noted, the nearest last: all X-Forwarded-For fields, or else all
    Forwarded ones."""
    fields = _CHAIN.findall(head.raw)
    if fields:
        return b",".join(fields).decode("latin-1").split(",")
    elements = b",".join(_ELEMENTS.findall(head.raw))
    return [found.decode("latin-1") for found in _FOR.findall(elements)]


def client_of(head: RequestHead, peer: str, proxies: Sequence[Network]) -> str:
    """
    The client of a request that came from the trusted `peer`: the right-most address that is not
    trusted. What is no address ends the search, for whoever wrote it cannot be believed.
    """
    nearest = peer
    for text in list(chain(head))[: -MAX_HOPS - 1 : -1]:
        client = address_of(text)
        if client is None:
            break
        nearest = str(client)
        if not is_trusted(client, proxies):
            break
    return nearest


def additions(
    mode: str, peer: str, head: RequestHead, trusted: bool, scheme: bytes = b"http"
) -> bytes:
    """The lines, each with its CRLF, that tell a server of the client and of the `scheme` that it
    came by. `mode` is the option `forwarded`. A trusted peer's own fields stay, and the peer is
    appended to its chain."""
    if mode == "off":
        return b""
    before = head.forwarded_for + b", " if head.forwarded_for else b""
    if mode == "rfc7239":
        node, host = _node(peer), _host(head.host)
        return b"Forwarded: %bfor=%b;proto=%b%b\r\n" % (before, node, scheme, host)
    lines = [b"X-Forwarded-For: %b%b\r\n" % (before, peer.encode())]
    if not trusted or head.field(b"x-forwarded-proto") is None:
        lines.append(b"X-Forwarded-Proto: %b\r\n" % scheme)
    if head.host and (not trusted or head.field(b"x-forwarded-host") is None):
        lines.append(b"X-Forwarded-Host: %b\r\n" % head.host)
    return b"".join(lines)


def _node(peer: str) -> bytes:
    """RFC 7239 section 6: an IPv6 address stands in brackets and quotes."""
    if peer == "unix":
        return b"unknown"
    return b'"[%b]"' % peer.encode() if ":" in peer else peer.encode()


def _host(host: bytes) -> bytes:
    if not host:
        return b""
    return b';host="%b"' % host if b":" in host else b";host=" + host
