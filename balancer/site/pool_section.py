"""
`[pool NAME]`, declared: its options, and what they must be to each other. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from balancer.config.schema import NamedFile, Reference, Section, option
from balancer.config.values import (
    boolean,
    duration,
    free_text,
    integer,
    or_off,
    path,
    percent,
)
from balancer.pool.settings import Algorithm, Ejection
from balancer.site.values import (
    CheckLine,
    ServerLine,
    algorithm,
    check_line,
    ejection,
    positive,
    server_line,
)


@frozen
class PoolSection:
    """`[pool NAME]`: servers that are equal, and how one of them is chosen."""

    servers: tuple[ServerLine, ...] = option(
        server_line,
        lines=True,
        required=True,
        help="`NAME ADDRESS:PORT [weight=1] [backup] [max-connections=N] [disabled] [tls] "
        "[sni=NAME] [place=NAME]`. ADDRESS is IPv4, [IPv6], a DNS name, or unix:PATH; PORT may be "
        "left out where only [dns] and [ecmp] sections use the pool. weight=0 gives it no new "
        "work. A backup server gets work only while no other server can. `place=` names the "
        "[place NAME] where the server stands, for DNS answers. A server with `tls` is "
        "connected to, and checked, under TLS; its certificate must bear the name that `sni=` "
        "gives, else its DNS name or address.",
    )
    algorithm: Algorithm = option(
        algorithm,
        default="round-robin",
        help="How a server is chosen: round-robin, least-connections, random, p2c, first, source, "
        "uri, header:NAME, cookie:NAME, query:NAME, maglev or ewma. See docs/algorithms.md.",
    )
    check: CheckLine | None = option(
        check_line,
        help="How a server's health is asked: `tcp`, `http GET /path expect=200-399 host=NAME "
        "body=REGEX`, `https ...`, `dns NAME TYPE expect=ADDRESS-or-TEXT "
        "rcode=CODE`, `udp send=TEXT expect=TEXT`, `exec PATH`, or `none`. `port=N` "
        "asks another port than the server's. `tcp` by default; `none`, with a warning, for a pool "
        "that only [udp], [dns] and [ecmp] sections use; servers without a port need `port=N` to "
        "be checked.",
    )
    interval: float = option(
        positive, default="2s", help="The time between two checks of a server."
    )
    timeout: float = option(positive, default="1s", help="After this time a check has failed.")
    rise: int = option(
        integer(1, 1000), default="2", help="Passed checks in a row until a server is up."
    )
    fall: int = option(
        integer(1, 1000), default="3", help="Failed checks in a row until a server is down."
    )
    fast_interval: float | None = option(
        positive, help="The interval while a verdict is pending. `interval` by default."
    )
    eject: Ejection | None = option(
        or_off(ejection),
        default="off",
        help="`N in TIME for TIME`: a server that failed N requests within the first time gets "
        "none for the second time.",
    )
    slow_start: float = option(
        duration,
        default="0",
        help="The time over which a server that came up grows from a tenth of its weight to all.",
    )
    panic: float = option(
        percent,
        default="0%",
        help="When a smaller share of the servers is usable, all are used, whatever checks say.",
    )
    connect_timeout: float = option(
        positive, default="5s", help="How long a connection to a server may take."
    )
    retries: int = option(
        integer(0, 100),
        default="2",
        help="How many other servers are tried for one request or connection.",
    )
    queue: int = option(
        integer(0, 1_000_000),
        default="0",
        help="How many requests may wait while every server is at its max-connections.",
    )
    queue_timeout: float = option(
        positive, default="5s", help="How long a request may wait there."
    )
    seed: str | None = option(
        free_text,
        help="The seed of the consistent hashing; the nodes of one site need the same. The pool's "
        "name by default.",
    )
    sticky: str = option(free_text, default="off", later=True, help="Keep a client on its server.")
    tls_ca: str | None = option(
        path,
        help="A PEM file with the certificates to trust when a server with `tls` shows its own; "
        "the system's by default. A server's own certificate may be among them.",
    )
    tls_cert: str | None = option(
        path,
        help="A PEM file with the certificate, and its key, that is shown to servers with `tls` "
        "that ask for one.",
    )
    tls_verify: bool = option(
        boolean,
        default="yes",
        help="Whether servers with `tls` must prove who they are. With `no`, anybody who answers "
        "at their addresses is believed.",
    )
    fallback: str | None = option(
        free_text, later=True, help="The pool that takes over when this one is down."
    )
    retry_budget: str | None = option(
        free_text, later=True, help="The greatest share of requests that may be retries."
    )
    hedge: str = option(
        free_text, default="off", later=True, help="Ask a second server when the first is slow."
    )
    breaker: str = option(
        free_text, default="off", later=True, help="Stop asking servers that only fail."
    )


def _pool_references(settings: PoolSection) -> Iterable[Reference]:
    for index, server in enumerate(settings.servers):
        if server.place:
            yield Reference("place", server.place, "servers", index)


def _pool_files(settings: PoolSection) -> Iterable[NamedFile]:
    if settings.tls_ca is not None:
        yield NamedFile(settings.tls_ca, "tls-ca")
    if settings.tls_cert is not None:
        yield NamedFile(settings.tls_cert, "tls-cert")


def _pool_relations(settings: PoolSection) -> Iterable[tuple[str, int, str]]:
    """What a pool's options must be to each other: (option, line of it, problem)."""
    seen: dict[str, int] = {}
    for index, server in enumerate(settings.servers):
        if server.name in seen:
            text = f"expected each server's name once, got {server.name!r} again"
            yield "servers", index, text
        seen.setdefault(server.name, index)
        unix = server.endpoint.host.startswith("unix:")
        if server.tls and unix and not server.sni and settings.tls_verify:
            yield "servers", index, "expected sni=NAME: a unix socket has no name to verify"
    yield from _needless_tls(settings)


def _needless_tls(settings: PoolSection) -> Iterable[tuple[str, int, str]]:
    """Options that say nothing, as long as no server has TLS or none is verified."""
    if not any(server.tls for server in settings.servers):
        for name, given in {
            "tls-ca": settings.tls_ca is not None,
            "tls-cert": settings.tls_cert is not None,
            "tls-verify": not settings.tls_verify,
        }.items():
            if given:
                yield name, 0, "expected a server with tls in this pool, got none"
    elif settings.tls_ca is not None and not settings.tls_verify:
        yield "tls-ca", 0, "expected tls-verify = yes, got no: nothing is held against this file"


POOL = Section(
    kind="pool",
    settings=PoolSection,
    help="Servers that do the same work, and how one of them is chosen.",
    references=_pool_references,
    files=_pool_files,
    check=_pool_relations,
)
