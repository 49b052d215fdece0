"""
Before a service manager: a socket of the test's own, in systemd's place (sd_notify(3)).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from tests.live.harness import LOOPBACK, ROOT, LiveTestCase, Process, free_port, wait_until

SITE = """\
[site]
name = here
admin = off
control = $control
drain-timeout = 2s
[demo a]
http = $host:$demo
[pool web]
servers = a $host:$demo
check = exec $check
interval = 200ms
[http web]
listen = $host:$port
pool = web
[tcp held]
listen = $host:$held
pool = web
"""

WATCHDOG = 0.6
"""Seconds: half of it is between two signs of life."""


class Manager:
    """What comes at a socket, and when; `address` is as the environment has it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)
        self.close = self._socket.close
        self.heard: list[tuple[float, list[str]]] = []

    def listen(self, seconds: float = 0.0) -> None:
        """Take what comes in so many seconds."""
        end = time.monotonic() + seconds
        while True:
            try:
                while True:
                    message = self._socket.recv(65536).decode()
                    self.heard.append((time.monotonic(), message.split("\n")))
            except BlockingIOError:
                pass
            if time.monotonic() >= end:
                return
            time.sleep(0.005)

    def states(self) -> list[str]:
        """READY, RELOADING and STOPPING, in their order."""
        self.listen()
        return [line for _, lines in self.heard for line in lines
                if line in ("READY=1", "RELOADING=1", "STOPPING=1")]

    def value(self, name: str) -> str:
        """The latest value of NAME=."""
        self.listen()
        return next((line.partition("=")[2] for _, lines in reversed(self.heard)
                     for line in lines if line.startswith(f"{name}=")), "")

    def lives(self) -> list[float]:
        """When signs of life came."""
        self.listen()
        return [at for at, lines in self.heard if "WATCHDOG=1" in lines]


