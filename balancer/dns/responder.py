"""
A packet comes in, and the answer to it goes out, or none. Pure: the one place where rcodes are
decided (RFC 1035, 1034 4.3, 6891, 7871, 7873, 8914).

`Responder.datagram` is the hot path: what was asked before, in the usual way, is answered from
`prepared` entries without being parsed. All else is parsed (`query`), looked up and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from struct import pack
from typing import Final

from attrs import define, frozen

from balancer.dns import codes, names, tsig
from balancer.dns.cookies import Cookies
from balancer.dns.envelope import UDP_SIZE, Envelope, Fault
from balancer.dns.keys import Key
from balancer.dns.lookup import Shape, entry_of, entry_of_shape, follows, shape_of
from balancer.dns.options import opt_record
from balancer.dns.pools import ANYBODY
from balancer.dns.prepared import HEADS, Entries, Entry
from balancer.dns.query import Malformed, Query, parse
from balancer.dns.ratelimit import Verdict
from balancer.dns.reply import Body, fit, message
from balancer.dns.served import Served
from balancer.dns.transfer import Reply
from balancer.dns.walk import HEADER

MAX_ENVELOPES: Final = 4096
"""Ways of asking that are remembered: as many resolvers with a cookie each."""

LONGEST_TAIL: Final = 128
"""Bytes behind a question of a way of asking that is remembered: an OPT record with a cookie of 40
bytes, a client's subnet, and room for more."""

KEEPALIVE: Final = 10.0
"""Seconds that a TCP connection may be idle (RFC 7766 6.2.3 asks for a few): said to who asks."""

_NOTHING: Final = (0, 0, 0)
NO_OPT: Final = Envelope(None, b"")
_NOT_OURS: Final = (codes.NOT_AUTHORITATIVE, "no zone of this server has the name")

NO_DATA: Final[Mapping[int, int]] = {
    **dict.fromkeys(range(128, 255), codes.NOTIMP),
    **dict.fromkeys((0, codes.OPT, codes.TSIG), codes.FORMERR),
    codes.AXFR: codes.REFUSED,
}
"""Types that stand for something else than data at a name (RFC 6895 3.1), and what is answered to
them over UDP. ANY has data."""


class Counts:
    """Packets that took the long way, and those of them that no zone's figures count."""

    __slots__ = ("bare_answers", "ignored", "packets")

    def __init__(self) -> None:
        self.packets = 0
        self.ignored = 0
        self.bare_answers: dict[int, int] = {}

    def bare(self, rcode: int) -> None:
        """One more answer with nothing but that rcode."""
        self.bare_answers[rcode] = self.bare_answers.get(rcode, 0) + 1


@frozen
class World:
    """What a core has no way to know: `packed` makes 4 or 16 bytes of an address's text, `seconds`
    is a clock that does not jump, `unix` tells the seconds since 1970, for cookies and
    signatures."""

    packed: Callable[[str], bytes]
    seconds: Callable[[], float]
    unix: Callable[[], float]


@define
class Asked:
    """A query that takes the long way: `spare` bytes of the answer are its signature's."""

    query: Query
    question: bytes
    envelope: Envelope
    peer: str
    tcp: bool
    verdict: tsig.Verdict | None = None
    spare: int = 0

    @property
    def transfer(self) -> bool:
        """Whether it asks for a whole zone; AXFR does over TCP only (RFC 5936 4.2)."""
        query = self.query
        if query.opcode or (query.edns is not None and query.edns.version):
            return False
        return query.qtype == codes.IXFR or (self.tcp and query.qtype == codes.AXFR)


