"""
Packets that nobody should send, and floods in somebody else's name, against a running balancer.
"""

from __future__ import annotations

import select
import socket
import time
from pathlib import Path
from random import Random

import dns.message

from tests.dns.packets import packets
from tests.live.dns.asking import Asker
from tests.live.dns.cases import CASES
from tests.live.dns.peers import LARGEST
from tests.live.dns.starting import NameServerTestCase
from tests.live.harness import LOOPBACK

PACKETS = 30_000
BURST = 64
"""Packets between two looks at what came back: the socket's buffer holds them."""

MOST_SENT = 65_000
"""Bytes of one datagram; 65,507 are the most that IPv4 carries."""

MOST_GROWTH = 16 * 2**20
"""Bytes by which the process may grow: caches that fill, never what was sent."""

FLOOD_SECONDS = 10.0
FLOOD_RATE = 2000
"""Queries a second: more than a rate limit lets through, less than the machine can do."""

SOURCES = tuple(f"127.5.0.{number}" for number in range(1, 51))
"""One network, /24, in whose name the flood comes."""

MOST_AMPLIFICATION = 3.0


def resident(pid: int) -> int:
    """Bytes of the process that are in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS line")


class PacketTests(NameServerTestCase):
    """Noise and mutations. That nothing raises is looked for in the log at the end of each test."""

    def test_packets(self) -> None:
        """No answer goes to an answer, none is larger than allowed, memory stays, and a query
        among them gets its answer."""
        port, process = self.serve("balancer")
        queries = tuple(case.query for case in CASES)
        sound = dns.message.make_query("www.example.test.", "A", id=4242).to_wire()
        largest, sizes = 0, []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, Asker(port) as asker:
            sender.connect((LOOPBACK, port))
            sender.setblocking(False)
            for count, packet in enumerate(packets(Random("packets"), queries, PACKETS)):
                if packet[2:3] and packet[2] & 0x80:
                    self.silent(asker, packet, count)
                else:
                    sender.send(packet[:MOST_SENT])
                if count % BURST == 0 or len(packet) > LARGEST:
                    self.answered(asker, sound, count)
                    largest = max(largest, self.drained(sender))
                if count in (PACKETS // 3, PACKETS - 1):
                    sizes.append(resident(process.pid))
        self.assertGreater(largest, 0)
        self.assertLessEqual(largest, LARGEST)
        self.assertLess(sizes[1] - sizes[0], MOST_GROWTH)

    def answered(self, asker: Asker, sound: bytes, count: int) -> None:
        """A sound query gets its answer, though the socket's buffer may have lost it once."""
        answer = asker.udp(sound, 0.5) or asker.udp(sound, 0.5) or asker.udp(sound)
        self.assertIsNotNone(answer, f"no answer after packet {count}")

    def silent(self, asker: Asker, packet: bytes, count: int) -> None:
        """An answer that came as a query brings nothing back; one of a hundred is waited for."""
        if count % 100 == 0:
            self.assertIsNone(asker.udp(packet[:MOST_SENT], 0.05))

    @staticmethod
    def drained(sender: socket.socket) -> int:
        """The size of the largest answer that has come."""
        largest = 0
        while True:
            try:
                largest = max(largest, len(sender.recv(65536)))
            except BlockingIOError:
                return largest
            except ConnectionError:
                continue


class FloodTests(NameServerTestCase):
    """Queries in the name of one network, without cookies."""

    def flood(self, port: int, query: bytes) -> tuple[int, int]:
        """Bytes sent and got back over the seconds of the flood."""
        flows = []
        for source in SOURCES:
            flow = self.enterContext(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            flow.bind((source, 0))
            flow.connect((LOOPBACK, port))
            flow.setblocking(False)
            flows.append(flow)
        sent = back = turn = 0
        began = time.monotonic()
        while (passed := time.monotonic() - began) < FLOOD_SECONDS:
            while turn < passed * FLOOD_RATE:
                sent += flows[turn % len(flows)].send(query)
                turn += 1
            for flow in select.select(flows, [], [], 0.005)[0]:
                back += len(flow.recv(65536))
        self.assertGreater(turn, FLOOD_SECONDS * FLOOD_RATE * 0.9)
        return sent, back

    def test_limited(self) -> None:
        """The network gets back less than three times the flood's bytes; a client elsewhere is
        answered all the time."""
        port, _ = self.serve("balancer", options="rate-limit = 20")
        query = dns.message.make_query(
            "big512.example.test.", "A", use_edns=0, payload=1232).to_wire()
        sent, back = self.flood(port, query)
        self.assertGreater(back, 0)
        self.assertLess(back, MOST_AMPLIFICATION * sent)
        with Asker(port, source="127.9.9.9") as asker:
            whole = asker.udp(query)
        assert whole is not None
        self.assertEqual(40, len(dns.message.from_wire(whole).answer[0]))

    def test_true_client(self) -> None:
        """A client in the flooded network still gets through, by TCP (slip)."""
        port, _ = self.serve("balancer", options="rate-limit = 5")
        query = dns.message.make_query("www.example.test.", "A").to_wire()
        with Asker(port, source=SOURCES[0]) as asker:
            answers = [asker.udp(query, 0.05) for _ in range(60)]
            truncated = [wire for wire in answers if wire is not None and wire[2] & 2]
            self.assertNotEqual([], truncated)
            self.assertIn(None, answers)
            whole = asker.tcp(query)
        assert whole is not None
        self.assertEqual(3, len(dns.message.from_wire(whole).answer[0]))
