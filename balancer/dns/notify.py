"""
NOTIFY (RFC 1996): what one secondary is told of a zone's serial, when it is told again, and whether
an answer is one. Pure.

Knows messages, and `now`. Sockets are `telling`'s.
"""

from __future__ import annotations

import struct
from typing import Final

from attrs import frozen

from balancer.dns import codes, tsig
from balancer.dns.keys import Key
from balancer.dns.query import Malformed, signature
from balancer.dns.records import Record
from balancer.dns.reply import render
from balancer.dns.walk import HEADER, skip_plain
from balancer.dns.zone import Zone

FIRST_WAIT: Final = 1.0
"""Seconds until an answer is missed for the first time; each time after that, twice as many. RFC
1996 3.6 has 60 of them, knot 2: a change that is not seen for long is a server that is down."""

TRIES: Final = 6
"""Times that one serial is told, over 63 seconds: RFC 1996 3.6 has 5 more than the first. After
that, the secondary's own refresh must do."""

RESULTS: Final = ("acknowledged", "refused", "unanswered", "superseded")

_ERRORS: Final = {codes.BADSIG: "BADSIG", codes.BADKEY: "BADKEY", codes.BADTIME: "BADTIME",
                  codes.BADTRUNC: "BADTRUNC"}

_HEADER: Final = struct.Struct("!6H")


@frozen
class Request:
    """A NOTIFY ready to be sent, and what its answer is held against."""

    wire: bytes
    question: bytes
    key: Key | None = None
    mac: bytes = b""


def request(id: int, zone: Zone, key: Key | None, unix: int) -> Request:
    """The zone has this SOA (RFC 1996 3.7 and 3.11); signed, if there is a key."""
    question = zone.origin + struct.pack("!HH", codes.SOA, codes.IN)
    body = render(zone.origin, [Record(zone.origin, codes.SOA, zone.soa.ttl, zone.soa.datas[0])])
    head = _HEADER.pack(id, codes.NOTIFY << 11 | codes.AA, 1, *body.counts)
    wire = head + question + body.wire
    if key is None:
        return Request(wire, question)
    signed, mac = tsig.sign_request(wire, key, unix)
    return Request(signed, question, key, mac)


@frozen
class Answer:
    """What a secondary said: nothing against it if `fault` is empty. One that is not `sure` should
    have been signed and was not, or not by the key: anybody may have sent it."""

    fault: str
    sure: bool = True


def read_answer(packet: bytes, asked: Request, unix: int) -> Answer | None:
    """The answer to the request; None: this is none (RFC 1996 3.6: id, question, QR, opcode)."""
    flags = int.from_bytes(packet[2:4], "big")
    if packet[:2] != asked.wire[:2] or not flags & codes.QR \
            or flags & codes.OPCODE_MASK != codes.NOTIFY << 11:
        return None
    try:
        record = signature(packet)
        if packet[HEADER : skip_plain(packet, HEADER) + 4].lower() != asked.question:
            return None
    except Malformed:
        return None
    rcode = flags & 0xF
    fault = codes.RCODES.get(rcode, f"rcode {rcode}") if rcode else ""
    if asked.key is None:
        return Answer(fault)
    if record is None:
        return Answer(f"{fault or 'NOERROR'}, not signed", sure=False)
    if record.error and not record.mac:
        # RFC 8945 5.3.2: who does not have the key cannot sign.
        said = _ERRORS.get(record.error, f"error {record.error}")
        return Answer(f"{said}, not signed", sure=False)
    wrong = tsig.check_answer(packet, record, asked.key, (asked.mac, unix))
    if wrong:
        return Answer(f"an answer signed wrongly ({_ERRORS[wrong]})", sure=False)
    return Answer(_ERRORS.get(record.error, f"error {record.error}") if record.error else fault)


class Notice:
    """
    How far one secondary knows of the zone. `serial` was told it last (None: nothing yet), `tries`
    times; `acknowledged`, or the `fault` of the last try. `due`: when to send next, None: never.
    """

    __slots__ = ("acknowledged", "due", "fault", "results", "serial", "tries")

    def __init__(self) -> None:
        self.serial: int | None = None
        self.tries = 0
        self.acknowledged = False
        self.fault = ""
        self.due: float | None = None
        self.results = dict.fromkeys(RESULTS, 0)

    def tell(self, serial: int, now: float) -> None:
        """The zone has that serial: what was still to be told is not worth it any more."""
        if self.due is not None:
            self.results["superseded"] += 1
        self.serial, self.tries, self.due = serial, 0, now
        self.acknowledged, self.fault = False, ""

    def sends(self, now: float) -> bool:
        """It is `due`. True: send it once more; False: that was in vain, and is over."""
        if self.tries == TRIES:
            self._end("unanswered")
            self.fault = self.fault or "no answer"
            return False
        self.due = now + FIRST_WAIT * 2**self.tries
        self.tries += 1
        return True

    def heard(self, answer: Answer) -> None:
        """The secondary said something; what anybody may have said does not end the matter (RFC
        8945 5.4)."""
        self.fault = answer.fault
        if answer.sure:
            self.acknowledged = not answer.fault
            self._end("refused" if answer.fault else "acknowledged")

    def failed(self, why: str) -> None:
        """It could not be sent, or could not arrive; it may be the next time."""
        self.fault = why

    def _end(self, result: str) -> None:
        self.due = None
        self.results[result] += 1
