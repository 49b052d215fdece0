"""
Reloads under load: no request fails, no connection is cut, and a bad file changes nothing.
"""

from __future__ import annotations

import json
import random
import re
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.live.harness import LOOPBACK, LiveTestCase, Process, free_port, need, wait_until
from tests.live.origins import EchoOrigin, HttpOrigin

RELOADS = 50
SECONDS_BETWEEN = 0.15


class ReloadTests(LiveTestCase):
    """The site file changes while traffic flows."""

    timeout = 90

    def setUp(self) -> None:
        """Three HTTP servers, one echo server, and the ports of a site."""
        super().setUp()
        self.origins = [self.enter(HttpOrigin(name)) for name in ("a", "b", "c")]
        self.echo = self.enter(EchoOrigin("echo"))
        self.http, self.tcp, self.other, self.admin = (free_port() for _ in range(4))

    def enter(self, origin: Any) -> Any:
        """Start an origin, and stop it after the test."""
        entered = origin.__enter__()
        self.addCleanup(origin.__exit__, None, None, None)
        return entered

    def text(self, weights: tuple[int, ...] = (1, 1), also: str = "", algorithm: str = "") -> str:
        """A site whose pool has a server for each weight; `also` is appended."""
        servers = "\n".join(
            f"    {origin.name} {LOOPBACK}:{origin.port} weight={weight}"
            for origin, weight in zip(self.origins, weights, strict=False)
        )
        algorithm = algorithm or "round-robin"
        return (
            f"[site]\nadmin = {LOOPBACK}:{self.admin}\ndrain-timeout = 5s\n"
            f"[pool web]\nservers =\n{servers}\ninterval = 200ms\nalgorithm = {algorithm}\n"
            f"[pool echo]\nservers = a {LOOPBACK}:{self.echo.port}\n"
            f"[http web]\nlisten = {LOOPBACK}:{self.http}\npool = web\n"
            f"[tcp echo]\nlisten = {LOOPBACK}:{self.tcp}\npool = echo\n{also}"
        )

    def begin(self) -> Process:
        """The balancer with the first site."""
        self.site = self.site_file(self.text())
        process = self.twistd(self.site)
        process.running(self.http, self.tcp, self.admin)
        return process

    def status(self) -> dict[str, Any]:
        """/api/status."""
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.admin}/api/status", timeout=5) as got:
            found: dict[str, Any] = json.load(got)
        return found

    def reload(self, process: Process, text: str) -> None:
        """Put `text` in force, or try to."""
        self.site.write_text(text)
        process.signal(signal.SIGHUP)

    def variants(self) -> list[str]:
        """Sites that add, remove and re-weight servers and listeners, and change algorithms."""
        chance = random.Random(7)
        more = (
            "",
            f"[tcp more]\nlisten = {LOOPBACK}:{self.other}\npool = echo\n",
            f"[http more]\nlisten = {LOOPBACK}:{self.other}\npool = web\n",
        )
        algorithms = ("round-robin", "least-connections", "p2c", "maglev", "ewma")
        return [
            self.text(
                tuple(chance.randint(1, 5) for _ in range(chance.randint(1, 3))),
                chance.choice(more),
                chance.choice(algorithms),
            )
            for _ in range(RELOADS)
        ]

    def test_fifty_reloads(self) -> None:
        """50 reloads under wrk and with open TCP connections: no request fails, none is reset."""
        need("wrk")
        process = self.begin()
        flows = [socket.create_connection((LOOPBACK, self.tcp), timeout=10) for _ in range(20)]
        for flow in flows:
            self.addCleanup(flow.close)
        seconds = RELOADS * SECONDS_BETWEEN + 2
        url = f"http://{LOOPBACK}:{self.http}/"
        load = subprocess.Popen(
            ["wrk", "-t1", "-c16", f"-d{int(seconds)}s", "--timeout", "10s", url],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(load.kill)
        for number, text in enumerate(self.variants()):
            self.reload(process, text)
            time.sleep(SECONDS_BETWEEN)
            for flow in flows:
                flow.sendall(b"%d" % number)
                self.assertTrue(flow.recv(100))
        told = load.communicate(timeout=30)[0]
        self.assertNotIn("Socket errors", told)
        self.assertNotIn("Non-2xx", told)
        asked = int(re.findall(r"(\d+) requests in", told)[0])
        self.assertGreater(asked, 1000, told)
        done = process.output.count("reloaded ")
        self.assertEqual(done, RELOADS, process.output[-2000:])
        self.assertEqual(process.stop(), 0)

    def test_follows(self) -> None:
        """A reload puts servers and listeners in force, and takes them away again."""
        process = self.begin()
        more = f"[http more]\nlisten = {LOOPBACK}:{self.other}\npool = web\n"
        self.reload(process, self.text((1, 1, 1), more))
        process.answering(self.other)
        self.assertEqual(set(self.status()["pools"]["web"]["servers"]), {"a", "b", "c"})
        self.reload(process, self.text((1,)))
        wait_until("the listener is gone", lambda: self.refused(self.other))
        self.assertEqual(set(self.status()["pools"]["web"]["servers"]), {"a"})

    def test_counters_stay(self) -> None:
        """What was counted before a reload is still there after it."""
        process = self.begin()
        for _ in range(6):
            urllib.request.urlopen(f"http://{LOOPBACK}:{self.http}/", timeout=5).close()
        before = self.status()["pools"]["web"]["servers"]["a"]["requests_total"]
        self.reload(process, self.text((5, 1, 1)))
        wait_until("c is there", lambda: "c" in self.status()["pools"]["web"]["servers"])
        server = self.status()["pools"]["web"]["servers"]["a"]
        self.assertEqual((server["requests_total"], server["state"]), (before, "up"))

    def test_bad_file(self) -> None:
        """A file with errors, or with an address that is taken, leaves everything as it was."""
        process = self.begin()

        def idle() -> bool:
            return not any(each.get("connections") for each in self.status()["balancers"].values())

        wait_until("who asked whether it is there has gone", idle)
        before = self.status()["balancers"]
        with socket.create_server((LOOPBACK, self.other)):
            taken = f"[http more]\nlisten = {LOOPBACK}:{self.other}\npool = web\n"
            for number, text in enumerate((self.text() + "[htpp x]\n", self.text((1,), taken)), 1):
                self.reload(process, text)
                wait_until(
                    "the refusal is told",
                    lambda number=number: process.output.count("not reloaded") == number,  # type: ignore[misc]
                )
                self.assertEqual(self.status()["balancers"], before)
                self.assertEqual(set(self.status()["pools"]["web"]["servers"]), {"a", "b"})
        self.assertIn("did you mean 'http'?", process.output)
        self.assertIn(f"cannot bind {LOOPBACK}:{self.other}", process.output)

    def test_removed_file(self) -> None:
        """A site file that is gone is told, and changes nothing."""
        process = self.begin()
        Path(self.site).unlink()
        process.signal(signal.SIGHUP)
        wait_until("it is told", lambda: "not reloaded" in process.output)
        urllib.request.urlopen(f"http://{LOOPBACK}:{self.http}/", timeout=5).close()

    def refused(self, port: int) -> bool:
        """Whether nobody listens there."""
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        return False
