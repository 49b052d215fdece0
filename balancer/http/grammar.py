"""
The grammar of HTTP/1.x heads (RFC 9110, RFC 9112) as patterns, and the two kinds of fault.

Knows which bytes may stand where. Must not know what a balancer does with a message.

Repeats of single bytes are possessive: no input makes a pattern go back over them, so time is
linear in the head's size. Repeats of groups must not be: Debian 12's Python 3.11.2 matches those
wrongly, and would take a bad field line for a good one (gh-106052, gh-101955). Each group begins
with a byte that no other way through can match, so that going back over groups finds nothing.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

CHUNKED: Final = -1
"""`length` of a message whose body comes in chunks."""

UNTIL_CLOSE: Final = -2
"""`length` of an answer whose body ends with the connection."""

MAX_TARGET: Final = 8192
"""Bytes of a request target; more is 414. RFC 9112 section 3 asks for 8000 at least, nginx takes
8k."""

MAX_METHOD: Final = 64
"""Bytes of a method. Registered ones have 17 at most."""

MAX_NAME: Final = 256
"""Bytes of a field's name, so that an endless name is refused before the head is full."""

MAX_DIGITS: Final = 18
"""Digits of a Content-Length: any such number fits 64 bits, signed."""

MAX_EMPTY_LINES: Final = 2
"""Empty lines before a request line (RFC 9112 section 2.2: at least one should be ignored)."""

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]"
TARGET: Final = rb"[\x21\x22\x24-\x7e]"
# A registered name of unreserved characters, or an IP literal, and a port. RFC 3986 would allow
# sub-delims and %-escapes too; no name in use has them, and caches and servers read them apart.
HOST: Final = rb"(?:[A-Za-z0-9._~\-]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]{0,5}+)?"


class Refused(Exception):
    """A request that must not go on: the client's fault. `status` is the answer's code, `reason` a
    few words for the log and the answer's body. The connection must be closed after the answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.status} {self.reason}"


class BadAnswer(Exception):
    """An answer that must not go on: the server's fault, 502 to the client. `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def bad_request(reason: str) -> Refused:
    """The client broke the grammar or the framing: 400."""
    return Refused(400, reason)


class Patterns(NamedTuple):
    """The whole heads that a reader takes; fields are the last group, blank line left out."""

    request: re.Pattern[bytes]
    any_request: re.Pattern[bytes]
    answer: re.Pattern[bytes]


@lru_cache(maxsize=64)
def patterns(max_fields: int) -> Patterns:
    """The patterns of heads with at most `max_fields` fields."""
    fields = rb"((?:\r\n%b{1,%d}+:%b*+){0,%d})\r\n\r\n" % (TOKEN, MAX_NAME, VALUE, max_fields)
    method = rb"(%b{1,%d}+)" % (TOKEN, MAX_METHOD)
    return Patterns(
        re.compile(rb"%b (/%b{0,%d}+) HTTP/1\.1%b" % (method, TARGET, MAX_TARGET - 1, fields)),
        re.compile(
            rb"(?:\r\n){0,%d}%b (%b{1,%d}+) HTTP/1\.([01])%b"
            % (MAX_EMPTY_LINES, method, TARGET, MAX_TARGET, fields)
        ),
        re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: (%b*+))?%b" % (VALUE, fields)),
    )


# The beginning of a request in origin form up to its target, as in `patterns(...).request`.
ASKS: Final = re.compile(
    rb"(?!CONNECT |TRACE )(%b{1,%d}+) (/%b{0,%d}+)" % (TOKEN, MAX_METHOD, TARGET, MAX_TARGET - 1)
)

FIELD: Final = re.compile(rb"\r\n([^:]++):[ \t]*+([^\r]*+)")
"""One field of a block that was found sound; the value may have blanks after it."""

IS_HOST: Final = re.compile(HOST)
IS_TOKEN: Final = re.compile(TOKEN + rb"++")
IS_LENGTH: Final = re.compile(rb"[0-9]{1,%d}+" % MAX_DIGITS)

# `_` for `-`: CGI and WSGI servers read both as one name, so the second spelling would slip past
# us.
FRAMING: Final = (b"content[-_]length", b"transfer[-_]encoding", b"host", b"connection")

HOST_FIELD, KEEP_ALIVE, CLOSE, LENGTH, CHUNKS, CUT, TAKEN, RARE = range(1, 9)
"""Numbers of the groups of `watched`, one of which matches."""


@lru_cache(maxsize=64)
def watched(
    cut: tuple[bytes, ...], taken: tuple[bytes, ...], rare: tuple[bytes, ...]
) -> re.Pattern[bytes]:
    """
    A pattern that finds the fields of a sound block that matter, and skips the others.

    The group that matched tells what to do: a field of `cut` goes; one of `taken` goes too, and its
    value is wanted; one of `rare`, or of FRAMING in another than its plain form, sends the head the
    long way. Names are lower-case patterns.
    """
    rare = rare + FRAMING
    first = b"".join(sorted({_first(name) for name in cut + taken + rare}))
    return re.compile(
        # The first letter alone rules most fields out: that saves a quarter of the time.
        rb"\r\n(?=[%b])(?:[hH](?i:ost):[ \t]*+(%b)(?=[ \t]*+\r)"
        rb"|[cC](?:(?i:onnection): ?(?:((?i:keep-alive))|((?i:close)))(?=\r)"
        rb"|(?i:ontent-length): (0|[1-9][0-9]{0,%d}+)(?=\r))"
        rb"|[tT](?i:ransfer-encoding): ?((?i:chunked))(?=\r)"
        rb"|(?:%b)():[^\r]*+|(?:%b):[ \t]*+([^\r]*+)|(?:%b)():)"
        % (first, HOST, MAX_DIGITS - 1, _any(cut), _any(taken), _any(rare))
    )


@lru_cache(maxsize=64)
def any_name(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """A pattern of each of `names` (lower-case patterns themselves), for a full match."""
    return re.compile(b"|".join(names) or rb"(?!)")


def _first(name: bytes) -> bytes:
    letter = name.lstrip(b"\\")[:1]
    return letter + letter.upper() if letter.isalpha() else re.escape(letter)


def _any(names: tuple[bytes, ...]) -> bytes:
    # The first letter stands as a set, outside of (?i:), so that `re` tests it before all the rest.
    parts = [b"[%b](?i:%b)" % (_first(n), n.lstrip(b"\\")[1:]) for n in names]
    return b"|".join(parts) or rb"(?!)"
