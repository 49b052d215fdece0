"""
Which fields may not come behind a body (RFC 9110 section 6.5.1).

Bodies pass as they came, so a field there is neither cut nor rewritten, and a server that adds
trailers to the head's fields would believe it. Pure: knows names, not where they stand.
"""

from __future__ import annotations

import re
from typing import Final

from balancer.http.grammar import any_name

# `[-_]`, because servers that hand fields to programs as variables read both alike.
_EITHER: Final = (
    b"connection",
    b"keep[-_]alive",
    b"proxy[-_]connection",
    b"te",
    b"trailer",
    b"transfer[-_]encoding",
    b"upgrade",
    b"http2[-_]settings",
    b"host",
    b"cache[-_]control",
    b"content[-_](?:length|encoding|type|range)",
)

_OF_REQUESTS: Final = (
    b"authorization",
    b"proxy[-_]authorization",
    b"cookie",
    b"forwarded",
    b"x[-_]forwarded[-_].*",
    b"expect",
    b"if[-_].*",
    b"max[-_]forwards",
    b"pragma",
    b"range",
)

_OF_ANSWERS: Final = (
    b"set[-_]cookie",
    b"www[-_]authenticate",
    b"proxy[-_]authenticate",
    b"age",
    b"date",
    b"expires",
    b"location",
    b"retry[-_]after",
    b"vary",
)

FRAMING: Final = any_name(_EITHER)
"""What may be no trailer of any message. Patterns here are for whole names in lower case."""


def of_requests(cut: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """What may be no trailer of a request whose head loses the names `cut` (patterns)."""
    return any_name(_EITHER + _OF_REQUESTS + cut)


def of_answers(cut: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """The same of an answer."""
    return any_name(_EITHER + _OF_ANSWERS + cut)
