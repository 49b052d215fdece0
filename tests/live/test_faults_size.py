"""
Sites far larger than usual: they load soon, work, and change while clients notice nothing; no turn
of the reactor takes long.
"""

from __future__ import annotations

import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.live.harness import LOOPBACK, free_port, wait_until
from tests.live.traffic import Traffic
from tests.live.watch import WatchedTestCase

ORIGIN = """\
[site]
admin = off
control = off

[demo origin]
http = 0.0.0.0:$port
"""

HEAD = """\
[site]
admin = $host:$admin
control = off

"""

FRONT = """
[http web]
listen = $host:$port
pool = $pool
"""

LOADS_WITHIN = 2.0
"""Seconds in which a site file of 20,000 lines must be read and checked."""


def addresses(first: int, count: int) -> Iterator[str]:
    """So many addresses of the loopback, all of them the demo server's."""
    return (f"127.{first + at // 60000}.{at // 250 % 240}.{at % 250 + 1}" for at in range(count))


def pool(name: str, first: int, count: int, port: int, more: str = "") -> str:
    """A [pool] section."""
    lines = "".join(f"    s{at} {address}:{port}\n"
                    for at, address in enumerate(addresses(first, count)))
    return f"[pool {name}]\nservers =\n{lines}{more}\n"


class SizeTests(WatchedTestCase):
    """A demo server that answers at every address of the loopback."""

    def setUp(self) -> None:
        """Start it in a process of its own."""
        super().setUp()
        self.origin, self.port = free_port(), free_port()
        site = self.directory / "origin.ini"
        site.write_text(ORIGIN.replace("$port", str(self.origin)))
        self.twistd(site, name="origin").running(self.origin)

    def steady(self, value: Callable[[], int]) -> int:
        """One look: the metrics of so many servers take seconds."""
        return value()

    def change(self, edit: dict[str, str]) -> None:
        """Replace words of the site file, reload, and wait for that."""
        site = self.directory / "site.ini"
        text = site.read_text()
        for old, new in edit.items():
            self.assertIn(old, text)
            text = text.replace(old, new)
        site.write_text(text)
        log = self.watch.process.log
        before = log.stat().st_size

        def reloaded() -> bool:
            with log.open("rb") as file:
                file.seek(before)  # there are megabytes, and the balancer shares its core with us
                return b"#info] reloaded" in file.read()

        self.watch.process.signal(signal.SIGHUP)
        wait_until("it is reloaded", reloaded)

    def no_long_turns(self, edit: dict[str, str]) -> None:
        """
        Two reloads, metrics and status, under traffic: no request fails, and no turn is long.

        A machine that gives the processor to others makes turns long as well, so there are three
        attempts; work that takes long does so each time.
        """
        before, found = 0.0, [0.0]
        with Traffic(self.port, connections=2) as traffic:
            for _ in range(3):
                wait_until("requests are answered", lambda: len(traffic.answers) > 50)
                self.change({})
                self.change(edit)
                self.watch.status()
                found.append(self.watch.total("balancer_long_turns_total") - before)
                if not found[-1]:
                    break
                before += found[-1]
                edit = {new: old for old, new in edit.items()}
            asked = len(traffic.answers)
            wait_until("requests are answered", lambda: len(traffic.answers) > asked + 50)
        self.assertEqual(traffic.failures(), [])
        self.assertEqual(found[-1], 0, f"long turns: {found}\n{self.watch.process.output[-3000:]}")

    def all_up(self, count: int) -> None:
        """Wait until every server has its verdict, and is up."""
        def ups() -> int:
            time.sleep(0.3)
            return self.watch.process.output.count(" went up: ")

        wait_until(f"{count} servers are up", lambda: ups() >= count, within=30)
        self.assertNotIn("went down", self.watch.process.output)
        self.files = min(self.files, self.watch.files)  # the first checks are over

    def test_5000_servers(self) -> None:
        """5,000 servers in one pool are all checked, balanced over, changed, and shown."""
        site = HEAD + pool("large", 1, 5000, self.origin, "interval = 20s\ntimeout = 5s\n") + FRONT
        self.watched(site, self.port, port=self.port, pool="large")
        self.all_up(5000)
        names = {urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/").read()
                 for _ in range(20)}
        self.assertEqual(len(names), 1)  # one demo server, by however many addresses
        self.assertEqual(self.watch.total("balancer_server_requests_total"), 20)
        self.assertEqual(self.watch.total("balancer_server_up"), 5000)
        self.no_long_turns({"    s4999 ": "    new ", "timeout = 5s": "timeout = 4s"})
        self.watch.at_rest(self.files)

    def test_20000_lines(self) -> None:
        """A site file of 20,000 lines, with 500 pools: it is checked in under 2 s, and then does
        all that a small one does."""
        pools = "".join(pool(f"p{at}", 1 + at, 34, self.origin,
                             "interval = 60s\ntimeout = 5s\nfall = 2\n") for at in range(250))
        few = "".join(pool(f"q{at}", 1 + at, 40, self.origin,
                           "interval = 60s\ntimeout = 5s\nfall = 2\n") for at in range(250))
        routes = "".join(f"    path=/p{at} -> pool p{at}\n    path=/q{at} -> pool q{at}\n"
                         for at in range(250))
        site = HEAD + pools + few + FRONT + "routes =\n" + routes
        path = self.site_file(site, host=LOOPBACK, admin=free_port(), port=self.port, pool="p0")
        lines = path.read_text().splitlines()
        self.assertGreaterEqual(len(lines), 20000)
        self.assertEqual(sum(line.startswith("[pool ") for line in lines), 500)
        self.assertLess(self.checked(path), LOADS_WITHIN)
        self.watched(site, self.port, port=self.port, pool="p0")
        self.all_up(250 * 34 + 250 * 40)
        self.no_long_turns({"fall = 2": "fall = 4", "path=/q9 -> pool q9": "path=/x -> pool q9"})
        self.watch.at_rest(self.files)

    def checked(self, site: Path) -> float:
        """How many seconds `--check` takes for it, without those for starting Python."""
        small = self.directory / "origin.ini"
        took = []
        for path in (small, site):
            start = time.monotonic()
            process = self.twistd(path, "--check", name=f"check-{path.stem}")
            self.assertEqual(process.wait(), 0, process.output)
            took.append(time.monotonic() - start)
        return took[1] - took[0]

