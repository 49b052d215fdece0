"""
Passwords of sessions (RFC 2385), from files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from balancer.config.schema import Finding
from balancer.interfaces import BadFiles, Flaw
from balancer.route.anycast.configuration import MAX_PASSWORD
from balancer.route.anycast.settings import AnycastSettings
from balancer.wire import statefile

MAX_FILE: Final = 4096
"""Bytes of a password's file."""


def passwords(section: str, settings: AnycastSettings) -> dict[str, bytes]:
    """The passwords by the addresses of the neighbors that have one. Raises `BadFiles`."""
    found: dict[str, bytes] = {}
    findings: list[Finding] = []
    for index, line in enumerate(settings.neighbors):
        if line.password_file:
            try:
                found[line.address] = _password(line.password_file)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                text = f"password-file={line.password_file}: {reason}"
                findings.append(("neighbors", index, text))
    if findings:
        raise BadFiles(f"anycast {section}", findings)
    return found


def flaws(sections: Mapping[str, AnycastSettings]) -> Iterator[Flaw | None]:
    """What is wrong with the passwords' files that sections name. See `IReadsFiles`."""
    for name, settings in sections.items():
        try:
            passwords(name, settings)
        except BadFiles as bad:
            for finding in bad.findings:
                yield Flaw(f"anycast:{name}", *finding)
        yield None


def _password(path: str) -> bytes:
    """The password in a file, without the line's end. Raises OSError and ValueError."""
    data = statefile.load(path, MAX_FILE)
    if data is None:
        msg = "expected a file with the password, got none"
        raise ValueError(msg)
    found = data.rstrip(b"\r\n")
    if not 0 < len(found) <= MAX_PASSWORD or b"\n" in found or b"\0" in found:
        msg = f"expected one line of 1 to {MAX_PASSWORD} bytes, got {len(found)} bytes"
        raise ValueError(msg)
    return found
