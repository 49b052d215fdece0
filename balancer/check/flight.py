"""
One probe on its way, what came of it, and what it says for people.

Knows Deferreds and failures; neither pools nor schedules.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.python.failure import Failure

from balancer.check.interfaces import NotAsked
from balancer.interfaces import CheckFailed
from balancer.wire.address import Address

LONGEST_REASON = 200
"""Characters kept of what a probe saw: a server must not fill our log or status."""

SHORTAGE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""Errors by which this machine says that it, not the server, is short of something."""


@define(eq=False)
class Flight:
    """A probe in progress; `deferred` is None while it is only being started."""

    index: int
    started: float
    deadline: float
    deferred: Deferred[str] | None = None

    def cancel(self) -> None:
        """End the probe. Its Deferred fires, if it keeps the contract, before this returns."""
        if self.deferred is not None:
            self.deferred.cancel()


@frozen
class Result:
    """What the last probe of a server said."""

    ok: bool
    reason: str
    seconds: float
    at: float

    def status(self) -> dict[str, Any]:
        """The result for JSON: `seconds` is how long it took, `at` is Unix time."""
        return {
            "last": "up" if self.ok else "down",
            "reason": self.reason,
            "seconds": round(self.seconds, 6),
            "at": self.at,
        }


def is_ours(failure: Failure) -> bool:
    """Whether a probe failed for want of something of ours."""
    error = failure.value
    code = getattr(error, "code", None) or getattr(error, "errno", None)
    return isinstance(error, NotAsked) or (
        isinstance(error, (OSError, ConnectError)) and code in SHORTAGE
    )


def is_expected(failure: Failure) -> bool:
    """Whether a failed probe failed as probes do, and not by a fault of the check's code."""
    return failure.check(CheckFailed, NotAsked, OSError, ConnectError) is not None


def reason_of(failure: Failure) -> str:
    """What a failed probe says, in one line."""
    error: Any = failure.value
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:
        text = os.strerror(error.errno).lower()
    else:
        text = one_line(str(error))
    if is_expected(failure):
        return text or name
    return f"{name}: {text}" if text else name


def one_line(text: str) -> str:
    """`text` as it may stand in a status or a log line: printable, one line, not too long."""
    line = " ".join(text[: 4 * LONGEST_REASON].split())
    return "".join(c if c.isprintable() else "?" for c in line)[:LONGEST_REASON]


def target_of(address: Address, port: int | None) -> Address:
    """
    Where to probe a server at `address` when the check has a port of its own.

    Raises `CheckFailed` where there is none: port 0 is a server without a port, and with it the
    wildcard address is a name that did not resolve yet.
    """
    if address.is_unix:
        return address
    if not address.port and (port is None or address.is_wildcard):
        raise CheckFailed("its name does not resolve")
    if port is None or port == address.port:
        return address
    # The rest stays: an IPv6 scope, and whether TLS is spoken there.
    sockaddr: Any = address.sockaddr
    return evolve(address, port=port, sockaddr=(sockaddr[0], port, *sockaddr[2:]))
