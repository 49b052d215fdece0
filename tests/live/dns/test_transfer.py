"""
Knot DNS as a secondary of ours: AXFR signed with TSIG, told by NOTIFY.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from string import Template

import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.xfr
import dns.zone

from tests.live.dns.asking import Asker
from tests.live.dns.starting import HERE, SECONDARY, NameServerTestCase
from tests.live.harness import LOOPBACK, ROOT, Process, free_port, need, wait_until

NAME = "transfer.example.test"
KEY = f"{NAME}."
SECRET = "c2VjcmV0IG9mIHRoZSB0cmFuc2ZlciBvZiBhIHpvbmU="
OTHER = "c29tZXRoaW5nIHRoYXQgbm9ib2R5IGhhcyBhZ3JlZWQ="

SITE = """\
[site]
admin = off
control = $directory/lb.sock
state = $directory

[pool web]
servers =
    a 192.0.2.111:80
    b 192.0.2.112:80
check = none

[dns example.test]
listen = 127.0.0.1:$dns
zone = $directory/example.test.zone
answers = follows pool=web ttl=30s
transfer = 127.0.0.0/8 key=transfer.example.test
notify = 127.0.0.1:$knot key=transfer.example.test
tsig-file = $directory/keys
"""

KEYS = f'key "{KEY}" {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n'


class TransferTests(NameServerTestCase):
    """The balancer as the primary."""

    def setUp(self) -> None:
        """Start it; the secondary comes later."""
        super().setUp()
        need("knotd")
        self.zone = self.directory / "example.test.zone"
        self.zone.write_text((HERE / "example.test.zone").read_text())
        (self.directory / "keys").write_text(KEYS)
        (self.directory / "knot").mkdir()
        self.ports = {"dns": free_port(), "knot": free_port()}
        site = self.site_file(SITE, directory=self.directory, **self.ports)
        self.primary = self.twistd(site)
        self.primary.running(self.ports["dns"])

    def secondary(self) -> Process:
        """knotd, answering."""
        config = self.directory / "knot.conf"
        config.write_text(Template(SECONDARY).substitute(
            directory=self.directory, name=NAME, secret=SECRET, key=f"key: {NAME}", **self.ports))
        process = self.start(["knotd", "-c", str(config)], "knot")
        process.answering(self.ports["knot"])
        return process

    def ask(self, which: str, name: str, rdtype: str) -> dns.message.Message:
        """An answer of `dns` (ours) or `knot`."""
        with Asker(self.ports[which]) as asker:
            wire = asker.tcp(dns.message.make_query(name, rdtype).to_wire())
        assert wire is not None
        return dns.message.from_wire(wire)

    def serial(self, which: str) -> int:
        """The serial of the zone's SOA; 0 if there is none."""
        answer = self.ask(which, "example.test.", "SOA").answer
        return int(answer[0][0].serial) if answer else 0

    def pull(self, key: str | None = SECRET) -> dns.zone.Zone:
        """A transfer by dnspython."""
        zone = dns.zone.Zone("example.test.", relativize=False)
        ring = dns.tsigkeyring.from_text({KEY: key}) if key else None
        query, _ = dns.xfr.make_query(
            zone, keyring=ring, keyname=dns.name.from_text(KEY) if key else None)
        dns.query.inbound_xfr(LOOPBACK, zone, query, port=self.ports["dns"],
                              timeout=5, lifetime=15)
        return zone

    def test_whole(self) -> None:
        """A transfer has every record of the zone file, and those that follow pools."""
        pulled = self.pull()
        read = dns.zone.from_file(str(self.zone), origin="example.test.", relativize=False)
        self.assertEqual(read.nodes.keys(), pulled.nodes.keys() - {
            dns.name.from_text("follows.example.test.")})
        for name, node in read.nodes.items():
            for rdataset in node:
                if rdataset.rdtype != dns.rdatatype.SOA:
                    self.assertEqual(rdataset, pulled.get_rdataset(name, rdataset.rdtype), name)
        follows = pulled.find_rdataset("follows.example.test.", "A")
        self.assertEqual({"192.0.2.111", "192.0.2.112"}, {each.address for each in follows})

    def test_refused(self) -> None:
        """Nobody gets the zone without the key, or with another secret (RFC 8945 5.2)."""
        self.assertRaises(dns.xfr.TransferError, self.pull, None)
        self.assertRaises(dns.tsig.PeerBadSignature, self.pull, OTHER)

    def test_by_udp(self) -> None:
        """Who asks for differences over UDP is sent on to TCP, and gets the zone (RFC 1995 2)."""
        zone = dns.zone.Zone("example.test.", relativize=False)
        ring = dns.tsigkeyring.from_text({KEY: SECRET})
        query, _ = dns.xfr.make_query(zone, serial=1, keyring=ring, keyname=dns.name.from_text(KEY))
        dns.query.inbound_xfr(LOOPBACK, zone, query, port=self.ports["dns"], timeout=5, lifetime=15,
                              udp_mode=dns.query.UDPMode.TRY_FIRST)
        self.assertEqual(self.pull().nodes.keys(), zone.nodes.keys())

    def test_secondary(self) -> None:
        """Knot DNS takes the zone, and takes it anew at once when we tell it of a change, though
        nobody would ask before two hours are over."""
        secondary = self.secondary()
        wait_until("the secondary has the zone", lambda: self.serial("knot") != 0)
        self.assertEqual(self.serial("dns"), self.serial("knot"))
        self.assertEqual(2, len(self.ask("knot", "follows.example.test.", "A").answer[0]))
        before = self.serial("dns")
        text = self.zone.read_text().replace(" 2024010101 ", " 2024010102 ")
        self.zone.write_text(text + "added A 192.0.2.222\n")
        self.reload()
        wait_until("our serial grows", lambda: self.serial("dns") > before)
        took = wait_until(f"the secondary follows\n{secondary.output}",
                          lambda: self.serial("knot") == self.serial("dns"))
        self.assertLess(took, 2)
        self.assertEqual("192.0.2.222",
                         self.ask("knot", "added.example.test.", "A").answer[0][0].address)

    def reload(self) -> None:
        """`lbctl reload`."""
        done = subprocess.run(
            [sys.executable, "-m", "balancer.lbctl", "--control",
             str(Path(self.directory) / "lb.sock"), "reload"],
            capture_output=True, text=True, timeout=20, cwd=ROOT, check=False)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
