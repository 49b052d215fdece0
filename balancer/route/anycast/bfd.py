"""
BFD (RFC 5880, RFC 5881) by a BIRD that does nothing else: its timers, its configuration, and what
it answers on its control socket. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Final

from attrs import frozen

from balancer.config.values import Unreadable

CONFIGURE: Final = "configure"
SESSIONS: Final = "show bfd sessions"
DOWN: Final = "down"
"""What is asked on the control socket: take the file anew, tell of the sessions, end."""

MAX_REPLY: Final = 1 << 18
"""Bytes of a reply; a session is a line of some 80."""

_TIMERS: Final = re.compile(r"([1-9][0-9]{0,2})x([1-9][0-9]{0,4})ms")
_MOST_MISSED: Final = 255
_INTERVALS: Final = range(10, 10_001)

_LAST: Final = re.compile(r"^[0-9]{4} .*\n", re.MULTILINE)
"""The last line of a reply has a code and a space; others a code and a hyphen, or a space."""

_ERROR: Final = re.compile(r"^[89][0-9]{3}[ -](.*)$", re.MULTILINE)


_ALONE: Final = """\
router id 0.0.0.1;
log stderr all;
protocol device { scan time 1; }
"""
"""The identifier goes nowhere: BFD has none, and BIRD wants one."""


@frozen
class Timers:
    """A router is gone after so many `missed` packets, one of which comes each `interval` ms."""

    missed: int
    interval: int

    def __str__(self) -> str:
        return f"{self.missed}x{self.interval}ms"


def timers(text: str) -> Timers:
    """From `3x50ms`."""
    found = _TIMERS.fullmatch(text)
    if found is None or int(found[1]) > _MOST_MISSED or int(found[2]) not in _INTERVALS:
        raise Unreadable("packets x interval, of 10ms to 10000ms, such as 3x50ms", text)
    return Timers(int(found[1]), int(found[2]))


def protocol(watched: Mapping[str, Timers]) -> str:
    """
    What watches routers, by address; '' if there are none. BIRD has its timers by device, so they
    are the same for all.
    """
    if not watched:
        return ""
    each = next(iter(watched.values()))
    lines = [
        "protocol bfd balancer {",
        '    interface "*" {',
        f"        min rx interval {each.interval} ms;",
        f"        min tx interval {each.interval} ms;",
        f"        multiplier {each.missed};",
        "    };",
        *(f"    neighbor {address};" for address in watched),
        "}",
    ]
    return "\n".join(lines) + "\n"


def configuration(watched: Mapping[str, Timers]) -> str:
    """The whole file of our own BIRD; '' if there is to be none. No protocol of it touches a
    route."""
    text = protocol(watched)
    return f"{_ALONE}{text}" if text else ""


def is_whole(answer: str) -> bool:
    """Whether that is the greeting and a whole reply."""
    return len(_LAST.findall(answer)) >= 2


def error(answer: str) -> str:
    """What a reply says is wrong; '' if nothing is."""
    found = _ERROR.search(answer)
    return "" if found is None else found[1]


def sessions(answer: str) -> dict[str, str]:
    """`up` or `down` of each router, from the reply to `SESSIONS`."""
    found = {}
    for line in answer.splitlines():
        words = line.split()
        if len(words) >= 3 and line.startswith(" ") and _is_address(words[0]):
            found[str(ip_address(words[0]))] = "up" if words[2] == "Up" else "down"
    return found


def _is_address(word: str) -> bool:
    try:
        ip_address(word)
    except ValueError:
        return False
    return True


def unseen(watched: Iterable[str], found: Mapping[str, str]) -> str:
    """What is wrong with routers that BIRD has no session for; '' if it has all."""
    missing = [each for each in watched if each not in found]
    if not missing:
        return ""
    return f"no device that is up has a network with {', '.join(missing)}: BFD is for one link"
