"""
`bfd` of `[anycast NAME]`: a router loses a silent site at once, and a sound one never.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

from tests.live.harness import LOOPBACK, free_port, need, search_path, wait_until
from tests.live.routers import Bird
from tests.live.test_anycast import LEASE, MORE, SITE, VIP, AnycastTestCase, alive

BFD = "bfd = 3x50ms\ndrain-wait = 200ms\n"

METRIC = 'balancer_anycast_bfd_up{balancer="web",neighbor="10.9.0.2"}'

WATCH = """
protocol bfd { interface "*" { min rx interval 50 ms; min tx interval 50 ms; multiplier 3; }; }
"""

SILENCE = """\
table inet silence {
    chain in { type filter hook input priority 0; policy drop; }
    chain out { type filter hook output priority 0; policy drop; }
}
"""


class BfdTests(AnycastTestCase):
    """A router whose session follows BFD."""

    def setUp(self) -> None:
        """Make the network."""
        super().setUp()
        need("nft")
        self.addCleanup(self.end_bird)

    def end_bird(self) -> None:
        """End what a killed balancer left."""
        for pid in self.beside():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def router(self, options: str = "bfd on;", *, more: str = MORE + BFD,
               hide: tuple[str, ...] = ()) -> None:
        """A router that follows BFD, and the balancer, up to the announcement."""
        self.bird = Bird(self, options, WATCH)
        self.port, self.admin, self.origin = free_port(), free_port(), free_port()
        self.wrap = (*hide, "env", f"PATH={self.exabgp}:{search_path()}")
        self.process = self.balancer(
            SITE, self.port, self.admin, wrap=self.wrap, host=LOOPBACK, admin=self.admin,
            origin=self.origin, port=self.port, neighbor="", more=more, lease=LEASE,
            directory=self.directory)
        self.bird.gets(VIP)

    def metrics(self) -> str:
        """All of them."""
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.admin}/metrics") as answer:
            return str(answer.read().decode())

    def bfd(self) -> set[str]:
        """What the neighbors' sessions are."""
        return {each["bfd"] for each in self.anycast()["neighbors"].values()}

    def beside(self) -> list[int]:
        """The processes of BIRD beside ExaBGP."""
        path, found = str(self.directory / "run" / "bfd.conf").encode(), []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if path in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
        return found

    def bird_pid(self) -> int:
        """The one."""
        pid, = self.beside()
        return pid

    def test_silence(self) -> None:
        """A sound site stays for as long as one looks. One that falls silent, whose connections
        stand, is lost within a second, with a hold time of 9 s."""
        self.router()
        wait_until("both sessions are up", lambda: self.bfd() == {"up"}, 5.0)
        self.assertEqual("", self.anycast()["bird"]["fault"])
        self.assertIn(f"{METRIC} 1.0\n", self.metrics())
        self.bird.keeps(VIP, 4.0, lambda: None)
        # BIRD is asked each second.
        self.assertNotIn("factory", self.process.output)
        start = time.time()
        subprocess.run(("nft", "-f", "-"), input=SILENCE.encode(), check=True,
                       env={"PATH": search_path()})
        gone = self.bird.loses(VIP, 5.0)
        self.assertLess(gone - start, 1.0)

    def test_stop(self) -> None:
        """A reload leaves the sessions alone; ended and started again the balancer is announced as
        soon as ever: the router saw no BFD fail while there was BGP. Nothing is left over."""
        self.router()
        wait_until("both sessions are up", lambda: self.bfd() == {"up"}, 5.0)
        pid = self.bird_pid()
        site = self.directory / "site.ini"
        site.write_text(site.read_text().replace("3x50ms", "4x60ms"))
        self.bird.keeps(VIP, 3.0, lambda: self.process.signal(signal.SIGHUP))
        self.assertEqual((pid, {"up"}), (self.bird_pid(), self.bfd()))
        self.assertIn("0.060", self.bird.ask("show bfd sessions"))
        self.assertEqual(0, self.process.stop())
        self.assertFalse(alive(pid))
        self.process = self.restart("again")
        self.bird.gets(VIP, 15.0)

    def test_killed(self) -> None:
        """A killed balancer is withdrawn by its lease, and BIRD stays meanwhile; the next balancer
        takes it over, and ends it."""
        self.router()
        wait_until("both sessions are up", lambda: self.bfd() == {"up"}, 5.0)
        pid = self.bird_pid()
        self.process.signal(signal.SIGKILL)
        self.bird.loses(VIP, LEASE + 1.0)
        self.assertTrue(alive(pid))
        self.process = self.restart("again")
        self.bird.gets(VIP, 20.0)
        wait_until("both sessions are up", lambda: self.bfd() == {"up"}, 5.0)
        self.assertEqual((pid, True), (self.bird_pid(), self.anycast()["bird"]["adopted"]))
        self.bird.keeps(VIP, 2.0, lambda: None)
        self.assertEqual(0, self.process.stop())
        wait_until("BIRD has ended", lambda: not alive(pid), 2.0)

    def test_exabgp_killed(self) -> None:
        """With BFD, too, no route is lost when ExaBGP is killed."""
        self.router()
        wait_until("both sessions are up", lambda: self.bfd() == {"up"}, 5.0)
        old = self.exabgp_pid()
        self.bird.keeps(VIP, 6.5, lambda: os.kill(old, signal.SIGKILL))
        wait_until("both sessions are up", lambda: self.bfd() == {"up"}, 5.0)

    def test_missing(self) -> None:
        """Without BIRD all but BFD works, and the status says what is missing; its sessions are up
        as soon as it is there."""
        bin_ = self.directory / "bin"
        bin_.mkdir()
        self.exabgp = f"{bin_}:{self.exabgp}"
        self.router(hide=("unshare", "--mount", "sh", "-c",
                          'mount --bind /dev/null /usr/sbin/bird && exec "$@"', "sh"))
        self.assertIn("program bird is not installed", self.anycast()["bird"]["fault"])
        self.assertEqual({"unknown"}, self.bfd())
        self.assertIn(f"{METRIC} 0.0\n", self.metrics())
        self.bird.keeps(VIP, 1.0, lambda: None)
        shutil.copy("/usr/sbin/bird", bin_)
        wait_until("both sessions are up", lambda: self.bfd() == {"up"}, 40.0)
        self.assertEqual("", self.anycast()["bird"]["fault"])
        self.assertIn(f"{METRIC} 1.0\n", self.metrics())
        self.assertEqual(0, self.process.stop())
