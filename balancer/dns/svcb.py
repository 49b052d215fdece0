"""
The data of HTTPS records that we make ourselves (RFC 9460): where a service listens. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack
from typing import Final

from attrs import frozen

ALPN: Final = 1
PORT: Final = 3
IPV4HINT: Final = 4
IPV6HINT: Final = 6

DEFAULT_PORT: Final = 443
DEFAULT_ALPN: Final = "http/1.1"
"""RFC 9460 9.5 and 7.1.1: an HTTPS record without these means them."""

MAX_HINTS: Final = 16
"""Addresses in a hint: they save a round trip, and whoever wants all asks for A and AAAA."""


@frozen
class Service:
    """What a listener serves under TLS: its port and its protocols, preferred ones first."""

    port: int
    alpn: tuple[str, ...]


def service_data(
    priority: int, service: Service, v4: Sequence[bytes], v6: Sequence[bytes]
) -> bytes:
    """The data of a record in ServiceMode whose target is its owner (RFC 9460 2.5.2)."""
    parameters = [
        (ALPN, _alpn(service.alpn)),
        (PORT, b"" if service.port == DEFAULT_PORT else pack("!H", service.port)),
        (IPV4HINT, b"".join(v4[:MAX_HINTS])),
        (IPV6HINT, b"".join(v6[:MAX_HINTS])),
    ]
    return pack("!H", priority) + b"\0" + b"".join(
        pack("!HH", key, len(value)) + value for key, value in parameters if value
    )


def _alpn(protocols: Sequence[str]) -> bytes:
    """The value of alpn. The default protocol goes without saying, and is understood when others
    are named (7.1.1)."""
    named = [each.encode() for each in protocols if each != DEFAULT_ALPN]
    return b"".join(bytes((len(each),)) + each for each in named)
