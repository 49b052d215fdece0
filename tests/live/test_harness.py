"""
The harness itself, with peers in the balancer's place: a test that proves nothing must be noticed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.live.harness import LOOPBACK, ROOT, LiveTestCase, ask, free_port, need, wait_until
from tests.live.origins import EchoOrigin, HttpOrigin
from tests.live.traffic import Traffic

HAPROXY = """\
defaults
    timeout connect 5s
    timeout client 5s
    timeout server 5s
listen web
    mode http
    bind $host:$port
    server a $host:$a
    server b $host:$b
listen echo
    mode tcp
    bind $host:$tcp
    server a $host:$echo
"""


def gone(pid: int) -> bool:
    """Whether the process has ended; a zombie that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class ProcessTests(LiveTestCase):
    """What is started, and how it ends."""

    def test_peer_with_origins(self) -> None:
        """A peer balances origins of ours; traffic through it counts what failed."""
        need("haproxy", "curl", "nc")
        with HttpOrigin("a") as a, HttpOrigin("b") as b, EchoOrigin() as echo:
            port, tcp = free_port(), free_port()
            config = self.site_file(HAPROXY, host=LOOPBACK, port=port, tcp=tcp, a=a.port,
                                    b=b.port, echo=echo.port)
            peer = self.start(["haproxy", "-db", "-f", str(config)], "haproxy")
            peer.answering(port, tcp)
            self.assertIn(ask("curl", "-s", f"http://{LOOPBACK}:{port}/x"),
                          ("a GET /x\n", "b GET /x\n"))
            self.assertEqual(ask("nc", "-N", LOOPBACK, str(tcp), data=b"hi"), "hi")
            with Traffic(port) as traffic:
                wait_until("both answer", lambda: len(set(traffic.bodies())) == 2)
                self.assertEqual(traffic.failures(), [])
                peer.kill()
                wait_until("failures are seen", lambda: len(traffic.failures()) > 0)

    def test_early_end_is_told(self) -> None:
        """A process that ends before it answers fails the test at once, with its output."""
        process = self.start(["sh", "-c", "echo no such luck; exit 3"], "sh")
        error = self.assertRaises(AssertionError, process.answering, free_port())
        self.assertIn("no such luck", str(error))

    def test_free_ports_differ(self) -> None:
        """A port is given once."""
        self.assertEqual(len({free_port() for _ in range(50)}), 50)

    def test_processes_share_no_port(self) -> None:
        """What is given to a process is given to no other one that runs."""
        program = ("import os; os.getpid = lambda: 7\n"  # both would begin at the same port
                   "from tests.live.harness import free_port\n"
                   "print(*(free_port() for _ in range(50)), flush=True); input()\n")
        given = []
        for _ in range(2):
            process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE,
                                       env={**os.environ, "PYTHONPATH": str(ROOT)})
            self.addCleanup(process.communicate, b"\n")
            assert process.stdout is not None
            given.append(set(process.stdout.readline().split()))
        self.assertEqual([len(each) for each in given], [50, 50])
        self.assertEqual(given[0] & given[1], set())

    def test_children_die_with_the_runner(self) -> None:
        """A runner that is killed leaves no process behind."""
        program = ("import sys, pathlib\n"
                   "from tests.live.harness import Process\n"
                   "here = pathlib.Path(sys.argv[1])\n"
                   "print(Process(['sleep', '60'], here / 'log', here).pid, flush=True)\n"
                   "sys.stdin.read()\n")
        runner = subprocess.Popen([sys.executable, "-c", program, str(self.directory)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  env={**os.environ, "PYTHONPATH": str(ROOT)})
        self.addCleanup(runner.communicate)
        assert runner.stdout is not None
        child = int(runner.stdout.readline())
        self.assertFalse(gone(child))
        runner.send_signal(signal.SIGKILL)
        wait_until("the child is gone", lambda: gone(child), within=5)


class NeedTests(LiveTestCase):
    """A tool that is not there."""

    def test_skips(self) -> None:
        """On somebody's own machine the test is skipped, with the tool's name."""
        self.patch(os, "environ", {**os.environ, "CI": ""})
        error = self.assertRaises(SkipTest, need, "sh", "no-such-tool")
        self.assertIn("no-such-tool", str(error))

    def test_fails_in_ci(self) -> None:
        """In CI it fails."""
        self.patch(os, "environ", {**os.environ, "CI": "true"})
        error = self.assertRaises(AssertionError, need, "sh", "no-such-tool")
        self.assertIn("no-such-tool", str(error))

    def test_there(self) -> None:
        """A tool that is there is no matter."""
        need("sh")
