"""
The lab works, with both kinds of router, and is gone when it is to be.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from lab.failover import HARMS, suffer
from lab.hosts import Hosts, wait_until
from lab.internet import Internet
from lab.planes import last_server_dies
from lab.timeline import FOLLOWERS, PLANES
from tests.live.harness import ROOT, ask, need
from tests.live.labs import LabTestCase
from tests.live.namespaces import need_root

LEASE = 1.0
"""Seconds, as conf/lab has it."""

SLACK = 1.0
"""Seconds for ExaBGP and the router, which take some 20 ms when the machine is not busy."""


def processes(directory: Path) -> list[str]:
    """The command lines that name the directory."""
    return [line for line in ask("ps", "-eo", "args").splitlines()
            if str(directory) in line and "ps -eo" not in line]


class WorkTests(LabTestCase):
    """What a reader of the tour would try."""

    def test_everything(self) -> None:
        """With FRR beside BIRD, clients everywhere reach their site through every plane, and a
        site that goes leaves them to the other one."""
        if not Path("/usr/lib/frr/bgpd").exists():
            need("bgpd")
        internet = self.internet("frr")

        def told(host: str, *words: str) -> str:
            return internet.hosts.ask(host, *words)

        for client, site in (("ann", "east"), ("bob", "west"), ("cyd", "west")):
            for url in ("http://192.0.2.1/", "http://192.0.2.1:8080/", f"http://{site}.lab.test/"):
                said = told(client, "curl", "-sS", "-m", "5", url)
                self.assertIn(f"hello from {site}-", said, f"{client} {url}")
        for client, service in (("ann", "198.51.100.1"), ("bob", "198.51.100.129")):
            self.assertEqual(told(client, "dig", "+short", "www.lab.test").strip(), service)
        said = told("ann", "curl", "-sSL", "-m", "5", "http://www.lab.test/")
        self.assertIn("hello from east-", said)
        said = told("ann", "curl", "-sSLi", "-m", "5", "http://go.lab.test/")
        self.assertRegex(said, r"(?s)302.*Location: http://www[123]\.east\.lab\.test/.*hello from")
        said = told("bob", "sh", "-c", "printf hi | nc -u -w1 192.0.2.1 8080")
        self.assertIn("hello from west-", said)
        self.assertIn("3 of 3 up", told("west2", "lbctl", "status"))
        self.assertIn("10.2.0.3", told("r2", "vtysh", "-c", "show ip bgp 192.0.2.1/32"))

        for server in ("east-a", "east-b", "east-c"):
            internet.hosts.end(server)
        for prefix in ("192.0.2.1", "198.51.100.0/25"):
            wait_until(f"{prefix} is withdrawn", lambda prefix=prefix: not (  # type: ignore[misc]
                internet.hops("r1", prefix) & {"10.1.0.2", "10.1.0.3"}), 5)
        wait_until("west takes ann", lambda: "west-" in told(
            "ann", "curl", "-sS", "-m", "5", "http://192.0.2.1/"), 5)
        self.assertEqual(told("ann", "dig", "+short", "@10.1.0.2", "east.lab.test"), "")


class PlaneTests(LabTestCase):
    """One verdict, four planes."""

    def test_last_server(self) -> None:
        """When the last server of a site is killed, HTTP, TCP, ECMP, DNS and BGP follow within
        200 ms of the verdict, which comes in its time; so they do when it is back; and events name
        the verdict's. On a busy machine one of three times is enough for the clock."""
        internet = self.internet()
        for _ in range(3):
            courses = last_server_dies(internet, "east")
            late = [text for course in courses for text in course.late()]
            self.assertEqual(len(courses), 4)
            for course in courses:
                self.assertEqual(set(course.planes), set(PLANES), course)
                self.assertEqual(set(course.verdict.followers), set(FOLLOWERS), course)
            if not late:
                break
            internet.wait()
        self.assertEqual(late, [], "\n".join(line for each in courses for line in each.lines()))


class FailoverTests(LabTestCase):
    """What clients see when something fails, as the table in docs/reliability.md has it."""

    def test_clients(self) -> None:
        """When a site is drained no request fails; when a balancer is killed they fail for no
        longer than its lease and what the router needs."""
        internet = self.internet()
        drained = suffer(internet, HARMS["drain"])
        self.assertGreater(drained.asked, 200)
        self.assertIsNotNone(drained.gone)
        self.assertEqual(drained.failed, 0, drained)
        # Those that were under way when the router took the other path.
        self.assertLess(drained.again, 10, drained)

        killed = suffer(internet, HARMS["kill"])
        assert killed.gone is not None
        self.assertLess(killed.gone, LEASE + SLACK)
        self.assertLess(killed.ended, LEASE + SLACK)
        # It was asked when it was dead.
        self.assertGreater(killed.failed + killed.again, 0)


class CommandTests(LabTestCase):
    """`python -m lab`."""

    def lab(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command, run to its end."""
        return subprocess.run(
            (sys.executable, "-m", "lab", "--directory", str(self.directory / "lab"), *words),
            cwd=ROOT, capture_output=True, text=True, timeout=60)

    def test_up_and_down(self) -> None:
        """`up` leaves a lab behind, in which others run commands; `down` leaves nothing, not even
        of a lab whose making was killed."""
        need_root()
        self.directory.chmod(0o755)
        self.addCleanup(Internet(Hosts(self.directory / "lab")).down)
        done = self.lab("run", "ann", "--", "true")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no host 'ann' runs here", done.stderr)

        killed = self.start((sys.executable, "-m", "lab", "--directory",
                             str(self.directory / "lab"), "up"), "up", PYTHONPATH=str(ROOT))
        wait_until("it is at work", lambda: len(processes(self.directory / "lab")) > 12)
        killed.signal(signal.SIGKILL)
        killed.wait()
        self.assertNotEqual(processes(self.directory / "lab"), [])

        done = self.lab("up")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("east-c", done.stdout)
        done = self.lab("run", "west1", "--", "sh", "-c", "hostname; exit 3")
        self.assertEqual((done.returncode, done.stdout), (3, "west1\n"))
        self.assertIn("16 of 16 hosts", self.lab("status").stdout)
        self.assertEqual(self.lab("down").stdout, "16 hosts removed\n")
        self.assertEqual(processes(self.directory / "lab"), [])
        self.assertFalse((self.directory / "lab").exists())

    def test_dies_with_its_maker(self) -> None:
        """A lab of a test dies with the test's process, however that ends."""
        need_root()
        self.directory.chmod(0o755)
        script = ("import pathlib, sys, time; from lab.hosts import Hosts; "
                  "hosts = Hosts(pathlib.Path(sys.argv[1])); "
                  "hosts.make({'a': {}}, {'a': '10.0.0.1'}, '10.0.0.1'); "
                  "hosts.start('a', 'x', 'sh', '-c', 'setsid sleep 300 & wait'); time.sleep(60)")
        place = self.directory / "lab"
        place.mkdir()
        maker = self.start((sys.executable, "-c", script, str(place)), "maker",
                           PYTHONPATH=str(ROOT))
        wait_until("it works", (place / "a" / "x.pid").exists)
        hosts = Hosts(place)
        pid = hosts.process("a", "x")
        self.assertIsNotNone(pid)
        maker.signal(signal.SIGKILL)
        maker.wait()
        wait_until("all are gone", lambda: not hosts.pids() and not Path(f"/proc/{pid}").exists(),
                   5)
