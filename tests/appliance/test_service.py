"""
The service as systemd keeps it: what it may do, how it comes back, how it ends.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.appliance.machine import ApplianceTestCase

SITE = """\
[site]
control = /run/balancer/lb.sock
state = /var/lib/balancer
drain-timeout = 20s
[demo a]
http = 127.0.0.1:9001
tcp = 127.0.0.1:9011
[pool web]
servers = a 127.0.0.1:9001
check = $check
interval = 200ms
timeout = 5s
[pool echo]
servers = a 127.0.0.1:9011
[http front]
listen = 0.0.0.0:80
pool = web
[tcp echo]
listen = 127.0.0.1:8081
pool = echo
"""

MAY = {"write state", "write logs", "write run", "write tmp", "low port"}
"""All that a program of the service may do, of what `look` tries."""

HANG = """\
import os
import time
from types import SimpleNamespace

from balancer.config.values import modifiers


def hang_for_ever(*words):
    while os.path.exists("/var/lib/balancer/hang"):
        os.unlink("/var/lib/balancer/hang")
        time.sleep(600)
    raise ValueError("hangs no more")


def parse(words):
    modifiers(words, {})
    return lambda context: SimpleNamespace(probe=hang_for_ever)


maker = SimpleNamespace(name="hang", help="`hang`: never ends.", parse=parse)
"""
"""A check of a third party that stops the whole process, once."""

HANG_PLUGIN = """\
from balancer.plugins import LazyCheckMaker

hang = LazyCheckMaker("hang.maker", name="hang")
"""

FORKS = """\
#!/bin/sh
trap "" TERM
chain() { (sleep 0.02; chain) & }
chain
sleep 300
"""

HOLD = """\
(echo one; sleep $1; echo two) | timeout 40 python3 -c '
import socket, sys
s = socket.create_connection(("127.0.0.1", 8081))
for line in sys.stdin:
    s.sendall(line.encode()); sys.stdout.write(s.recv(99).decode()); sys.stdout.flush()
