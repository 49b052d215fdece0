"""
The sections that belong to the site itself, declared: `[site]`, `[pool NAME]`, and the kinds of the
contract that this version does not have. Pure: it reads texts and gives values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from attrs import frozen

from balancer.config.schema import Claim, Reference, Section, option
from balancer.config.values import (
    Endpoint,
    Misspelt,
    NotBuilt,
    Unreadable,
    boolean,
    choice,
    duration,
    duration_within,
    endpoint_or_host,
    free_text,
    integer,
    listen_endpoint,
    modifiers,
    name,
    one_of,
    or_off,
    path,
    percent,
    with_port,
)
from balancer.pool.settings import ALGORITHMS, WITH_ARGUMENT, Algorithm, Ejection

MAX_WEIGHT = 256
"""The greatest weight of a server, as HAProxy's."""

LATER_CHECKS = frozenset(("agent",))


@frozen
class ServerLine:
    """One line of a pool's option `servers`. Without a port, `endpoint` has port 0."""

    name: str
    endpoint: Endpoint
    weight: int = 1
    backup: bool = False
    max_connections: int = 0
    disabled: bool = False
    tls: bool = False
    sni: str = ""
    place: str = ""

    @property
    def portless(self) -> bool:
        """Whether it needs a port and has none."""
        return not self.endpoint.port and not self.endpoint.is_unix

    @property
    def where(self) -> str:
        """Its address as the site file has it."""
        text = str(self.endpoint)
        return text.removesuffix(":0") if self.portless else text

    @property
    def certified(self) -> str:
        """The name that its certificate must bear and that it is asked by; empty: its address."""
        return self.sni or ("" if self.endpoint.is_literal else self.endpoint.host)


@frozen
class CheckLine:
    """The option `check`: the name of the check, the words for its maker, the port to ask."""

    name: str
    words: tuple[str, ...] = ()
    port: int | None = None


_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')


def words_of(text: str) -> list[str]:
    """`text` cut at blanks; double quotes hold a word with blanks together, and are taken away."""
    if text.count('"') % 2:
        raise Unreadable("a closing quote")
    return [word.replace('"', "") for word in _WORD.findall(text)]


_SERVER = "NAME ADDRESS:PORT and its options, such as 'a 192.0.2.1:80 weight=2'"
_count = integer(1, 1_000_000)
_port = integer(1, 65535)


def dns_name(text: str) -> str:
    """A host name as it stands in a certificate."""
    if not _DNS_NAME.fullmatch(text) or len(text) > 253 or text.rpartition(".")[2].isdigit():
        raise Unreadable("a host name such as www.example.org", text)
    return text.lower()


