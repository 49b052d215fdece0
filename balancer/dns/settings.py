"""
The options of `[dns ZONE]`, declared. Pure: texts become values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from attrs import frozen

from balancer.config.schema import Claim, Finding, NamedFile, Reference, Section, option
from balancer.config.values import (
    Endpoint,
    Network,
    integer,
    listen_endpoint,
    networks,
    or_off,
    path,
)
from balancer.dns.names import BadName, from_text, is_within, to_text
from balancer.dns.values import (
    AnswerLine,
    Peers,
    Secondary,
    absolute,
    answer_line,
    mailbox,
    peers_line,
    secondary_line,
    whole_seconds,
)

_per_second = integer(1, 1_000_000)
_on_or_off: Callable[[str], int | None] = or_off(_per_second)


@frozen
class DnsSettings:
    """`[dns ZONE]`: the section's name is the zone's."""

    listen: tuple[Endpoint, ...] = option(
        listen_endpoint,
        lines=True,
        required=True,
        help="Where queries come in, by UDP and TCP, one `ADDRESS:PORT` a line. Several [dns] "
        "sections may share one.",
    )
    ns: tuple[str, ...] = option(
        absolute,
        lines=True,
        help="The zone's name servers, one a line. Counts only where the zone file has no SOA; "
        "`ns1.ZONE` by default.",
    )
    contact: str | None = option(
        mailbox,
        help="The mailbox in the SOA, as a domain name: `hostmaster.example.org`. Counts only "
        "where the zone file has no SOA; `hostmaster.ZONE` by default.",
    )
    zone: str | None = option(
        path,
        help="A master file (RFC 1035 section 5) with static records. It is read again by a "
        "reload.",
    )
    ttl: int = option(
        whole_seconds,
        default="30s",
        unit="s",
        help="The TTL of answers that follow pools. It is shorter while a verdict is pending.",
    )
    answers: tuple[AnswerLine, ...] = option(
        answer_line,
        lines=True,
        help="Names that follow pools, one a line: `NAME pool=POOL [policy=all] [max=N] [ttl=T] "
        "[when-down=all] [https=http:NAME]`. NAME is relative to the zone, `@` the zone itself, "
        "`*` any name. Policies: all, round-robin, weighted, failover, geo. `max` addresses at "
        "most (one by default for weighted and failover). With no server up, `when-down` says "
        "whether all are answered, none (nodata), or servfail. `https=` adds HTTPS records "
        "(RFC 9460) for what the http balancer really serves.",
    )
    rate_limit: int | None = option(
        _on_or_off,
        default="off",
        help="How many answers of one kind about one name go to one network (/24, /56) a second, "
        "and four times as many in all, unless the client proves its address by a cookie or by "
        "TCP.",
    )
    rate_limit_slip: int = option(
        integer(0, 10),
        default="2",
        help="Every how many responses over the limit one goes out truncated, so that a true "
        "client may come again by TCP: 0 for none, 1 for all.",
    )
    rate_limit_exempt: tuple[Network, ...] = option(
        networks, default="none", help="Networks that are not limited, as CIDRs."
    )
    transfer: tuple[Peers | None, ...] = option(
        peers_line,
        lines=True,
        default="none",
        help="Who may transfer the zone (AXFR), one a line: `CIDR [CIDR...] [key=NAME]`; with a "
        "key, requests must be signed by it (TSIG).",
    )
    notify: tuple[Secondary | None, ...] = option(
        secondary_line,
        lines=True,
        default="none",
        help="Who is told that the zone changed, one a line: `ADDRESS[:PORT] [key=NAME]`.",
    )
    tsig_file: str | None = option(
        path,
        help='The file with TSIG keys: `key "NAME" { algorithm hmac-sha256; secret "BASE64"; };`.',
    )
    cookie_secret_file: str | None = option(
        path,
        help="A file with the secret of DNS cookies, 32 hexadecimal digits a line: the first is "
        "used, a second one is still believed. All nodes that share an address need the same. "
        "Made in the site's `state` by default.",
    )
    access_log: str | None = option(
        or_off(path),
        default="off",
        help="The file for one line per query; `-` for standard output.",
    )


def _references(settings: DnsSettings) -> Iterable[Reference]:
    for index, line in enumerate(settings.answers):
        yield Reference("pool", line.pool, "answers", index)
        if line.https:
            name_ = line.https.partition(":")[2]
            yield Reference("http", name_, "answers", index, loose=True)


def _claims(settings: DnsSettings) -> Iterable[Claim]:
    for index, each in enumerate(settings.listen):
        yield Claim("udp", each.host, each.port, "listen", index)
        yield Claim("tcp", each.host, each.port, "listen", index)


def _files(settings: DnsSettings) -> Iterable[NamedFile]:
    for option_, path_ in (
        ("zone", settings.zone),
        ("tsig-file", settings.tsig_file),
        ("cookie-secret-file", settings.cookie_secret_file),
    ):
        if path_ is not None:
            yield NamedFile(path_, option_)


def _relations(settings: DnsSettings) -> Iterable[tuple[str, int, str]]:
    """What the options must be to each other: (option, line of it, problem)."""
    for index, each in enumerate(settings.listen):
        if each.is_unix:
            yield "listen", index, f"expected ADDRESS:PORT, got '{each}'"
        elif not each.port:
            yield "listen", index, "expected a port above 0: UDP and TCP need the same"
    yield from _needed_keys(settings)


def _needed_keys(settings: DnsSettings) -> Iterable[tuple[str, int, str]]:
    if settings.tsig_file is not None:
        return
    for option_, lines in {"transfer": settings.transfer, "notify": settings.notify}.items():
        for index, line in enumerate(lines):
            if line is not None and line.key is not None:
                yield option_, index, "expected tsig-file beside key=, got none"


def zone_key(section: str) -> bytes:
    """The zone of a section's name, as a key. Raises `BadName`."""
    return from_text(section.rstrip(".") + ".").lower()


