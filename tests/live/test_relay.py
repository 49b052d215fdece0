"""
The TCP and UDP relays over real sockets: ends, resets, back-pressure, retries, and whose address
an answer comes from.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from pathlib import Path

from tests.live.harness import LOOPBACK, LiveTestCase, Process, free_port, wait_until
from tests.live.origins import EchoOrigin

SITE = """\
[site]
admin = off
drain-timeout = 1s

[pool tcp]
servers =
    gone $host:$nobody
    here $host:$origin
algorithm = first
check = none

[pool udp]
servers =
    gone $host:$nobody
    here $host:$echo
algorithm = first
check = none

[pool echo]
servers = here $host:$echo
check = none

[tcp relay]
listen = $host:$tcp
pool = tcp
access-log = tcp.log

[udp echo]
listen = 0.0.0.0:$wild
pool = echo

[udp moving]
listen = $host:$udp
pool = udp
idle-timeout = 1s
access-log = udp.log
"""

RESET = struct.pack("ii", 1, 0)


class RelayTests(LiveTestCase):
    """A balancer between sockets of the test, with a server that is not there in each pool."""

    def setUp(self) -> None:
        """Start the balancer; `origin` accepts what it relays."""
        super().setUp()
        self.echo = self.enterContext(EchoOrigin())
        self.origin = self.enterContext(socket.create_server((LOOPBACK, 0)))
        self.origin.settimeout(10)
        self.tcp, self.udp, self.wild = free_port(), free_port(), free_port()
        self.process: Process = self.balancer(
            SITE, self.tcp, host=LOOPBACK, tcp=self.tcp, udp=self.udp, wild=self.wild,
            nobody=free_port(), origin=self.origin.getsockname()[1], echo=self.echo.port)
        # The harness has tried the port: that connection is relayed, too.
        self.origin.accept()[0].close()

    def relayed(self) -> tuple[socket.socket, socket.socket]:
        """A client, and what the origin sees of it."""
        client = self.enterContext(socket.create_connection((LOOPBACK, self.tcp), timeout=10))
        server = self.enterContext(self.origin.accept()[0])
        server.settimeout(10)
        return client, server

    def log_lines(self, name: str, count: int) -> list[str]:
        """The access log, once it has so many lines."""
        path = Path(self.directory / name)
        wait_until(f"{count} lines in {name}",
                   lambda: path.exists() and len(path.read_text().splitlines()) >= count, 5)
        return path.read_text().splitlines()

    def test_half_close(self) -> None:
        """A client that half-closes still gets its answer, and each side sees the other's end."""
        client, server = self.relayed()
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(server.recv(100), b"question")
        self.assertEqual(server.recv(100), b"")
        server.sendall(b"answer")
        server.close()
        self.assertEqual(client.recv(100), b"answer")
        self.assertEqual(client.recv(100), b"")
        line = self.log_lines("tcp.log", 2)[1]
        self.assertRegex(line, r" tcp/relay tcp/here 0/\d+/\d+ 8/6 -- 0$")

    def test_reset(self) -> None:
        """A reset on either side is a reset on the other."""
        for which in (0, 1):
            pair = self.relayed()
            pair[which].sendall(b"half")
            self.assertEqual(pair[1 - which].recv(100), b"half")
            pair[which].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            pair[which].close()
            with self.assertRaises(ConnectionResetError):
                pair[1 - which].recv(100)

    def test_bulk_with_slow_readers(self) -> None:
        """Many bytes both ways at once arrive whole, and are not gathered on the way."""
        client, server = self.relayed()
        block = bytes(range(256)) * 4096
        count = 48
        sums: dict[str, str] = {}

        def send(sock: socket.socket) -> None:
            for _ in range(count):
                sock.sendall(block)
            sock.shutdown(socket.SHUT_WR)

        def take(name: str, sock: socket.socket) -> None:
            found = hashlib.sha256()
            while data := sock.recv(1 << 16):
                found.update(data)
            sums[name] = found.hexdigest()

        before = self.memory()
        senders = [threading.Thread(target=send, args=(s,), daemon=True) for s in (client, server)]
        for thread in senders:
            thread.start()
        # Nobody reads yet: the senders must come to a stand, the balancer must not grow.
        senders[0].join(0.5)
        self.assertTrue(senders[0].is_alive())
        self.assertLess(self.memory() - before, 8 << 20)
        takers = [threading.Thread(target=take, args=each, daemon=True)
                  for each in (("client", client), ("server", server))]
        for thread in takers:
            thread.start()
        for thread in (*senders, *takers):
            thread.join(30)
        expected = hashlib.sha256(block * count).hexdigest()
        self.assertEqual(sums, {"client": expected, "server": expected})

    def memory(self) -> int:
        """Bytes of the balancer's resident set."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * 4096

    def ask(self, sock: socket.socket, text: bytes, where: tuple[str, int]) -> bytes:
        """Send a datagram; its answer, which must come from where it was sent to."""
        sock.sendto(text, where)
        answer, source = sock.recvfrom(100)
        self.assertEqual(source, where)
        return answer

    def test_answers_come_from_the_address_asked(self) -> None:
        """On a wildcard bind an answer leaves from the address that its client asked."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind((LOOPBACK, 0))
            client.settimeout(5)
            for address in ("127.0.0.1", "127.0.0.2", "127.1.2.3"):
                self.assertEqual(self.ask(client, b"hi", (address, self.wild)), b"hi")

    def test_unreachable_server(self) -> None:
        """A flow whose server is unreachable goes on to the next one with its next datagram."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.3)
            client.sendto(b"lost", (LOOPBACK, self.udp))
            self.assertRaises(TimeoutError, client.recvfrom, 100)
            client.settimeout(5)
            for text in (b"one", b"two"):
                self.assertEqual(self.ask(client, text, (LOOPBACK, self.udp)), text)
        (line,) = self.log_lines("udp.log", 1)
        self.assertRegex(line, r" udp/moving udp/here 3/2/\d+ 10/6 -- 0$")
