"""
The operator's command against a running balancer: what it says is what the wire does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.live.harness import LOOPBACK, ROOT, LiveTestCase, ask, free_port, need, wait_until
from tests.live.origins import HttpOrigin

SITE = """
[site]
admin = off
control = $control
[pool web]
servers =
    a $host:$a
    b $host:$b
interval = 200ms
[http web]
listen = $host:$http
pool = web
routes = path=/gone -> respond 410 gone
"""


class LbctlTests(LiveTestCase):
    """`lbctl` as an operator runs it."""

    def setUp(self) -> None:
        """A site of two servers, both up."""
        super().setUp()
        need("curl")
        self.origins = [HttpOrigin(name).__enter__() for name in "ab"]
        for origin in self.origins:
            self.addCleanup(origin.__exit__, None, None, None)
        self.http = free_port()
        self.control = self.directory / "lb.sock"
        values: dict[str, Any] = {
            "control": self.control,
            "host": LOOPBACK,
            "a": self.origins[0].port,
            "b": self.origins[1].port,
            "http": self.http,
        }
        self.site = self.site_file(SITE, **values)
        self.text = self.site.read_text()
        self.process = self.twistd(self.site)
        self.process.running(self.http)
        wait_until("both are up", lambda: self.states() == {"a": "up", "b": "up"})

    def run_it(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command with these words."""
        command = [sys.executable, "-m", "balancer.lbctl", "--control", str(self.control), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=ROOT)

    def said(self, *words: str) -> str:
        """What a command prints that does what was asked."""
        done = self.run_it(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def told(self, *words: str) -> Any:
        """The same as JSON."""
        return json.loads(self.said("--json", *words))

    def states(self) -> dict[str, str]:
        """The servers' states."""
        servers = self.told("status")["pools"]["web"]["servers"]
        return {name: server["state"] for name, server in servers.items()}

    def bodies(self, count: int = 6) -> set[str]:
        """Who answers."""
        url = f"http://{LOOPBACK}:{self.http}/"
        return {ask("curl", "-sS", "--fail", url) for _ in range(count)}

    def test_status_fits(self) -> None:
        """The tables fit 80 columns and show every server."""
        lines = self.said("status").splitlines()
        self.assertLessEqual(max(map(len, lines)), 80)
        self.assertTrue(any(line.startswith("a ") and " up " in line for line in lines), lines)

    def test_drain_and_ready(self) -> None:
        """A drained server gets nothing more, and is back after `ready`."""
        self.said("drain", "web/a")
        self.assertEqual(len(self.bodies()), 1)
        self.said("ready", "web/a")
        self.assertEqual(len(self.bodies()), 2)

    def test_maint_and_weight(self) -> None:
        """Maintenance and weight 0 keep work away as well."""
        self.said("maint", "web/b")
        self.assertEqual(self.states()["b"], "maint")
        self.assertEqual(len(self.bodies()), 1)
        self.said("ready", "web/b")
        self.said("weight", "web/a", "0")
        self.assertEqual(len(self.bodies()), 1)

    def test_explain_is_what_happens(self) -> None:
        """What `explain` says is what the next request gets."""
        url = f"http://{LOOPBACK}:{self.http}/"
        for _ in range(4):
            chosen = self.told("explain", "http", "GET", url)["chosen"]
            self.assertIn(chosen, ask("curl", "-sS", url))
        self.assertEqual(self.told("explain", "http", "GET", url + "gone")["answer"]["code"], 410)
        self.said("drain", "web/a")
        told = self.said("explain", "http", "GET", url)
        self.assertIn("draining", told)

    def test_plan_and_reload(self) -> None:
        """`plan` says what `reload` then does; a bad file is refused by both with its lines."""
        self.site.write_text(self.text.replace("    b ", "    c "))
        planned = self.told("plan", str(self.site))["changes"]
        self.assertEqual([change[:14] for change in planned], ["- server web/b", "+ server web/c"])
        self.assertEqual(self.told("reload")["changes"], planned)
        self.assertEqual(set(self.states()), {"a", "c"})
        self.site.write_text(self.text.replace("listen", "lisen"))
        for verb in (("plan", str(self.site)), ("reload",), ("check", str(self.site))):
            done = self.run_it(*verb)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("did you mean 'listen'?", done.stdout + done.stderr)
        self.assertEqual(set(self.states()), {"a", "c"})

    def test_events(self) -> None:
        """Events are told in order."""
        self.said("drain", "web/a")
        self.said("ready", "web/a")
        last = self.said("events").splitlines()[-2:]
        self.assertIn("web/a started draining", last[0])
        self.assertIn("web/a became ready", last[1])

    def test_errors(self) -> None:
        """What cannot be done says what to do."""
        done = self.run_it("drain", "web/aa")
        self.assertIn("did you mean 'web/a'", done.stdout + done.stderr)
        done = self.run_it("--control", "/nowhere/lb.sock", "status")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("/nowhere/lb.sock", done.stderr)

    def test_drain_site(self) -> None:
        """`drain site` ends the balancer in good order, and its socket's file goes."""
        self.said("drain", "site")
        self.assertEqual(self.process.wait(), 0)
        self.assertFalse(self.control.exists())