' >/tmp/held
"""
"""A connection over the balancer that says something now and in $1 seconds."""


class ServiceTests(ApplianceTestCase):
    """A machine with the package."""

    def setUp(self) -> None:
        """Install it."""
        super().setUp()
        self.does("dpkg -i /debs/balancer.deb")

    def site(self, check: str = "http GET /") -> None:
        """Put the site file in force, once it balances."""
        self.write("/etc/balancer/site.ini", SITE.replace("$check", check))
        self.does("systemctl restart balancer.service")
        self.balances()

    def balances(self) -> None:
        """A request finds its server."""
        self.does("until curl -sf http://127.0.0.1/; do sleep 0.1; done", within=20)

    def drop_in(self, text: str) -> None:
        """Options of the test's own."""
        self.write("/etc/systemd/system/balancer.service.d/test.conf", f"[Service]\n{text}")
        self.does("systemctl daemon-reload")

    def test_may(self) -> None:
        """What the service runs may write to its directories and bind low ports; it sees no other
        process and no home, and every other privilege is refused."""
        shutil.copy(Path(__file__).with_name("look.py"), self.debs / "look.py")
        self.does("echo x >/home/secret; chmod 644 /home/secret")
        self.site("exec /usr/bin/python3 /debs/look.py /var/lib/balancer/found")
        self.does("until [ -e /var/lib/balancer/found ]; do sleep 0.1; done", within=20)
        found = json.loads(self.does("cat /var/lib/balancer/found"))
        self.assertEqual({name for name, what in found.items() if what == "done"}, MAY, found)

    def test_forks(self) -> None:
        """Programs of checks that ignore TERM, one of which forks for ever, end with the service,
        whether it is stopped or crashes."""
        self.write("/usr/local/bin/forks", FORKS)
        self.does("chmod 755 /usr/local/bin/forks")
        for ends in ("systemctl stop", "systemctl kill --kill-who=main -s KILL"):
            self.drop_in("Restart=no\n")
            self.site()
            forks = SITE.replace("$check", "exec /usr/local/bin/forks")
            self.write("/etc/balancer/site.ini", forks)
            self.does("systemctl reload balancer.service; "
                      "until pgrep -u balancer sleep; do sleep 0.05; done", within=10)
            self.does(f"{ends} balancer.service; "
                      "while [ -n \"$(ps -u balancer -o pid=)\" ]; do sleep 0.1; done", within=10)
        self.assertNotIn("cannot be ended", self.journal())

    def test_members(self) -> None:
        """Who is in the group may ask it with lbctl, others may not."""
        self.does("for each in one two; do "
                  "adduser --quiet --disabled-password --gecos '' $each; done; "
                  "adduser --quiet one balancer")
        ask = "setpriv --reuid={0} --regid={0} --init-groups lbctl status"
        self.assertIn("http:front", self.does(ask.format("one")))
        self.assertNotEqual(self.tries(ask.format("two"))[0], 0)

    def test_journal(self) -> None:
        """The journal has each line without a time of ours, as grave as it is: what keeps the
        service from starting, and what went wrong since, can be asked for alone."""
        self.site()
        self.write("/etc/balancer/site.ini", SITE.replace("[http", "[htpt"))
        self.does("! systemctl reload balancer.service && ! systemctl restart balancer.service")
        self.says("did you mean 'http'?")
        grave = self.does("journalctl --no-pager -o cat -p err -u balancer.service")
        self.assertEqual(grave.count("did you mean 'http'?"), 2, grave)
        self.assertIn("not reloaded", grave)
        self.assertNotIn("went up", grave)
        said = self.journal()
        self.assertIn("\nweb/a went up: status 200\n", said)
        self.assertNotRegex(said, "(?m)^<[0-9]>|^[0-9]{4}-")

    def test_killed(self) -> None:
        """A process that was killed is back in a few seconds, with what it knew of its servers."""
        self.site()
        before = self.pid()
        self.does(f"kill -9 {before}")
        self.does("while ! curl -sf http://127.0.0.1/; do sleep 0.1; done", within=15)
        self.assertNotEqual(self.pid(), before)
        self.assertEqual(self.show("NRestarts"), "1")

    def test_hangs(self) -> None:
        """One that hangs is ended by its watchdog, the journal has where it hung, and another
        serves."""
        version = self.does("python3 -c 'import sys; print(*sys.version_info[:2], sep=\".\")'")
        packages = f"/usr/local/lib/python{version.strip()}/dist-packages"
        self.write(f"{packages}/hang.py", HANG)
        self.write(f"{packages}/twisted/plugins/ours.py", HANG_PLUGIN)
        self.does("twistd --help")  # docs/extend.md
        self.site()
        self.assertNotIn("Unable to write", self.journal())
        before = self.pid()
        self.does("touch /var/lib/balancer/hang; chown balancer: /var/lib/balancer/hang")
        self.write("/etc/balancer/site.ini", SITE.replace("$check", "hang"))
        self.does("systemctl kill --kill-who=main -s HUP balancer.service")
        self.says("hang_for_ever", within=30)
        self.does("until systemctl is-active balancer.service; do sleep 0.1; done", within=20)
        self.assertNotEqual(self.pid(), before)
        self.assertEqual(self.show("NRestarts"), "1")
        self.assertIn("Watchdog timeout", self.journal())
        self.does("curl -s http://127.0.0.1/")

    def test_lives(self) -> None:
        """It gives its signs of life in time."""
        before = int(self.show("WatchdogTimestampMonotonic"))
        self.does(f"until [ $(systemctl show --value -p WatchdogTimestampMonotonic "
                  f"balancer.service) -gt {before} ]; do sleep 0.2; done", within=8)

    def test_drain(self) -> None:
        """A stop waits for the drain, beyond the time that the unit gives by itself; what was in
        progress ends as it should, and the service has not failed."""
        self.site()
        self.drop_in("TimeoutStopSec=2\n")
        said = self.does(f"hold() {{ {HOLD} }}; hold 8 & client=$!\n"
                         "until grep -q one /tmp/held; do sleep 0.05; done\n"
                         "systemctl stop balancer.service; wait $client; cat /tmp/held")
        self.assertIn("one\ntwo\n", said)
        self.assertEqual((self.show("ActiveState"), self.show("Result")), ("inactive", "success"))

    def test_boot(self) -> None:
        """It starts with the machine, and after a crash in a row however often."""
        self.does("systemctl stop balancer.service && systemctl isolate multi-user.target")
        self.balances()
        self.drop_in("RestartSec=0\n")
        for _ in range(7):
            self.does("systemctl kill --kill-who=main -s KILL balancer.service; sleep 0.1; "
                      "until systemctl is-active balancer.service; do sleep 0.1; done", within=20)
        self.balances()
