"""What is kept of an answer must be that answer, whoever asks next."""

from __future__ import annotations

import dns.message
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns.cookies import Cookies
from balancer.dns.kept import World
from balancer.dns.responder import Responder
from balancer.dns.served import Served
from balancer.dns.zone import Zone
from tests.dns.zones import ORIGIN, sound


def responder(text: str) -> Responder:
    """One that serves the text's zone."""
    tree = sound(text).tree
    assert tree is not None
    world = World(lambda host: b"\x7f\0\0\1", lambda: 0.0, lambda: 1_700_000_000.0)
    made = Responder(Cookies(bytes(16)), world)
    made.serve([Served(ORIGIN, Zone(tree))])
    return made


def answer(who: Responder, name: str, rdtype: str) -> list[str]:
    """The records of the answer section, as text."""
    query = dns.message.make_query(f"{name}.example.test.", rdtype)
    wire = who.datagram(query.to_wire(), "127.0.0.1")
    assert wire is not None
    return [line for rrset in dns.message.from_wire(wire).answer
            for line in rrset.to_text().splitlines()]


class WildcardTests(SynchronousTestCase):
    """Names of one length that a wildcard answers share what is kept."""

    ZONE = """\
        *.wild A 192.0.2.7
        to-a CNAME x.wild
        *.also CNAME y.wild
        """

    def test_alias(self) -> None:
        """A name that is an alias of one that a wildcard answers keeps its CNAME, also beside
        names of its own length below the wildcard."""
        who = responder(self.ZONE)
        for rdtype, end in (("A", ["x.wild.example.test. 300 IN A 192.0.2.7"]), ("AAAA", [])):
            alias = ["to-a.example.test. 300 IN CNAME x.wild.example.test.", *end]
            for _ in range(2):
                self.assertEqual(alias, answer(who, "to-a", rdtype))
        self.assertEqual(["z.wild.example.test. 300 IN A 192.0.2.7"], answer(who, "z.wild", "A"))

    def test_wildcard_alias(self) -> None:
        """A wildcard that is an alias of a name below another wildcard gives both."""
        who = responder(self.ZONE)
        for name in ("a.also", "b.also"):
            self.assertEqual([f"{name}.example.test. 300 IN CNAME y.wild.example.test.",
                              "y.wild.example.test. 300 IN A 192.0.2.7"],
                             answer(who, name, "A"))
