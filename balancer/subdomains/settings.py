"""
The options of `[subdomains NAME]`, declared, and the host names that they make. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from attrs import frozen

from balancer.config.schema import Finding, Reference, Section, option
from balancer.config.values import Unreadable, choice, duration_within, integer, name
from balancer.subdomains.numbers import MAX_DIGITS

PLACEHOLDER: Final = "{n}"

MAX_LABEL: Final = 63
"""Bytes of a label (RFC 1035 2.3.4)."""

MAX_HOST: Final = 253
"""Characters of a host name (RFC 1035 2.3.4, without length bytes and root label)."""

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def pattern(text: str) -> str:
    """A label of a host name (RFC 1123 2.1) with `{n}` once in it, in lower case."""
    expected = "one label with {n} once, such as www{n}"
    if text.count(PLACEHOLDER) != 1:
        raise Unreadable(expected, text)
    label = text.lower().replace(PLACEHOLDER, "9" * MAX_DIGITS)
    if _LABEL.fullmatch(label) is None:
        raise Unreadable(f"{expected}, of letters, digits and '-' within", text)
    if len(label) > MAX_LABEL:
        most = MAX_LABEL - MAX_DIGITS + len(PLACEHOLDER)
        raise Unreadable(f"a pattern of at most {most} characters", text)
    return text.lower()


@frozen
class SubdomainsSettings:
    """`[subdomains NAME]`: which servers get names, and what these look like."""

    zone: str = option(
        name, required=True, help="The [dns ZONE] section in which the names stand."
    )
    pool: str = option(name, required=True, help="The pool whose servers get names.")
    pattern: str = option(
        pattern,
        default="www{n}",
        help="The name of a server within the zone; `{n}` stands for its number. A server keeps "
        "its number while others come and go, and over restarts.",
    )
    scheme: str | None = option(
        choice("http", "https"),
        help="How clients that are redirected shall speak to the servers. As they spoke to the "
        "listener by default.",
    )
    port: int | None = option(
        integer(1, 65535),
        help="The port at which the servers answer these clients. The listener's by default, or, "
        "where `scheme` is another one than the client's, the scheme's own.",
    )
    ttl: float = option(
        duration_within("1s", "7d"),
        default="30s",
        help="How long the names' addresses may be kept by whom asked for them.",
    )

    def host(self, number: int) -> str:
        """The name of the server with that number: absolute, lower case, no dot at its end."""
        label = self.pattern.replace(PLACEHOLDER, str(number))
        return f"{label}.{self.zone.rstrip('.').lower()}"


def _references(settings: SubdomainsSettings) -> Iterable[Reference]:
    yield Reference("dns", settings.zone, "zone")
    yield Reference("pool", settings.pool, "pool")


def _relations(settings: SubdomainsSettings) -> Iterable[Finding]:
    if len(settings.host(10**MAX_DIGITS - 1)) > MAX_HOST:
        yield "zone", 0, f"expected names of at most {MAX_HOST} characters with the pattern's"


SECTION = Section(
    kind="subdomains",
    settings=SubdomainsSettings,
    help="A name of its own in DNS for each server of a pool; routes of [http] redirect to it.",
    references=_references,
    check=_relations,
)
