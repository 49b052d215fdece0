"""
JSON lines, as the control socket speaks them: a request a line, an answer a line.

Pure: bytes and values. Knows the frame, not what the verbs mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

MOST_LINE = 64 * 1024
"""Bytes of a request's line: the longest path and URL that anybody takes, several times over."""

PIECE = 64 * 1024
"""Characters of an answer that are encoded at once: the status of 5,000 servers is 2 MB and takes
30 ms, which is too long for one turn of the reactor."""

LEVELS = 5
"""Objects within objects that an answer is divided at: ok, pools, POOL, servers, NAME."""

MOST_SHOWN = 80
"""Characters of what came that an error repeats."""


class Garbage(Exception):
    """What came is no request, so that nothing that follows can be trusted: answer and close."""


@frozen
class Request:
    """One request: the verb, and the other fields of its object."""

    verb: str
    fields: Mapping[str, Any]


class Lines:
    """Bytes as they come, cut into lines. Holds no more than `MOST_LINE` and what was fed last."""

    __slots__ = ("_held", "_searched")

    def __init__(self) -> None:
        self._held = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        """Bytes that are held."""
        return len(self._held)

    def feed(self, data: bytes) -> None:
        """Take on what came."""
        self._held += data

    @property
    def ready(self) -> bool:
        """Whether `next` has something to say: a line, or that there will never be one."""
        return self._end() >= 0 or len(self._held) > MOST_LINE

    def next(self) -> bytes | None:
        """The next line that is not empty, without its end; None while there is none. Raises
        `Garbage` when a line is too long."""
        while (end := self._end()) >= 0:
            if end > MOST_LINE:
                break
            line = bytes(self._held[:end]).strip()
            del self._held[: end + 1]
            self._searched = 0
            if line:
                return line
        if end < 0 and len(self._held) <= MOST_LINE:
            return None
        raise Garbage(f"expected a line of at most {MOST_LINE} bytes")

    def _end(self) -> int:
        """Where the first line ends, -1 if it does not yet. Looks at each byte once."""
        end = self._held.find(b"\n", self._searched)
        self._searched = len(self._held) if end < 0 else end
        return end


def read(line: bytes) -> Request:
    """The request of one line. Raises `Garbage`."""
    try:
        value = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        # ValueError: neither UTF-8 nor JSON, or a number of thousands of digits.
        msg = f'expected an object of JSON such as {{"verb": "status"}}, got {shown(line)}'
        raise Garbage(msg) from None
    if not isinstance(value, dict):
        raise Garbage(f'expected an object such as {{"verb": "status"}}, got {shown(line)}')
    verb = value.pop("verb", None)
    if not isinstance(verb, str):
        raise Garbage(f'expected a "verb" such as "status", got {shown(line)}')
    return Request(verb, value)


def shown(value: object) -> str:
    """What came, for an error: bounded, in quotes, and nothing in it that moves a cursor."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    whole = text if isinstance(text, str) else json.dumps(text)
    return ascii(whole if len(whole) <= MOST_SHOWN else whole[: MOST_SHOWN - 3] + "...")


def answer(result: object) -> bytes:
    """The line that says what was asked for. Raises TypeError or ValueError for what is no JSON."""
    return _line({"ok": True, "result": result})


def pieces(result: object) -> Iterator[bytes]:
    """The same line bit by bit, for an answer that may be long. May raise at any of them."""
    held: list[str] = []
    size = 0
    for part in _parts({"ok": True, "result": result}, LEVELS):
        held.append(part)
        size += len(part)
        if size >= PIECE:
            yield "".join(held).encode("ascii")
            held.clear()
            size = 0
    yield "".join([*held, "\n"]).encode("ascii")


def _parts(value: object, levels: int) -> Iterator[str]:
    if not levels or not isinstance(value, Mapping) or not value:
        yield _json(value)
        return
    before = "{"
    for name, each in value.items():
        yield f"{before}{_json(str(name))}: "
        yield from _parts(each, levels - 1)
        before = ", "
    yield "}"


def refusal(error: str, problems: Sequence[str] = ()) -> bytes:
    """The line that says why not; `problems` are those of a site file."""
    return _line({"ok": False, "error": error, "problems": list(problems)})


def _line(value: Mapping[str, object]) -> bytes:
    return _json(value).encode("ascii") + b"\n"


def _json(value: object) -> str:
    # ASCII only, with everything else escaped: no character of a line can end it.
    return json.dumps(value, default=_plain, allow_nan=False)


def _plain(value: object) -> object:
    """Mappings other than dict, and sets, which json does not know."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    msg = f"expected a value for JSON, got {type(value).__name__}"
    raise TypeError(msg)
