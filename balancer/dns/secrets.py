"""
Secrets on disk: those of cookies, and the keys of signatures. Glue: it opens files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from secrets import token_bytes
from typing import Final

from twisted.logger import Logger

from balancer.config.schema import Finding
from balancer.dns.cookies import SECRET_SIZE, Cookies
from balancer.dns.keys import BadKeys, Key, parse_keys
from balancer.dns.names import from_text
from balancer.dns.settings import DnsSettings
from balancer.interfaces import BadFiles
from balancer.wire import statefile

MAX_FILE: Final = 1024 * 1024
"""Bytes of a file of secrets: 10,000 keys of 100 bytes."""

MADE_SECRET: Final = "dns-cookie-secret"
"""The file in the site's state with the secret that is made where no other is given."""

log = Logger()


def keys(section: str, settings: DnsSettings) -> Mapping[bytes, Key]:
    """The TSIG keys in the section's file, which has all that the section names. Raises `BadFiles`.
    """
    if settings.tsig_file is None:
        return {}
    try:
        found = _keys(settings.tsig_file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None)
        text = f"{reason}: {settings.tsig_file}" if reason else str(error)
        raise BadFiles(f"dns {section}", [("tsig-file", 0, text)]) from error
    missing = list(_missing(settings, found))
    if missing:
        raise BadFiles(f"dns {section}", missing)
    return found


def _keys(path: str) -> Mapping[bytes, Key]:
    """Raises OSError and ValueError."""
    data = statefile.load(path, MAX_FILE)
    if data is None:
        msg = f"expected a file of keys, got {path}, which is not there"
        raise ValueError(msg)
    try:
        return parse_keys(data.decode("utf-8", "replace"))
    except BadKeys as error:
        msg = f"{path}:{error.line}: {error}"
        raise ValueError(msg) from error


def _missing(settings: DnsSettings, found: Mapping[bytes, Key]) -> Iterator[Finding]:
    for option, lines in (("transfer", settings.transfer), ("notify", settings.notify)):
        for index, line in enumerate(lines):
            if line is not None and line.key and from_text(line.key) not in found:
                text = f"expected the name of a key in {settings.tsig_file}, got {line.key!r}"
                yield option, index, text


def cookies(section: str, state: str, path: str | None) -> Cookies | None:
    """Cookies by the secrets in the file at `path`, or by one of our own; None if that cannot be
    kept, so that those in force may go on. Raises `BadFiles`."""
    if path is not None:
        return given_cookies(section, path)
    made = os.path.join(state, MADE_SECRET)
    try:
        if statefile.load(made, MAX_FILE) is not None:
            return _read(made)
        secret = token_bytes(SECRET_SIZE)
        statefile.save(made, secret.hex().encode() + b"\n")
    except (OSError, ValueError) as error:
        log.warn("DNS cookies: {error}; they do not survive a restart", error=error)
        return None
    return Cookies(secret)


def given_cookies(section: str, path: str) -> Cookies:
    """Cookies by the secrets in a file of the operator's. Raises `BadFiles`."""
    try:
        return _read(path)
    except ValueError as error:
        raise BadFiles(f"dns {section}", [("cookie-secret-file", 0, str(error))]) from error


def _read(path: str) -> Cookies:
    """Raises ValueError, also for a file that cannot be read."""
    digits = 2 * SECRET_SIZE
    expected = f"expected one or two lines of {digits} hexadecimal digits in {path}"
    try:
        data = statefile.load(path, MAX_FILE)
    except OSError as error:
        msg = f"{expected}: {error.strerror or error}"
        raise ValueError(msg) from error
    if data is None:
        msg = f"{expected}, which is not there"
        raise ValueError(msg)
    try:
        lines = [bytes.fromhex(line) for line in data.decode("ascii").split()]
    except ValueError as error:
        msg = f"{expected}, got something else"
        raise ValueError(msg) from error
    if not 1 <= len(lines) <= 2 or any(len(line) != SECRET_SIZE for line in lines):
        sizes = ", ".join(str(2 * len(line)) for line in lines) or "none"
        msg = f"{expected}, got lines of {sizes}"
        raise ValueError(msg)
    return Cookies(*lines)
