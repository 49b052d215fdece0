"""
The options of `[http NAME]`, declared. Pure: texts become values; nothing is opened here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from attrs import frozen

from balancer.config.schema import Claim, NamedFile, Reference, Section, option
from balancer.config.values import (
    Endpoint,
    Misspelt,
    Network,
    NotBuilt,
    Unreadable,
    choice,
    duration_within,
    integer,
    listen_endpoint,
    name,
    networks,
    or_off,
    path,
    size,
)
from balancer.http.routes import RedirectToHttps, Route, ToPool, ToSubdomains, parse_route

ERROR_PAGES = ("400", "404", "408", "413", "414", "429", "431", "502", "503", "504")
"""The codes that the balancer answers by itself."""

LISTEN_WORDS = ("tls", "client-ca", "proxy-protocol", "http2")

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_FIELD = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e]*)\Z")
_RATE = re.compile(r"(\d+)/(s|m|h)\Z")

FRAMING_FIELDS = frozenset(
    (
        "connection", "content-length", "host", "keep-alive",
        "te", "trailer", "transfer-encoding", "upgrade",
    )
)
"""Fields that frame a message or belong to one connection (RFC 9110 7.6.1): not editable."""


@frozen
class Rate:
    """At most `rate` requests a second, and `burst` at once, from one source."""

    rate: float
    burst: int


@frozen
class Field:
    """A header field: its name as written, and its value."""

    name: str
    value: str

    @property
    def line(self) -> bytes:
        """As it travels."""
        return f"{self.name}: {self.value}\r\n".encode("ascii")


@frozen
class Listen:
    """A line of `listen`; `tls` is where the certificates are, None for plain HTTP."""

    endpoint: Endpoint
    tls: str | None = None

    def __str__(self) -> str:
        return str(self.endpoint) if self.tls is None else f"{self.endpoint} tls={self.tls}"


def listen(text: str) -> Listen:
    """A line `ADDRESS:PORT [tls=DIR-or-PEM] [http2=off]`; the contract has more than is built."""
    address, *words = text.split() or [""]
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key not in LISTEN_WORDS:
            known = ("tls=", "http2=off")
            raise Misspelt("ADDRESS:PORT and perhaps tls=DIR-or-PEM", key + equals, known, word)
        if key in found:
            raise Unreadable(f"{key}= once", word)
        if key not in ("tls", "http2") or (key == "http2" and value != "off"):
            raise NotBuilt(word)
        if not value:
            raise Unreadable("tls=DIR-or-PEM: the certificates' directory or file", word)
        found[key] = value
    return Listen(listen_endpoint(address), found.get("tls"))


def field_name(text: str) -> str:
    """A header's name that the site file may edit."""
    if _TOKEN.match(text) is None:
        raise Unreadable("a header's name", text)
    if text.lower() in FRAMING_FIELDS:
        raise Unreadable("a header that frames neither message nor connection", text)
    return text


def field_line(text: str) -> Field:
    """A line `Name: value`."""
    match = _FIELD.match(text)
    if match is None:
        raise Unreadable("'Name: value'")
    return Field(field_name(match[1]), match[2].strip())


def rate(text: str) -> Rate:
    """`100/s per source [burst=N]`. The burst is a second's worth (at least 1) by default."""
    words = text.split()
    match = _RATE.match(words[0]) if words else None
    if match is None or int(match[1]) < 1:
        raise Unreadable("a rate such as '100/s per source burst=20'")
    per_second = int(match[1]) / {"s": 1, "m": 60, "h": 3600}[match[2]]
    burst = max(1, round(per_second))
    rest = words[1:]
    if rest and rest[-1].startswith("burst="):
        burst = integer(1, 1_000_000)(rest.pop()[len("burst=") :])
    if rest != ["per", "source"]:
        later = len(rest) == 2 and (rest[1] == "path" or rest[1].startswith("header:"))
        if later and rest[0] == "per":
            raise NotBuilt(" ".join(rest))
        raise Unreadable("'per source' and perhaps burst=N after the rate")
    return Rate(per_second, burst)


def size_or_unlimited(text: str) -> int | None:
    """A size, or `unlimited`."""
    return None if text == "unlimited" else size(text)


_some_time = duration_within("1ms", "366d")


def _max_head(text: str) -> int:
    amount = size(text)
    if not 1024 <= amount <= 1024 * 1024:
        raise Unreadable("a size from 1k to 1m")
    return amount


_off_or_count: Callable[[str], int | None] = or_off(integer(1, 10_000_000))


