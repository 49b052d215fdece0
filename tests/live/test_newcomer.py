"""
What somebody sees who has just got the balancer: conf/site.ini as it stands, on its real ports.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.request
from configparser import ConfigParser
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.live.harness import (
    LOOPBACK,
    ROOT,
    TWISTD,
    LiveTestCase,
    Process,
    answers,
    ask,
    need,
    wait_until,
)
from tests.live.traffic import Traffic
from tests.pages import Text, pieces

SITE = ROOT / "conf" / "site.ini"
HTTP, TCP, UDP, DNS, ADMIN = 8080, 8081, 8082, 8053, 9180

SITES = {"a": "127.0.0.1", "b": "127.0.0.2"}
"""Where the demo servers are that www.example.test stands for."""

# A server is out after `fall` failed checks, the last of which may take its whole timeout.
INTERVAL, TIMEOUT, FALL, RISE, GRACE = 1.0, 1.0, 3, 2, 0.2


def demo(name: str) -> str:
    """The address of a demo server's HTTP side, from conf/site.ini."""
    site = ConfigParser(interpolation=None)
    site.read(SITE)
    return site[f"demo {name}"]["http"].split()[0]


def curl(url: str, *options: str) -> str:
    """What curl prints; an HTTP error is an error."""
    return ask("curl", "--silent", "--show-error", "--fail", "--max-time", "10", *options, url)


def dig(name: str) -> str:
    """The addresses of a name, as dig prints them, one a line."""
    return ask("dig", f"@{LOOPBACK}", "-p", str(DNS), "+short", name)


