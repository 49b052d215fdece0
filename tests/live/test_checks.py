"""
The checks against the real thing: programs, TCP and UDP on loopback, in trial's own reactor.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from balancer.check.exec import ExecCheck
from balancer.check.tcp import TcpCheck
from balancer.check.udp import UdpCheck
from balancer.interfaces import CheckFailed
from balancer.wire.address import Address, literal
from balancer.wire.deadlines import Ticker, Wheel
from tests.live.harness import free_port, need

REACTOR: Any = reactor


def later(seconds: float) -> Deferred[None]:
    """Fires after some time."""
    waited: Deferred[None] = deferLater(REACTOR, seconds, lambda: None)
    return waited


class ExecTests(TestCase):
    """`exec` runs programs."""

    def setUp(self) -> None:
        """A directory for the programs."""
        need("setsid", "sleep")
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def check(self, script: str, *arguments: str) -> ExecCheck:
        """A check that runs `script`."""
        path = self.directory / f"probe{len(os.listdir(self.directory))}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return ExecCheck(REACTOR, REACTOR, str(path), arguments)

    def probe(self, check: ExecCheck, timeout: float = 10.0) -> Deferred[str]:
        """The check of a server."""
        return check.probe_server("web/a", literal("192.0.2.1", 80), timeout)

    async def test_passes(self) -> None:
        """A program learns of the server, gets its arguments as they are, and passes with 0."""
        check = self.check(
            'echo "$BALANCER_SERVER $BALANCER_ADDRESS $BALANCER_PORT $1 $HOME"; cat', "$x; ls"
        )
        self.assertEqual(await self.probe(check), "web/a 192.0.2.1 80 $x; ls")

    async def test_fails(self) -> None:
        """A program that exits otherwise fails with its status and what it said."""
        error = await self.assertFailure(
            self.probe(self.check("echo dark >&2; exit 3")), CheckFailed
        )
        self.assertEqual(str(error), "exit status 3: dark")

    async def test_no_interpreter(self) -> None:
        """A program that cannot be run fails."""
        check = self.check("")
        Path(check.path).write_text("#!/nonexistent\n")
        await self.assertFailure(self.probe(check), CheckFailed)

    async def test_hung(self) -> None:
        """At the timeout a program and what it started are gone."""
        pids = self.directory / "pids"
        check = self.check(f"sleep 60 & echo $$ $! > {pids}; wait")
        begun = time.monotonic()
        await self.assertFailure(self.probe(check, 0.5), CancelledError)
        self.assertLess(time.monotonic() - begun, 2)
        await self.gone(pids)

    async def test_leftovers(self) -> None:
        """What a program leaves behind neither delays its result nor stays."""
        pids = self.directory / "pids"
        check = self.check(f"sleep 60 & echo $! > {pids}; echo fine")
        begun = time.monotonic()
        self.assertEqual(await self.probe(check), "fine")
        self.assertLess(time.monotonic() - begun, 2)
        await self.gone(pids)

    async def test_many(self) -> None:
        """Descriptors are given back, whatever the end."""
        passing, failing = self.check("echo x"), self.check("sleep 60")
        await self.probe(passing)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            await self.probe(passing)
            await self.assertFailure(self.probe(failing, 0.05), CancelledError, CheckFailed)
        await later(0.1)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    async def gone(self, pids: Path) -> None:
        """Wait until none of the processes lives; a zombie that init has yet to reap is dead."""
        for _ in range(200):
            if not any(_lives(pid) for pid in pids.read_text().split()):
                return
            await later(0.01)
        raise AssertionError("still there")


def _lives(pid: str) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


class NetworkTests(TestCase):
    """`tcp` and `udp` on loopback."""

    def setUp(self) -> None:
        """A wheel that turns."""
        self.wheel = Wheel(REACTOR.seconds())
        ticker = Ticker(REACTOR, self.wheel)
        ticker.start()
        self.addCleanup(ticker.stop)

    def bound(self, kind: int) -> tuple[socket.socket, Address]:
        """A bound socket, closed at the end."""
        bound = socket.socket(socket.AF_INET, kind)
        self.addCleanup(bound.close)
        bound.bind(("127.0.0.1", 0))
        return bound, literal("127.0.0.1", bound.getsockname()[1])

    async def test_tcp(self) -> None:
        """A listening socket passes, and sees its connection reset."""
        listening, address = self.bound(socket.SOCK_STREAM)
        listening.listen()
        self.assertEqual(
            await TcpCheck(REACTOR, self.wheel).probe(address, 5.0), "connected"
        )
        await later(0.05)
        connection, _ = listening.accept()
        with connection:
            self.assertRaises(ConnectionResetError, connection.recv, 1)

    async def test_tcp_refused(self) -> None:
        """A port that nobody listens on fails."""
        address = literal("127.0.0.1", free_port())
        error = await self.assertFailure(
            TcpCheck(REACTOR, self.wheel).probe(address, 5.0), CheckFailed
        )
        self.assertEqual(str(error), "connection refused")

    async def test_udp(self) -> None:
        """A datagram that is answered as expected passes."""
        server, address = self.bound(socket.SOCK_DGRAM)
        done = UdpCheck(REACTOR, b"ping", b"pong").probe(address, 5.0)
        data, peer = server.recvfrom(100)
        server.sendto(data + b" pong", peer)
        self.assertEqual(await done, "9 bytes came back")

    async def test_udp_refused(self) -> None:
        """A port that nobody has is noticed through ICMP, well before the timeout."""
        address = literal("127.0.0.1", free_port())
        begun = time.monotonic()
        await self.assertFailure(UdpCheck(REACTOR).probe(address, 30.0), OSError)
        self.assertLess(time.monotonic() - begun, 5)

    async def test_udp_silence(self) -> None:
        """A bound socket that says nothing passes where nothing is expected."""
        _, address = self.bound(socket.SOCK_DGRAM)
        self.assertEqual(
            await UdpCheck(REACTOR).probe(address, 0.2), "sent, and nobody refused it"
        )
