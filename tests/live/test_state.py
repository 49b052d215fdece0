"""
What must survive a restart: who was up, and what the operator's overrides file says.
"""

from __future__ import annotations

import json
import os
import signal

from tests.live.harness import LOOPBACK, Process, free_port, wait_until
from tests.live.origins import HttpOrigin
from tests.live.traffic import Traffic
from tests.live.watch import WatchedTestCase

SITE = """\
[site]
admin = $host:$admin
state = $state

[pool web]
servers =
    a $host:$a
    b $host:$b
    gone $host:$nobody
interval = 200ms

[http web]
listen = $host:$port
pool = web
"""


class StateTests(WatchedTestCase):
    """A balancer with a directory of its own for what it keeps, that is not there yet."""

    def begin(self, state: str) -> Process:
        """Start it with two servers and a port at which nobody answers."""
        self.a = self.enterContext(HttpOrigin("a"))
        self.b = self.enterContext(HttpOrigin("b"))
        self.port = free_port()
        self.state = self.directory / state
        self.watched(SITE, self.port, port=self.port, a=self.a.port, b=self.b.port,
                     nobody=free_port(), state=self.state)
        for name, verdict in (("a", "up"), ("b", "up"), ("gone", "down")):
            self.watch.becomes(verdict, "web", name)
        return self.watch.process

    def again(self) -> None:
        """Start it once more with the same site file."""
        process = self.twistd(self.directory / "site.ini", name="again")
        process.running(self.port)
        self.watch.process = process

    def up(self) -> object:
        """Who is up in the file."""
        return json.loads((self.state / "verdicts.json").read_bytes())["pools"]

    def override(self, text: str) -> None:
        """As an editor does."""
        new = self.state / "overrides~"
        new.write_text(text)
        os.rename(new, self.state / "overrides")

    def test_verdicts(self) -> None:
        """Who is up is written within two seconds of the change, and once more at the end."""
        process = self.begin("kept/state")
        a, b = f"{LOOPBACK}:{self.a.port}", f"{LOOPBACK}:{self.b.port}"
        wait_until("it is written", (self.state / "verdicts.json").exists, within=3)
        wait_until("both are up", lambda: self.up() == {"web": {"a": a, "b": b}}, within=3)
        self.assertEqual(self.state.stat().st_mode & 0o777, 0o750)
        self.b.status = 500
        self.assertEqual(process.stop(), 0)
        self.assertEqual(self.up(), {"web": {"a": a, "b": b}})
        (self.state / "verdicts.json").write_bytes(b"{]")
        self.again()
        self.watch.logged("verdicts.json is not believed")
        self.watch.becomes("up", "web", "a")
        wait_until("it is written anew", lambda: self.read_or_none() == {"web": {"a": a, "b": b}},
                   within=5)

    def read_or_none(self) -> object:
        """The same, None while it is not ours."""
        try:
            return self.up()
        except ValueError:
            return None

    def test_overrides(self) -> None:
        """A line takes a server within two seconds, also over a restart, and nobody sees a request
        fail; a slip changes nothing; without the line the server is back."""
        process = self.begin("state")
        with Traffic(self.port, 2) as traffic:
            wait_until("it is written", self.state.exists, within=3)
            self.override("# for the kernel update\nweb/a drain\n")
            self.watch.becomes("drain", "web", "a", within=2)
            self.assertEqual(self.watch.server("web", "a")["reason"], "overrides, line 2")
            seen = len(self.a.seen)
            self.override("web/a drian\n")
            self.watch.logged("overrides:1: expected one of drain, maint, ready, got 'drian'")
            self.assertIn("did you mean", self.watch.status()["site"]["warnings"][0])
            self.assertEqual(self.watch.server("web", "a")["state"], "drain")
            self.override("*/a drain\n")
            wait_until("it is sound", lambda: not self.watch.status()["site"]["warnings"])
            process.signal(signal.SIGHUP)
            self.assertEqual(self.watch.server("web", "a")["state"], "drain")
        self.assertEqual(traffic.failures(), [])
        self.assertEqual(process.stop(), 0)
        self.again()
        with Traffic(self.port, 2) as traffic:
            self.watch.becomes("up", "web", "b")
            self.assertEqual(len(self.a.seen), seen)
            self.override("")
            self.watch.becomes("up", "web", "a", within=2)
            wait_until("it is served there", lambda: len(self.a.seen) > seen)
        self.assertEqual(traffic.failures(), [])

    def test_cannot_write(self) -> None:
        """A directory that cannot be made is told once, and shown, and holds nobody up."""
        (self.directory / "file").write_text("")
        self.begin("file/state")
        self.watch.logged("cannot be written")
        with Traffic(self.port, 2) as traffic:
            self.b.__exit__(None, None, None)
            self.watch.becomes("down", "web", "b")
            wait_until("it is tried again", lambda: bool(traffic.answers))
            self.watch.process.signal(signal.SIGHUP)
        self.assertEqual(traffic.failures(), [])
        self.assertIn("cannot be written", self.watch.status()["site"]["warnings"][0])
        self.assertEqual(self.watch.process.output.count("cannot be written"), 1)
        self.assertEqual(self.watch.process.stop(), 0)
