"""
The table of `cases` against the balancer, and against its peers as a check of the table itself.
"""

from __future__ import annotations

import socket
import struct

import dns.exception

from tests.live.dns.asking import Asker
from tests.live.dns.cases import CASES, CLIENT_COOKIE
from tests.live.dns.compliance import NUMBER, Case, edns, faults, query
from tests.live.dns.otherwise import OTHERWISE
from tests.live.dns.starting import NameServerTestCase
from tests.live.harness import LOOPBACK

SILENT = 0.2
"""Seconds after which no answer means that there is none; peers drop some of the queries."""


def verdict(asker: Asker, case: Case) -> list[str]:
    """What is wrong with a name server's answer."""
    ask = asker.tcp if case.tcp else asker.udp
    wire = ask(case.query, SILENT) if not case.expected.rcodes else ask(case.query)
    try:
        return faults(case, wire)
    except dns.exception.DNSException as error:
        return [f"malformed: {error!r}"]


class ComplianceTests(NameServerTestCase):
    """The balancer alone."""

    def test_cases(self) -> None:
        """Each query gets what its RFC asks for."""
        port, _ = self.serve("balancer")
        with Asker(port) as asker:
            wrong = [f"{case.name} ({case.source}): {'; '.join(found)}"
                     for case in CASES if (found := verdict(asker, case))]
        self.assertEqual([], wrong)

    def test_cookies(self) -> None:
        """The server's part of a cookie is good for the same client, and for no other (RFC 7873
        5.2)."""
        port, _ = self.serve("balancer")
        with Asker(port) as asker:
            first = asker.udp(edns(options=CLIENT_COOKIE))
            assert first is not None
            cookie = first[first.index(CLIENT_COOKIE[4:]):][:24]
            again = asker.udp(edns(options=struct.pack("!HH", 10, 24) + cookie))
        self.assertEqual(cookie[:8], CLIENT_COOKIE[4:])
        assert again is not None
        self.assertEqual(0, again[3] & 15)
        self.assertIn(cookie[:8], again)

    def test_pipelined(self) -> None:
        """Queries over TCP are answered whether they come together or byte by byte (RFC 7766
        6.2.1.1)."""
        port, _ = self.serve("balancer")
        framed = [struct.pack("!H", len(wire)) + wire for number in range(3)
                  for wire in (struct.pack("!H", number) + query()[2:],)]
        with socket.create_connection((LOOPBACK, port), timeout=5) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(framed[0] + framed[1])
            for byte in framed[2]:
                connection.sendall(bytes([byte]))
            stream = connection.makefile("rb")
            ids = set()
            for _ in framed:
                (length,) = struct.unpack("!H", stream.read(2))
                ids.add(struct.unpack("!H", stream.read(length)[:2])[0])
        self.assertEqual({0, 1, 2}, ids)

    def test_garbage_by_tcp(self) -> None:
        """A connection whose message is no query hurts no other (RFC 7766 6.2)."""
        port, _ = self.serve("balancer")
        for garbage in (b"\x00\x00", b"\x00\x05hello", b"\xff\xff" + bytes(70000),
                        b"GET / HTTP/1.0\r\n\r\n"):
            with socket.create_connection((LOOPBACK, port), timeout=5) as connection:
                try:
                    connection.sendall(garbage)
                except OSError:
                    continue
        with Asker(port) as asker:
            answer = asker.tcp(query())
        assert answer is not None
        self.assertEqual(NUMBER, struct.unpack("!H", answer[:2])[0])


class PeersTests(NameServerTestCase):
    """Peers that are known to be good: what none of them does, the table must not ask for."""

    def test_table(self) -> None:
        """They pass each case, but for those whose reason is in `otherwise`; those they fail."""
        wrong = []
        for name in ("gdnsd", "knot", "nsd"):
            port, _ = self.serve(name)
            with Asker(port) as asker:
                for case in CASES:
                    known = OTHERWISE.get((name, case.name))
                    found = self.patient(asker, case, known)
                    if found and not known:
                        wrong.append(f"{name}, {case.name}: {'; '.join(found)}")
                    if known and not found:
                        wrong.append(f"{name}, {case.name}: passes, so it needs no reason")
        self.assertEqual([], wrong)

    @staticmethod
    def patient(asker: Asker, case: Case, known: str | None) -> list[str]:
        """As `verdict`, without waiting long for what is known not to come."""
        if known and not case.tcp and asker.udp(case.query, SILENT) is None:
            return [known]
        return verdict(asker, case)
