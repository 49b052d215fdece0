"""Declarations that the tests read files against: made for them, and like those of real kinds."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from balancer.config.schema import Claim, Finding, Reference, Section, SiteFile, option, read
from balancer.config.values import (
    Endpoint,
    Unreadable,
    choice,
    duration,
    free_text,
    integer,
    listen_endpoint,
    modifiers,
    name,
    or_off,
    path,
)


@frozen
class WebSettings:
    """As of a balancer."""

    listen: tuple[Endpoint, ...] = option(
        listen_endpoint, lines=True, required=True, help="Where it listens."
    )
    pool: str | None = option(name, help="Who answers.")
    idle_timeout: float = option(duration, default="60s", unit="s", help="How long it may idle.")
    mode: str = option(choice("relay", "demo", later=("nat",)), default="relay", help="How.")
    limit: int | None = option(or_off(integer(1, 100)), default="off", help="How many.")
    error_page: dict[str, str] = option(path, keyed=True, help="What is said.")
    hedge: str | None = option(or_off(free_text), default="off", later=True, help="Ask twice.")
    control: str | None = option(path, later=True, help="A socket.")


@frozen
class ServerLine:
    """As of a pool."""

    name: str
    weight: int


def server_line(text: str) -> ServerLine:
    """`NAME [weight=N] [backup]`."""
    words = text.split()
    if not words:
        raise Unreadable("a server such as 'a weight=2'")
    found = modifiers(words[1:], {"weight": integer(0, 256)}, flags=("backup",), later=("tls",))
    return ServerLine(name(words[0]), found.get("weight", 1))


def _plain(text: str) -> int:
    """A third party's parser, which knows nothing of our exceptions."""
    return int(text)


@frozen
class PoolSettings:
    """As of a pool."""

    servers: tuple[ServerLine, ...] = option(server_line, lines=True, required=True, help="Who.")
    rise: int = option(_plain, default="2", help="Passed checks until it is up.")
    check: str = option(free_text, default="tcp", help="How health is asked.")


@frozen
class SiteSettings:
    """As of the site."""

    name: str | None = option(free_text, help="Its name.")


def _references(settings: WebSettings) -> Iterable[Reference]:
    if settings.pool is not None:
        yield Reference("pool", settings.pool, "pool")


def _claims(settings: WebSettings) -> Iterable[Claim]:
    for index, at in enumerate(settings.listen):
        yield Claim("tcp", at.host, at.port, "listen", index)


def _check(settings: WebSettings) -> Iterable[Finding]:
    for index, at in enumerate(settings.listen):
        if at.port == 666:
            yield "listen", index, "expected any other port, got '666'"
    if settings.error_page and settings.pool is None:
        yield "error-page", 0, "expected a pool beside it"
    if settings.pool == "none":
        yield "idle-timeout", 0, "expected nothing of this"


WEB = Section(
    "web", WebSettings, help="A balancer.", references=_references, claims=_claims, check=_check
)
POOL = Section("pool", PoolSettings, help="Servers.")
SITE = Section("site", SiteSettings, help="All of it.", named=False)
LATER = Section("dns", SiteSettings, help="A zone.", later=True)
BROKEN = Section("odd", SiteSettings, help="", unusable="does not import: no module 'odd'")
SECTIONS = (SITE, POOL, WEB, LATER, BROKEN)


def site_file(text: str) -> SiteFile:
    """`text` read as the file s.ini."""
    return read(text, "s.ini", SECTIONS)


def told(text: str) -> list[str]:
    """Every problem of `text`, as the operator sees it."""
    return [str(problem) for problem in site_file(text).problems]
