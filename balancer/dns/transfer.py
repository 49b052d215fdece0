"""
Zone transfers (RFC 5936): who may have a zone, and the messages that carry it. Pure.

Knows records and messages; who asks over which connection is `protocol`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network
from itertools import chain
from typing import Final

from attrs import frozen

from balancer.dns import codes, tsig
from balancer.dns.query import Query
from balancer.dns.records import Record
from balancer.dns.reply import MAX_MESSAGE, Body, TooLong, fit, lay_out, message, render
from balancer.dns.walk import HEADER
from balancer.dns.zone import Zone

MESSAGE_SIZE: Final = 16384
"""Bytes of records in one message: what a compression pointer reaches (RFC 5936 3.4), and little
work at a time."""

RECORD_OVERHEAD: Final = 10
"""Bytes of type, class, TTL and length."""

_FAILED: Final = Body(b"", (0, 0, 0), codes.SERVFAIL, False)


@frozen
class Access:
    """Who may transfer a zone: `lines` of networks, each with the key that must have signed, or
    None."""

    lines: tuple[tuple[tuple[IPv4Network | IPv6Network, ...], bytes | None], ...]

    def allows(self, address: bytes, key: bytes | None) -> bool:
        """Whether who asks from that address (4 or 16 bytes), signed by that key, may."""
        number, bits = int.from_bytes(address, "big"), 8 * len(address)
        return any(
            (needed is None or needed == key) and any(_holds(each, number, bits) for each in cidrs)
            for cidrs, needed in self.lines
        )


def _holds(network: IPv4Network | IPv6Network, number: int, bits: int) -> bool:
    if network.max_prefixlen != bits:
        return False
    shift = bits - network.prefixlen
    return number >> shift == int(network.network_address) >> shift


@frozen
class Reply:
    """What the messages that answer one query have in common: its OPT record (empty without EDNS),
    who signs them, and the seconds since 1970."""

    query: Query
    opt: bytes
    signing: tsig.Signing | None
    unix: Callable[[], float]

    def messages(self, zone: Zone) -> Iterator[bytes]:
        """
        Those of a transfer, one at a time. An IXFR gets the whole zone too (RFC 1995 4), or nothing
        but the SOA if the asker has that already.

        The zone as it is now is sent, whatever becomes of it meanwhile: it never changes; what
        pools answer is what they do while the first message is made. A record that fits into no
        message ends it with SERVFAIL, for the other side to know that this is not all.
        """
        if self.query.qtype == codes.IXFR and self.query.ixfr_serial == zone.serial:
            return self._messages(iter(([_soa(zone)],)))
        return self._messages(_batches(_soa(zone), zone.records()))

    def _messages(self, batches: Iterator[list[Record]]) -> Iterator[bytes]:
        for records in batches:
            body = self._laid_out(records)
            yield self._message(body)
            if body is _FAILED:
                return

    def _laid_out(self, records: list[Record]) -> Body:
        around = HEADER + len(self.query.name) + 4 + len(self.opt)
        around += 0 if self.signing is None else self.signing.room
        try:
            body = lay_out(self.query.key, records)
        except TooLong:
            return _FAILED
        return body if around + len(body.wire) <= MAX_MESSAGE else _FAILED

    def soa(self, zone: Zone, size: int) -> bytes:
        """The SOA alone, in at most `size` bytes: over UDP, who has another serial comes again by
        TCP (RFC 1995 2)."""
        room = size - HEADER - len(self.query.name) - 4 - len(self.opt)
        return self._message(fit(render(self.query.key, [_soa(zone)]), room))

    def _message(self, body: Body) -> bytes:
        query, signing = self.query, self.signing
        question = query.name + query.qtype.to_bytes(2, "big") + query.qclass.to_bytes(2, "big")
        whole = message(query.id, query.flags, question, body, self.opt)
        return whole if signing is None else signing.sign(whole, int(self.unix()))


def _soa(zone: Zone) -> Record:
    return Record(zone.origin, codes.SOA, zone.soa.ttl, zone.soa.datas[0])


def _batches(soa: Record, records: Iterable[Record]) -> Iterator[list[Record]]:
    batch, size = [soa], 0
    for record in chain(records, (soa,)):
        size += len(record.name) + RECORD_OVERHEAD + len(record.data)
        if size > MESSAGE_SIZE:
            yield batch
            batch, size = [], len(record.name) + RECORD_OVERHEAD + len(record.data)
        batch.append(record)
    yield batch
