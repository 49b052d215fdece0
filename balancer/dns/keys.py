"""
Keys that transactions are signed with (RFC 8945), as BIND writes them into files.

    key "axfr.example.org" {
        algorithm hmac-sha256;
        secret "...";      # base64, as tsig-keygen, keymgr -t and ddns-confgen make it
    };

Knows the text. Must not know which file it is from, nor show a secret to anybody.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

import attrs

from balancer.dns import names

ALGORITHMS: Final = MappingProxyType(
    {
        "hmac-sha256": "sha256", "hmac-sha512": "sha512", "hmac-sha384": "sha384",
        "hmac-sha224": "sha224", "hmac-sha1": "sha1",
    }
)  # fmt: skip
"""What hashlib calls the hash of each algorithm (RFC 8945 6). MD5's is left out on purpose."""

MOST_KEYS: Final = 10_000
"""Keys in one file; each peer has one, and BIND's own files hold a few dozen."""

_TOKEN: Final = re.compile(
    r'(?P<space>\s+|#[^\n]*|//[^\n]*|/\*.*?\*/)|(?P<mark>[{};])|"(?P<quoted>[^"\n]*)"'
    r'|(?P<word>[^\s{};"#]+)|(?P<wrong>.)',
    re.DOTALL,
)


class BadKeys(ValueError):
    """A text is no list of keys: `line` says where, the text what was expected and what came."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


@attrs.frozen(slots=True)
class Key:
    """
    `name` and `algorithm` are names in lower case, `digest` is what hashlib calls the hash.
    """

    name: bytes
    algorithm: bytes
    digest: str
    secret: bytes = attrs.field(repr=False)


def parse_keys(text: str) -> dict[bytes, Key]:
    """The keys by name, in lower case. Raises `BadKeys` at the first fault."""
    tokens = _Tokens(text)
    keys: dict[bytes, Key] = {}
    while tokens.more():
        tokens.expect("key")
        line = tokens.line
        key = _key(tokens)
        if key.name in keys:
            raise BadKeys(line, f"expected each key once, got {names.to_text(key.name)!r} again")
        if len(keys) == MOST_KEYS:
            raise BadKeys(line, f"expected at most {MOST_KEYS} keys")
        keys[key.name] = key
    return keys


def _key(tokens: _Tokens) -> Key:
    text = tokens.word("a name")
    line = tokens.line
    try:
        name = names.from_text(text).lower()
    except names.BadName as why:
        raise BadKeys(line, f"expected {why}, got {text!r}") from None
    tokens.expect("{")
    algorithm, secret = "", b""
    while (word := tokens.word("algorithm, secret or }")) != "}":
        if word == "algorithm":
            algorithm = _algorithm(tokens)
        elif word == "secret":
            secret = _secret(tokens)
        else:
            raise BadKeys(tokens.line, f"expected algorithm or secret, got {word!r}")
        tokens.expect(";")
    tokens.expect(";")
    if not algorithm or not secret:
        missing = "secret" if algorithm else "algorithm"
        raise BadKeys(line, f"expected an algorithm and a secret of key {text!r}, got no {missing}")
    return Key(name, names.from_text(algorithm), ALGORITHMS[algorithm], secret)


def _algorithm(tokens: _Tokens) -> str:
    word = tokens.word("an algorithm").lower().rstrip(".")
    if word not in ALGORITHMS:
        raise BadKeys(tokens.line, f"expected one of {', '.join(ALGORITHMS)}, got {word!r}")
    return word


def _secret(tokens: _Tokens) -> bytes:
    try:
        secret = binascii.a2b_base64(tokens.word("a secret"), strict_mode=True)
    except ValueError as why:
        # ... but not what came: that may be nearly the secret.
        raise BadKeys(tokens.line, f"expected a secret in base64 ({why})") from None
    if not secret:
        raise BadKeys(tokens.line, "expected a secret, got an empty one")
    return secret


class _Tokens:
    """The words of a text one by one; `line` is the last one's."""

    def __init__(self, text: str) -> None:
        self._all = _tokens(text)
        self._next = next(self._all, None)
        self._last = text.count("\n") + 1
        self.line = 1

    def more(self) -> bool:
        return self._next is not None

    def word(self, expected: str) -> str:
        """The next word or mark; `expected` is what the fault says if there is none."""
        if self._next is None:
            raise BadKeys(self._last, f"expected {expected}, got the end of the text")
        self.line, word = self._next
        self._next = next(self._all, None)
        return word

    def expect(self, word: str) -> None:
        came = self.word(word)
        if came.lower() != word:
            # A word out of its place may be a secret whose keyword was mistyped.
            shown = repr(came) if len(came) < 16 else "something else"
            raise BadKeys(self.line, f"expected {word!r}, got {shown}")


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind, word = match.lastgroup, match[match.lastgroup or 0]
        if kind == "wrong":
            raise BadKeys(line, f"expected a closing quote, got {word!r}")
        if kind != "space":
            yield line, word
        line += match[0].count("\n")
