"""
How the values of `[dns ZONE]` are written: names, lines of answers, who may transfer. Pure.
"""

from __future__ import annotations

from attrs import frozen

from balancer.config.values import (
    Endpoint,
    Network,
    Unreadable,
    choice,
    duration_within,
    endpoint,
    integer,
    modifiers,
    name,
    networks,
)
from balancer.dns.names import BadName, from_text

POLICIES = ("all", "round-robin", "weighted", "geo", "failover")
WHEN_DOWN = ("all", "nodata", "servfail")

MAX_ADDRESSES = 1000
"""Addresses in one answer: 1000 of IPv6 take 28 KB, and 64 KB is the end of any DNS message."""

_ttl = duration_within("0s", "366d")


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
