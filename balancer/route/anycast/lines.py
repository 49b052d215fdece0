"""
What is said to ExaBGP and what it says, line by line: its text commands, acknowledgements, the
routes that it tells of, and its JSON events. The same for 4.2 and 5.0.

Pure, and stdlib only: the helper beside ExaBGP imports it. Knows no state.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final, NamedTuple

MAX_LINE: Final = 64 * 1024
"""Bytes of one line of ExaBGP's. Of BGP's messages, which it may tell of, none is over 64 KiB
(RFC 8654); we ask for states of neighbors only, of some 400 bytes."""

MAX_REASON: Final = 200
"""Characters that are kept of why a session ended."""

SHOW: Final = "show adj-rib out"

SHUTDOWN: Final = "shutdown"


class Route(NamedTuple):
    """A route as a neighbor is to have it. `as_path` is the whole path, or empty for the usual."""

    prefix: str
    next_hop: str = "self"
    med: int | None = None
    communities: tuple[str, ...] = ()
    as_path: tuple[int, ...] = ()


class Done(NamedTuple):
    """The command in flight is done."""


class Refused(NamedTuple):
    """The command in flight is not done; ExaBGP does not say why."""


class Kept(NamedTuple):
    """A route that ExaBGP has for a neighbor."""

    neighbor: str
    prefix: str


class Session(NamedTuple):
    """A neighbor's session is `up`, `connected` (not yet up) or `down`, and why."""

    neighbor: str
    state: str
    reason: str = ""


class Leaving(NamedTuple):
    """ExaBGP stops."""


class Other(NamedTuple):
    """Nothing of use."""


Said = Done | Refused | Kept | Session | Leaving | Other

_SESSIONS: Final = frozenset(("up", "connected", "down"))


def announce(neighbors: Sequence[str], route: Route) -> str:
    """The command that gives the neighbors the route, in place of the one of the same prefix."""
    words = [f"{_to(neighbors)}announce route {route.prefix} next-hop {route.next_hop}"]
    if route.med is not None:
        words.append(f"med {route.med}")
    short = [each for each in route.communities if each.count(":") == 1]
    large = [each for each in route.communities if each.count(":") == 2]
    if short:
        words.append(f"community {_listed(short)}")
    if large:
        words.append(f"large-community {_listed(large)}")
    if route.as_path:
        words.append(f"as-path {_listed(route.as_path)}")
    return " ".join(words)


def withdraw(neighbors: Sequence[str], prefix: str) -> str:
    """The command that takes the prefix from the neighbors."""
    return f"{_to(neighbors)}withdraw route {prefix}"


def end_of_rib(neighbor: str) -> str:
    """The command that tells the neighbor that it has all routes now (RFC 4724, 2)."""
    family = "ipv6" if ":" in neighbor else "ipv4"
    return f"{_to([neighbor])}announce eor {family} unicast"


def _to(neighbors: Sequence[str]) -> str:
    return ", ".join(f"neighbor {each}" for each in neighbors) + " "


def _listed(words: Iterable[object]) -> str:
    return f"[ {' '.join(map(str, words))} ]"


_KEPT: Final = re.compile(r"(?:neighbor )?(\S+) ipv[46] unicast (\S+)(?: .*)?")


def read(line: str) -> Said:
    """What a line of ExaBGP's says. Never raises."""
    text = line.strip()
    if text == "done":
        return Done()
    if text == "error":
        return Refused()
    if text == "shutdown":
        return Leaving()
    if text.startswith("{"):
        return _read_event(text)
    match = _KEPT.fullmatch(text)
    return Other() if match is None else _kept(match[1], match[2])


def _kept(neighbor: str, prefix: str) -> Said:
    try:
        return Kept(str(ip_address(neighbor)), str(ip_network(prefix)))
    except ValueError:
        return Other()


def _read_event(text: str) -> Said:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return Other()
    if not isinstance(event, dict):
        return Other()
    kind = event.get("type")
    if kind == "notification" and event.get("notification") == "shutdown":
        return Leaving()
    return _session(event.get("neighbor")) if kind == "state" else Other()


def _session(told: Any) -> Said:
    try:
        neighbor, state = str(ip_address(told["address"]["peer"])), told["state"]
        reason = told.get("reason", "")
    except (KeyError, TypeError, ValueError, AttributeError):
        return Other()
    if state not in _SESSIONS or not isinstance(reason, str):
        return Other()
    return Session(neighbor, state, reason[:MAX_REASON])


class Lines:
    """Bytes into lines. What is longer than `most` bytes is dropped up to its end."""

    __slots__ = ("_dropping", "_most", "_rest", "dropped")

    def __init__(self, most: int = MAX_LINE) -> None:
        self._most = most
        self._rest = b""
        self._dropping = False
        self.dropped = 0
        """Lines that were too long."""

    def feed(self, data: bytes) -> list[str]:
        """The lines that end in `data`, without their ends; bytes that are no UTF-8 replaced."""
        *whole, rest = (self._rest + data).split(b"\n")
        found = []
        for line in whole:
            if self._dropping or len(line) > self._most:
                self._dropping = False
                self.dropped += 1
            else:
                found.append(line.decode("utf-8", "replace").rstrip("\r"))
        if len(rest) > self._most:
            self._dropping, rest = True, b""
        self._rest = rest
        return found
