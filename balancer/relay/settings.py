"""
The options of `[tcp NAME]` and `[udp NAME]`, declared. Pure: texts become values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from attrs import frozen

from balancer.config.schema import Claim, NamedFile, Reference, Section, option
from balancer.config.values import (
    Endpoint,
    Misspelt,
    NotBuilt,
    Unreadable,
    choice,
    duration_within,
    free_text,
    integer,
    listen_endpoint,
    name,
    or_off,
    path,
)

LISTEN_WORDS = ("tls", "client-ca", "proxy-protocol")
"""What may stand after the address of an [http] listener, and some day of one of ours."""

_RATE = re.compile(r"([0-9]{1,9})/(s|m|h)")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@frozen
class Rate:
    """At most `rate` new connections or flows a second, and `burst` at once; `per_source`: for
    each source address on its own, else for all together."""

    rate: float
    burst: int
    per_source: bool


def listen(text: str) -> Endpoint:
    """A line `ADDRESS:PORT`; the PROXY protocol is not in this version."""
    address, *words = text.split() or [""]
    for word in words:
        if word.startswith("tls="):
            raise Unreadable("ADDRESS:PORT; in [tcp], tls is an option of its own", word)
        if word.partition("=")[0] in LISTEN_WORDS:
            raise NotBuilt(word)
        raise Unreadable("ADDRESS:PORT and nothing more", word)
    return listen_endpoint(address)


def certificates(text: str) -> str | None:
    """`no`, or where certificates are."""
    if text in ("yes", "on", "true"):
        raise Unreadable("no, or the certificates' directory or file", text)
    return None if text in ("no", "off", "false", "none") else path(text)


def rate(text: str) -> Rate:
    """`100/s [per source] [burst=N]`, also /m and /h. A burst is a second's worth by default."""
    words = text.split()
    match = _RATE.fullmatch(words[0]) if words else None
    if match is None or int(match[1]) < 1:
        raise Unreadable("a rate such as '100/s per source burst=20'")
    per_second = int(match[1]) / _SECONDS[match[2]]
    burst, rest = max(1, round(per_second)), words[1:]
    if rest and rest[-1].startswith("burst="):
        burst = integer(1, 1_000_000)(rest.pop().removeprefix("burst="))
    if rest not in ([], ["per", "source"]):
        raise Misspelt("'per source' and perhaps burst=N after the rate", rest[-1], ("source",))
    return Rate(per_second, burst, bool(rest))


_some_time = duration_within("1ms", "366d")
_off_or_count: Callable[[str], int | None] = or_off(integer(1, 10_000_000))


@frozen
class RelaySettings:
    """What `[tcp NAME]` and `[udp NAME]` have in common."""

    listen: tuple[Endpoint, ...] = option(
        listen,
        lines=True,
        required=True,
        help="Where clients come in, one `ADDRESS:PORT` a line.",
    )
    pool: str = option(name, required=True, help="The pool whose servers get the work.")
    mode: str = option(
        choice("relay", later=("nat", "dsr")),
        default="relay",
        help="How bytes reach a server: through this process.",
    )
    max_connections: int = option(
        integer(1, 10_000_000),
        default="10000",
        help="How many connections (tcp) or flows (udp) at a time. Further connections wait in the "
        "kernel's backlog. The first datagrams of further flows are dropped, unless there is a "
        "flow that no server has answered yet: the oldest such one gives way.",
    )
    max_connections_per_source: int | None = option(
        _off_or_count,
        default="off",
        help="Connections or flows at a time from one address; further ones are refused and "
        "counted.",
    )
    rate: Rate | None = option(
        or_off(rate),
        default="off",
        help="`N/s [per source] [burst=M]` (also /m and /h): new connections or flows beyond it "
        "are refused and counted.",
    )
    access_log: str | None = option(
        or_off(path),
        default="off",
        help="The file for one line per connection (tcp) or flow (udp), written when it ends; `-` "
        "for standard output.",
    )
    device: str | None = option(
        free_text, later=True, help="The device of mode dsr."
    )
    proxy_protocol: str = option(
        free_text,
        default="off",
        later=True,
        help="Tell servers who the client is by the PROXY protocol, v1 or v2.",
    )
    trusted_proxies: str = option(
        free_text,
        default="none",
        later=True,
        help="CIDRs of proxies whose PROXY headers count.",
    )
    source: str | None = option(
        free_text, later=True, help="The local address of connections to servers."
    )
    snat: str | None = option(
        free_text, later=True, help="Whether mode nat changes the source address as well."
    )
    engine: str | None = option(
        free_text, later=True, help="What moves the bytes."
    )
    hash: str | None = option(
        free_text, later=True, help="What the kernel's hash is made of."
    )


@frozen
class TcpSettings(RelaySettings):
    """`[tcp NAME]`: connections, byte for byte."""

    idle_timeout: float = option(
        _some_time,
        default="5m",
        help="A connection on which nothing moved for this long, either way, is closed.",
    )
    tls: str | None = option(
        certificates,
        default="no",
        help="A PEM file with a certificate and its key, or a directory of such files: TLS ends "
        "at all listeners of this section, and clients get the certificate for the name that they "
        "ask for, see docs/tls.md. `no`: bytes pass as they come.",
    )
    routes: tuple[str, ...] = option(
        free_text,
        lines=True,
        later=True,
        help="One a line: `sni=NAME -> pool NAME`.",
    )
    synproxy: str | None = option(
        free_text, later=True, help="Let the kernel answer SYNs."
    )
    user_timeout: str | None = option(
        free_text, later=True, help="How long sent data may stay without an ACK."
    )


@frozen
class UdpSettings(RelaySettings):
    """`[udp NAME]`: datagrams, in flows."""

    idle_timeout: float = option(
        _some_time,
        default="30s",
        help="A flow without a datagram for this long, either way, is forgotten; the next one is "
        "a new flow and may go to another server.",
    )
    responses: str = option(
        free_text,
        default="off",
        later=True,
        help="After how many answers a flow is over.",
    )


def _references(settings: RelaySettings) -> Iterable[Reference]:
    yield Reference("pool", settings.pool, "pool")


def _tcp_claims(settings: RelaySettings) -> Iterable[Claim]:
    for index, endpoint in enumerate(settings.listen):
        yield Claim("tcp", endpoint.host, endpoint.port, "listen", index)


def _tcp_files(settings: TcpSettings) -> Iterable[NamedFile]:
    if settings.tls is not None:
        yield NamedFile(settings.tls, "tls")


def _udp_claims(settings: RelaySettings) -> Iterable[Claim]:
    for index, endpoint in enumerate(settings.listen):
        yield Claim("udp", endpoint.host, endpoint.port, "listen", index)


def _udp_relations(settings: RelaySettings) -> Iterable[tuple[str, int, str]]:
    for index, endpoint in enumerate(settings.listen):
        if endpoint.host.startswith("unix:"):
            yield "listen", index, f"expected ADDRESS:PORT, got '{endpoint}'"


TCP = Section(
    kind="tcp",
    settings=TcpSettings,
    help="A TCP balancer: each connection is relayed to a server of the pool.",
    references=_references,
    claims=_tcp_claims,
    files=_tcp_files,
)

UDP = Section(
    kind="udp",
    settings=UdpSettings,
    help="A UDP balancer: the datagrams of a client's port are a flow, and a flow stays on its "
    "server.",
    references=_references,
    claims=_udp_claims,
    check=_udp_relations,
)
