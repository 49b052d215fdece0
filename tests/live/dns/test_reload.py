"""
DNS over reloads: while servers, zones and options come and go, every query is answered.
"""

from __future__ import annotations

import random
import signal
import socket
import time

import dns.message
import dns.rcode

from tests.live.harness import LOOPBACK, LiveTestCase, Process, free_port, wait_until

RELOADS = 50

WITHIN = 1.0
"""Seconds after which an answer counts as lost."""

SITE = """\
[site]
admin = off
control = $directory/lb.sock
state = $directory/state

[pool web]
check = none
servers =
{servers}

[subdomains own]
zone = example.test
pool = web

[dns example.test]
listen = 127.0.0.1:$port
ttl = {ttl}s
answers =
    www pool=web policy=round-robin
    heavy pool=web policy=weighted
{more}
"""

MORE = "[dns z{number}.test]\nlisten = 127.0.0.1:$port\nanswers = www pool=web\n"

NAMES = ("www.example.test", "heavy.example.test", "www1.example.test", "www3.example.test")


def site(number: int) -> str:
    """The site file of one reload: four servers or more, of changing weights, one zone or two."""
    servers = "\n".join(f"    s{at} 192.0.2.{at}:80 weight={1 + (number + at) % 3}"
                        for at in range(1, 5 + number % 3))
    more = MORE.format(number=number % 2) if number % 3 else ""
    return SITE.format(servers=servers, ttl=5 + number, more=more)


class ReloadTests(LiveTestCase):
    """One asker, who never rests."""

    def ask(self, sock: socket.socket) -> dns.message.Message | None:
        """The answer to a query by UDP; None: it was lost."""
        query = dns.message.make_query(random.choice(NAMES), "A")
        sock.send(query.to_wire())
        try:
            while True:
                answer = dns.message.from_wire(sock.recv(4096))
                if answer.id == query.id:
                    return answer
        except TimeoutError:
            return None

    def reload(self, balancer: Process, number: int, port: int) -> None:
        """Have it take on another site file."""
        self.site_file(site(number), directory=self.directory, port=port)
        balancer.signal(signal.SIGHUP)

    def test_nothing_is_lost(self) -> None:
        """Over 50 reloads that add, remove and weigh servers and zones, no query is lost, none is
        answered by an error or without an address, and what the last file says is in force."""
        port = free_port()
        (self.directory / "state").mkdir()
        balancer = self.balancer(site(0), port, directory=self.directory, port=port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(WITHIN)
            sock.connect((LOOPBACK, port))
            wait_until("it answers", lambda: self.ask(sock) is not None)
            wrong: list[object] = []
            for number in range(1, RELOADS + 1):
                self.reload(balancer, number, port)
                until = time.monotonic() + 0.15
                while time.monotonic() < until:
                    answer = self.ask(sock)
                    if answer is None or answer.rcode() != dns.rcode.NOERROR or not answer.answer:
                        wrong.append((number, answer))
            self.assertEqual(wrong, [])
            wait_until("the last file is in force", lambda: self.ttl(sock) == 5 + RELOADS)

    def ttl(self, sock: socket.socket) -> int:
        """The TTL of one of the answers that follow the section's."""
        answer = self.ask(sock)
        while answer is not None and answer.question[0].name.labels[0] != b"www":
            answer = self.ask(sock)
        return 0 if answer is None or not answer.answer else answer.answer[0].ttl
