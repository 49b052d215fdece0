"""
The verb `bfd`: BIRD answers the routers' BFD (RFC 5880), so that they notice within a fraction of a
second when this machine dies without a word. ExaBGP keeps speaking BGP; it has no BFD. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from attrs import frozen

from balancer.setup.steps import MARK, CannotSetUp, Edit, Plan, Run, Step, placed, taken_away

BIRD: Final = "/etc/bird/bird.conf"
PATH: Final = "/etc/bird/balancer-bfd.conf"

INCLUDE: Final = 'include "balancer-bfd.conf";  # by balancer-setup bfd'
"""The line that is added to BIRD's own file; a path counts from that file's directory."""

RELOAD: Final = Run(("systemctl", "reload-or-restart", "bird"))

_PROTOCOL = re.compile(r"^[ \t]*protocol[ \t]+bfd\b", re.MULTILINE)
_TIMERS = re.compile(r"([1-9]\d{0,2})x([1-9]\d{0,4})ms")
_MOST_MISSED = 255
_INTERVALS = range(10, 10_001)


@frozen
class Timers:
    """A neighbor is gone after so many missed packets, one of which comes each `interval` ms."""

    missed: int
    interval: int


def timers(text: str) -> Timers:
    """From `3x300ms`. Raises ValueError."""
    found = _TIMERS.fullmatch(text)
    if found is None or int(found[1]) > _MOST_MISSED or int(found[2]) not in _INTERVALS:
        msg = "expected packets x interval, of 10ms to 10000ms, such as 3x300ms"
        raise ValueError(f"{msg}, got {text!r}")
    return Timers(int(found[1]), int(found[2]))


def neighbor(text: str) -> str:
    """A router's address: `203.0.113.1`, `2001:db8::1`, `fe80::1%eth0`. Raises ValueError."""
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"expected a router's address, got {text!r}") from None
    if address.is_link_local and "%" not in text:
        msg = f"expected a link-local address with its device, as {text}%eth0"
        raise ValueError(f"{msg}, got {text!r}")
    if "%" in text and not re.fullmatch(r"[A-Za-z0-9._-]{1,15}", text.partition("%")[2]):
        raise ValueError(f"expected a device after %, got {text!r}")
    return str(address)


def configuration(neighbors: Sequence[str], timers: Timers) -> str:
    """What BIRD is told."""
    lines = [
        f"{MARK} bfd; `balancer-setup undo bfd` removes it.",
        "protocol bfd balancer {",
        '    interface "*" {',
        f"        min rx interval {timers.interval} ms;",
        f"        min tx interval {timers.interval} ms;",
        f"        multiplier {timers.missed};",
        "    };",
        *(f"    neighbor {_with_device(each)};" for each in neighbors),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _with_device(neighbor: str) -> str:
    address, _, device = neighbor.partition("%")
    return f'{address} dev "{device}"' if device else address


def plan(text: str, there: str | None, bird: str | None, booted: bool) -> Plan:
    """`text` is what is to be at `PATH`, `there` what is there, `bird` what is at `BIRD`."""
    if bird is None:
        msg = f"{BIRD}: expected BIRD's own file, got none; apt install bird2"
        raise CannotSetUp(msg)
    own = _PROTOCOL.search(bird)
    if own is not None:
        line = bird.count("\n", 0, own.start()) + 1
        msg = f"{BIRD}:{line}: expected no `protocol bfd`, since BIRD runs one at a time, got one"
        raise CannotSetUp(f"{msg}; give it the lines `neighbor ADDRESS;` by hand, or remove it")
    steps = placed(PATH, text, there)
    if INCLUDE not in bird.splitlines():
        end = "" if not bird or bird.endswith("\n") else "\n"
        steps += (Edit(BIRD, f"{bird}{end}{INCLUDE}\n", f"+ {INCLUDE}"),)
    settled = () if steps else (f"{PATH} is as it should be, and {BIRD} includes it",)
    return Plan((*steps, *_reload(steps, booted)), settled, _then(steps))


def undone(there: str | None, bird: str | None, booted: bool) -> Plan:
    """BIRD as it was."""
    steps: tuple[Step, ...] = ()
    if bird is not None and INCLUDE in bird.splitlines():
        kept = [line for line in bird.splitlines() if line != INCLUDE]
        text = "".join(line + "\n" for line in kept)
        steps += (Edit(BIRD, text, f"- {INCLUDE}"),)
    # Last, since BIRD refuses a configuration that includes what is not there.
    steps += taken_away(PATH, there)
    settled = () if steps else (f"{PATH} is not there, and {BIRD} does not include it",)
    return Plan((*steps, *_reload(steps, booted)), settled)


def _reload(steps: tuple[Step, ...], booted: bool) -> tuple[Step, ...]:
    return (RELOAD,) if steps and booted else ()


def _then(steps: tuple[Step, ...]) -> tuple[str, ...]:
    if not steps:
        return ()
    return (
        "on each router: turn BFD on for the BGP session with this machine, with timers like these",
        "in the firewall: let UDP port 3784 through between this machine and its routers",
        "birdc show bfd sessions: each router is Up",
    )
