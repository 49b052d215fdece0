"""
Servers by DNS name whose names change, stop resolving, or never did: in a hosts file of the test's,
and in a DNS server of its own.
"""

from __future__ import annotations

import signal
import socket
import time

from tests.live.answerer import Answerer, some_addresses
from tests.live.harness import LOOPBACK, free_port, wait_until
from tests.live.namespaces import mounted
from tests.live.origins import EchoOrigin, HttpOrigin
from tests.live.traffic import Traffic
from tests.live.watch import WatchedTestCase

MOVES = """\
[pool moves]
servers = m moves.test:$first
interval = 200ms

"""

LATE_AND_FLOWS = """\
[pool late]
servers =
    l late.test:$first
    f $host:$first
interval = 200ms

[pool flows]
servers = m moves.test:$echo
interval = 200ms

"""

TO_MOVES = """\
pool = moves

[tcp relay]
listen = $host:$tcp
pool = flows
"""

SITE = """\
[site]
admin = $host:$admin
resolvers = $host:$dns

""" + MOVES + """\
[pool stays]
servers = s stays.test:$first
interval = 200ms

""" + LATE_AND_FLOWS + """\
[http web]
listen = $host:$port
routes =
    path=/stays -> pool stays
    path=/late -> pool late
""" + TO_MOVES

BEFORE = "127.0.0.1 moves.test stays.test\n"
AFTER = "127.0.0.2 moves.test late.test\n"

ALL_ASKED = 3.0
"""Seconds until a change of the hosts file is seen: site.names.LOOK and some more."""

BY_TTL = """\
[site]
admin = $host:$admin
resolvers = $host:$silent $host:$dns

""" + MOVES + LATE_AND_FLOWS + """\
[pool many]
servers = m many.test:$first
interval = 200ms

[http web]
listen = $host:$port
routes =
    path=/late -> pool late
    path=/many -> pool many
""" + TO_MOVES

TTL = 1


