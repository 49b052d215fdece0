"""
A site whose names follow pools: demo servers in a process of their own, at 127.0.0.11 to .13, and
the balancer that checks them.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dns.edns
import dns.message
import dns.rcode
import dns.rdatatype

from tests.live.dns.asking import Asker
from tests.live.dns.starting import NameServerTestCase
from tests.live.harness import ROOT, Process, free_port, wait_until

ADDRESSES = {"a": "127.0.0.11", "b": "127.0.0.12", "c": "127.0.0.13"}

INTERVAL, TIMEOUT, FALL, RISE = 0.2, 0.2, 2, 1
PROMISE = FALL * INTERVAL + TIMEOUT + 0.2
"""Seconds within which a dead server is out of the answers (promise 1 of the design)."""

SERVERS = "[site]\nadmin = off\ncontrol = $directory/servers.sock\n" + "".join(
    f"[demo {name}]\nhttp = {address}:$port\n" for name, address in ADDRESSES.items())

SITE = """\
[site]
admin = off
control = $directory/lb.sock
state = $directory/state

[pool web]
servers =
    a 127.0.0.11:$port weight=3
    b 127.0.0.12:$port
    c 127.0.0.13:$port weight=0
check = http GET /
interval = 200ms
timeout = $timeout
fall = 2
rise = 1

[pool ordered]
servers =
    a 127.0.0.11:$port
    b 127.0.0.12:$port
    c 127.0.0.13:$port
check = http GET /
interval = 200ms
timeout = $timeout
fall = 2
rise = 1

[dns example.test]
listen = 127.0.0.1:$dns
ns = ns1.example.test
ttl = 30s
answers =
    all pool=ordered
    weighted pool=web policy=weighted
    turns pool=ordered policy=round-robin
    first pool=ordered policy=failover
    empty pool=ordered when-down=nodata
    broken pool=ordered when-down=servfail
"""


def address(message: dns.message.Message) -> list[str]:
    """The addresses in the answer, in their order."""
    return [rdata.address for rrset in message.answer
            if rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA) for rdata in rrset]


def reasons(message: dns.message.Message) -> list[int]:
    """The codes of extended errors (RFC 8914)."""
    return [int(option.code) for option in message.options
            if isinstance(option, dns.edns.EDEOption)]


class PoolsTestCase(NameServerTestCase):
    """The servers and the balancer at work, all servers up."""

    def setUp(self) -> None:
        """Start both."""
        super().setUp()
        self.port, self.dns = free_port(), free_port()
        self.servers = self.start_servers()
        self.process = self.start_balancer()
        self.asker = self.enterContext(Asker(self.dns))
        # Servers that nobody has checked yet are answered, too: the log knows the difference.
        verdicts = [f"{pool}/{name} went up" for pool in ("web", "ordered") for name in ADDRESSES]
        self.until("all are up", lambda: all(each in self.process.output for each in verdicts))

    def start_servers(self) -> Process:
        """The demo servers."""
        text = self.site_file(SERVERS, directory=self.directory, port=self.port)
        path = text.rename(self.directory / "servers.ini")
        process = self.twistd(path, name="servers")
        wait_until("the servers answer", lambda: self.served(ADDRESSES["c"]))
        return process

    def served(self, host: str) -> bool:
        """Whether a server takes requests."""
        try:
            self.tell(host, "GET", "/")
        except OSError:
            return False
        return True

    def start_balancer(self, timeout: str = "200ms", name: str = "balancer") -> Process:
        """The balancer, once it answers queries."""
        path = self.site_file(SITE, directory=self.directory, port=self.port, dns=self.dns,
                              timeout=timeout)
        process = self.twistd(path, name=name)
        process.answering(self.dns)
        return process

    def tell(self, host: str, method: str, path: str) -> None:
        """A request to a server itself."""
        connection = http.client.HTTPConnection(host, self.port, timeout=2)
        try:
            connection.request(method, path)
            connection.getresponse().read()
        finally:
            connection.close()

    def down(self, *names: str) -> float:
        """Let servers fail; when that was."""
        for name in names:
            self.tell(ADDRESSES[name], "POST", "/down")
        return time.monotonic()

    def up(self, *names: str) -> None:
        """Let them work again."""
        for name in names:
            self.tell(ADDRESSES[name], "POST", "/up")

    def ask(self, name: str, rdtype: str = "A") -> dns.message.Message:
        """The balancer's answer about a name of the zone."""
        query = dns.message.make_query(f"{name}.example.test.", rdtype, use_edns=0)
        wire = self.asker.udp(query.to_wire())
        assert wire is not None, f"no answer about {name}"
        return dns.message.from_wire(wire)

    def addresses(self, name: str) -> set[str]:
        """The addresses of a name."""
        return set(address(self.ask(name)))

    def becomes(self, *servers: str) -> float:
        """Wait until `all` has these servers' addresses and no others; when that was seen."""
        wanted = {ADDRESSES[server] for server in servers}
        self.until(f"the answer is {servers}", lambda: self.addresses("all") == wanted)
        return time.monotonic()

    def until(self, what: str, true: Callable[[], bool]) -> None:
        """Wait for it."""
        wait_until(what, true)

    def operator(self, *words: str) -> None:
        """`lbctl WORDS`, which must succeed."""
        control = Path(self.directory / "lb.sock")
        done = subprocess.run(
            [sys.executable, "-m", "balancer.lbctl", "--control", str(control), *words],
            capture_output=True, text=True, timeout=20, cwd=ROOT, check=False)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
