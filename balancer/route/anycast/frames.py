"""
What twistd and the helper beside ExaBGP say to each other: one JSON object a line, with a version.

Pure, and stdlib only. Each frame tells a whole state, so that the latest one is all that counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from balancer.route.anycast.lines import Route

VERSION: Final = 1

MAX_FRAME: Final = 1024 * 1024
"""Bytes of one frame. 4096 routes of 160 bytes each are 640 KiB."""

MAX_ROUTES: Final = 4096
"""Routes of one frame: 256 prefixes for 16 neighbors."""

Key = tuple[str, str]
"""A neighbor's address and a prefix."""


class Wish(NamedTuple):
    """What is to be announced, and nothing else, for `lease` seconds. Each one is a renewal."""

    serial: int
    lease: float
    routes: Mapping[Key, Route]


class Quit(NamedTuple):
    """Stop ExaBGP, routes as they are: another one takes over."""


class Hello(NamedTuple):
    """Who speaks: the helper's process, its ExaBGP's, and the word that our configuration gave
    it."""

    pid: int
    exabgp: int
    token: str = ""


class Report(NamedTuple):
    """What is announced. `settled`: all that the wish `serial` asks for is acknowledged. `lapsed`:
    the lease had run out, and everything was withdrawn. `fault`: what does not work. `late`:
    ExaBGP does not answer."""

    serial: int
    settled: bool
    lapsed: bool
    announced: tuple[Key, ...]
    fault: str = ""
    late: bool = False


class Heard(NamedTuple):
    """The helper has the wish `serial`, whether that changes anything or not: it lives."""

    serial: int


class Neighbor(NamedTuple):
    """The state of one session."""

    address: str
    state: str
    reason: str = ""


Frame = Wish | Quit | Hello | Report | Heard | Neighbor


class BadFrame(ValueError):
    """Not one of ours."""


def encode(frame: Frame) -> bytes:
    """The frame as a line."""
    told: dict[str, Any] = {"v": VERSION, "type": type(frame).__name__.lower()}
    told.update(frame._asdict())
    if isinstance(frame, Wish):
        told["routes"] = [[key[0], *route] for key, route in frame.routes.items()]
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"


def decode(line: str) -> Frame:
    """The frame of a line. Raises `BadFrame`."""
    try:
        told = json.loads(line)
        if told.pop("v") != VERSION:
            raise BadFrame(f"expected version {VERSION}; restart what is older")
        return _KINDS[told.pop("type")](told)
    except BadFrame:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise BadFrame(f"expected a frame, got {line[:60]!r}: {error!r:.60}") from error


def _wish(told: dict[str, Any]) -> Wish:
    routes = {}
    if len(told["routes"]) > MAX_ROUTES:
        raise BadFrame(f"expected at most {MAX_ROUTES} routes, got {len(told['routes'])}")
    for neighbor, prefix, next_hop, med, communities, as_path in told["routes"]:
        route = Route(
            _text(prefix),
            _text(next_hop),
            None if med is None else _number(med),
            tuple(_text(each) for each in communities),
            tuple(_number(each) for each in as_path),
        )
        routes[_text(neighbor), route.prefix] = route
    lease = told["lease"]
    if type(lease) not in (int, float) or not 0 < lease <= 3600:
        raise BadFrame(f"expected a lease of up to 3600 seconds, got {lease!r:.20}")
    return Wish(_number(told["serial"]), float(lease), routes)


def _report(told: dict[str, Any]) -> Report:
    announced = tuple((_text(one), _text(other)) for one, other in told["announced"])
    flags = told["settled"], told["lapsed"], told["late"]
    if not all(type(each) is bool for each in flags):
        raise BadFrame(f"expected true or false, got {flags!r:.40}")
    settled, lapsed, late = flags
    return Report(
        _number(told["serial"]), settled, lapsed, announced, _text(told["fault"]), late
    )


def _hello(told: dict[str, Any]) -> Hello:
    return Hello(_number(told["pid"]), _number(told["exabgp"]), _text(told["token"]))


def _neighbor(told: dict[str, Any]) -> Neighbor:
    return Neighbor(_text(told["address"]), _text(told["state"]), _text(told["reason"]))


def _text(value: Any) -> str:
    # A line's end would be a command of its own to ExaBGP.
    if not isinstance(value, str) or "\n" in value or "\r" in value:
        raise BadFrame(f"expected one line of text, got {value!r:.40}")
    return value


def _number(value: Any) -> int:
    if type(value) is not int:
        raise BadFrame(f"expected a number, got {value!r:.40}")
    return value


_KINDS: Final[Mapping[str, Callable[[dict[str, Any]], Frame]]] = {
    "wish": _wish,
    "quit": lambda told: Quit(),
    "hello": lambda told: _hello(told),
    "report": _report,
    "heard": lambda told: Heard(_number(told["serial"])),
    "neighbor": _neighbor,
}
