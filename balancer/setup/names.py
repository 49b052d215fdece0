"""The names that a certificate is for, as an operator writes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

MAX_NAME: Final = 253
"""Characters of a host name (RFC 1035 2.3.4, without the final dot)."""

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


def name(text: str) -> str:
    """A host name in lower case, perhaps with `*` for its first label, or an address. Raises
    ValueError."""
    lower = text.lower().removesuffix(".")
    try:
        return str(ip_address(lower))
    except ValueError:
        pass
    if not text.isascii():
        raise ValueError(f"expected a name in ASCII, as xn--..., got {text!r}")
    labels = lower.removeprefix("*.").split(".")
    # What ends in a number is taken for an address (RFC 1123 2.1).
    is_sound = all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()
    if not is_sound or len(lower) > MAX_NAME:
        raise ValueError(f"expected a name such as www.example.org, or an address, got {text!r}")
    return lower


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Each name once, in their order."""
    return tuple(dict.fromkeys(names))


def file_name(first: str) -> str:
    """What a certificate's file is called, by its first name: `_.example.org.pem` for a wildcard,
    since a shell would take `*` for something else, and `2001-db8--1.pem` for an address."""
    return first.replace("*", "_").replace(":", "-") + ".pem"
