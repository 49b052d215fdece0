"""
Passwords of sessions (RFC 2385), from files.
"""

from __future__ import annotations

from typing import Final

from balancer.interfaces import PrepareError
from balancer.route.anycast.configuration import MAX_PASSWORD
from balancer.wire import statefile

MAX_FILE: Final = 4096
"""Bytes of a password's file."""


def password(title: str, path: str) -> bytes:
    """The password in a file, without the line's end. Raises `PrepareError`."""
    where = f"{title} neighbors: password-file={path}"
    try:
        data = statefile.load(path, MAX_FILE)
    except OSError as error:
        raise PrepareError(f"{where}: {error.strerror or error}") from error
    if data is None:
        raise PrepareError(f"{where}: expected a file with the password, got none")
    found = data.rstrip(b"\r\n")
    if not 0 < len(found) <= MAX_PASSWORD or b"\n" in found or b"\0" in found:
        msg = f"{where}: expected one line of 1 to {MAX_PASSWORD} bytes, got {len(found)} bytes"
        raise PrepareError(msg)
    return found
