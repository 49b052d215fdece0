"""
`balancer-announce`, the helper beside ExaBGP, as a process between a test that plays ExaBGP on its
pipes and one that plays the balancer on its socket.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time

from balancer.route.anycast.frames import (
    Frame,
    Hello,
    Neighbor,
    Quit,
    Report,
    Wish,
    decode,
    encode,
)
from balancer.route.anycast.lines import SHOW, SHUTDOWN, Route
from tests.live.harness import ROOT, LiveTestCase, wait_until

KEY = ("10.9.0.2", "192.0.2.1/32")
ANNOUNCE = f"neighbor {KEY[0]} announce route {KEY[1]} next-hop self"
WITHDRAW = f"neighbor {KEY[0]} withdraw route {KEY[1]}"
EOR = f"neighbor {KEY[0]} announce eor ipv4 unicast"
UP = '{"type": "state", "neighbor": {"address": {"peer": "10.9.0.2"}, "state": "up"}}'


class AnnounceTests(LiveTestCase):
    """The helper and both its ends."""

    def setUp(self) -> None:
        """Listen for the helper."""
        super().setUp()
        self.path = str(self.directory / "socket")
        self.door = socket.socket(socket.AF_UNIX)
        self.door.bind(self.path)
        self.door.listen(4)
        self.door.settimeout(5)
        self.addCleanup(self.door.close)
        self.rest = b""

    def begin(self, *options: str, lease: float = 1.0) -> subprocess.Popen[bytes]:
        """The helper, with pipes for ExaBGP's ends."""
        self.helper = subprocess.Popen(
            [sys.executable, "-m", "balancer.route.anycast.shim", "--socket", self.path,
             "--lease", str(lease), *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            cwd=ROOT)
        self.addCleanup(self.end)
        return self.helper

    def end(self) -> None:
        """End it, whatever became of it."""
        if self.helper.poll() is None:
            self.helper.kill()
        self.helper.wait(5)
        for pipe in (self.helper.stdin, self.helper.stdout):
            assert pipe is not None
            pipe.close()

    def accept(self) -> socket.socket:
        """The helper's connection."""
        link, _ = self.door.accept()
        link.settimeout(5)
        self.addCleanup(link.close)
        self.link, self.rest = link, b""
        return link

    def frame(self) -> Frame:
        """What it tells next."""
        while b"\n" not in self.rest:
            data = self.link.recv(65536)
            if not data:
                raise AssertionError("the helper hung up")
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        return decode(line.decode())

    def report(self, announced: bool) -> Report:
        """Wait for the report that the wish is fulfilled."""
        while True:
            frame = self.frame()
            if isinstance(frame, Report) and frame.settled and bool(frame.announced) == announced:
                return frame

    def command(self, within: float = 5.0) -> str:
        """Its next command to ExaBGP; '' if none comes."""
        pipe = self.helper.stdout
        assert pipe is not None
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            if not selector.select(within):
                return ""
        # One command is in flight at most, so that a read is a line.
        return os.read(pipe.fileno(), 65536).decode().rstrip("\n")

    def say(self, text: str) -> None:
        """Say something as ExaBGP."""
        pipe = self.helper.stdin
        assert pipe is not None
        pipe.write(text.encode() + b"\n")
        pipe.flush()

    def wish(self, *keys: tuple[str, str], lease: float = 1.0) -> None:
        """Ask for routes, as the balancer."""
        self.link.sendall(encode(Wish(1, lease, {key: Route(key[1]) for key in keys})))

    def announced(self, lease: float = 1.0) -> None:
        """Up to a route that is announced."""
        self.accept()
        self.assertIsInstance(self.frame(), Hello)
        self.wish(KEY, lease=lease)
        self.assertEqual(SHOW, self.command())
        self.say("done")
        self.assertEqual(ANNOUNCE, self.command())
        self.say("done")
        self.assertEqual(EOR, self.command())
        self.say("error")
        self.report(True)

    def test_lease(self) -> None:
        """It withdraws by itself when the balancer hangs, and when it is gone."""
        for gone in (False, True):
            self.begin()
            self.announced()
            start = time.monotonic()
            if gone:
                self.link.close()
            self.assertEqual("", self.command(0.7))
            self.assertEqual(WITHDRAW, self.command())
            self.assertLess(abs(time.monotonic() - start - 1.0), 0.3)
            self.end()
            if gone:
                return

    def test_back(self) -> None:
        """When the balancer comes back within the lease nothing is said to ExaBGP at all, and all
        is told to the balancer again."""
        self.begin()
        self.announced(lease=3.0)
        self.say(UP)
        self.assertEqual(EOR, self.command())
        self.say("done")
        self.link.close()
        self.accept()
        self.assertIsInstance(self.frame(), Hello)
        self.assertEqual(Neighbor("10.9.0.2", "up", ""), self.frame())
        self.assertEqual((KEY,), self.report(True).announced)
        self.wish(KEY)
        self.assertEqual("", self.command(0.3))

    def test_drains(self) -> None:
        """However much ExaBGP says, it is read, also while nobody reads what the helper tells."""
        self.begin(lease=30.0)
        self.announced(lease=30.0)
        start = time.monotonic()
        for at in range(2000):
            self.say(UP.replace("10.9.0.2", f"10.9.{at % 60}.7") + " " * 5000)
        self.say("x" * 3_000_000)
        self.assertLess(time.monotonic() - start, 10.0)
        self.say(UP)
        self.assertTrue(self.command().endswith("announce eor ipv4 unicast"))

    def test_garbage(self) -> None:
        """What is no frame makes it hang up and come again; the lease goes on meanwhile."""
        self.begin()
        self.announced()
        self.link.sendall(b'{"v": 9, "type": "wish"}\n')
        self.accept()
        self.link.sendall(os.urandom(3_000_000).replace(b"\n", b" ")[:2_000_000] + b"\n")
        self.assertEqual(WITHDRAW, self.command())

    def test_stranger(self) -> None:
        """Who is not the balancer is not listened to."""
        self.begin("--uid", "12345")
        for _ in range(3):
            link = self.accept()
            self.assertEqual(b"", link.recv(100))

    def test_quit(self) -> None:
        """Told to quit it has ExaBGP stop; when that says so, or is gone, it ends."""
        helper = self.begin()
        self.announced()
        self.link.sendall(encode(Quit()))
        self.assertEqual(SHUTDOWN, self.command())
        self.say('{"type": "notification", "notification": "shutdown"}')
        self.assertEqual(0, helper.wait(5))
        helper = self.begin()
        assert helper.stdin is not None
        helper.stdin.close()
        self.assertEqual(0, helper.wait(5))

    def test_signal(self) -> None:
        """SIGTERM ends it at once, with the routes as they are: ExaBGP waits for it."""
        helper = self.begin()
        self.announced()
        helper.send_signal(signal.SIGTERM)
        wait_until("it has ended", lambda: helper.poll() is not None, 2.0)
        self.assertEqual((0, ""), (helper.returncode, self.command(0.1)))

    def test_retire(self) -> None:
        """SIGUSR1 has it withdraw at once, long before its lease is over, and end an ExaBGP of the
        balancer's a second later."""
        helper = self.begin("--orphan", lease=30.0)
        self.announced(lease=30.0)
        self.link.close()
        helper.send_signal(signal.SIGUSR1)
        self.assertEqual(WITHDRAW, self.command(0.3))
        self.say("done")
        self.assertEqual("", self.command(0.5))
        self.assertEqual(SHUTDOWN, self.command())