_DNS_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_DNS_NAME = re.compile(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*")


def server_line(text: str) -> ServerLine:
    """`NAME ADDRESS:PORT [weight=1] [backup] [max-connections=N] [disabled] [tls] [sni=NAME]
    [place=NAME]`; whether PORT may be left out depends on who uses the pool."""
    words = text.split()
    if len(words) < 2:
        raise Unreadable(_SERVER)
    found = modifiers(
        words[2:],
        {
            "weight": integer(0, MAX_WEIGHT),
            "max-connections": _count,
            "sni": dns_name,
            "place": name,
        },
        flags=("backup", "disabled", "tls"),
    )
    if "sni" in found and "tls" not in found:
        raise Unreadable("tls beside sni=", f"sni={found['sni']}")
    return ServerLine(
        name=name(words[0]),
        endpoint=endpoint_or_host(words[1]),
        weight=found.get("weight", 1),
        backup="backup" in found,
        max_connections=found.get("max-connections", 0),
        disabled="disabled" in found,
        tls="tls" in found,
        sni=found.get("sni", ""),
        place=found.get("place", ""),
    )


def algorithm(text: str) -> Algorithm:
    """`round-robin`, or `header:NAME` and the like for those that take a name."""
    word, colon, argument = text.partition(":")
    if word not in ALGORITHMS:
        raise Misspelt(one_of(ALGORITHMS), word, ALGORITHMS)
    if word in WITH_ARGUMENT and not argument:
        raise Unreadable(f"{word}:NAME")
    if colon and word not in WITH_ARGUMENT:
        raise Unreadable(f"{word} without ':'")
    return Algorithm(word, argument)


def check_line(text: str) -> CheckLine:
    """`none`, or the name of a check and its words; `port=N` may stand among them."""
    words = words_of(text)
    if not words:
        raise Unreadable("a check such as tcp, 'http GET /' or none")
    if words[0] in LATER_CHECKS:
        raise NotBuilt(words[0])
    if words[0] == "none" and len(words) > 1:
        raise Unreadable("none alone")
    ports = [word for word in words[1:] if word.startswith("port=")]
    if len(ports) > 1:
        raise Unreadable("port= once", ports[1])
    return CheckLine(
        name=words[0],
        words=tuple(word for word in words[1:] if word not in ports),
        port=_port(ports[0].removeprefix("port=")) if ports else None,
    )


_EJECT = re.compile(r"(\S+) in (\S+) for (\S+)")


def ejection(text: str) -> Ejection:
    """`5 in 10s for 30s`: after 5 failures within 10 s a server gets nothing for 30 s."""
    match = _EJECT.fullmatch(text)
    if match is None:
        raise Unreadable("'N in TIME for TIME' such as '5 in 10s for 30s'")
    return Ejection(_count(match[1]), _positive(match[2]), _positive(match[3]))


_positive = duration_within("1ms", "366d")


MAX_CONTROL = 107
"""Bytes of a unix socket's path: what sockaddr_un holds (unix(7))."""

DNS_PORT = 53

MAX_RESOLVERS = 8
"""DNS servers that are asked in turn: a look-up waits for each."""

DEFAULT_CONTROL = "run/lb.sock"


def control_path(text: str) -> str:
    """The path of a unix socket. One without a file has no permissions, so it is refused."""
    if text.startswith("@") or len(os.fsencode(path(text))) > MAX_CONTROL:
        raise Unreadable(f"a path of at most {MAX_CONTROL} bytes")
    return text


def resolvers(text: str) -> tuple[Endpoint, ...]:
    """Addresses of DNS servers with blanks between them."""
    found = []
    for word in text.split():
        try:
            found.append(with_port(word, DNS_PORT))
        except Unreadable as error:
            raise Unreadable(error.expected, word, error.meant) from None
    if len(set(found)) != len(found) or len(found) > MAX_RESOLVERS:
        raise Unreadable(f"at most {MAX_RESOLVERS} DNS servers, each once")
    return tuple(found)


@frozen
class SiteSettings:
    """`[site]`: what holds for all of it."""

    name: str | None = option(
        free_text, help="The site's name in the API and the logs. The host's name by default."
    )
    admin: Endpoint | None = option(
        or_off(listen_endpoint),
        default="127.0.0.1:9180",
        help="Where `/metrics`, `/api/status` and `/healthz` are served; `off` for nowhere.",
    )
    drain_timeout: float = option(
        duration,
        default="30s",
        help="How long a stop waits for connections in progress before it ends them.",
    )
    log_level: str = option(
        choice("info", later=("debug", "warn", "error")),
        default="info",
        help="The least level that is logged.",
    )
    control: str | None = option(
        or_off(control_path),
        default=DEFAULT_CONTROL,
        help="The unix socket for lbctl; `off` for none. Who may write to the file may operate the "
        "balancer: its mode is 0660.",
    )
    workers: str = option(
        free_text, default="off", later=True, help="How many processes carry traffic."
    )
    state: str = option(
        path,
        default="run",
        help="The directory for what must survive a restart. It is made, with the mode 0750, when "
        "something is first written. Changes at a restart only.",
    )
    geo: str | None = option(
        path, help="A database in mmdb format that says where clients are; none by default."
    )
    resolvers: tuple[Endpoint, ...] | None = option(
        resolvers,
        help="The DNS servers, `ADDRESS[:PORT]` with blanks between them, that are asked for "
        "servers' names, each when those before it do not answer. Those of /etc/resolv.conf by "
        "default; its search list counts in any case, and names of /etc/hosts are not asked for.",
    )
    admin_token_file: str | None = option(
        path, later=True, help="A file with the token that control verbs over HTTP need."
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
        _positive, default="2s", help="The time between two checks of a server."
    )
    timeout: float = option(_positive, default="1s", help="After this time a check has failed.")
    rise: int = option(
        integer(1, 1000), default="2", help="Passed checks in a row until a server is up."
    )
    fall: int = option(
        integer(1, 1000), default="3", help="Failed checks in a row until a server is down."
    )
    fast_interval: float | None = option(
        _positive, help="The interval while a verdict is pending. `interval` by default."
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
        _positive, default="5s", help="How long a connection to a server may take."
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
        _positive, default="5s", help="How long a request may wait there."
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


def _site_claims(settings: SiteSettings) -> Iterable[Claim]:
    if settings.admin is not None:
        yield Claim("tcp", settings.admin.host, settings.admin.port, "admin")


def _pool_references(settings: PoolSection) -> Iterable[Reference]:
    for index, server in enumerate(settings.servers):
        if server.place:
            yield Reference("place", server.place, "servers", index)


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


@frozen
class Nothing:
    """The options of a kind that is not built: none is read."""


SITE = Section(
    kind="site",
    settings=SiteSettings,
    named=False,
    help="What holds for the whole site.",
    claims=_site_claims,
)

POOL = Section(
    kind="pool",
    settings=PoolSection,
    help="Servers that do the same work, and how one of them is chosen.",
    references=_pool_references,
    check=_pool_relations,
)

LATER = tuple(
    Section(kind=kind, settings=Nothing, help=text, later=True)
    for kind, text in (
        ("policy", "Rules that several sections share."),
    )
)
"""Kinds of the contract that are not in this version."""
