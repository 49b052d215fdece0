"""
Parsers of addresses and networks. Knows how they are written; opens and resolves nothing.
"""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)
from typing import Final, TypeAlias

from attrs import frozen

from balancer.config.errors import NotBuilt, Unreadable

Network: TypeAlias = IPv4Network | IPv6Network

_UNIX: Final = "unix:"
_UNIX_BYTES: Final = 107  # sun_path of unix(7) is 108 bytes with its NUL
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_PORT: Final = re.compile(r"0|[1-9][0-9]{0,4}")
_SERVER: Final = "an address and port such as 192.0.2.1:80, [2001:db8::1]:80 or app.example:80"
_LISTEN: Final = "an IP address and port such as 127.0.0.1:80, 0.0.0.0:80 or [::]:80"
_ADDRESS: Final = "an IP address such as 192.0.2.1, 192.0.2.1:53 or [2001:db8::1]:53"
_NETWORK: Final = "a network such as 192.0.2.0/24 or 2001:db8::/32"


@frozen
class Endpoint:
    """Where something listens: `host` is an IP address without brackets in its shortest form, a DNS
    name in lower case, or `unix:PATH` with port 0."""

    host: str
    port: int

    @property
    def is_unix(self) -> bool:
        return self.host.startswith(_UNIX)

    @property
    def is_literal(self) -> bool:
        """Whether no resolver is needed: an IP address or a unix socket."""
        return self.is_unix or _literal(self.host) is not None

    def __str__(self) -> str:
        if self.is_unix:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoint(text: str) -> Endpoint:
    """A server's address: IPv4, [IPv6] or a DNS name, with a port; or unix:PATH."""
    if text.startswith(_UNIX):
        length = len(text.encode("utf-8", "replace")) - len(_UNIX)
        if not 0 < length <= _UNIX_BYTES:
            raise Unreadable(f"unix: and a path of at most {_UNIX_BYTES} bytes")
        return Endpoint(text, 0)
    host, port = _split(text, _SERVER)
    if not port:
        raise Unreadable(_SERVER)
    literal = _literal(host)
    if literal is None and not _is_name(host):
        raise Unreadable(_SERVER)
    return Endpoint(host.lower() if literal is None else literal, port)


def endpoint_or_host(text: str) -> Endpoint:
    """As `endpoint`, but the port may be left out; it is 0 then."""
    bracketed = text.startswith("[") and text.endswith("]")
    if text.startswith(_UNIX) or (":" in text and not bracketed):
        return endpoint(text)
    if bracketed and "%" in text:
        raise NotBuilt(text)
    return Endpoint(endpoint(f"{text}:1").host, 0)


def listen_endpoint(text: str) -> Endpoint:
    """An address to listen on: IPv4 or [IPv6], with a port (0: any that is free). Names are not
    resolved."""
    if text.startswith("*:"):
        raise Unreadable(_LISTEN, meant="0.0.0.0" + text[1:])
    host, port = _split(text, _LISTEN)
    literal = _literal(host)
    if literal is None:
        meant = f"127.0.0.1:{port}" if host == "localhost" else None
        raise Unreadable(_LISTEN, meant=meant)
    return Endpoint(literal, port)


def with_port(text: str, port: int) -> Endpoint:
    """An IP address, of IPv6 with or without brackets, and its port; `port` where none is given."""
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    literal = None if host != text and ":" not in host else _literal(host)
    if literal is not None:
        return Endpoint(literal, port)
    host, given = _split(text, _ADDRESS)
    literal = _literal(host)
    if literal is None or not given:
        raise Unreadable(_ADDRESS)
    return Endpoint(literal, given)


def network(text: str) -> Network:
    """A CIDR, or an address that stands for itself alone. Bits beyond the length must be zero."""
    # ip_network would also take a zone, and a netmask or a hostmask for the length
    length = text.partition("/")[2]
    meant = None
    if "%" not in text and len(length) <= 3 and "." not in length:
        with suppress(ValueError):
            return ip_network(text)
        with suppress(ValueError):
            meant = str(ip_network(text, strict=False))
    raise Unreadable(_NETWORK, text, meant)


def networks(text: str) -> tuple[Network, ...]:
    """CIDRs with spaces or commas between them; `none` is no network at all."""
    if text == "none":
        return ()
    words = text.replace(",", " ").split()
    if not words:
        raise Unreadable("networks such as 192.0.2.0/24 2001:db8::/32, or none")
    return tuple(network(word) for word in words)


def _split(text: str, expected: str) -> tuple[str, int]:
    """Host without brackets and port. Brackets stand around IPv6 and nothing else."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or _PORT.fullmatch(port) is None or int(port) > 65535:
        raise Unreadable(expected, meant=_bracketed(text))
    if bracketed and "%" in host:
        raise NotBuilt(text)
    if bracketed != (":" in host) or (bracketed and _literal(host[1:-1]) is None):
        raise Unreadable(expected, meant=_bracketed(text))
    return (host[1:-1] if bracketed else host), int(port)


def _bracketed(text: str) -> str | None:
    """`[IPv6]:PORT` when `text` is that without its brackets."""
    host, _, port = text.rpartition(":")
    if host.count(":") < 2 or _literal(host) is None or _PORT.fullmatch(port) is None:
        return None
    return f"[{host}]:{port}"


def _literal(host: str) -> str | None:
    """An IP address in its shortest form; None when `host` is none."""
    try:
        return str(IPv6Address(host) if ":" in host else IPv4Address(host))
    except ValueError:
        return None


def _is_name(host: str) -> bool:
    """RFC 1123 section 2.1, with underscores; the last label of a name is never a number."""
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or labels[-1].isdecimal():
        return False
    return all(_LABEL.fullmatch(label) for label in labels)
