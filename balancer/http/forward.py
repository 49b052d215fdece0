"""
The long way through a head: whatever has a field, a version or a target out of the ordinary.

Knows what each framing, routing and connection field means (RFC 9110, RFC 9112) and how a head is
rewritten. The short way in head.py takes the plain ones and must give the same for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from balancer.http.grammar import (
    CHUNKED,
    FIELD,
    IS_HOST,
    IS_LENGTH,
    IS_TOKEN,
    UNTIL_CLOSE,
    BadAnswer,
    Refused,
    bad_request,
)
from balancer.http.message import CHUNKED_FIELD, RequestHead, ResponseHead

Fault = Callable[[str], Exception]

NO_METHODS: Final = frozenset((b"CONNECT", b"TRACE"))
"""A balancer is no tunnel to anywhere, and TRACE would show clients the fields that proxies add."""

HOP_FIELDS: Final = (b"keep-alive", b"proxy-connection", b"te", b"http2-settings")
"""Fields of one connection only (RFC 9110 section 7.6.1); Connection and Upgrade are looked at
apart."""

END_TO_END: Final = frozenset(
    (
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"cookie",
        b"expect",
        b"forwarded",
        b"host",
        b"transfer-encoding",
    )
)
"""Fields that a Connection field must not name (RFC 9110 section 7.6.1): who could have them cut
could change what a request means behind our back. X-Forwarded-* too."""

_WRITTEN_ANEW: Final = frozenset(
    (b"connection", b"upgrade", b"content-length", b"transfer-encoding")
)
"""Fields that go on in our spelling, if at all."""

_ABSOLUTE: Final = re.compile(rb"(https?)://([^/?]*+)([/?].*+)?", re.IGNORECASE)
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}
_NO_UPGRADES: Final = (b"h2", b"http", b"tls")
_PROTOCOL: Final = re.compile(rb"%b(?:/%b)?" % (IS_TOKEN.pattern, IS_TOKEN.pattern))


class Block:
    """The fields of one head: `values` by lower-case name, and in order as they came."""

    __slots__ = ("_fields", "values")

    def __init__(self, block: bytes) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        self.values: dict[bytes, list[bytes]] = {}
        for field in FIELD.finditer(block):
            name = field[1].lower()
            self._fields.append((name, field[0]))
            self.values.setdefault(name, []).append(field[2].rstrip(b" \t"))

    def get(self, name: bytes) -> Sequence[bytes]:
        """The values of that name, in order."""
        return self.values.get(name, ())

    def without(self, names: Iterable[bytes], cut: re.Pattern[bytes]) -> bytes:
        """The fields as they came, each after its CRLF, but `names` and what matches `cut`."""
        gone = set(names) | {name for name in self.values if cut.fullmatch(name)}
        return b"".join([raw for name, raw in self._fields if name not in gone])


def request(
    m: re.Match[bytes], cut: re.Pattern[bytes], taken: bytes, default_host: bytes
) -> RequestHead:
    """
    The request head that `m` (a match of `any_request`) found. `cut` matches the names to cut,
    `taken` is the one whose value is wanted, `default_host` goes to the server if an old client
    named no host.
    """
    method, target, version, fields = m.groups()
    block, minor = Block(fields), int(version)
    if method in NO_METHODS:
        raise Refused(501, f"{method.decode('ascii')} is not done here")
    host = _host(block, minor)
    target, host = _origin_form(method, target, host)
    length = _length(block, minor, bad_request)
    options = _options(block, bad_request)
    _check_options(options)
    upgrade = _upgrade(block, options) if minor and not length else b""
    expect = _expects(block, minor) and bool(length)
    gone = options | _WRITTEN_ANEW | {taken} | (frozenset() if expect else {b"expect"})
    out = [method, b" ", target, b" HTTP/1.1"]
    out += [block.without(gone, cut), b"\r\n"]
    out += _framing_fields(length, upgrade)
    if not block.get(b"host"):
        out += [b"Host: ", host or default_host, b"\r\n"]
    return RequestHead(
        m.end(),
        m.string[: m.end()],
        method,
        target,
        minor,
        host,
        length or 0,
        _keeps_alive(options, minor),
        b"".join(out),
        b", ".join(block.get(taken)) if block.get(taken) else None,
        expect,
        upgrade.lower(),
    )


def answer(m: re.Match[bytes], method: bytes, cut: re.Pattern[bytes]) -> ResponseHead:
    """The head of an answer to `method` that `m` found; `cut` matches the names to cut."""
    version, code, reason, fields = m.groups()
    block, minor, status = Block(fields), int(version), int(code)
    framed = _length(block, minor, BadAnswer)
    options = _options(block, BadAnswer) - END_TO_END
    keep_alive = _keeps_alive(options, minor) and framed is not None
    gone = options | _WRITTEN_ANEW
    length = UNTIL_CLOSE if framed is None else framed
    upgrade = b""
    if status < 200 or status == 204:
        if status < 200 and framed:
            raise BadAnswer("interim answer with a body")
        # RFC 9110 section 8.6: no Content-Length here. What follows one is not to be trusted.
        keep_alive = _keeps_alive(options, minor) and not framed
        framed, length = None, 0
    elif status == 304 or method == b"HEAD":
        keep_alive, length = _keeps_alive(options, minor), 0
    if status == 101:
        upgrade = _upgrade(block, options)
        if not upgrade:
            raise BadAnswer("101 without the protocol switched to")
    out = [b"HTTP/1.1 ", code, b" ", reason or b"", block.without(gone, cut), b"\r\n"]
    out += _framing_fields(framed, upgrade)
    return ResponseHead(
        m.end(), status, reason or b"", minor, length, keep_alive, b"".join(out), upgrade.lower()
    )


def _framing_fields(length: int | None, upgrade: bytes) -> list[bytes]:
    fields: list[bytes] = []
    if upgrade:
        fields += [b"Connection: Upgrade\r\nUpgrade: ", upgrade, b"\r\n"]
    if length == CHUNKED:
        fields.append(CHUNKED_FIELD)  # the last one: ResponseHead.unchunked counts on it
    elif length is not None:
        fields.append(b"Content-Length: %d\r\n" % length)
    return fields


def _host(block: Block, minor: int) -> bytes:
    """RFC 9112 section 3.2: exactly one Host in HTTP/1.1, and a valid one."""
    hosts = block.get(b"host")
    if len(hosts) > 1:
        raise bad_request("repeated Host")
    if not hosts:
        if minor:
            raise bad_request("missing Host")
        return b""
    if not IS_HOST.fullmatch(hosts[0]):
        raise bad_request("malformed Host")
    return hosts[0]


def _origin_form(method: bytes, target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """The target in origin form (RFC 9112 section 3.2) and the host that it is for."""
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target, host
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise bad_request("malformed target")
    scheme, authority, rest = absolute[1].lower(), absolute[2], absolute[3] or b""
    if not IS_HOST.fullmatch(authority):
        raise bad_request("malformed host in the target")
    port = _DEFAULT_PORTS[scheme]
    if host and authority.lower().removesuffix(port) != host.lower().removesuffix(port):
        raise bad_request("Host differs from the target's")
    if not rest and method == b"OPTIONS":
        return b"*", host or authority
    return (rest if rest.startswith(b"/") else b"/" + rest), host or authority


def _length(block: Block, minor: int, fault: Fault) -> int | None:
    """How the body is framed, RFC 9112 section 6; None: no field says it."""
    codings, lengths = block.get(b"transfer-encoding"), block.get(b"content-length")
    for name in block.values.keys() & _UNDERSCORED:
        raise fault(f"field {name.decode('ascii')}")
    if codings:
        if minor == 0:
            raise fault("Transfer-Encoding in HTTP/1.0")
        if lengths:
            raise fault("Content-Length with Transfer-Encoding")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise fault("Transfer-Encoding other than chunked")
        return CHUNKED
    if not lengths:
        return None
    if len(lengths) > 1:
        raise fault("repeated Content-Length")
    if not IS_LENGTH.fullmatch(lengths[0]):
        raise fault("malformed Content-Length")
    return int(lengths[0])


_UNDERSCORED: Final = frozenset((b"content_length", b"transfer_encoding"))


def _options(block: Block, fault: Fault) -> frozenset[bytes]:
    """The connection options, lower case; they name the fields to cut (RFC 9110 section 7.6.1)."""
    values = block.get(b"connection")
    if not values:
        return frozenset()
    options = {option.strip(b" \t").lower() for option in b",".join(values).split(b",")}
    options.discard(b"")
    if not all(map(IS_TOKEN.fullmatch, options)):
        raise fault("malformed Connection")
    return frozenset(options)


def _check_options(options: frozenset[bytes]) -> None:
    for option in options:
        if option in END_TO_END or option.startswith(b"x-forwarded-"):
            raise bad_request(f"Connection names {option.decode('ascii')}")


def _keeps_alive(options: frozenset[bytes], minor: int) -> bool:
    """RFC 9112 section 9.3."""
    return b"close" not in options and (minor == 1 or b"keep-alive" in options)


def _upgrade(block: Block, options: frozenset[bytes]) -> bytes:
    """The one protocol that is asked for or switched to. Several, and HTTP/2 (whose requests would
    pass unseen), are ignored, as RFC 9110 section 7.8 allows."""
    protocols = block.get(b"upgrade")
    if b"upgrade" not in options or len(protocols) != 1:
        return b""
    protocol = protocols[0]
    if not _PROTOCOL.fullmatch(protocol) or protocol.lower().startswith(_NO_UPGRADES):
        return b""
    return protocol


def _expects(block: Block, minor: int) -> bool:
    """RFC 9110 section 10.1.1."""
    values = block.get(b"expect")
    if not values or minor == 0:
        return False
    if [value.lower() for value in values] != [b"100-continue"]:
        raise Refused(417, "expectation other than 100-continue")
    return True
