"""
Every question of the comparison: type x kind of name x how it is asked. Pure; sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
from attrs import frozen

ZONE = "example.test."
CIRCLE = "circle.test."

NAMES = (
    ("apex", "example.test."),
    ("exact", "www.example.test."),
    ("exact", "ns1.example.test."),
    ("exact", "mail.example.test."),
    ("exact", "only-aaaa.example.test."),
    ("exact", "_sip._tcp.example.test."),
    ("exact", "pointer.example.test."),
    ("exact", "_svc.example.test."),
    ("exact", "svc.example.test."),
    ("exact", "unknown.example.test."),
    ("hollow", "hollow.example.test."),
    ("alias", "alias.example.test."),
    ("alias", "chain1.example.test."),
    ("alias", "to-wild.example.test."),
    ("alias", "nodata.example.test."),
    ("alias-to-nothing", "dangling.example.test."),
    ("alias-out", "outside.example.test."),
    ("alias-to-cut", "to-cut.example.test."),
    ("wildcard", "any.wild.example.test."),
    ("wildcard", "far.below.the.wild.example.test."),
    ("wildcard", "beneath.ent2.example.test."),
    ("wildcard-itself", "*.wild.example.test."),
    ("wildcard-alias", "any.wildalias.example.test."),
    ("beside-wildcard", "beside.wild.example.test."),
    ("nothing", "below.beside.wild.example.test."),
    ("nothing", "no-such-name.example.test."),
    ("nothing", "deep.below.no-such-name.example.test."),
    ("nothing", "below.www.example.test."),
    ("ent", "wild.example.test."),
    ("ent", "b.ent.example.test."),
    ("ent", "ent.example.test."),
    ("ent", "d.ent2.example.test."),
    ("ent", "_tcp.example.test."),
    ("nothing", "x.b.ent.example.test."),
    ("cut", "sub.example.test."),
    ("cut", "unglued.example.test."),
    ("cut", "in-sibling.example.test."),
    ("below-cut", "below.sub.example.test."),
    ("below-cut", "far.below.unglued.example.test."),
    ("glue", "ns.sub.example.test."),
    ("out-of-zone", "www.other.test."),
    ("out-of-zone", "test."),
    ("out-of-zone", "."),
    ("out-of-zone", "notexample.test."),
    ("case", "WwW.eXaMpLe.TeSt."),
    ("case", "mixed.example.test."),
    ("case", "ANY.Wild.Example.TEST."),
    ("case", "CHAIN1.EXAMPLE.TEST."),
    ("escape", r"dot\.in.example.test."),
    ("escape", r"blank\032in.example.test."),
    ("escape", r"oct\000\255.example.test."),
    ("nothing", r"\000\001\002.example.test."),
    ("long", ".".join(["a" * 63, "a" * 63, "a" * 63, "a" * 48, ZONE])),
    ("nothing", ".".join(["a" * 63, "a" * 63, "a" * 63, "b" * 48, ZONE])),
    ("long-wildcard", ".".join(["w" * 63, "w" * 63, "w" * 63, "w" * 43, "wild", ZONE])),
    ("big", "big512.example.test."),
    ("big", "big1232.example.test."),
    ("big", "big4096.example.test."),
    ("big", "bigmx.example.test."),
    ("circle", "loop1.circle.test."),
    ("circle", "itself.circle.test."),
    ("circle", "any.wild.circle.test."),
)
"""(kind, name): every kind that the zone files have."""

TYPES = ("A", "NS", "CNAME", "SOA", "PTR", "MX", "TXT", "AAAA", "SRV", "NAPTR", "DS", "CAA",
         "SVCB", "HTTPS", "DNSKEY", "NSEC", "TYPE731", "ANY")
"""Every type that the zones have, and some that they have not."""

FEW_TYPES = ("A", "NS", "SOA", "MX", "TXT", "DS", "HTTPS", "TYPE731", "ANY")
"""Those for ways that are much like another one."""


@frozen
class Way:
    """How a question travels. `size`: what EDNS says that the asker can take; 0 without EDNS."""

    name: str
    tcp: bool = False
    size: int = 0
    recursion: bool = False
    types: tuple[str, ...] = FEW_TYPES


WAYS = (
    Way("udp"),
    Way("udp-512", size=512),
    Way("udp-1232", size=1232, recursion=True, types=TYPES),
    Way("udp-4096", size=4096),
    Way("tcp", tcp=True, types=TYPES),
    Way("tcp-1232", tcp=True, size=1232),
)


@frozen
class Question:
    """One question in its kind."""

    kind: str
    name: str
    type: str
    way: Way

    @property
    def zone(self) -> str:
        """The zone that it is about, as far as there is one."""
        return CIRCLE if self.kind == "circle" else ZONE

    def message(self, number: int) -> dns.message.QueryMessage:
        """It as a message with the id `number`."""
        query = dns.message.make_query(
            dns.name.from_text(self.name), self.type, id=number,
            use_edns=0 if self.way.size else False, payload=self.way.size or 1232,
            flags=dns.flags.RD if self.way.recursion else 0)
        assert isinstance(query, dns.message.QueryMessage)
        return query

    def __str__(self) -> str:
        return f"{self.name} {self.type} by {self.way.name} ({self.kind})"


def questions() -> Iterator[Question]:
    """All of them, about 4,500."""
    for way in WAYS:
        for kind, name in NAMES:
            for rdtype in way.types:
                yield Question(kind, name, rdtype, way)
