"""
UDP flows over reloads: they leave servers that nobody checks any more, and follow the verdicts of
the pool that they began on.
"""

from __future__ import annotations

import select
import signal
import socket

from attrs import define

from tests.live.harness import LOOPBACK, LiveTestCase, Process, free_port, wait_until

SITE = """\
[site]
admin = off
drain-timeout = 1s

[pool u]
servers =
{servers}
algorithm = first
check = tcp
interval = 100ms
timeout = 1s

[pool v]
servers = c {host}:{other}
check = none

[udp one]
listen = {host}:{udp}
pool = {pool}

[udp two]
listen = {host}:{spare}
pool = u
"""


@define
class Silent:
    """A server that takes datagrams and never answers. Its TCP port is for its checks alone."""

    tcp: socket.socket
    udp: socket.socket

    @property
    def port(self) -> int:
        port: int = self.udp.getsockname()[1]
        return port

    def got(self) -> bool:
        """Whether a datagram is there; all that are, are taken."""
        found = False
        while select.select([self.udp], [], [], 0)[0]:
            self.udp.recv(100)
            found = True
        return found


class FlowReloadTests(LiveTestCase):
    """A client that asks and asks, while the site file changes under its flow."""

    def setUp(self) -> None:
        """Three servers, and the balancer with the first two."""
        super().setUp()
        self.a, self.b, self.c = (self.silent() for _ in range(3))
        self.client = self.enterContext(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.udp, self.spare = free_port(), free_port()
        self.process: Process = self.twistd(self.site_file(self.text()))
        self.process.running()
        self.goes_to(self.a)

    def silent(self) -> Silent:
        """A server."""
        tcp = self.enterContext(socket.create_server((LOOPBACK, free_port())))
        udp = self.enterContext(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(tcp.getsockname())
        return Silent(tcp, udp)

    def text(self, names: str = "ab", pool: str = "u") -> str:
        """The site file."""
        ports = {"a": self.a.port, "b": self.b.port}
        return SITE.format(
            servers="\n".join(f"    {name} {LOOPBACK}:{ports[name]}" for name in names),
            host=LOOPBACK, other=self.c.port, udp=self.udp, spare=self.spare, pool=pool)

    def reload(self, text: str) -> None:
        """Put `text` in force."""
        before = self.process.output.count("reloaded ")
        self.site_file(text)
        self.process.signal(signal.SIGHUP)
        wait_until("it is reloaded", lambda: self.process.output.count("reloaded ") > before)

    def goes_to(self, server: Silent) -> None:
        """The client's datagrams, which are one flow, come to `server`."""
        def there() -> bool:
            self.client.sendto(b"?", (LOOPBACK, self.udp))
            return server.got()
        wait_until("the datagrams come", there, 5)

    def test_removed_server(self) -> None:
        """A flow leaves a server that a reload removed, though it is there and takes all."""
        self.reload(self.text("b"))
        self.goes_to(self.b)
        self.a.got()
        self.goes_to(self.b)
        self.assertFalse(self.a.got())

    def test_another_pool(self) -> None:
        """A flow stays on the pool that it began on, and leaves it for the new one when its server
        goes down there."""
        self.reload(self.text(pool="v"))
        self.goes_to(self.a)
        self.a.tcp.close()
        self.goes_to(self.c)
        self.assertFalse(self.b.got())
