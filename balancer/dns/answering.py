"""
A packet is read, looked up and answered: the long way, and the one place where rcodes are decided
(RFC 1035, 1034 4.3, 6891, 7871, 7873, 8914, 8945). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import pack
from typing import Final

from attrs import define

from balancer.dns import codes, names, ratelimit, tsig
from balancer.dns.cookies import Cookies
from balancer.dns.envelope import UDP_SIZE, Envelope, Fault
from balancer.dns.kept import Kept, World
from balancer.dns.keys import Key
from balancer.dns.options import opt_record
from balancer.dns.prepared import Entry
from balancer.dns.query import Malformed, Query, parse
from balancer.dns.ratelimit import Verdict
from balancer.dns.reply import Body, fit, message
from balancer.dns.transfer import Reply
from balancer.dns.walk import HEADER, skip_plain

_NOTHING: Final = (0, 0, 0)
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


@define
class Asked:
    """A query that takes the long way: `spare` bytes of the answer are its signature's, `turn` is
    the variant's that was found too long for the short way."""

    query: Query
    question: bytes
    envelope: Envelope
    peer: str
    tcp: bool
    turn: int | None = None
    verdict: tsig.Verdict | None = None
    spare: int = 0

    @property
    def transfer(self) -> bool:
        """Whether it asks for a whole zone; AXFR does over TCP only (RFC 5936 4.2)."""
        query = self.query
        if query.opcode or (query.edns is not None and query.edns.version):
            return False
        return query.qtype == codes.IXFR or (self.tcp and query.qtype == codes.AXFR)


