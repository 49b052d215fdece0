"""
Heads of HTTP/1.x messages: bytes in; the end, the facts that matter and the rewritten bytes out.

One pattern finds a head sound, a second one picks the few fields that matter, all else travels as
bytes. What is out of the ordinary goes the long way (forward.py), what is unfinished or unsound is
read line by line (lines.py). Knows HTTP only: no connection, no server, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from balancer.http import forward, trailers
from balancer.http.grammar import (
    CHUNKED,
    CHUNKS,
    CLOSE,
    CUT,
    HOST_FIELD,
    KEEP_ALIVE,
    LENGTH,
    TAKEN,
    UNTIL_CLOSE,
    BadAnswer,
    Refused,
    any_name,
    bad_request,
    patterns,
    watched,
)
from balancer.http.lines import Lines, answer_bounds, request_bounds
from balancer.http.message import CHUNKED_FIELD, RequestHead, ResponseHead
from balancer.http.shapes import Shapes

__all__ = [
    "CHUNKED",
    "UNTIL_CLOSE",
    "BadAnswer",
    "Refused",
    "RequestHead",
    "RequestReader",
    "ResponseHead",
    "ResponseReader",
    "bad_request",
]

# `_` for `-`, because servers that hand fields to programs as variables read both alike.
_FORWARDED_FIELDS = (rb"x[-_]forwarded[-_][^:]*+", b"forwarded")
_TAKEN = {"x-forwarded": b"x-forwarded-for", "rfc7239": b"forwarded", "off": b""}
_RARE_IN_REQUESTS = (b"upgrade", b"expect")
# Host in an answer means nothing, but `watched` takes it out of turn: it goes the long way,
# unharmed.
_RARE_IN_ANSWERS = (b"upgrade",)
_NEVER_CUT = frozenset(
    (b"connection", b"content-length", b"host", b"transfer-encoding", b"upgrade", b"expect")
)
_STATUS = {b"%d" % code: code for code in range(100, 600)}


class RequestReader:
    """
    Reads request heads.

    `max_head` bytes and `max_fields` fields are read at most. `remove` are lower-case names of
    fields to cut (never framing ones: ValueError). `forwarded` says which field the balancer adds
    for the client's address: a trusted peer's is cut out of the head and kept in `forwarded_for`.
    Other forwarding fields of trusted peers stay, those of others go. `default_host` is the Host
    that a server gets to see when an HTTP/1.0 client sent none.
    """

    __slots__ = (
        "_any",
        "_bounds",
        "_default_host",
        "_lines",
        "_match",
        "_taken",
        "_trusted",
        "_trusted_names",
        "_untrusted",
        "_untrusted_names",
        "barred",
        "max_head",
    )

    def __init__(
        self,
        max_head: int = 16384,
        max_fields: int = 101,
        remove: Collection[bytes] = (),
        forwarded: str = "x-forwarded",
        default_host: bytes = b"localhost",
    ) -> None:
        cut = _names(remove)
        taken = _TAKEN[forwarded]
        untrusted = cut + _FORWARDED_FIELDS
        wanted = (taken,) if taken else ()
        self.max_head = max_head
        self._match = patterns(max_fields).request.match
        self._any = patterns(max_fields).any_request.match
        self._untrusted = watched(untrusted, (), _RARE_IN_REQUESTS).finditer
        self._trusted = watched(cut, wanted, _RARE_IN_REQUESTS).finditer
        # No trailer of a request may have one of these names.
        self.barred = trailers.of_requests(cut)
        self._untrusted_names = any_name(untrusted)
        self._trusted_names = any_name(cut)
        self._taken = taken
        self._default_host = default_host
        self._bounds = request_bounds(max_head, max_fields)
        self._lines: Lines | None = None

    def read(self, data: bytes, trusted: bool) -> RequestHead | None:
        """
        The head that `data` begins with; None if it is not complete: call again with the same bytes
        and more. `trusted`: whether the peer's forwarding fields count. Raises Refused as soon as
        nothing to come could make it a sound head.
        """
        if self._lines is not None:
            if not self._lines.advance(data):
                return None
            self._lines = None
        m = self._match(data)
        if m is not None and m.end() <= self.max_head:
            return self._short(m, data, trusted)
        return self._long(data, trusted)

    def _short(self, m: re.Match[bytes], data: bytes, trusted: bool) -> RequestHead | None:
        method, target = m.group(1, 2)
        start, stop = m.span(3)
        stop += 2
        host = length = value = None
        keep_alive = True
        parts: list[bytes] = []
        last = 0
        for x in (self._trusted if trusted else self._untrusted)(data, start, stop):
            kind = x.lastindex
            if kind == HOST_FIELD and host is None:
                host = x[HOST_FIELD]
                continue
            if kind == LENGTH and length is None:
                length = int(x[LENGTH])
                continue
            if kind == CLOSE:
                keep_alive = False
            elif kind == TAKEN and value is None:
                value = x[TAKEN].rstrip(b" \t")
            elif kind != KEEP_ALIVE and kind != CUT:
                return self._long(data, trusted)
            parts.append(data[last : x.start()])
            last = x.end()
        if host is None or method in forward.NO_METHODS:
            return self._long(data, trusted)
        if parts:
            parts.append(data[last:stop])
            out = b"".join(parts)
        else:
            out = data[:stop]
        end = stop + 2
        raw = data[:end]
        return RequestHead(
            end, raw, method, target, 1, host, length or 0, keep_alive, out, value, mark=m.end(2)
        )

    def _long(self, data: bytes, trusted: bool) -> RequestHead | None:
        m = self._any(data)
        if m is not None and m.end() <= self.max_head:
            if trusted:
                return forward.request(m, self._trusted_names, self._taken, self._default_host)
            return forward.request(m, self._untrusted_names, b"", self._default_host)
        lines = Lines(self._bounds)
        if lines.advance(data):
            raise bad_request("malformed head")
        self._lines = lines if data else None
        return None


class ResponseReader:
    """
    Reads heads of answers, at most `max_head` bytes and `max_fields` fields. `remove` are
    lower-case names of fields to cut (never framing ones: ValueError). `shapes` may be another
    reader's of the same arguments, to learn together.
    """

    __slots__ = (
        "_bounds",
        "_cut_names",
        "_lines",
        "_match",
        "_watched",
        "barred",
        "max_head",
        "shapes",
    )

    def __init__(
        self,
        max_head: int = 65536,
        max_fields: int = 256,
        remove: Collection[bytes] = (),
        shapes: Shapes | None = None,
    ) -> None:
        cut = _names(remove)
        self.max_head = max_head
        self._match = patterns(max_fields).answer.match
        self._watched = watched(cut, (), _RARE_IN_ANSWERS).finditer
        self._cut_names = any_name(cut)
        self.barred = trailers.of_answers(cut)
        self._bounds = answer_bounds(max_head, max_fields)
        self.shapes = Shapes() if shapes is None else shapes
        self._lines: Lines | None = None

    def read(self, data: bytes, method: bytes) -> ResponseHead | None:
        """
        The head that `data` begins with, of an answer to a request of that method; None if it is
        not complete: call again with the same bytes and more. Raises BadAnswer as soon as nothing
        to come could make it a sound head.
        """
        if self._lines is not None:
            if not self._lines.advance(data):
                return None
            self._lines = None
        if method != b"HEAD":
            for shape in self.shapes.known:
                head = shape.read(data, self.max_head)
                if head is not None:
                    return head
        m = self._match(data)
        if m is not None and m.end() <= self.max_head:
            return self._short(m, data, method) or self._long(data, method)
        return self._long(data, method)

    def _long(self, data: bytes, method: bytes) -> ResponseHead | None:
        m = self._match(data)
        if m is not None and m.end() <= self.max_head:
            return forward.answer(m, method, self._cut_names)
        lines = Lines(self._bounds)
        if lines.advance(data):
            raise BadAnswer("malformed head")
        self._lines = lines if data else None
        return None

    def _short(self, m: re.Match[bytes], data: bytes, method: bytes) -> ResponseHead | None:
        minor, code, reason = m.group(1, 2, 3)
        status = _STATUS[code]
        # Without the space before the reason (RFC 9112 section 4) it must not go on as it came.
        if minor != b"1" or status < 200 or status == 204 or reason is None:
            return None
        start, stop = m.span(4)
        stop += 2
        length = UNTIL_CLOSE
        keep_alive = True
        parts: list[bytes] = []
        last = 0
        for x in self._watched(data, start, stop):
            kind = x.lastindex
            if kind == LENGTH and length == UNTIL_CLOSE:
                length = int(x[LENGTH])
                continue
            if kind == CLOSE:
                keep_alive = False
            elif kind == CHUNKS and length == UNTIL_CLOSE:
                length = CHUNKED
            elif kind != KEEP_ALIVE and kind != CUT:
                return None
            parts.append(data[last : x.start()])
            last = x.end()
        if parts:
            parts.append(data[last:stop])
            if length == CHUNKED:
                parts.append(CHUNKED_FIELD)
            out = b"".join(parts)
        else:
            out = data[:stop]
        if status == 304 or method == b"HEAD":
            length = 0
        elif length == UNTIL_CLOSE:
            keep_alive = False
        head = ResponseHead(stop + 2, status, reason, 1, length, keep_alive, out)
        if status != 304 and method != b"HEAD" and length != UNTIL_CLOSE:
            self.shapes.saw(m, self._watched, head)
        return head


def _names(remove: Collection[bytes]) -> tuple[bytes, ...]:
    if unfit := _NEVER_CUT.intersection(remove):
        msg = f"fields that frame a message cannot be removed: {sorted(unfit)}"
        raise ValueError(msg)
    return forward.HOP_FIELDS + tuple(re.escape(name.lower()) for name in sorted(remove))
