"""
A million packets that nobody should send (`make soak`; a few thousand otherwise), in one process.
tests/live/dns/test_abuse.py sends a few over a socket, and looks at memory and the log.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from random import Random
from time import thread_time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns.cookies import Cookies
from balancer.dns.kept import World
from balancer.dns.names import from_text
from balancer.dns.query import Malformed, parse
from balancer.dns.responder import Responder
from balancer.dns.served import Served
from balancer.dns.zone import Zone
from balancer.dns.zonefile import Master, reading
from tests.dns.packets import COSTLY, packets, sound
from tests.dns.zones import open_nothing

EXAMPLES = 8
PACKETS = 2500 if os.environ.get("SOAKING") else 500
"""Packets of one example: a million with the soak's usual 50 times as many examples."""

COSTS = 0.001
"""Seconds of CPU that one packet may cost."""

TRIES = 5
"""Times that a packet is tried with a new responder before it is called slow: whatever else the
processor does then costs the others, too."""

LARGEST = 1232
PLAIN = 512

ZONE = Path(__file__).parent.parent / "live" / "dns" / "example.test.zone"
ORIGIN = from_text("example.test.")


def zone() -> Zone:
    """The zone that the live tests have."""
    slices = reading(ZONE.read_bytes(), Master(str(ZONE), ORIGIN, open_nothing))
    while True:
        try:
            next(slices)
        except StopIteration as end:
            assert end.value.tree is not None, end.value.problems
            return Zone(end.value.tree)


def responder(served: Zone) -> Responder:
    """A new one that has been asked nothing."""
    world = World(lambda host: b"\x7f\0\0\1", lambda: 0.0, lambda: 1_700_000_000.0)
    made = Responder(Cookies(bytes(16)), world, b"peer")
    made.serve([Served(ORIGIN, served)])
    return made


def allowed(packet: bytes) -> int:
    """How large the answer may be: what the asker can take, but never over `LARGEST`."""
    try:
        edns = parse(packet).edns
    except Malformed:
        return PLAIN
    return PLAIN if edns is None else max(PLAIN, min(edns.size, LARGEST))


class AbuseTests(SynchronousTestCase):
    """What goes wrong with nobody's packets."""

    zone = zone()

    def timed(self, who: Responder, packet: bytes) -> tuple[bytes | None, float]:
        """The answer, and the seconds of CPU that it took."""
        began = thread_time()
        answer = who.datagram(packet, "127.0.0.1")
        return answer, thread_time() - began

    def cheap(self, packet: bytes) -> None:
        """A packet that took long once takes long each time, or it was not its own fault."""
        least = min(self.timed(responder(self.zone), packet)[1] for _ in range(TRIES))
        self.assertLess(least, COSTS, packet[:200].hex())

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(st.integers(0, 2**64))
    def test_packets(self, seed: int) -> None:
        """Nothing raises, answers are not answered, no answer is larger than the asker can take,
        and no packet costs over a millisecond."""
        random = Random(seed)
        queries = tuple(sound(random) for _ in range(10))
        who = responder(self.zone)
        for packet in packets(random, queries, PACKETS):
            answer, cost = self.timed(who, packet)
            if cost > COSTS:
                self.cheap(packet)
            if answer is not None:
                self.assertEqual((packet[:2], 0x80), (answer[:2], answer[2] & 0x80))
                self.assertFalse(packet[2] & 0x80, packet.hex())
                if len(answer) > PLAIN:
                    self.assertLessEqual(len(answer), allowed(packet), packet.hex())

    def test_costly(self) -> None:
        """Messages of 64 KB that were made to cost much (CVE-2026-42304) cost next to nothing."""
        for packet in COSTLY:
            self.cheap(packet)

    def test_mix(self) -> None:
        """The packets are not all noise: many of them get an answer with records."""
        random = Random(1)
        who = responder(self.zone)
        answers = [who.datagram(packet, "127.0.0.1")
                   for packet in packets(random, (sound(random),), 1000)]
        with_records = [wire for wire in answers if wire and struct.unpack("!H", wire[6:8])[0]]
        self.assertGreater(len(with_records), 40)
        self.assertGreater(answers.count(None), 20)
