"""
The options of `[demo NAME]`, declared. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from balancer.config.schema import Claim, Section, option
from balancer.config.values import Endpoint, listen_endpoint


@frozen
class DemoSettings:
    """`[demo NAME]`: where one small server listens."""

    http: tuple[Endpoint, ...] = option(
        listen_endpoint,
        lines=True,
        help="Where it answers HTTP with its name. `POST /down` makes it fail, `POST /up` recover; "
        "`/echo` gives a body back, `/slow?ms=N` waits, `/bytes?n=N` sends N bytes.",
    )
    tcp: tuple[Endpoint, ...] = option(
        listen_endpoint, lines=True, help="Where it sends back what it gets over TCP."
    )
    udp: tuple[Endpoint, ...] = option(
        listen_endpoint, lines=True, help="Where it sends back each datagram."
    )


def _claims(settings: DemoSettings) -> Iterable[Claim]:
    for name, endpoints in (("http", settings.http), ("tcp", settings.tcp)):
        for index, endpoint in enumerate(endpoints):
            yield Claim("tcp", endpoint.host, endpoint.port, name, index)
    for index, endpoint in enumerate(settings.udp):
        yield Claim("udp", endpoint.host, endpoint.port, "udp", index)


def _relations(settings: DemoSettings) -> Iterable[tuple[str, int, str]]:
    if not (settings.http or settings.tcp or settings.udp):
        yield "http", 0, "expected addresses in http, tcp or udp, got none"


SECTION = Section(
    kind="demo",
    settings=DemoSettings,
    help="A small server for trying things out.",
    claims=_claims,
    check=_relations,
)
