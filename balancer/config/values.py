"""
Parsers of single values: text in, a typed value out, or an exception that says what was expected.

Knows how durations, sizes, names and words are written. Knows no option and no line: whoever calls
adds where the value stands. Addresses are in `addresses` and offered here too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from balancer.config.addresses import (
    Endpoint,
    Network,
    endpoint,
    endpoint_or_host,
    listen_endpoint,
    network,
    networks,
    with_port,
)
from balancer.config.errors import Misspelt, NotBuilt, Unreadable

__all__ = [
    "Endpoint",
    "Misspelt",
    "Network",
    "NotBuilt",
    "Unreadable",
    "boolean",
    "choice",
    "duration",
    "duration_within",
    "endpoint",
    "endpoint_or_host",
    "free_text",
    "integer",
    "listen_endpoint",
    "modifiers",
    "name",
    "network",
    "networks",
    "one_of",
    "or_off",
    "path",
    "percent",
    "size",
    "with_port",
]

T = TypeVar("T")

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST: Final = 366 * 86400.0
_SIZE: Final = re.compile(r"([0-9]{1,12})([kmg]?)", re.IGNORECASE)
_FACTORS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_LARGEST: Final = 1024**4
_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%")
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_NAME: Final = re.compile(r"\.|[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
_YES: Final = ("yes", "on", "true")
_NO: Final = ("no", "off", "false")
_LONGEST_PATH: Final = 4095  # PATH_MAX without its NUL


def duration(text: str) -> float:
    """Seconds. A unit is needed (ms, s, m, h or d), except after 0; at most 366 days."""
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if match is None:
        raise Unreadable("a duration such as 500ms, 2s or 5m")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST:
        raise Unreadable("a duration of at most 366d")
    return seconds


def duration_within(least: str, most: str) -> Callable[[str], float]:
    """A parser of durations from `least` to `most`, both included and both written as such."""
    bounds = duration(least), duration(most)
    expected = f"a duration from {least} to {most}"

    def parse(text: str) -> float:
        try:
            seconds = duration(text)
        except Unreadable:
            raise Unreadable(expected) from None
        if not bounds[0] <= seconds <= bounds[1]:
            raise Unreadable(expected)
        return seconds

    return parse


def size(text: str) -> int:
    """Bytes. `k`, `m` and `g` stand for powers of 1024; at most 1024g."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise Unreadable("a size such as 512, 16k or 1m")
    count = int(match[1]) * _FACTORS[match[2].lower()]
    if count > _LARGEST:
        raise Unreadable("a size of at most 1024g")
    return count


def integer(minimum: int, maximum: int) -> Callable[[str], int]:
    """A parser of whole numbers from `minimum` to `maximum`, both included."""

    def parse(text: str) -> int:
        if _INTEGER.fullmatch(text) is None or not minimum <= int(text) <= maximum:
            raise Unreadable(f"a whole number from {minimum} to {maximum}")
        return int(text)

    return parse


def percent(text: str) -> float:
    """A share from 0.0 to 1.0, written from 0% to 100%."""
    match = _PERCENT.fullmatch(text)
    if match is None or float(match[1]) > 100:
        raise Unreadable("a share from 0% to 100%")
    return float(match[1]) / 100


def boolean(text: str) -> bool:
    """yes, on or true; no, off or false."""
    if text not in _YES and text not in _NO:
        raise Misspelt("yes or no", text, (*_YES, *_NO))
    return text in _YES


def one_of(words: Iterable[str]) -> str:
    """`a`, `a or b`, `one of a, b or c`: how messages offer words."""
    *most, last = words
    if not most:
        return last
    start = ", ".join(most)
    return f"{'one of ' if len(most) > 1 else ''}{start} or {last}"


def choice(*words: str, later: Sequence[str] = ()) -> Callable[[str], str]:
    """A parser of one of `words`. A word of `later` is in the contract but raises `NotBuilt`."""

    def parse(text: str) -> str:
        if text in later:
            raise NotBuilt(text)
        if text not in words:
            raise Misspelt(one_of(words), text, words)
        return text

    return parse


def or_off(parser: Callable[[str], T]) -> Callable[[str], T | None]:
    """A parser that gives None for `off` and `none`, and for all else what `parser` gives."""

    def parse(text: str) -> T | None:
        if text in ("off", "none"):
            return None
        try:
            return parser(text)
        except Misspelt as error:
            known = (*error.known, "off")
            raise Misspelt(f"{error.expected}, or off", error.word, known, error.got) from None
        except Unreadable as error:
            raise Unreadable(f"{error.expected}, or off", error.got, error.meant) from None

    return parse


def name(text: str) -> str:
    """The name of a section or a server: it is a metric label and a part of POOL/NAME. `.` alone
    is one, too: the zone at the root of DNS has no other."""
    if _NAME.fullmatch(text) is None:
        raise Unreadable("a name of letters, digits, '.', '_' and '-'")
    return text


def path(text: str) -> str:
    """A file's path as it stands; relative ones count from where the balancer starts."""
    if not text or "\0" in text or len(text.encode("utf-8", "replace")) > _LONGEST_PATH:
        raise Unreadable(f"a path of at most {_LONGEST_PATH} bytes")
    return text


def free_text(text: str) -> str:
    """Any text but none."""
    if not text:
        raise Unreadable("some text")
    return text


def modifiers(
    words: Iterable[str],
    keys: Mapping[str, Callable[[str], Any]],
    flags: Sequence[str] = (),
    later: Sequence[str] = (),
) -> dict[str, Any]:
    """
    What stands after the first word of a line such as `ADDRESS:PORT weight=2 backup`.

    `keys` maps the names that take `=VALUE` to the parsers of their values; `flags` stand alone and
    give True; `later` has the names of the contract that are not built. Each may stand once.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key in later:
            raise NotBuilt(word)
        if key in found:
            raise Unreadable(f"{key} once", word)
        if equals and key in keys:
            try:
                found[key] = keys[key](value)
            except NotBuilt:
                raise NotBuilt(word) from None
            except Unreadable as error:
                raise Unreadable(f"{key}= and {error.expected}", word) from error
        elif not equals and key in flags:
            found[key] = True
        else:
            offered = [*(f"{k}=" for k in keys), *flags]
            raise Misspelt(one_of(offered or ["nothing more"]), key + equals, offered, word)
    return found
