"""
The sections that belong to the site itself, declared: `[site]`, and the kinds of the contract that
this version does not have; `[pool NAME]` is `pool_section`'s. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from balancer.config.schema import Claim, NamedFile, Section, option
from balancer.config.values import (
    Endpoint,
    choice,
    duration,
    free_text,
    listen_endpoint,
    or_off,
    path,
)
from balancer.site.values import control_path, resolvers

DEFAULT_CONTROL = "run/lb.sock"


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


def _site_claims(settings: SiteSettings) -> Iterable[Claim]:
    if settings.admin is not None:
        yield Claim("tcp", settings.admin.host, settings.admin.port, "admin")


def _site_files(settings: SiteSettings) -> Iterable[NamedFile]:
    if settings.geo is not None:
        yield NamedFile(settings.geo, "geo")


@frozen
class Nothing:
    """The options of a kind that is not built: none is read."""


SITE = Section(
    kind="site",
    settings=SiteSettings,
    named=False,
    help="What holds for the whole site.",
    claims=_site_claims,
    files=_site_files,
)

LATER = tuple(
    Section(kind=kind, settings=Nothing, help=text, later=True)
    for kind, text in (
        ("policy", "Rules that several sections share."),
    )
)
"""Kinds of the contract that are not in this version."""
