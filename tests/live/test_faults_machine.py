"""
The machine under the balancer fails: an address goes, a disk is full, the clock jumps.
"""

from __future__ import annotations

import mmap
import signal
import socket
import struct
import time
from pathlib import Path

from tests.live.harness import LOOPBACK, ROOT, free_port, wait_until
from tests.live.namespaces import ip, mounted, network
from tests.live.origins import HttpOrigin, child
from tests.live.traffic import Traffic
from tests.live.watch import WatchedTestCase

SERVICE = "192.0.2.80"

ADDRESSES = """\
[site]
admin = $host:$admin

[pool good]
servers = g $host:$good
check = none

[http web]
listen =
    $host:$port
    $service:$port
pool = good

[tcp relay]
listen = $service:$tcp
pool = good
"""


class AddressTests(WatchedTestCase):
    """A listener's own address, in a network of the test's own."""

    def test_vanishes_and_returns(self) -> None:
        """While its address is gone a listener is out of reach, others are not, and a reload keeps
        it; when the address is back so is the listener, without a restart."""
        with network():
            ip("address", "add", f"{SERVICE}/32", "dev", "lo")
            good = self.enterContext(HttpOrigin("good"))
            port, tcp = free_port(), free_port()
            self.watched(ADDRESSES, port, port=port, tcp=tcp, good=good.port, service=SERVICE)
            with Traffic(port, connections=2) as beside:
                self.assertEqual(self.ask(port), b"HTTP/1.1 200")
                self.assertEqual(self.ask(tcp), b"HTTP/1.1 200")
                ip("address", "del", f"{SERVICE}/32", "dev", "lo")
                with self.assertRaises(OSError):
                    self.ask(port)
                self.watch.process.signal(signal.SIGHUP)
                self.watch.logged("reloaded")
                ip("address", "add", f"{SERVICE}/32", "dev", "lo")
                self.assertEqual(self.ask(port), b"HTTP/1.1 200")
                self.assertEqual(self.ask(tcp), b"HTTP/1.1 200")
            self.assertEqual(beside.failures(), [])
            self.watch.at_rest(self.files)

    def ask(self, port: int) -> bytes:
        """The beginning of an answer from the address."""
        with socket.create_connection((SERVICE, port), timeout=2) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return client.recv(1000)[:12]


LOGS = """\
[site]
admin = $host:$admin

[pool good]
servers = g $host:$good
check = none

[http web]
listen = $host:$port
pool = good
access-log = $log
"""


class FullDiskTests(WatchedTestCase):
    """The access log cannot be written."""

    def test_no_space(self) -> None:
        """A disk that fills up costs log lines and no request; the log says so once, and goes on
        where it was when there is room again."""
        disk = self.directory / "disk"
        disk.mkdir()
        good = self.enterContext(HttpOrigin("good"))
        port = free_port()
        wrap = mounted(f"mount -t tmpfs -o size=16k none {disk}")
        self.watched(LOGS, port, port=port, good=good.port, log=disk / "web.log", wrap=wrap)
        # The test's own mounts have no such disk: the process shows its own.
        inside = Path(f"/proc/{self.watch.process.pid}/root{disk}")
        with Traffic(port) as traffic:
            line = self.watch.logged("cannot write", within=20)
            self.assertIn("No space left on device", line)
            asked = len(traffic.answers)
            wait_until("requests are answered", lambda: len(traffic.answers) > asked + 200)
            written = inside / "web.log"
            full = written.stat().st_size
            written.rename(inside / "web.log.1")
            (inside / "web.log.1").unlink()
            self.watch.process.signal(signal.SIGUSR1)
            wait_until("it is written again", lambda: written.exists()
                       and written.stat().st_size > 0)
        self.assertEqual(traffic.failures(), [])
        self.assertGreater(full, 0)
        self.assertEqual(self.watch.process.output.count("cannot write"), 1)
        self.watch.at_rest(self.files)

    def test_dev_full(self) -> None:
        """/dev/full, from the first line on: the same."""
        good = self.enterContext(HttpOrigin("good"))
        port = free_port()
        self.watched(LOGS, port, port=port, good=good.port, log="/dev/full")
        with Traffic(port) as traffic:
            self.watch.logged("cannot write /dev/full", within=10)
            wait_until("requests are answered", lambda: len(traffic.answers) > 200)
        self.assertEqual(traffic.failures(), [])
        self.watch.at_rest(self.files)
        self.assertEqual(self.watch.process.stop(), 0)


CLOCK = """\
[site]
admin = $host:$admin

[pool good]
servers =
    k $host:$frail
    g $host:$good
interval = 200ms
timeout = 200ms
fall = 2

[http web]
listen = $host:$port
pool = good
head-timeout = 1s
access-log = web.log
log-format = json
"""

WRONG_CLOCK = """\
import mmap, struct, time
_file = open({path!r}, "rb")
_offset = mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ)
_true = time.time
time.time = lambda: _true() + struct.unpack("d", _offset)[0]
"""


class ClockTests(WatchedTestCase):
    """
    The wall clock jumps. What Python reads of it is replaced, for nobody may set the machine's;
    tests/test_wall_clock.py proves that nothing else is read.
    """

    def test_jumps(self) -> None:
        """An hour forth and two back: no request fails, timeouts and checks keep their pace, and
        only the dates in the log jump."""
        path = self.directory / "offset"
        path.write_bytes(struct.pack("d", 0.0))
        (self.directory / "sitecustomize.py").write_text(WRONG_CLOCK.format(path=str(path)))
        good = self.enterContext(HttpOrigin("good"))
        frail, port = free_port(), free_port()
        server = self.start(child("frail", frail), "frail", PYTHONPATH=str(ROOT))
        server.answering(frail)
        self.watched(CLOCK, port, port=port, good=good.port, frail=frail,
                     wrap=("env", f"PYTHONPATH={self.directory}:{ROOT}"))
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 8) as offset, \
                Traffic(port) as traffic:
            for jump in (3600.0, -3600.0):
                offset[:] = struct.pack("d", jump)
                self.goes_on(traffic, port, jump)
            server.kill()
            self.assertLess(self.watch.becomes("down", "good", "k"), 2)
        self.assertEqual(traffic.failures(), [])
        self.watch.at_rest(self.files)

    def goes_on(self, traffic: Traffic, port: int, jump: float) -> None:
        """Requests are answered, timeouts last as long as ever, and the log's dates have jumped."""
        asked = len(traffic.answers)
        wait_until("requests are answered", lambda: len(traffic.answers) > asked + 100)
        self.assertGreater(self.slow_head(port), 0.9)
        wait_until(f"the log's dates are {jump} s off",
                   lambda: abs(self.last_date() - time.time() - jump) < 60)

    def slow_head(self, port: int) -> float:
        """How many seconds a client has until its head is 408."""
        with socket.create_connection((LOOPBACK, port), timeout=5) as client:
            client.sendall(b"GET")
            start = time.monotonic()
            self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 408"))
            return time.monotonic() - start

    def last_date(self) -> float:
        """The Unix time of the last line of the access log."""
        log = Path(self.directory, "web.log")
        if not log.exists() or not log.stat().st_size:
            return 0.0
        date = log.read_text().splitlines()[-1].split('"')[3]
        return time.mktime(time.strptime(date[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
