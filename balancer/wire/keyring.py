"""
The certificates of a listener as they are in force, and whether a reload needs to read them again.

Knows files and contexts; nothing of connections.
"""

from __future__ import annotations

import ssl
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from balancer.wire.certificates import CannotLoad, Certificates, loading
from balancer.wire.stamps import Stamps, stamps

#: Seconds after which a reload makes a new context although no file has changed, because the key of
#: its session tickets lives as long as it does (nginx renews that at every reload). Whoever learns
#: that key can read what TLS 1.2 sessions resumed with it said.
TICKET_SECONDS = 24 * 3600.0


@frozen
class Keyring:
    """What was at `path` at the time `since` (monotonic), ready for handshakes."""

    path: str
    certificates: Certificates
    context: ssl.SSLContext
    since: float
    stamps: Stamps

    def status(self) -> dict[str, Any]:
        """For the operator, ready for JSON."""
        return {
            "path": self.path,
            "certificates": [
                {
                    "file": str(pair.file),
                    "names": list(pair.names),
                    "expires": f"{pair.expires:%Y-%m-%dT%H:%M:%SZ}",
                }
                for pair in self.certificates.pairs
            ],
            "warnings": list(self.certificates.warnings),
        }


@frozen
class Verdict:
    """What is wrong with the certificates at a path, and what is doubtful though they can be used.
    """

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def judging(path: str, alpn: Sequence[str]) -> Generator[None, None, Verdict]:
    """What a listener would say of `path`: it is read as for one, in slices, and dropped."""
    try:
        keyring = yield from renewing(path, alpn, 0.0, None)
    except CannotLoad as error:
        return Verdict(error.problems)
    return Verdict((), keyring.certificates.warnings)


def renewing(
    path: str, alpn: Sequence[str], now: float, old: Keyring | None
) -> Generator[None, None, Keyring]:
    """
    The keyring of `path`, in slices: `old` itself if that still holds. Raises `CannotLoad`.

    Files are looked at before they are read: one that changes meanwhile is read at the next reload.
    """
    seen = stamps([path, Path(path).with_suffix(".key")])
    same = old is not None and (old.path, old.stamps) == (path, seen)
    if old is not None and same and now - old.since < TICKET_SECONDS:
        return old
    certificates = yield from loading(path)
    context = yield from certificates.making(alpn)
    return Keyring(path, certificates, context, now, seen)
