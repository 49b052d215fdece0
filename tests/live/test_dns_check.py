"""
The check `dns` against NSD: who answers as the operator expects is up.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket

from balancer.resolve.message import SOA, Question, wire_name
from tests.live.harness import LOOPBACK, Process, free_port, need, wait_until
from tests.live.watch import WatchedTestCase

ZONE = """\
$ORIGIN example.test.
$TTL 60
@    SOA ns.example.test. root.example.test. 1 3600 600 86400 60
     NS  ns.example.test.
ns   A   192.0.2.1
six  AAAA 2001:db8::1
text TXT "up and" " running"
web  CNAME ns
"""

NSD = """\
server:
    ip-address: {host}@{port}
    username: ""
    chroot: ""
    zonesdir: "{directory}"
    database: ""
    pidfile: ""
    xfrdfile: ""
    xfrdir: "{directory}"
    zonelistfile: "{directory}/zones.list"
    server-count: 1
remote-control:
    control-enable: no
zone:
    name: example.test
    zonefile: zone
"""

CHECKS = {
    "soa": ("example.test SOA", True),
    "address": ("NS.example.test A expect=192.0.2.1", True),
    "six": ("six.example.test AAAA expect=2001:db8:0::1", True),
    "text": ('text.example.test TXT expect="up and running"', True),
    "alias": ("web.example.test A expect=192.0.2.1", True),
    "name": ("example.test NS expect=ns.example.test", True),
    "nobody": ("nobody.example.test A rcode=NXDOMAIN", True),
    "refused": ("example.org A rcode=REFUSED", True),
    "other": ("ns.example.test A expect=192.0.2.2", False),
    "elsewhere": ("example.org A", False),
}


class DnsCheckTests(WatchedTestCase):
    """One server, and a pool for each question that it may be asked."""

    def test_checks(self) -> None:
        """Each question has the verdict that its answer deserves, and all are down within their
        time when the server hangs or ends."""
        need("nsd")
        server, port = free_port(), free_port()
        nsd = self.nsd(server)
        text = "[site]\nadmin = $host:$admin\n"
        for name, (words, _) in CHECKS.items():
            text += (f"[pool {name}]\nservers = s $host:$dns\ninterval = 200ms\ntimeout = 300ms\n"
                     f"check = dns {words}\n[udp {name}]\nlisten = $host:{free_port()}\n"
                     f"pool = {name}\n")
        text += "[demo d]\nhttp = $host:$port\n"
        self.watched(text, port, port=port, dns=server)
        for name, (_, passes) in CHECKS.items():
            self.watch.becomes("up" if passes else "down", name, "s")
        self.assertEqual(self.watch.server("soa", "s")["check"]["reason"], "NOERROR, 1 records")
        self.assertEqual(self.watch.server("other", "s")["check"]["reason"],
                         "expected 192.0.2.2, got 192.0.2.1")
        nsd.kill()
        for name in CHECKS:
            self.watch.becomes("down", name, "s", within=3)
        again = self.nsd(server)
        self.watch.becomes("up", "soa", "s")
        os.killpg(again.pid, signal.SIGSTOP)
        self.watch.becomes("down", "soa", "s", within=4)
        self.watch.logged("soa/s went down: no answer")

    def nsd(self, port: int) -> Process:
        """NSD at work."""
        (self.directory / "zone").write_text(ZONE)
        conf = self.directory / "nsd.conf"
        conf.write_text(NSD.format(host=LOOPBACK, port=port, directory=self.directory))
        process = self.start(["nsd", "-d", "-c", str(conf)], "nsd")
        wait_until(f"nsd answers\n{process.output}", lambda: answers_dns(port))
        return process


def answers_dns(port: int) -> bool:
    """Whether something answers a question there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.2)
        asking.connect((LOOPBACK, port))
        with contextlib.suppress(OSError):
            asking.send(Question(wire_name("example.test"), SOA).ask(1))
            return bool(asking.recv(512))
    return False
