"""
Names that follow pools: what a resolver is told when servers come and go.
"""

from __future__ import annotations

import signal
import socket
import time
from collections import Counter

import dns.message
import dns.rcode
import dns.rdatatype

from tests.live.dns.pools import ADDRESSES, PROMISE, PoolsTestCase, address, reasons

QUERIES = 10_000
WITHIN_SHARE = 0.02


class VerdictTests(PoolsTestCase):
    """Servers fail and come back."""

    def test_down_and_up(self) -> None:
        """A server that fails is out of the answers within the promise, and one that works again
        is back."""
        began = self.down("b")
        took = self.becomes("a", "c") - began
        self.assertLess(took, PROMISE)
        self.up("b")
        self.becomes("a", "b", "c")

    def test_failover(self) -> None:
        """`failover` gives the first server that is up, in the order of the pool's lines."""
        self.assertEqual({ADDRESSES["a"]}, self.addresses("first"))
        self.down("a")
        self.becomes("b", "c")
        self.assertEqual({ADDRESSES["b"]}, self.addresses("first"))
        self.down("b")
        self.becomes("c")
        self.assertEqual({ADDRESSES["c"]}, self.addresses("first"))
        self.up("a")
        self.becomes("a", "c")
        self.assertEqual({ADDRESSES["a"]}, self.addresses("first"))

    def test_nothing_up(self) -> None:
        """With nothing up `when-down` decides, and the answer says why it is as it is."""
        self.down("a", "b", "c")
        self.until("nothing is up", lambda: not self.addresses("empty"))
        everything = self.ask("all")
        self.assertEqual(set(ADDRESSES.values()), set(address(everything)))
        empty, broken = self.ask("empty"), self.ask("broken")
        self.assertEqual(dns.rcode.NOERROR, empty.rcode())
        self.assertEqual([dns.rdatatype.SOA], [rrset.rdtype for rrset in empty.authority])
        self.assertEqual(dns.rcode.SERVFAIL, broken.rcode())
        for message in (everything, empty, broken):
            self.assertNotEqual([], reasons(message), message)
        self.up("a", "b", "c")
        self.until("all are up", lambda: self.addresses("empty") == set(ADDRESSES.values()))
        self.assertEqual([], reasons(self.ask("all")))


class OperatorTests(PoolsTestCase):
    """What the operator decides."""

    def test_drain(self) -> None:
        """A drained server is out of the answers at once, and back when it is ready."""
        for verb in ("drain", "maint"):
            self.operator(verb, "ordered/b")
            began = time.monotonic()
            self.assertLess(self.becomes("a", "c") - began, 0.3)
            self.operator("ready", "ordered/b")
            self.becomes("a", "b", "c")


class PolicyTests(PoolsTestCase):
    """Who gets which server."""

    def last_addresses(self, name: str, count: int) -> Counter[str]:
        """How often each address came first, over so many queries."""
        query = dns.message.make_query(f"{name}.example.test.", "A").to_wire()
        first = len(query) + 12  # behind the name's pointer, type, class, TTL and length
        counted: Counter[bytes] = Counter()
        for number in range(count):
            wire = self.asker.udp(number.to_bytes(2, "big") + query[2:])
            assert wire is not None
            counted[wire[first:first + 4]] += 1
        return Counter({socket.inet_ntoa(raw): times for raw, times in counted.items()})

    def test_shares(self) -> None:
        """Over 10,000 queries each server gets its weight's share within 2 %, and weight 0 none;
        `round-robin` puts each server first in turn, and tells all of them."""
        counted = self.last_addresses("weighted", QUERIES)
        self.assertEqual({ADDRESSES["a"], ADDRESSES["b"]}, set(counted))
        self.assertLess(abs(counted[ADDRESSES["a"]] / QUERIES - 3 / 4), WITHIN_SHARE, counted)
        counted = self.last_addresses("turns", 300)
        self.assertEqual(dict.fromkeys(ADDRESSES.values(), 100), dict(counted))
        self.assertEqual(set(ADDRESSES.values()), self.addresses("turns"))
        self.assertEqual(30, self.ask("turns").answer[0].ttl)


class MemoryTests(PoolsTestCase):
    """A restart."""

    def test_restart(self) -> None:
        """Until the first verdict after a start, the last one before it holds."""
        self.down("b")
        self.becomes("a", "c")
        self.process.signal(signal.SIGTERM)
        self.process.wait()
        self.servers.kill()
        for host in ADDRESSES.values():  # what accepts and says nothing: no verdict for 10 s
            silent = socket.create_server((host, self.port), backlog=64)
            self.addCleanup(silent.close)
        self.start_balancer("10s", "again")
        self.assertEqual({ADDRESSES["a"], ADDRESSES["c"]}, self.addresses("all"))
        self.assertEqual({ADDRESSES["a"]}, self.addresses("first"))
