"""
What the heads say: the facts of a request and of an answer that the balancer acts on.

Values that head.py fills. Must not know how they were read, nor what is done with them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from balancer.http.grammar import ASKS

CHUNKED_FIELD: Final = b"Transfer-Encoding: chunked\r\n"

_asks = ASKS.fullmatch


@lru_cache(maxsize=1024)
def _finder(name: bytes) -> re.Pattern[bytes]:
    # Names come from the site file, so they are few.
    return re.compile(rb"\r\n%b:[ \t]*+([^\r]*+)" % re.escape(name), re.IGNORECASE)


@lru_cache(maxsize=1024)
def _parameter(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?:\A|&)%b=([^&]*+)" % re.escape(name))


@lru_cache(maxsize=1024)
def _crumb(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?:\A|;)[ \t]*+%b=([^;]*+)" % re.escape(name))


class RequestHead:
    """
    A sound request head.

    `end`: offset behind the head in the bytes read. `raw`: the head as it came, `line`: its request
    line. `method`, `target` (origin form, or `*`), `minor` (0, 1), `host` (empty if an HTTP/1.0
    client named none). `length`: bytes of body, or CHUNKED. `keep_alive`: whether the client's
    connection may go on. `expect`: it waits for 100 (Continue) before it sends the body.
    `upgrade`: the protocol it asks for, in lower case, or empty. `forwarded_for`: what a trusted
    peer said in X-Forwarded-For (in Forwarded, if that is what the balancer sends), which was cut
    out, or None.

    `out`: the head to send on, as HTTP/1.1, ending with the last field's CRLF: append fields and
    CRLF.

    `mark`: in a head that the short way took, the offset in both `raw` and `out` at which the
    target ends; else 0. `quotes` and `said` are the log's: what it says of the fields and of the
    request line, as long as they stay.
    """

    __slots__ = (
        "_asked",
        "_block",
        "_rest",
        "end",
        "expect",
        "forwarded_for",
        "host",
        "keep_alive",
        "length",
        "mark",
        "method",
        "minor",
        "out",
        "quotes",
        "raw",
        "said",
        "target",
        "upgrade",
    )

    def __init__(
        self,
        end: int,
        raw: bytes,
        method: bytes,
        target: bytes,
        minor: int,
        host: bytes,
        length: int,
        keep_alive: bool,
        out: bytes,
        forwarded_for: bytes | None = None,
        expect: bool = False,
        upgrade: bytes = b"",
        mark: int = 0,
    ) -> None:
        self.end = end
        self.raw = raw
        self.method = method
        self.target = target
        self.minor = minor
        self.host = host
        self.length = length
        self.keep_alive = keep_alive
        self.out = out
        self.forwarded_for = forwarded_for
        self.expect = expect
        self.upgrade = upgrade
        self.mark = mark
        self.quotes: bytes | None = None
        self.said: bytes | None = None
        self._asked = self._block = b""
        self._rest: bytes | None = None

    def remember(self) -> None:
        """Make ready for `renew`. Only for heads with a `mark` and no body."""
        mark = self.mark
        self._asked = b""
        block = self._block = self.raw[mark:]
        # `out` ends before the blank line; mostly nothing else was cut.
        rest = self.out[mark:]
        self._rest = None if rest == block[:-2] else rest

    def renew(self, data: bytes, max_head: int) -> bool:
        """
        Become the head that `data` is, if `data` is one whole head that differs from this one in
        method and target alone; False, and nothing has changed, if it is not, or may not be.

        A client says the same of itself with each request of a connection. Then one comparison
        takes the place of reading all of it again, which takes five times as long; and another one
        that of reading the line, if it asks for the same again.
        """
        block, asked = self._block, self._asked
        end = len(data)
        if end > max_head or not data.endswith(block):
            return False
        # The block was found sound from the target to the blank line, and no byte of a target is
        # one of a line's end: so this blank line is the first one, and nothing comes behind it.
        stop = end - len(block)
        if not asked or stop != len(asked) or not data.startswith(asked):
            found = _asks(data, 0, stop)
            if found is None:
                return False
            self.method, self.target = found.groups()
            asked = self._asked = found[0]
            self.said = None
        self.raw = data
        self.end = end
        rest = self._rest
        self.out = data[:-2] if rest is None else asked + rest
        return True

    def forget(self) -> None:
        """Keep no more than `renew` needs: many connections are at rest."""
        self.raw = self.out = b""

    @property
    def line(self) -> bytes:
        """The request line as it came, without its CRLF."""
        return self.raw.lstrip(b"\r\n").partition(b"\r\n")[0]

    @property
    def path(self) -> bytes:
        """The target up to its query, as it came: nothing is decoded or made shorter."""
        return self.target.partition(b"?")[0]

    def field(self, name: bytes) -> bytes | None:
        """The first field of that name as the client sent it (cut ones too), or None."""
        found = _finder(name).search(self.raw)
        return found[1].rstrip(b" \t") if found else None

    def cookie(self, name: bytes) -> bytes | None:
        """The first cookie of that name, or None. Names are compared as they are."""
        for field in _finder(b"cookie").finditer(self.raw):
            if found := _crumb(name).search(field[1]):
                return found[1].rstrip(b" \t")
        return None

    def query(self, name: bytes) -> bytes | None:
        """The first parameter of that name in the query, as it came, or None."""
        found = _parameter(name).search(self.target.partition(b"?")[2])
        return found[1] if found else None


class ResponseHead:
    """
    A sound head of an answer.

    `end`: offset behind the head. `status`: 100 to 599, `reason` its phrase. `minor`: the server's
    (0, 1). `length`: bytes of body that follow (0 for HEAD, 1xx, 204, 304), CHUNKED or UNTIL_CLOSE.
    `keep_alive`: whether the server's connection may be used again. `upgrade`: with 101, the
    protocol switched to, in lower case.

    `out`: the head to send on, as HTTP/1.1, ending with the last field's CRLF: append fields and
    CRLF.
    """

    __slots__ = ("end", "keep_alive", "length", "minor", "out", "reason", "status", "upgrade")

    def __init__(
        self,
        end: int,
        status: int,
        reason: bytes,
        minor: int,
        length: int,
        keep_alive: bool,
        out: bytes,
        upgrade: bytes = b"",
    ) -> None:
        self.end = end
        self.status = status
        self.reason = reason
        self.minor = minor
        self.length = length
        self.keep_alive = keep_alive
        self.out = out
        self.upgrade = upgrade

    @property
    def unchunked(self) -> bytes:
        """`out` for an HTTP/1.0 client, without Transfer-Encoding: the body ends with the
        connection."""
        return self.out.removesuffix(CHUNKED_FIELD)