class NameTests(WatchedTestCase):
    """One balancer, and all names at once."""

    def test_names(self) -> None:
        """A name that moves takes new requests along at once and leaves flows where they are; one
        that does not resolve any more keeps its last address; one that never did starts down, says
        so, and is up once it resolves. No request fails."""
        hosts = self.directory / "hosts"
        hosts.write_text(BEFORE)
        wrap = mounted(f"mount --bind {hosts} /etc/hosts")
        nobody = self.enterContext(Answerer())  # knows no name
        first = self.enterContext(HttpOrigin("first"))
        second = self.enterContext(HttpOrigin("second", port=first.port, host="127.0.0.2"))
        echo = self.enterContext(EchoOrigin())
        port, tcp = free_port(), free_port()
        self.watched(SITE, port, tcp, port=port, tcp=tcp, first=first.port, echo=echo.port,
                     dns=nobody.port, wrap=wrap)
        self.watch.logged("late.test does not resolve")
        self.watch.becomes("down", "late", "l")
        flow = self.enterContext(socket.create_connection((LOOPBACK, tcp), timeout=5))
        with Traffic(port, 2) as moves, Traffic(port, 1, "/stays") as stays, \
                Traffic(port, 1, "/late") as late:
            wait_until("all are served", lambda: all(t.answers for t in (moves, stays, late)))
            hosts.write_text(AFTER)
            wait_until("the name has moved", lambda: bool(second.seen), within=ALL_ASKED)
            wait_until("all follow", lambda: set(moves.bodies(time.monotonic() - 0.3))
                       == {b"second GET /\n"}, within=2)
            self.watch.logged("stays.test does not resolve")
            self.assertEqual(set(stays.bodies()), {b"first GET /stays\n"})
            self.watch.becomes("up", "late", "l")
            wait_until("it is served there", lambda: b"second GET /late\n" in late.bodies())
        for traffic in (moves, stays, late):
            self.assertEqual(traffic.failures(), [])
        flow.sendall(b"still here")
        self.assertEqual(flow.recv(100), b"still here")
        flow.close()
        self.watch.logged(f"moves/m moved to 127.0.0.2:{first.port}")
        self.watch.at_rest(self.files)

    def test_ttl(self) -> None:
        """A name that moves is followed within its TTL and a second, and flows stay. A DNS server
        that falls silent, or says that there is no such name, changes nothing until it has an
        address again; one that never answers is passed over. No request fails."""
        first = self.enterContext(HttpOrigin("first"))
        second = self.enterContext(HttpOrigin("second", port=first.port, host="127.0.0.2"))
        third = self.enterContext(HttpOrigin("third", port=first.port, host="127.0.0.3"))
        echo = self.enterContext(EchoOrigin())
        many = ["127.0.0.1", *some_addresses(99)]
        dns = self.enterContext(Answerer(moves_test=(TTL, ["127.0.0.1"]), many_test=(99, many)))
        silent = self.enterContext(Answerer())
        silent.silent = True
        port, tcp = free_port(), free_port()
        start = time.monotonic()
        self.watched(BY_TTL, port, tcp, port=port, tcp=tcp, first=first.port, echo=echo.port,
                     dns=dns.port, silent=silent.port)
        self.assertLess(time.monotonic() - start, 10)
        self.assertGreaterEqual(dns.streams, 1)
        self.watch.becomes("up", "many", "m")
        self.watch.logged("late.test does not resolve (no such name); it is down")
        silent.records, silent.silent = dns.records, False  # one record, two servers
        flow = self.enterContext(socket.create_connection((LOOPBACK, tcp), timeout=5))
        with Traffic(port, 2) as moves:
            wait_until("it is served", lambda: bool(moves.answers))
            time.sleep(TTL)
            dns.records["moves.test"] = (TTL, ["127.0.0.2"])
            wait_until("the name has moved", lambda: bool(second.seen), within=TTL + 1)
            silent.silent = dns.silent = True
            asked = dns.asked
            wait_until("nobody answers", lambda: dns.asked > asked, within=10)
            self.watch.logged("moves.test does not resolve", within=15)
            self.assertEqual(set(moves.bodies(time.monotonic() - 1)), {b"second GET /\n"})
            dns.records["moves.test"] = (TTL, ["127.0.0.3"])
            dns.records["late.test"] = (TTL, ["127.0.0.3"])
            silent.silent = dns.silent = False
            wait_until("the name has moved again", lambda: bool(third.seen), within=15)
            self.watch.logged("moves.test resolves again")
            self.watch.becomes("up", "late", "l", within=32)
        self.assertEqual(moves.failures(), [])
        flow.sendall(b"still here")
        self.assertEqual(flow.recv(100), b"still here")
        flow.close()
        self.watch.at_rest(self.files)

    def test_other_resolvers(self) -> None:
        """A reload with other resolvers has every name asked of them at once."""
        first = self.enterContext(HttpOrigin("first"))
        second = self.enterContext(HttpOrigin("second", port=first.port, host="127.0.0.2"))
        old = self.enterContext(Answerer(moves_test=(3600, ["127.0.0.1"])))
        new = self.enterContext(Answerer(moves_test=(3600, ["127.0.0.2"])))
        port = free_port()
        text = ("[site]\nadmin = $host:$admin\nresolvers = $host:$dns\n[pool moves]\n"
                "servers = m moves.test:$first\n[http web]\nlisten = $host:$port\npool = moves\n")
        self.watched(text, port, port=port, first=first.port, dns=old.port)
        with Traffic(port, 1) as traffic:
            wait_until("it is served", lambda: bool(first.seen))
            site = self.directory / "site.ini"
            site.write_text(site.read_text().replace(str(old.port), str(new.port)))
            self.watch.process.signal(signal.SIGHUP)
            wait_until("the name has moved", lambda: bool(second.seen), within=5)
        self.assertEqual(traffic.failures(), [])

    def test_start(self) -> None:
        """A DNS server that never answers holds the start up for some seconds, and no longer."""
        first = self.enterContext(HttpOrigin("first"))
        silent = self.enterContext(Answerer())
        silent.silent = True
        port = free_port()
        text = ("[site]\nadmin = $host:$admin\nresolvers = $host:$dns\n"
                "[pool a]\nservers = a $host:$first\n    m moves.test:$first\n"
                "[pool b]\nservers = m other.test:$first\n"
                "[http web]\nlisten = $host:$port\nroutes = path=/b -> pool b\npool = a\n")
        start = time.monotonic()
        self.watched(text, port, port=port, first=first.port, dns=silent.port)
        self.assertLess(time.monotonic() - start, 5 + 5)
        self.watch.logged("moves.test does not resolve (127.0.0.1: no answer); it is down")
        with Traffic(port, 1) as traffic:
            wait_until("it is served", lambda: bool(traffic.answers))
            silent.records["moves.test"] = (1, [LOOPBACK])
            silent.silent = False
            self.watch.becomes("up", "a", "m", within=35)
        self.assertEqual(traffic.failures(), [])