class Answering(Kept):
    """Answers whatever comes."""

    def __init__(self, cookies: Cookies, world: World, nsid: bytes = b"") -> None:
        super().__init__(cookies, world, nsid)
        self.counts = Counts()

    def stream(self, packet: bytes, peer: str) -> bytes | Iterator[bytes] | None:
        """The answer to a message that came over TCP; the messages one by one, for a transfer."""
        return self._parsed(packet, peer, tcp=True)

    def _long(self, packet: bytes, peer: str, turn: int | None = None) -> bytes | None:
        answer = self._parsed(packet, peer, turn=turn)
        assert answer is None or isinstance(answer, bytes)  # transfers are TCP's
        return answer

    def _parsed(
        self, packet: bytes, peer: str, tcp: bool = False, turn: int | None = None
    ) -> bytes | Iterator[bytes] | None:
        self.counts.packets += 1
        try:
            query = parse(packet, tcp)
        except Malformed as malformed:
            return self._malformed(packet, malformed)
        envelope = self._envelope(packet, query, tcp)
        asked = Asked(query, packet[HEADER : query.end], envelope, peer, tcp, turn)
        if query.tsig is not None:
            return self._signed(packet, asked)
        return self._transfer(asked) if asked.transfer else self._answer(asked)

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

    def _signed(self, packet: bytes, asked: Asked) -> bytes | Iterator[bytes] | None:
        """A signed query (RFC 8945): who asks is known, or the signature is refused."""
        query, unix = asked.query, int(self._unix())
        assert query.tsig is not None
        # Keys are of the zone that is asked: other zones' may have the same names. Who asks for
        # nothing but a cookie may use any.
        served = None if query.bare else self.zone_of(query.key, query.qtype)
        keys: Mapping[bytes, Key] = {} if served is None else served.keys
        if query.bare:
            keys = {name: key for each in self._zones.values() for name, key in each.keys.items()}
        verdict = tsig.verify(packet, query.tsig, keys, unix)
        asked.verdict = verdict
        asked.spare = tsig.room(verdict)
        if verdict.error:
            return self._sealed(asked, self._bare(asked, verdict.rcode), unix)
        if asked.transfer:
            return self._transfer(asked)
        answer = self._answer(asked)
        return None if answer is None else self._sealed(asked, answer, unix)

    def _sealed(self, asked: Asked, answer: bytes, unix: int) -> bytes:
        """The answer with its signature, if that leaves it as short as it must be."""
        assert asked.verdict is not None
        signed = tsig.sign(answer, asked.verdict, unix)
        if len(signed) <= asked.envelope.limit:
            return signed
        asked.spare = 0
        return self._bare(asked, codes.FORMERR)

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
            reply = Reply(query, self._opt(asked, None), signing, self._unix)
            if not asked.tcp:
                served.figures.answer(query.qtype, codes.NOERROR)[0] += 1
                return reply.soa(served.zone, asked.envelope.limit - asked.spare)
            served.figures.transfers += 1
            return reply.messages(served.zone)
        answer = self._bare(asked, rcode)
        return answer if verdict is None else self._sealed(asked, answer, int(self._unix()))

    def _answer(self, asked: Asked) -> bytes | None:
        query = asked.query
        if query.edns is not None and query.edns.version:
            return self._bare(asked, codes.BADVERS)
        if query.bare:
            return self._bare(asked, codes.NOERROR)
        if query.opcode == codes.NOTIFY or query.qclass != codes.IN:
            # Nobody has anything to tell us (RFC 1996 3.10 lets us say so); and no data of other
            # classes are here, so that nobody can say all that class ANY asks for (RFC 1035 6.2).
            return self._error(asked, codes.REFUSED)
        if query.qtype in NO_DATA:
            return self._error(asked, NO_DATA[query.qtype])
        served = self.zone_of(query.key, query.qtype)
        if served is None:
            return self._error(asked, codes.REFUSED, _NOT_OURS)
        return self._from_entry(asked, self.entry(served, query.key, query.qtype))

    def _from_entry(self, asked: Asked, entry: Entry) -> bytes | None:
        query, envelope, question, peer = asked.query, asked.envelope, asked.question, asked.peer
        scope = 0
        if entry.clients is not None:
            entry, scope = self._for_client(entry, envelope, peer)
        at = entry.next() if asked.turn is None else asked.turn
        body = (entry.variants[at] or entry.vary(at)).body
        opt = self._opt(asked, entry.fault, scope)
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

    def _opt(self, asked: Asked, fault: Fault | None, scope: int = 0, rcode: int = 0) -> bytes:
        """The OPT record; without what is only of interest where it would take too much room."""
        envelope = asked.envelope
        cookie = self._cookie(envelope, asked.peer)
        opt = envelope.make(fault, cookie, scope, rcode)
        if HEADER + len(asked.question) + len(opt) + asked.spare > envelope.limit:
            brief = Envelope(envelope.edns, b"", envelope.keepalive)
            opt = brief.make(None, cookie, scope, rcode)
        return opt

    def _bare(self, asked: Asked, rcode: int, fault: Fault | None = None) -> bytes:
        """An answer without records, and without any zone's say."""
        query = asked.query
        self.counts.bare(rcode)
        opt = self._opt(asked, fault, rcode=rcode)
        body = Body(b"", _NOTHING, rcode, False)
        return message(query.id, query.flags, asked.question, body, opt)

    def _error(self, asked: Asked, rcode: int, fault: Fault | None = None) -> bytes | None:
        """The same, as a rate limit lets it out: with a name and a reason in its OPT record it may
        be several times as long as the query."""
        answer = self._bare(asked, rcode, fault)
        zone = None if asked.tcp else self.limiting()
        if zone is None or zone.limit is None or self._proves(asked.envelope, asked.peer):
            return answer
        address = self._packed(asked.peer)
        verdict = zone.limit.judge(address, ratelimit.ERROR, names.ROOT, self._seconds())
        if verdict is Verdict.DROP:
            zone.figures.dropped += 1
            return None
        if verdict is Verdict.SLIP:
            zone.figures.slipped += 1
            cookie = self._cookie(asked.envelope, asked.peer)
            return _slipped(answer, asked.envelope.make(None, cookie))
        return answer

    # Who asks

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
                return _slipped(answer, envelope.make(None, self._cookie(envelope, peer)))
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


def _slipped(answer: bytes, opt: bytes) -> bytes:
    """The same without records, and truncated: who really asks comes again by TCP."""
    end = skip_plain(answer, HEADER) + 4
    flags = int.from_bytes(answer[2:4], "big") & ~codes.AA | codes.TC
    return answer[:2] + pack("!5H", flags, 1, 0, 0, bool(opt)) + answer[HEADER:end] + opt
