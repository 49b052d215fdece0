"""
The option `when`: which balancers and pools must be healthy. Pure: whoever knows is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from attrs import frozen

from balancer.config.values import Unreadable, name

MAX_LEAST: Final = 100_000
"""More servers than a site file can have."""

_EXPECTED: Final = "a balancer or a pool such as http:www, pool:web or pool:web>=2"

_TERM: Final = re.compile(r"([a-z][a-z0-9-]*):([^>=:,\s]+)(?:>=([0-9]{1,6}))?")

_NOTHING_TO_ASK: Final = frozenset(("site", "place", "policy"))
"""Kinds of which nothing is made that could be healthy."""


@frozen
class Condition:
    """A section that must be healthy: for a pool, at least `least` of its servers may get work."""

    kind: str
    name: str
    least: int = 1

    @property
    def key(self) -> str:
        """`http:www`."""
        return f"{self.kind}:{self.name}"

    def __str__(self) -> str:
        return f"{self.key}>={self.least}" if self.least != 1 else self.key


def conditions(text: str) -> tuple[Condition, ...]:
    """Conditions with spaces or commas between them."""
    words = text.replace(",", " ").split()
    if not words:
        raise Unreadable(_EXPECTED)
    return tuple(_condition(word) for word in words)


def _condition(word: str) -> Condition:
    match = _TERM.fullmatch(word)
    if match is None or match[1] in _NOTHING_TO_ASK:
        raise Unreadable(_EXPECTED, word)
    kind, named, least = match.groups()
    if least is not None and kind != "pool":
        raise Unreadable("a number of servers for pools only", word)
    if least is not None and not 1 <= int(least) <= MAX_LEAST:
        raise Unreadable(f"from 1 to {MAX_LEAST} servers", word)
    try:
        name(named)
    except Unreadable:
        raise Unreadable(_EXPECTED, word) from None
    return Condition(kind, named, int(least or 1))


def why_not(
    wanted: Iterable[Condition],
    usable: Callable[[str], int],
    healthy: Callable[[str], bool],
) -> str:
    """The first condition that does not hold, in a few words; '' if all hold. `usable` gives the
    number of a pool's servers that may get work, `healthy` is asked for a balancer's key."""
    for each in wanted:
        if each.kind == "pool":
            count = usable(each.name)
            if count < each.least:
                few = f"{count} of {each.least} servers up" if each.least > 1 else "no server up"
                return f"{each.key} has {few}"
        elif not healthy(each.key):
            return f"{each.key} is not healthy"
    return ""