def _together(sections: Mapping[str, DnsSettings]) -> Iterable[tuple[str, Finding] | None]:
    """What zones must be to each other, and names to their zones. See `Section.together`."""
    zones: dict[bytes, str] = {}
    secrets: dict[Endpoint, tuple[str, str]] = {}
    for zone, settings in sections.items():
        yield None
        try:
            key = zone_key(zone)
        except BadName as error:
            yield zone, ("", 0, f"expected {error} as the zone's name, got {zone!r}")
            continue
        other = zones.setdefault(key, zone)
        if other != zone:
            yield zone, ("", 0, f"expected each zone once, got that of [dns {other}] again")
        yield from _too_long(zone, settings, key)
        for where in settings.listen if settings.cookie_secret_file is not None else ():
            mine = (zone, str(settings.cookie_secret_file))
            there = secrets.setdefault(where, mine)
            if there[1] != mine[1]:
                text = f"expected the file of [dns {there[0]}], which listens at {where} too, "
                yield zone, ("cookie-secret-file", 0, f"{text}got {mine[1]!r}")


def _too_long(
    zone: str, settings: DnsSettings, key: bytes
) -> Iterable[tuple[str, Finding]]:
    seen: dict[bytes, str] = {}
    for index, line in enumerate(settings.answers):
        try:
            answered = line.key(key)
        except BadName as error:
            yield zone, ("answers", index, f"expected {error}, got {line.name!r}")
            continue
        if not is_within(answered, key):
            text = f"expected a name within {to_text(key)}, got {line.name!r}"
            yield zone, ("answers", index, text)
        other = seen.setdefault(answered, line.name)
        if other != line.name:
            text = f"expected each name once, got {line.name!r}, which is {other!r}"
            yield zone, ("answers", index, text)


DNS = Section(
    kind="dns",
    settings=DnsSettings,
    help="An authoritative DNS zone, of static records and of names that follow pools.",
    references=_references,
    claims=_claims,
    files=_files,
    check=_relations,
    together=_together,
)
