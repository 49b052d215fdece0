"""
Bytes as an operator writes them in a site file. Pure.
"""

from __future__ import annotations

import re

from balancer.config.values import Unreadable

_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.|$)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


def octets(text: str) -> bytes:
    r"""The bytes that `text` stands for: UTF-8, and the escapes \xNN \n \r \t \0 \\."""

    def unescaped(match: re.Match[bytes]) -> bytes:
        letter = match[1]
        if len(letter) == 3:
            return bytes.fromhex(letter[1:].decode())
        if letter not in _LETTERS:
            raise Unreadable(r"text with no other escapes than \xNN \n \r \t \0 \\")
        return _LETTERS[letter]

    return _ESCAPE.sub(unescaped, text.encode())