@frozen
class HttpSettings:
    """`[http NAME]`: HTTP/1.1 in, HTTP/1.1 out."""

    listen: tuple[Listen, ...] = option(
        listen,
        lines=True,
        required=True,
        help="Where requests come in, one `ADDRESS:PORT [tls=DIR-or-PEM]` a line. `tls=` names a "
        "PEM file with a certificate and its key, or a directory of such files: clients get the "
        "one for the name that they ask for, see docs/tls.md.",
    )
    pool: str | None = option(
        name, help="The pool for requests that no route matches. Without it they get 404."
    )
    routes: tuple[Route, ...] = option(
        parse_route,
        lines=True,
        help="One a line, the first that matches wins: `[host=NAME] [path=/p/*] [method=M] "
        "[header:NAME=VALUE] [source=CIDR] -> ACTION`. A host may begin with `*.`, a path or a "
        "value may end with `*`. ACTION is `pool NAME`, `redirect URL [CODE]` (a final `*` in the "
        "URL stands for the request's path and query), `redirect https` (which requests under TLS "
        "do not match), `respond CODE [TEXT]` or `subdomains NAME` (to the name of the server that "
        "the pool of that section chooses).",
    )
    set_request_header: tuple[Field, ...] = option(
        field_line,
        lines=True,
        help="`Name: value`, one a line: given to servers in place of what the client sent.",
    )
    remove_request_header: tuple[str, ...] = option(
        field_name, lines=True, help="Names of headers that servers must not see, one a line."
    )
    set_response_header: tuple[Field, ...] = option(
        field_line,
        lines=True,
        help="`Name: value`, one a line: given to clients in place of what the server sent.",
    )
    remove_response_header: tuple[str, ...] = option(
        field_name, lines=True, help="Names of headers that clients must not see, one a line."
    )
    head_timeout: float = option(
        _some_time,
        default="10s",
        help="How long a client may take to send a head; then 408. As long may a TLS handshake "
        "take.",
    )
    idle_timeout: float = option(
        _some_time,
        default="60s",
        help="How long a client's connection may stay idle: between requests, in the middle of a "
        "body, or as a tunnel (WebSocket).",
    )
    response_timeout: float = option(
        _some_time,
        default="60s",
        help="How long a server may take to begin its answer (then 504), or pause within it.",
    )
    max_head: int = option(
        _max_head,
        default="16k",
        help="The largest head. A longer one gets 431, or 414 in its first line.",
    )
    max_body: int | None = option(
        size_or_unlimited,
        default="unlimited",
        help="The largest request body; a larger one gets 413.",
    )
    max_connections: int = option(
        integer(1, 10_000_000),
        default="10000",
        help="Clients' connections at a time. Further ones wait in the kernel's backlog.",
    )
    max_connections_per_source: int | None = option(
        _off_or_count,
        default="off",
        help="Connections at a time from one address; further ones are closed and counted. "
        "Trusted proxies are not bound by it.",
    )
    max_fields: int = option(
        integer(1, 10_000), default="101", help="Fields in a head; more get 431."
    )
    min_rate: str | None = option(
        str, default="off", later=True, help="The slowest body that is put up with."
    )
    rate: Rate | None = option(
        or_off(rate),
        default="off",
        help="`N/s per source [burst=M]` (also /m and /h): what exceeds it gets 429.",
    )
    trusted_proxies: tuple[Network, ...] = option(
        networks,
        default="none",
        help="CIDRs of proxies whose forwarded fields count: the client is then the last address "
        "in X-Forwarded-For that is not trusted, for routes, keys, limits and the log.",
    )
    error_page: dict[str, str] = option(
        path,
        keyed=True,
        help="`error-page CODE = FILE`: the body of the balancer's own answer CODE "
        f"({' '.join(ERROR_PAGES)}).",
    )
    request_id: str | None = option(
        or_off(field_name),
        default="off",
        help="The header in which servers get a random id of the request, such as X-Request-ID; "
        "one that a trusted proxy sent is kept.",
    )
    forwarded: str = option(
        choice("x-forwarded", "rfc7239", "off"),
        default="x-forwarded",
        help="How servers learn of the client: X-Forwarded-For, -Proto and -Host, or Forwarded.",
    )
    access_log: str | None = option(
        or_off(path),
        default="off",
        help="The file for one line per request; `-` for standard output.",
    )
    log_format: str = option(
        choice("combined", "haproxy", "json"), default="combined", help="The form of that line."
    )


def _references(settings: HttpSettings) -> Iterable[Reference]:
    if settings.pool is not None:
        yield Reference("pool", settings.pool, "pool")
    for index, route in enumerate(settings.routes):
        if isinstance(route.action, ToPool):
            yield Reference("pool", route.action.name, "routes", index)
        elif isinstance(route.action, ToSubdomains):
            yield Reference("subdomains", route.action.name, "routes", index, through=True)


def _claims(settings: HttpSettings) -> Iterable[Claim]:
    for index, each in enumerate(settings.listen):
        yield Claim("tcp", each.endpoint.host, each.endpoint.port, "listen", index)


def _files(settings: HttpSettings) -> Iterable[NamedFile]:
    for index, each in enumerate(settings.listen):
        if each.tls is not None:
            yield NamedFile(each.tls, "listen", index)
    for code, name_ in settings.error_page.items():
        yield NamedFile(name_, f"error-page {code}")


def _relations(settings: HttpSettings) -> Iterable[tuple[str, int, str]]:
    if settings.pool is None and not settings.routes:
        yield "pool", 0, "expected a pool, or routes, got neither"
    tls = [each.tls is not None for each in settings.listen]
    for index, route in enumerate(settings.routes):
        to_https = isinstance(route.action, RedirectToHttps)
        if to_https and all(tls):
            yield "routes", index, "expected a listener without tls, for 'redirect https' to match"
    for index, route in enumerate(settings.routes[:-1]):
        to_https = isinstance(route.action, RedirectToHttps)
        if route.catches_all and not (to_https and any(tls)):
            text = f"expected it before line {index + 1} of the routes, which matches everything"
            yield "routes", index + 1, text
            break
    for code in settings.error_page:
        if code not in ERROR_PAGES:
            yield "error-page", 0, f"expected one of {', '.join(ERROR_PAGES)}, got {code!r}"


SECTION = Section(
    kind="http",
    settings=HttpSettings,
    help="An HTTP/1.1 balancer: listeners, with TLS or without, and the pools that answer.",
    references=_references,
    claims=_claims,
    files=_files,
    check=_relations,
)
