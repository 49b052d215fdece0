"""
Secrets on disk: those of cookies, and the keys of signatures. Glue: it opens files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from secrets import token_bytes
from typing import Final

from twisted.logger import Logger

from balancer.dns.cookies import SECRET_SIZE, Cookies
from balancer.dns.keys import BadKeys, Key, parse_keys
from balancer.interfaces import PrepareError
from balancer.wire import statefile

MAX_FILE: Final = 1024 * 1024
"""Bytes of a file of secrets: 10,000 keys of 100 bytes."""

MADE_SECRET: Final = "dns-cookie-secret"
"""The file in the site's state with the secret that is made where no other is given."""

log = Logger()


def keys(section: str, path: str | None) -> Mapping[bytes, Key]:
    """The TSIG keys in the file at `path`. Raises `PrepareError`."""
    if path is None:
        return {}
    where = f"[dns {section}] tsig-file"
    try:
        data = statefile.load(path, MAX_FILE)
    except OSError as error:
        raise PrepareError(f"{where}: {error.strerror or error}: {path}") from error
    if data is None:
        raise PrepareError(f"{where}: expected a file of keys, got {path}, which is not there")
    try:
        return parse_keys(data.decode("utf-8", "replace"))
    except BadKeys as error:
        raise PrepareError(f"{where}: {path}:{error.line}: {error}") from error


def cookies(section: str, state: str, path: str | None) -> Cookies | None:
    """Cookies by the secrets in the file at `path`, or by one of our own; None if that cannot be
    kept, so that those in force may go on. Raises `PrepareError`."""
    if path is not None:
        return _read(f"[dns {section}] cookie-secret-file", path)
    made = os.path.join(state, MADE_SECRET)
    try:
        if statefile.load(made, MAX_FILE) is not None:
            return _read("DNS cookies", made)
        secret = token_bytes(SECRET_SIZE)
        statefile.save(made, secret.hex().encode() + b"\n")
    except (OSError, PrepareError) as error:
        log.warn("{error}; DNS cookies do not survive a restart", error=error)
        return None
    return Cookies(secret)


def _read(where: str, path: str) -> Cookies:
    digits = 2 * SECRET_SIZE
    expected = f"{where}: expected one or two lines of {digits} hexadecimal digits in {path}"
    try:
        data = statefile.load(path, MAX_FILE)
        if data is None:
            raise PrepareError(f"{expected}, which is not there")
        lines = [bytes.fromhex(line) for line in data.decode("ascii").split()]
    except OSError as error:
        raise PrepareError(f"{expected}: {error.strerror or error}") from error
    except ValueError as error:
        raise PrepareError(f"{expected}, got something else") from error
    if not 1 <= len(lines) <= 2 or any(len(line) != SECRET_SIZE for line in lines):
        sizes = ", ".join(str(2 * len(line)) for line in lines) or "none"
        raise PrepareError(f"{expected}, got lines of {sizes}")
    return Cookies(*lines)