class NotifyTests(LiveTestCase):
    """The balancer with a manager that listens."""

    def setUp(self) -> None:
        super().setUp()
        self.port, self.held, self.demo = free_port(), free_port(), free_port()
        self.control, self.seen = self.directory / "lb.sock", self.directory / "seen"

    @contextmanager
    def managed(self, address: str, *more: str) -> Iterator[tuple[Process, Manager]]:
        """The balancer, not yet ready perhaps, and its manager."""
        manager = Manager(address)
        try:
            check = self.directory / "check"
            new = f"{self.seen}.new"
            check.write_text(f"#!/bin/sh\nenv > {new} && mv {new} {self.seen}\n")
            check.chmod(0o755)
            site = self.site_file(SITE, host=LOOPBACK, port=self.port, demo=self.demo,
                                  held=self.held, check=check, control=self.control)
            process = self.twistd(site, wrap=("env", f"NOTIFY_SOCKET={address}", *more))
            yield process, manager
        finally:
            manager.close()

    def path(self) -> str:
        """Where a manager may bind."""
        return str(self.directory / "notify")

    def ready(self, manager: Manager, times: int = 1) -> None:
        """Wait for READY=1, so many times in all."""
        wait_until("READY=1", lambda: manager.states().count("READY=1") == times)

    def lbctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`lbctl WORDS`."""
        return subprocess.run(
            [sys.executable, "-m", "balancer.lbctl", "--control", str(self.control), *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
            timeout=30, check=False)

    def test_ready_means_serving(self) -> None:
        """At READY=1 the ports accept and SIGHUP is heard; an abstract address does as well."""
        for address in (self.path(), f"@balancer-test-{os.getpid()}"):
            with self.managed(address) as (process, manager):
                self.ready(manager)
                process.signal(signal.SIGHUP)
                socket.create_connection((LOOPBACK, self.port), timeout=5).close()
                self.ready(manager, times=2)
                self.assertEqual(manager.states(), ["READY=1", "RELOADING=1", "READY=1"])
                self.assertEqual(process.stop(), 0, process.output)
                self.assertEqual(manager.states()[3:], ["STOPPING=1"])

    def test_reload(self) -> None:
        """RELOADING=1 says when; at a bad file READY=1 comes back, STATUS says why, and lbctl,
        which is ExecReload, fails with the line."""
        with self.managed(self.path()) as (process, manager):
            self.ready(manager)
            before = time.monotonic_ns() // 1000
            done = self.lbctl("reload")
            self.assertEqual(done.returncode, 0, done.stderr)
            # By the time that ExecReload ends: systemd would wait for a READY=1 that comes later.
            self.assertEqual(manager.states(), ["READY=1", "RELOADING=1", "READY=1"])
            said = int(manager.value("MONOTONIC_USEC"))
            self.assertTrue(before < said < time.monotonic_ns() // 1000, said)
            self.assertIn("site here: 3 balancers, 1 pools; reloaded: 0 changes",
                          manager.value("STATUS"))
            site = self.directory / "site.ini"
            site.write_text(site.read_text().replace("[http web]", "[htpp web]"))
            done = self.lbctl("reload")
            self.assertEqual(done.returncode, 1)
            self.assertIn("did you mean 'http'?", done.stderr)
            self.assertEqual(manager.states()[3:], ["RELOADING=1", "READY=1"])
            self.assertIn("not reloaded", manager.value("STATUS"))
            self.assertIn(f"{site}:12: ", manager.value("STATUS"))
            socket.create_connection((LOOPBACK, self.port), timeout=5).close()
            self.assertEqual(process.stop(), 0, process.output)

    def test_bad_file_is_never_ready(self) -> None:
        """A start that fails says nothing but its errors."""
        manager = Manager(self.path())
        self.addCleanup(manager.close)
        process = self.twistd(self.site_file("[htpp web]\n"),
                              wrap=("env", f"NOTIFY_SOCKET={manager.address}"))
        self.assertEqual(process.wait(), 1, process.output)
        self.assertEqual(manager.states(), [])

    def test_watchdog(self) -> None:
        """Signs of life come twice within the watchdog's time; none while the process is stopped;
        they go on when it goes on."""
        usec = f"WATCHDOG_USEC={WATCHDOG * 1e6:.0f}"
        with self.managed(self.path(), usec) as (process, manager):
            self.ready(manager)
            first = time.monotonic()
            manager.listen(4 * WATCHDOG)
            lives = [at for at in manager.lives() if at > first]
            self.assertGreaterEqual(len(lives), 4)
            self.assertLess(max(b - a for a, b in pairwise(lives)), WATCHDOG)
            process.signal(signal.SIGSTOP)
            manager.listen(0.1)
            count = len(manager.lives())
            manager.listen(2 * WATCHDOG)
            self.assertEqual(len(manager.lives()), count)
            process.signal(signal.SIGCONT)
            wait_until("it lives", lambda: len(manager.lives()) > count, within=WATCHDOG)
            self.assertEqual(process.stop(), 0, process.output)

    def test_watchdog_of_another(self) -> None:
        """A watchdog for another process gets no sign of ours."""
        with self.managed(self.path(), "WATCHDOG_USEC=100000", "WATCHDOG_PID=1") as (_, manager):
            self.ready(manager)
            manager.listen(0.5)
            self.assertEqual(manager.lives(), [])

    def test_drain_asks_for_time(self) -> None:
        """While a connection holds up the stop, the manager is asked to wait."""
        with self.managed(self.path()) as (process, manager):
            self.ready(manager)
            with socket.create_connection((LOOPBACK, self.held), timeout=5):
                time.sleep(0.2)
                process.signal(signal.SIGTERM)
                wait_until("it asks", lambda: manager.value("EXTEND_TIMEOUT_USEC") == "30000000")
                self.assertEqual(manager.value("STATUS"), "draining for at most 2 s")
                self.assertEqual(process.wait(), 0, process.output)

    def test_children(self) -> None:
        """The program of a check is not told where the manager listens."""
        with self.managed(self.path(), "WATCHDOG_USEC=60000000") as (_, manager):
            self.ready(manager)
            wait_until("a check ran", self.seen.exists)
            self.assertNotRegex(Path(self.seen).read_text(), "NOTIFY_SOCKET|WATCHDOG")

    def test_manager_gone(self) -> None:
        """A manager whose socket is gone holds nothing up, and the log says so."""
        with self.managed(self.path()) as (process, manager):
            self.ready(manager)
            os.unlink(manager.address)
            process.signal(signal.SIGHUP)
            wait_until("it is logged", lambda: "cannot tell" in process.output)
            self.assertEqual(process.stop(), 0, process.output)
