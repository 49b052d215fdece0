"""
The options of `[dns ZONE]`, declared. Pure: texts become values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from attrs import frozen

from balancer.config.schema import Claim, Finding, Reference, Section, option
from balancer.config.values import (
    Endpoint,
    Network,
    Unreadable,
    choice,
    duration_within,
    endpoint,
    integer,
    listen_endpoint,
    modifiers,
    name,
    networks,
    or_off,
    path,
)
from balancer.dns.names import BadName, from_text, is_within, to_text

POLICIES = ("all", "round-robin", "weighted", "geo", "failover")
WHEN_DOWN = ("all", "nodata", "servfail")

MAX_ADDRESSES = 1000
"""Addresses in one answer: 1000 of IPv6 take 28 KB, and 64 KB is the end of any DNS message."""

MAX_TTL = 2**31 - 1
"""RFC 2181 8."""

_ttl = duration_within("0s", "366d")
_per_second = integer(1, 1_000_000)


def whole_seconds(text: str) -> int:
    """A TTL: whole seconds."""
    seconds = _ttl(text)
    if seconds != int(seconds):
        raise Unreadable("a duration of whole seconds such as 30s", text)
    return int(seconds)


def domain(text: str) -> str:
    """A domain name, absolute or below the zone, as a master file writes it; the text is kept."""
    try:
        from_text(text)
    except BadName as error:
        raise Unreadable(str(error), text) from None
    return text


def absolute(text: str) -> str:
    """An absolute domain name, with the final dot, whether it was written or not."""
    return domain(text if text.endswith(".") else text + ".")


def mailbox(text: str) -> str:
    """A mailbox as a domain name (RFC 1035 3.3.12)."""
    local, at, host = text.partition("@")
    if at:
        meant = local.replace(".", "\\.") + "." + host if local and host else None
        raise Unreadable("a mailbox as a domain name such as hostmaster.example.org", meant=meant)
    return absolute(text)


def key_name(text: str) -> str:
    """The name of a TSIG key (RFC 8945 4.2): a domain name, in lower case."""
    if not text:
        raise Unreadable("the name of a key")
    return absolute(text).lower()


@frozen
class AnswerLine:
    """
    A line of `answers`: the name whose addresses are those of a pool's servers. `max` is None for
    the policy's own, `ttl` for the section's, `https` the key of an http balancer or ''.
    """

    name: str
    pool: str
    policy: str = "all"
    max: int | None = None
    ttl: int | None = None
    when_down: str = "all"
    https: str = ""

    def key(self, zone: bytes) -> bytes:
        """Its name on the wire, in lower case. Raises `BadName` if it is too long there."""
        return from_text(self.name, zone).lower()

    def __str__(self) -> str:
        policy = f" policy={self.policy}" if self.policy != "all" else ""
        return f"{self.name} pool={self.pool}{policy}"

    @property
    def most(self) -> int:
        """How many addresses an answer has at most."""
        if self.max is not None:
            return self.max
        return 1 if self.policy in ("weighted", "failover") else MAX_ADDRESSES


def answer_line(text: str) -> AnswerLine:
    """`NAME pool=POOL [policy=...] [max=N] [ttl=T] [when-down=...] [https=http:NAME]`."""
    words = text.split()
    if len(words) < 2:
        raise Unreadable("NAME pool=POOL and its options, such as 'www pool=web policy=geo'")
    found = modifiers(
        words[1:],
        {
            "pool": name,
            "policy": choice(*POLICIES),
            "max": integer(1, MAX_ADDRESSES),
            "ttl": whole_seconds,
            "when-down": choice(*WHEN_DOWN),
            "https": _http_balancer,
        },
    )
    if "pool" not in found:
        raise Unreadable("pool=POOL after the name", text)
    return AnswerLine(
        name=domain(words[0]),
        pool=found["pool"],
        policy=found.get("policy", "all"),
        max=found.get("max"),
        ttl=found.get("ttl"),
        when_down=found.get("when-down", "all"),
        https=found.get("https", ""),
    )


def _http_balancer(text: str) -> str:
    kind, colon, section = text.partition(":")
    if kind != "http" or not colon:
        raise Unreadable("http:NAME", text)
    return f"http:{name(section)}"


@frozen
class Peers:
    """Who may ask for the zone: `networks`, and the name of the TSIG key that they must use."""

    networks: tuple[Network, ...]
    key: str | None = None

    def __str__(self) -> str:
        return " ".join((*map(str, self.networks), *([f"key={self.key}"] if self.key else [])))


def peers_line(text: str) -> Peers | None:
    """`CIDR [CIDR...] [key=NAME]`, or `none`."""
    if text in ("none", "off"):
        return None
    words = text.split()
    keys = [word for word in words if word.startswith("key=")]
    if len(keys) > 1:
        raise Unreadable("key= once", keys[1])
    cidrs = " ".join(word for word in words if word not in keys)
    return Peers(networks(cidrs), key_name(keys[0][4:]) if keys else None)


@frozen
class Secondary:
    """Who is told of changes (RFC 1996), and by which TSIG key."""

    address: Endpoint
    key: str | None = None

    def __str__(self) -> str:
        return f"{self.address} key={self.key}" if self.key else str(self.address)


def secondary_line(text: str) -> Secondary | None:
    """`ADDRESS[:PORT] [key=NAME]`, or `none`; port 53 if it has none."""
    if text in ("none", "off"):
        return None
    address, *words = text.split() or [""]
    found = modifiers(words, {"key": key_name})
    with_port = address if _has_port(address) else f"{address}:53"
    parsed = endpoint(with_port)
    if not parsed.is_literal or parsed.is_unix:
        raise Unreadable("an IP address, with a port or without", address)
    return Secondary(parsed, found.get("key"))


def _has_port(address: str) -> bool:
    return address.rpartition("]")[2].count(":") == 1


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
    check=_relations,
    together=_together,
)