def status() -> dict[str, Any]:
    """/api/status."""
    with urllib.request.urlopen(f"http://{LOOPBACK}:{ADMIN}/api/status", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def state(server: str) -> str:
    """A server's state by `POOL/NAME`."""
    pool, name = server.split("/")
    return str(status()["pools"][pool]["servers"][name]["state"])


def both_up() -> bool:
    """Whether both demo servers have been checked and get work."""
    return {state("web/a"), state("web/b")} == {"up"}


class NewcomerTestCase(LiveTestCase):
    """The balancer runs conf/site.ini."""

    def setUp(self) -> None:
        """Start it, as `make run` does, once its ports are known to be free."""
        super().setUp()
        need("curl", "nc", "dig")
        self.ports_are_free()
        self.process = self.begin()

    def ports_are_free(self) -> None:
        """A balancer that runs already must not be taken for the one under test."""
        taken = [port for port in (HTTP, TCP, DNS, ADMIN) if answers(port)]
        if taken:
            raise AssertionError(f"stop what listens on {taken}: these tests need conf/site.ini's "
                                 "own ports")

    def begin(self) -> Process:
        """The balancer, working on its ports."""
        process = self.twistd(SITE)
        process.running(HTTP, TCP, DNS, ADMIN)
        return process


class FirstLookTests(NewcomerTestCase):
    """The first things to try."""

    def test_http_in_turn(self) -> None:
        """curl gets its answers from demo servers a and b in turn, as soon as both are up."""
        wait_until("a and b are up", both_up, within=1)
        bodies = [curl(f"http://{LOOPBACK}:{HTTP}/") for _ in range(6)]
        self.assertEqual(len(set(bodies[:2])), 2, bodies)
        self.assertEqual(bodies[2:], bodies[:4])

    def test_tcp(self) -> None:
        """What nc sends over TCP comes back."""
        self.assertIn("hi", ask("nc", "-N", "-w", "5", LOOPBACK, str(TCP), data=b"hi"))

    def test_tcp_without_half_close(self) -> None:
        """It comes back at once, not only at the client's end."""
        with socket.create_connection((LOOPBACK, TCP), timeout=5) as client:
            for word in (b"hi", b"again"):
                client.sendall(word)
                self.assertIn(word, client.recv(100))

    def test_udp(self) -> None:
        """A datagram comes back."""
        self.assertIn("hi", ask("nc", "-u", "-w", "1", LOOPBACK, str(UDP), data=b"hi"))

    def test_dns(self) -> None:
        """dig gets both demo servers' addresses, each first in its turn; with b down, a's alone."""
        def in_turn() -> bool:
            found = [dig("www.example.test").split() for _ in range(4)]
            self.assertEqual({frozenset(each) for each in found}, {frozenset(SITES.values())})
            return found[0] != found[1] and found[2:] == found[:2]

        wait_until("each comes first in its turn", in_turn)
        curl(f"http://{SITES['b']}:9002/down", "--request", "POST")
        wait_until("b's address is not answered", within=FALL * INTERVAL + TIMEOUT + GRACE,
                   true=lambda: dig("example.test").split() == [SITES["a"]])

    def test_metrics(self) -> None:
        """/metrics is Prometheus' format, every name begins with balancer_, and it counts."""
        for _ in range(4):
            curl(f"http://{LOOPBACK}:{HTTP}/")
        text = curl(f"http://{LOOPBACK}:{ADMIN}/metrics")
        families = {one.name: one for one in text_string_to_metric_families(text)}
        self.assertEqual([name for name in families if not name.startswith("balancer_")], [])
        up = {(s.labels["pool"], s.labels["server"]): s.value
              for s in families["balancer_server_up"].samples}
        self.assertEqual({up["web", name] for name in "ab"}, {1.0})
        given = [s.value for s in families["balancer_server_requests"].samples
                 if s.labels["pool"] == "web"]
        self.assertEqual(sum(given), 4)

    def test_status(self) -> None:
        """/api/status is JSON and shows every pool with its servers up."""
        wait_until("every server is up", lambda: {
            server["state"] for pool in status()["pools"].values()
            for server in pool["servers"].values()} == {"up"})
        self.assertEqual(set(status()["pools"]), {"web", "echo-tcp", "echo-udp", "sites"})
        self.assertLessEqual({"http:web", "tcp:echo", "udp:echo", "dns:example.test"},
                             set(status()["balancers"]))

    def test_healthz(self) -> None:
        """/healthz says ok."""
        self.assertEqual(curl(f"http://{LOOPBACK}:{ADMIN}/healthz"), "ok\n")

    def test_port_taken(self) -> None:
        """A second one exits 2 and names the address that is taken."""
        second = self.twistd(SITE, name="second")
        self.assertEqual(second.wait(), 2, second.output)
        self.assertRegex(second.output, rf"{LOOPBACK}:\d+")
        self.assertEqual(self.process.status, None)

    def test_port_taken_daemonized(self) -> None:
        """So does one that was to go to the background, before it goes there."""
        second = self.twistd(SITE, name="second", foreground=False)
        self.assertEqual(second.wait(), 2, second.output)
        self.assertRegex(second.output, rf"{LOOPBACK}:\d+")
        self.assertFalse((self.directory / "second.pid").exists())

    def test_check_beside_a_running_one(self) -> None:
        """`--check` says that the file is good, and does not mind that its ports are in use."""
        second = self.twistd(SITE, "--check", name="check")
        self.assertEqual(second.wait(), 0, second.output)


class ReadmeTests(NewcomerTestCase):
    """What README.md has a newcomer type."""

    def test_commands(self) -> None:
        """Each line of the block that begins with curl does what it is there for: it succeeds, and
        what it prints has the word that says so."""
        wait_until("a and b are up", both_up)
        found = [each.text.strip().splitlines()
                 for each in pieces((ROOT / "README.md").read_text())
                 if isinstance(each, Text) and each.text.startswith("curl ")]
        words = ("hello from", "hi", "hi", "127.0.0.1", '"pools"', "down", "up", "pool web")
        self.assertEqual([len(words)], [len(block) for block in found])
        (self.directory / ".venv").symlink_to(TWISTD.parent.parent)
        for line, word in zip(found[0], words, strict=True):
            said = ask("env", "-C", str(self.directory), f"PYTHONPATH={ROOT}", "sh", "-c", line)
            self.assertIn(word, said, line)


class DownAndUpTests(NewcomerTestCase):
    """A server fails and recovers under load."""

    def test_down_and_up(self) -> None:
        """A demo server told to fail is out in time, without a failed request, and comes back."""
        wait_until("a and b are up", both_up)
        name = curl(f"http://{demo('a')}/").encode()
        with Traffic(HTTP) as traffic:
            wait_until("a answers", lambda: name in traffic.bodies())
            curl(f"http://{demo('a')}/down", "--request", "POST")
            wait_until("a is down", lambda: state("web/a") == "down",
                       within=FALL * INTERVAL + TIMEOUT + GRACE)
            since = time.monotonic() + 0.1
            wait_until("the others answer", lambda: len(traffic.bodies(since)) > 100)
            self.assertNotIn(name, traffic.bodies(since))
            self.assertEqual(state("web/b"), "up")

            curl(f"http://{demo('a')}/up", "--request", "POST")
            wait_until("a is up", lambda: state("web/a") == "up",
                       within=RISE * INTERVAL + TIMEOUT + GRACE)
            since = time.monotonic()
            wait_until("a answers", lambda: name in traffic.bodies(since))
        self.assertEqual(traffic.failures(), [])
        self.assertGreater(len(traffic.answers), 500)


class StopTests(NewcomerTestCase):
    """The end."""

    def test_sigterm(self) -> None:
        """SIGTERM ends an idle balancer with 0, at once, and frees its ports."""
        start = time.monotonic()
        self.assertEqual(self.process.stop(), 0, self.process.output)
        self.assertLess(time.monotonic() - start, 3)
        self.assertEqual([port for port in (HTTP, TCP, DNS, ADMIN) if answers(port)], [])

    def test_sigint(self) -> None:
        """So does the newcomer's Ctrl-C."""
        self.process.signal(signal.SIGINT)
        self.assertEqual(self.process.wait(), 0, self.process.output)

    def test_sigterm_with_idle_connections(self) -> None:
        """Kept-alive connections without a request do not hold it back."""
        with socket.create_connection((LOOPBACK, HTTP), timeout=5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(b"200", client.recv(65536))
            start = time.monotonic()
            self.assertEqual(self.process.stop(), 0, self.process.output)
            self.assertLess(time.monotonic() - start, 3)

    def test_background(self) -> None:
        """Daemonized it serves as well, and its end removes the pid file."""
        self.process.stop()
        started = self.twistd(SITE, name="daemon", foreground=False)
        self.assertEqual(started.wait(), 0, started.output)
        pidfile = self.directory / "daemon.pid"
        wait_until("it answers", lambda: answers(HTTP) and pidfile.exists())
        curl(f"http://{LOOPBACK}:{HTTP}/")
        os.kill(int(pidfile.read_text()), signal.SIGTERM)
        wait_until("it is gone", lambda: not pidfile.exists() and not answers(HTTP))


class MakeRunTests(NewcomerTestCase):
    """The command that the README names."""

    def begin(self) -> Process:
        """`make run` in the checkout, with the environment that runs this test."""
        need("make")
        environment = TWISTD.parent.parent
        if not (environment / ".run-ready").exists():
            raise AssertionError(f"{environment} was not made by `make test`")
        process = self.start(["make", "-C", str(ROOT), "run", f"VENV={environment}"], "make")
        process.answering(HTTP, TCP, DNS, ADMIN)
        return process

    def test_make_run(self) -> None:
        """`make run` serves."""
        wait_until("a and b are up", both_up, within=1)
        bodies = [curl(f"http://{LOOPBACK}:{HTTP}/") for _ in range(4)]
        self.assertEqual(bodies[2:], bodies[:2])
        os.killpg(self.process.pid, signal.SIGINT)  # as the terminal does at Ctrl-C
        self.process.wait()
        self.assertEqual([port for port in (HTTP, TCP, DNS, ADMIN) if answers(port)], [])
