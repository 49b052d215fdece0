"""
Servers by DNS name whose names change, stop resolving, or never did: looked up by the machine's
own resolver, which sees a hosts file of the test's.
"""

from __future__ import annotations

import socket
import time

from tests.live.harness import LOOPBACK, free_port, wait_until
from tests.live.namespaces import mounted
from tests.live.origins import EchoOrigin, HttpOrigin
from tests.live.traffic import Traffic
from tests.live.watch import WatchedTestCase

SITE = """\
[site]
admin = $host:$admin

[pool moves]
servers = m moves.test:$first
interval = 200ms

[pool stays]
servers = s stays.test:$first
interval = 200ms

[pool late]
servers =
    l late.test:$first
    f $host:$first
interval = 200ms

[pool flows]
servers = m moves.test:$echo
interval = 200ms

[http web]
listen = $host:$port
routes =
    path=/stays -> pool stays
    path=/late -> pool late
pool = moves

[tcp relay]
listen = $host:$tcp
pool = flows
"""

BEFORE = "127.0.0.1 moves.test stays.test\n"
AFTER = "127.0.0.2 moves.test late.test\n"

ALL_ASKED = 35.0
"""Seconds until every name has been asked for again: site.names.RESOLVE_INTERVAL and some more."""


class NameTests(WatchedTestCase):
    """One balancer, and all names at once: the interval is 30 s."""

    def test_names(self) -> None:
        """A name that moves takes new requests along at once and leaves flows where they are; one
        that does not resolve any more keeps its last address; one that never did starts down, says
        so, and is up once it resolves. No request fails."""
        hosts, switch = self.directory / "hosts", self.directory / "nsswitch.conf"
        hosts.write_text(BEFORE)
        switch.write_text("hosts: files\n")  # no name of this test leaves the machine
        wrap = mounted(f"mount --bind {hosts} /etc/hosts\n"
                       f"mount --bind {switch} /etc/nsswitch.conf")
        first = self.enterContext(HttpOrigin("first"))
        second = self.enterContext(HttpOrigin("second", port=first.port, host="127.0.0.2"))
        echo = self.enterContext(EchoOrigin())
        port, tcp = free_port(), free_port()
        start = time.monotonic()
        self.watched(SITE, port, tcp, port=port, tcp=tcp, first=first.port, echo=echo.port,
                     wrap=wrap)
        self.watch.logged("late.test does not resolve")
        self.watch.becomes("down", "late", "l")
        flow = self.enterContext(socket.create_connection((LOOPBACK, tcp), timeout=5))
        with Traffic(port, 2) as moves, Traffic(port, 1, "/stays") as stays, \
                Traffic(port, 1, "/late") as late:
            wait_until("all are served", lambda: all(t.answers for t in (moves, stays, late)))
            hosts.write_text(AFTER)
            wait_until("the name has moved", lambda: bool(second.seen), within=ALL_ASKED)
            self.assertLess(time.monotonic() - start, ALL_ASKED)
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
