"""
UDP: a server that dies, and a flood of flows that nobody answers.
"""

from __future__ import annotations

import socket
import threading
import time

from tests.live.harness import LOOPBACK, Process, free_port, wait_until
from tests.live.origins import EchoOrigin
from tests.live.watch import WatchedTestCase

CLIENTS = 40

MOST = 100
"""`max-connections` of the flooded balancer."""

SITE = """\
[site]
admin = $host:$admin

[pool echo]
servers =
    k $host:$frail
    e $host:$echo
check = tcp
interval = 200ms
timeout = 200ms
fall = 2

[udp echo]
listen = $host:$udp
pool = echo
idle-timeout = 2s

[pool mixed]
servers = e $host:$echo
check = none

[pool silent]
servers = s $host:$silent
check = none

[udp small]
listen = $host:$small
pool = mixed
max-connections = $most
idle-timeout = 2s
access-log = small.log

[udp flooded]
listen = $host:$flooded
pool = silent
max-connections = $most
idle-timeout = 2s
"""


class DatagramTests(WatchedTestCase):
    """An echo server in a process of its own, one in ours, and one that says nothing."""

    frail: Process

    def setUp(self) -> None:
        """Start it all."""
        super().setUp()
        echo = self.enterContext(EchoOrigin("echo "))
        silent = self.enterContext(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        silent.bind((LOOPBACK, 0))
        self.frail_port = free_port()
        self.start_frail()
        self.udp, self.small, self.flooded = free_port(), free_port(), free_port()
        self.watched(SITE, udp=self.udp, small=self.small, flooded=self.flooded, most=MOST,
                     echo=echo.port, frail=self.frail_port, silent=silent.getsockname()[1])
        self.watch.becomes("up", "echo", "k")

    def start_frail(self) -> None:
        """The server that will die: a balancer with nothing but a [demo] section."""
        site = self.directory / "frail.ini"
        at = f"{LOOPBACK}:{self.frail_port}"
        site.write_text(f"[site]\nadmin = off\ncontrol = off\n\n"
                        f"[demo frail]\ntcp = {at}\nudp = {at}\n")
        self.frail = self.twistd(site, name="frail")
        self.frail.running(self.frail_port)

    def client(self) -> socket.socket:
        """A client's socket: a flow of its own."""
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(client.close)
        client.bind((LOOPBACK, 0))
        client.settimeout(1)
        return client

    def ask(self, client: socket.socket, port: int) -> bytes:
        """Send, and send again like any client of UDP; what came back at last, b'' if nothing."""
        for _ in range(5):
            client.sendto(b"hi", (LOOPBACK, port))
            try:
                return client.recv(100)
            except TimeoutError:
                continue
        return b""

    def test_killed(self) -> None:
        """kill -9: each of its flows goes on to the next server with its next datagram, the other
        flows stay where they are; it gets work again when it is back."""
        clients = [self.client() for _ in range(CLIENTS)]
        before = [self.ask(client, self.udp) for client in clients]
        self.assertEqual(set(before), {b"hi", b"echo hi"})
        self.frail.kill()
        self.assertEqual({self.ask(client, self.udp) for client in clients}, {b"echo hi"})
        self.watch.becomes("down", "echo", "k", within=2)
        self.assertEqual(self.watch.total("balancer_server_in_flight", pool="echo", server="k"), 0)
        self.start_frail()
        self.watch.becomes("up", "echo", "k")
        self.assertIn(b"hi", {self.ask(self.client(), self.udp) for _ in range(4)})
        moved = self.watch.total("balancer_udp_flows_moved_total", balancer="echo")
        forgotten = self.watch.total("balancer_udp_ended_total", balancer="echo")
        self.assertGreaterEqual(moved + forgotten, before.count(b"hi"))
        self.watch.logged("echo/k went down")
        self.watch.at_rest(self.files)

    def flood(self, port: int, seconds: float, count: int) -> None:
        """`count` new flows, over some seconds."""
        target = (LOOPBACK, port)
        for at in range(count):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.sendto(b"flood", target)
            if at % 20 == 0:
                time.sleep(seconds * 20 / count)

    def test_flood(self) -> None:
        """2,000 new flows against max-connections = 100, to a server that answers nobody: there are
        never more, the oldest give way, and another balancer's client notices nothing."""
        working = self.client()
        flooding = threading.Thread(target=self.flood, args=(self.flooded, 1.0, 2000), daemon=True)
        flooding.start()
        most = 0.0
        while flooding.is_alive():
            self.assertEqual(self.ask(working, self.udp)[-2:], b"hi")
            most = max(most, self.watch.total("balancer_udp_flows", balancer="flooded"))
        self.assertEqual(most, MOST)
        wait_until("every flow was seen", lambda: self.watch.total(
            "balancer_udp_flows_opened_total", balancer="flooded") > 1000)
        self.assertGreater(self.watch.total("balancer_udp_ended_total", balancer="flooded",
                                            how="PD"), 500)
        self.watch.at_rest(self.files)

    def test_flood_beside_flows_at_work(self) -> None:
        """Flows that were answered do not give way: new ones are dropped and counted."""
        clients = [self.client() for _ in range(MOST)]
        self.assertEqual({self.ask(client, self.small) for client in clients}, {b"echo hi"})
        self.flood(self.small, 0.5, 1000)
        self.assertEqual({self.ask(client, self.small) for client in clients}, {b"echo hi"})
        wait_until("they are counted", lambda: self.watch.total(
            "balancer_udp_dropped_total", balancer="small", reason="full") == 1000)
        self.assertEqual(self.watch.total("balancer_udp_flows", balancer="small"), MOST)
        self.watch.at_rest(self.files)
