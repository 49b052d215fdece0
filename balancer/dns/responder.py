"""
A packet comes in, and the answer to it goes out, or none. Pure.

`Responder.datagram` is the hot path: a packet like an earlier one is answered from one look-up, a
question like an earlier one from a few. All else takes the long way through `answering`.
"""

from __future__ import annotations

from struct import unpack_from

from balancer.dns import codes
from balancer.dns.answering import NO_DATA, Answering
from balancer.dns.envelope import SUBNET_AT, Envelope
from balancer.dns.kept import FREED_A_TIME, MAX_READY, World
from balancer.dns.names import MAX_NAME
from balancer.dns.prepared import HEADS, Entry, Ready
from balancer.dns.walk import HEADER

__all__ = ["Responder", "World"]


class Responder(Answering):
    """Answers for the zones that are served at the same listener."""

    def at_hand(self, packet: bytes) -> bytes | None:
        """The answer to a UDP packet like an earlier one, where it is the same whoever asks; else
        None, and `datagram` has one."""
        ready = self._ready.get(packet[2:])
        if ready is None:
            return None
        ready.count[0] += 1
        return packet[:2] + (ready.answer or ready.turn())

    def datagram(self, packet: bytes, peer: str) -> bytes | None:
        """The answer to a UDP packet from the address `peer`; None: there is none."""
        ready = self._ready.get(packet[2:])
        if ready is not None:
            ready.count[0] += 1
            return packet[:2] + (ready.answer or ready.turn())
        asked = packet[2:12]
        has_tail = HEADS.get(asked)
        if has_tail is None:
            return self._long(packet, peer)
        end = packet.find(b"\0", HEADER) + 5
        question, tail = packet[HEADER:end], packet[end:]
        entry = known = self._table.get(question) or self._table.get(
            question[:-4].lower() + question[-4:]
        )
        if entry is None:
            entry = self._look_up(packet, question)
            if entry is None:
                return self._long(packet, peer)
        envelope = self._envelopes.get(tail)
        if envelope is None:
            return self._for_subnet(packet, question, entry, peer)
        if (envelope.edns is not None) is not has_tail:
            return self._long(packet, peer)
        if known and envelope.plain and entry.clients is None and not entry.zone.watched:
            return self._keep(packet, question, entry, envelope)
        scope = 0
        if entry.clients is not None:
            entry, scope = self._for_client(entry, envelope, peer)
        if envelope.plain:
            opt = envelope.opt_for(entry.fault)
        else:
            opt = envelope.make(entry.fault, self._cookie(envelope, peer), scope)
        at = entry.next()
        variant = entry.variants[at] or entry.vary(at)
        wire = variant.wire
        if HEADER + len(question) + len(wire) + len(opt) > envelope.limit:
            return self._long(packet, peer, at)
        answer = b"".join((packet[:2], variant.head(asked), question, wire, opt))
        if entry.zone.watched:
            return self._watched(answer, entry, envelope, peer)
        entry.count[0] += 1
        return answer

    def _look_up(self, packet: bytes, question: bytes) -> Entry | None:
        """The entry for a question that has none yet, or that is one of many which share one: names
        that do not exist. None: it needs to be looked at more closely."""
        end = HEADER + len(question) - 4
        if end - HEADER > MAX_NAME:  # before its labels are walked: there may be thousands
            return None
        at = HEADER
        while at < end - 1:
            length = packet[at]
            if not 0 < length < 64:
                return None
            at += 1 + length
        if at != end - 1 or packet[at]:
            return None
        qtype, qclass = unpack_from("!HH", packet, end)
        if qclass != codes.IN or qtype in NO_DATA or qtype == codes.IXFR:
            return None
        key = question[:-4].lower()
        served = self.zone_of(key, qtype)
        return None if served is None else self.entry(served, key, qtype)

    def _keep(self, packet: bytes, question: bytes, entry: Entry, envelope: Envelope) -> bytes:
        """The answer to a packet that asks in the usual way, kept for those like it."""
        if len(self._ready) >= MAX_READY:
            self._forget_ready()
        self._leftovers.free(FREED_A_TIME)
        ready = self._ready[packet[2:]] = Ready(packet[2:12], question, entry, envelope)
        ready.count[0] += 1
        return packet[:2] + (ready.answer or ready.turn())

    def _for_subnet(
        self, packet: bytes, question: bytes, entry: Entry, peer: str
    ) -> bytes | None:
        """The answer to a resolver that asks for a client's subnet, and nothing else by EDNS."""
        asked, tail = packet[2:12], packet[HEADER + len(question) :]
        subnet = self._subnets.get(tail[:SUBNET_AT])
        if subnet is None or len(tail) != subnet.size or not HEADS[asked]:
            return self._long(packet, peer)
        scope = 0
        if entry.clients is not None:
            entry, scope = entry.clients.choose(subnet.address(tail))
        at = entry.next()
        variant = entry.variants[at] or entry.vary(at)
        opt = subnet.opt(scope, tail)
        wire = variant.wire
        size = HEADER + len(question) + len(wire) + len(opt)
        if entry.fault is not None or size > subnet.limit:
            return self._long(packet, peer, at)
        answer = b"".join((packet[:2], variant.head(asked), question, wire, opt))
        if entry.zone.watched:
            return self._watched(answer, entry, subnet.bare, peer)
        entry.count[0] += 1
        return answer
