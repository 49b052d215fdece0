"""
Signed transactions (RFC 8945): requests are verified, answers are signed.

Knows keys, HMACs, and seconds since 1970. Must not know who may do what: it says who asked.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Mapping
from typing import Final

import attrs

from balancer.dns import codes
from balancer.dns.keys import Key
from balancer.dns.query import TsigRecord

FUDGE: Final = 300
"""Seconds by which clocks may differ, in what we sign (RFC 8945 10)."""

SHORTEST: Final = 10
"""Bytes of a truncated MAC, or half of the hash if that is more (RFC 8945 5.2.2.1)."""

_FIXED: Final = struct.Struct("!HHIH")
_TIME: Final = struct.Struct("!HIH")
_TAIL: Final = struct.Struct("!HH")
_SHORT: Final = struct.Struct("!H")


@attrs.frozen(slots=True)
class Verdict:
    """
    What a signature proves. `error` 0: the request was signed with `key`. Else `key` must not be
    taken for who asked, and `error` is BADKEY, BADSIG or BADTIME, or FORMERR for a signature that
    is too short or too long to be one.
    """

    error: int
    key: Key | None
    record: TsigRecord

    @property
    def rcode(self) -> int:
        """What the answer's header says: NOTAUTH for all TSIG errors (RFC 8945 5.2)."""
        if self.error in (codes.NOERROR, codes.FORMERR):
            return self.error
        return codes.NOTAUTH


def verify(packet: bytes, record: TsigRecord, keys: Mapping[bytes, Key], now: int) -> Verdict:
    """
    Check the signature of a request, in the order of RFC 8945 5.2: key, MAC, time.

    A MAC that was truncated, to no less than 5.2.2.1 allows, is accepted: that is what a client
    does on purpose whose key has such an algorithm (hmac-sha256-128).
    """
    key = keys.get(record.key)
    if key is None or key.algorithm != record.algorithm:
        return Verdict(codes.BADKEY, None, record)
    mac = hmac.digest(key.secret, _asked(packet, record), key.digest)
    size = len(record.mac)
    if not max(SHORTEST, len(mac) // 2) <= size <= len(mac):
        return Verdict(codes.FORMERR, None, record)
    if not hmac.compare_digest(mac[:size], record.mac):
        return Verdict(codes.BADSIG, None, record)
    if abs(now - record.time) > record.fudge:
        return Verdict(codes.BADTIME, key, record)
    return Verdict(codes.NOERROR, key, record)


def _asked(packet: bytes, record: TsigRecord) -> bytes:
    """What the asker signed (RFC 8945 4.3): the message as it was before its TSIG record."""
    additional = int.from_bytes(packet[10:12], "big") - 1
    return b"".join((
        _SHORT.pack(record.id), packet[2:10], _SHORT.pack(additional), packet[12 : record.offset],
        _variables(record.key, record.algorithm, record.time, record.fudge),
        _tail(record.error, record.other),
    ))


def _variables(name: bytes, algorithm: bytes, time: int, fudge: int) -> bytes:
    return name + struct.pack("!HI", codes.CLASS_ANY, 0) + algorithm + _timers(time, fudge)


def _timers(time: int, fudge: int) -> bytes:
    return _TIME.pack(time >> 32 & 0xFFFF, time & 0xFFFF_FFFF, fudge)


def _tail(error: int, other: bytes) -> bytes:
    return _TAIL.pack(error, len(other)) + other


def room(verdict: Verdict) -> int:
    """Bytes that `sign` adds to an answer, so that it may be cut before."""
    if verdict.error == codes.FORMERR:
        return 0
    mac = hmac.new(b"", digestmod=verdict.key.digest).digest_size if verdict.key else 0
    other = 6 if verdict.error == codes.BADTIME else 0
    return len(verdict.record.key) + 10 + len(verdict.record.algorithm) + 16 + mac + other


def sign(message: bytes, verdict: Verdict, now: int) -> bytes:
    """
    The answer with its TSIG record behind it (RFC 8945 5.3).

    The error BADTIME is signed, and tells our time (5.2.3); BADKEY and BADSIG bear a record without
    a MAC (5.3.2); after FORMERR there is none.
    """
    return Signing(verdict).sign(message, now)


class Signing:
    """
    Signs the messages of one answer in their order: one, or the many of a zone transfer over TCP
    (RFC 8945 5.3.1), each of which is bound to the one before it.
    """

    __slots__ = ("_before", "_first", "_verdict")

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self._before = verdict.record.mac
        self._first = True

    @property
    def room(self) -> int:
        """Bytes that it adds to each message."""
        return room(self._verdict)

    def sign(self, message: bytes, now: int) -> bytes:
        """The next message with its record behind it."""
        verdict = self._verdict
        if verdict.error == codes.FORMERR:
            return message
        time, other = now, b""
        if verdict.error == codes.BADTIME:
            time, other = verdict.record.time, now.to_bytes(6, "big")
        mac = b"" if verdict.key is None else self._mac(verdict.key, message, time, other)
        return _with_record(message, verdict, mac, time, other)

    def _mac(self, key: Key, message: bytes, time: int, other: bytes) -> bytes:
        pieces = [_SHORT.pack(len(self._before)), self._before, message]
        if self._first:
            pieces.append(_variables(key.name, key.algorithm, time, FUDGE))
            pieces.append(_tail(self._verdict.error, other))
        else:
            pieces.append(_timers(time, FUDGE))
        self._first = False
        self._before = hmac.digest(key.secret, b"".join(pieces), key.digest)
        return self._before


def _with_record(message: bytes, verdict: Verdict, mac: bytes, time: int, other: bytes) -> bytes:
    record = verdict.record
    rdata = b"".join((
        record.algorithm, _timers(time, FUDGE), _SHORT.pack(len(mac)), mac, message[:2],
        _tail(verdict.error, other),
    ))
    additional = int.from_bytes(message[10:12], "big") + 1
    return b"".join((
        message[:10], _SHORT.pack(additional), message[12:], record.key,
        _FIXED.pack(codes.TSIG, codes.CLASS_ANY, 0, len(rdata)), rdata,
    ))