class Responder:
    """
    Answers for the zones that are served at the same listeners.

    `nsid` is empty if the site has no name to tell.
    """

    def __init__(self, cookies: Cookies, world: World, nsid: bytes = b"") -> None:
        self.cookies = cookies
        self.nsid = nsid
        self.keys: dict[bytes, Key] = {}
        self.counts = Counts()
        self._packed = world.packed
        self._seconds = world.seconds
        self._unix = world.unix
        self._zones: Mapping[bytes, Served] = {}
        self._entries: Entries[bytes] = Entries()
        self._shapes: Entries[Shape] = Entries()
        self._table = self._entries.table
        self._envelopes: dict[bytes, Envelope] = {b"": NO_OPT}

    # What is served

    def serve(self, zones: Iterable[Served]) -> None:
        """Answer for these zones from now on, and for no others."""
        for served in self._zones.values():
            served.watchers.remove(self)
        self._zones = {served.key: served for served in zones}
        self.keys = {}
        for served in self._zones.values():
            served.watchers.append(self)
            self.keys = {**self.keys, **served.keys}
        self.renewed()

    def outdated(self, keys: Iterable[bytes]) -> None:
        """See `served.Watcher`."""
        for name in keys:
            self._entries.drop(name)
            self._shapes.drop(name)

    def renewed(self) -> None:
        """See `served.Watcher`."""
        self._entries.clear()
        self._shapes.clear()
        self._envelopes = {b"": NO_OPT}

    def zone_of(self, key: bytes, qtype: int = codes.A) -> Served | None:
        """The zone with the longest match (RFC 1034 4.3.2 2). A DS is the parent's to say, if that
        is served here too (RFC 4035 3.1.4.1)."""
        zones = self._zones
        at = 0
        if qtype == codes.DS and key in zones and key[0]:
            return self.zone_of(names.parent(key)) or zones[key]
        while True:
            served = zones.get(key[at:])
            if served is not None or not key[at]:
                return served
            at += 1 + key[at]

    # The hot path

    def datagram(self, packet: bytes, peer: str) -> bytes | None:
        """The answer to a UDP packet from the address `peer`; None: there is none."""
        asked = packet[2:12]
        has_tail = HEADS.get(asked)
        if has_tail is None:
            return self._long(packet, peer)
        end = packet.find(b"\0", HEADER) + 5
        question = packet[HEADER:end]
        entry = self._table.get(question) or self._table.get(question[:-4].lower() + question[-4:])
        envelope = self._envelopes.get(packet[end:])
        if entry is None or envelope is None or (envelope.edns is not None) is not has_tail:
            return self._long(packet, peer)
        scope = 0
        if entry.clients is not None:
            entry, scope = self._for_client(entry, envelope, peer)
        at = entry.next()
        variant = entry.variants[at] or entry.vary(at)
        if envelope.plain:
            fault = entry.fault
            opt = envelope.opt if fault is None or not envelope.opt else envelope.faulty(fault)
        else:
            opt = envelope.make(entry.fault, self._cookie(envelope, peer), scope)
        wire = variant.wire
        if HEADER + len(question) + len(wire) + len(opt) > envelope.limit:
            return self._long(packet, peer)
        answer = b"".join((packet[:2], variant.head(asked), question, wire, opt))
        if entry.zone.watched:
            return self._watched(answer, entry, envelope, peer)
        entry.count[0] += 1
        return answer

    def _for_client(self, entry: Entry, envelope: Envelope, peer: str) -> tuple[Entry, int]:
        """The entry for who asks, or for whom a resolver asks (RFC 7871 7.2.1)."""
        assert entry.clients is not None
        edns = envelope.edns
        subnet = None if edns is None else edns.subnet
        if subnet is not None and subnet.source:
            return entry.clients.choose(subnet.address)
        # Without one, or with one that hides the client, the resolver's own address decides.
        return entry.clients.choose(self._packed(peer))[0], 0

    def _cookie(self, envelope: Envelope, peer: str) -> bytes:
        """The cookie to answer with: theirs while it is good, else a new one (RFC 7873 5.2)."""
        edns = envelope.edns
        if edns is None or edns.cookie is None:
            return b""
        address, unix = self._packed(peer), int(self._unix())
        if self.cookies.check(edns.cookie, address, unix) == "good":
            return edns.cookie
        client = edns.cookie[:8]
        return client + self.cookies.server_cookie(client, address, unix)

    def _watched(
        self, answer: bytes, entry: Entry, envelope: Envelope, peer: str
    ) -> bytes | None:
        """The answer as the zone's rate limit lets it out, and logged."""
        zone = entry.zone
        limit, figures = zone.limit, zone.figures
        if limit is not None and not self._proves(envelope, peer):
            verdict = limit.judge(self._packed(peer), entry.kind, entry.name, self._seconds())
            if verdict is Verdict.DROP:
                figures.dropped += 1
                return None
            if verdict is Verdict.SLIP:
                figures.slipped += 1
                return _slipped(answer)
        entry.count[0] += 1
        if zone.log is not None:
            zone.log(peer, answer, "udp")
        return answer

    def _proves(self, envelope: Envelope, peer: str) -> bool:
        """Whether a cookie shows that the asker is where it says."""
        edns = envelope.edns
        if edns is None or edns.cookie is None:
            return False
        verdict = self.cookies.check(edns.cookie, self._packed(peer), int(self._unix()))
        return verdict in ("good", "renew")

    # The long way

    def stream(self, packet: bytes, peer: str) -> bytes | Iterator[bytes] | None:
        """The answer to a message that came over TCP; the messages one by one, for a transfer."""
        return self._parsed(packet, peer, tcp=True)

    def _long(self, packet: bytes, peer: str) -> bytes | None:
        answer = self._parsed(packet, peer)
        assert answer is None or isinstance(answer, bytes)  # transfers are TCP's
        return answer

    def _parsed(
        self, packet: bytes, peer: str, tcp: bool = False
    ) -> bytes | Iterator[bytes] | None:
        self.counts.packets += 1
        try:
            query = parse(packet, tcp)
        except Malformed as malformed:
            return self._malformed(packet, malformed)
        envelope = self._envelope(packet, query, tcp)
        asked = Asked(query, packet[HEADER : query.end], envelope, peer, tcp)
        if query.tsig is not None:
            return self._signed(packet, asked)
        if asked.transfer:
            return self._transfer(asked)
        return self._answer(asked)

    def _malformed(self, packet: bytes, malformed: Malformed) -> bytes | None:
        rcode = malformed.rcode
        if rcode is None:
            self.counts.ignored += 1
            return None
        self.counts.bare(rcode)
        opt = opt_record(UDP_SIZE) if malformed.edns else b""
        question = packet[HEADER : malformed.end]
        body = Body(b"", _NOTHING, rcode, False)
        return message(malformed.id, malformed.flags, question, body, opt)

    def _envelope(self, packet: bytes, query: Query, tcp: bool) -> Envelope:
        """What surrounds the answer; remembered where the hot path can use it again."""
        tail = packet[query.end :]
        if tcp or len(tail) > LONGEST_TAIL or not HEADS.get(packet[2:12]):
            return Envelope(query.edns, self.nsid, KEEPALIVE if tcp else None)
        envelopes = self._envelopes
        envelope = envelopes.get(tail)
        if envelope is None:
            envelope = Envelope(query.edns, self.nsid)
            if query.edns is not None and not query.edns.version:
                if len(envelopes) >= MAX_ENVELOPES:
                    envelopes.clear()
                    envelopes[b""] = NO_OPT
                envelopes[tail] = envelope
        return envelope

    def _signed(self, packet: bytes, asked: Asked) -> bytes | Iterator[bytes] | None:
        """A signed query (RFC 8945): who asks is known, or the signature is refused."""
        query, unix = asked.query, int(self._unix())
        assert query.tsig is not None
        verdict = tsig.verify(packet, query.tsig, self.keys, unix)
        asked.verdict = verdict
        asked.spare = tsig.room(verdict)
        if verdict.error:
            return tsig.sign(self._bare(asked, verdict.rcode), verdict, unix)
        if asked.transfer:
            return self._transfer(asked)
        answer = self._answer(asked)
        return None if answer is None else tsig.sign(answer, verdict, unix)

    def _transfer(self, asked: Asked) -> bytes | Iterator[bytes]:
        """The whole zone, for who may have it (RFC 5936); its SOA alone, for who has it already or
        asks over UDP."""
        query, verdict = asked.query, asked.verdict
        served = self._zones.get(query.key)
        key = None if verdict is None or verdict.key is None else verdict.key.name
        if served is None or served.transfer is None or query.qclass != codes.IN:
            rcode = codes.NOTAUTH if served is None else codes.REFUSED
        elif not served.transfer.allows(self._packed(asked.peer), key):
            rcode = codes.REFUSED
        else:
            signing = None if verdict is None else tsig.Signing(verdict)
            opt = asked.envelope.make(None, self._cookie(asked.envelope, asked.peer))
            reply = Reply(query, opt, signing, self._unix)
            if not asked.tcp:
                served.figures.answer(query.qtype, codes.NOERROR)[0] += 1
                return reply.soa(served.zone, asked.envelope.limit - asked.spare)
            served.figures.transfers += 1
            return reply.messages(served.zone)
        answer = self._bare(asked, rcode)
        return answer if verdict is None else tsig.sign(answer, verdict, int(self._unix()))

    def _answer(self, asked: Asked) -> bytes | None:
        query = asked.query
        if query.edns is not None and query.edns.version:
            return self._bare(asked, codes.BADVERS)
        if query.bare:
            return self._bare(asked, codes.NOERROR)
        if query.opcode == codes.NOTIFY or query.qclass not in (codes.IN, codes.CLASS_ANY):
            # Nobody has anything to tell us (RFC 1996 3.10 lets us say so); and no data of other
            # classes are here.
            return self._bare(asked, codes.REFUSED)
        if query.qtype in NO_DATA:
            return self._bare(asked, NO_DATA[query.qtype])
        served = self.zone_of(query.key, query.qtype)
        if served is None:
            return self._bare(asked, codes.REFUSED, _NOT_OURS)
        return self._from_entry(asked, self.entry(served, query.key, query.qtype, query.qclass))

    def entry(self, served: Served, key: bytes, qtype: int, qclass: int = codes.IN) -> Entry:
        """The entry for a name of the zone, made if it is not there."""
        question = key + pack("!HH", qtype, qclass)
        entry = self._table.get(question)
        if entry is not None:
            return entry
        found = served.zone.find(key, key, qtype, ANYBODY)
        shape = shape_of(served, found, key, qtype)
        if shape is None:
            entry = entry_of(served, found, key, qtype)
            self._entries.keep(question, entry, follows(served, found))
            return entry
        entry = self._shapes.table.get(shape)
        if entry is None:
            entry = entry_of_shape(served, found, shape)
            self._shapes.keep(shape, entry, follows(served, found))
        return entry

    def _from_entry(self, asked: Asked, entry: Entry) -> bytes | None:
        query, envelope, question, peer = asked.query, asked.envelope, asked.question, asked.peer
        scope = 0
        if entry.clients is not None:
            entry, scope = self._for_client(entry, envelope, peer)
        at = entry.next()
        body = (entry.variants[at] or entry.vary(at)).body
        opt = envelope.make(entry.fault, self._cookie(envelope, peer), scope)
        room = envelope.limit - HEADER - len(question) - len(opt) - asked.spare
        if len(body.wire) > room:
            body = fit(body, room)
            entry.zone.figures.truncated += body.tc
        answer = message(query.id, query.flags, question, body, opt)
        if not asked.tcp:
            return self._watched(answer, entry, envelope, peer)
        zone = entry.zone
        zone.figures.tcp += 1
        entry.count[0] += 1
        if zone.log is not None:
            zone.log(peer, answer, "tcp")
        return answer

    def _bare(self, asked: Asked, rcode: int, fault: Fault | None = None) -> bytes:
        """An answer without records, and without any zone's say."""
        query, envelope = asked.query, asked.envelope
        self.counts.bare(rcode)
        cookie = b"" if rcode == codes.BADVERS else self._cookie(envelope, asked.peer)
        opt = envelope.make(fault, cookie, 0, rcode)
        body = Body(b"", _NOTHING, rcode, False)
        return message(query.id, query.flags, asked.question, body, opt)


def _slipped(answer: bytes) -> bytes:
    """The same without records, and truncated: who really asks comes again by TCP."""
    end = answer.find(b"\0", HEADER) + 5
    flags = int.from_bytes(answer[2:4], "big") & ~codes.AA | codes.TC
    return answer[:2] + pack("!5H", flags, 1, 0, 0, 0) + answer[HEADER:end]
