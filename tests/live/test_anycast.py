"""
`[anycast NAME]` with real ExaBGP, both versions, and BIRD as the router: announced means alive.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.live.harness import (
    LOOPBACK,
    ROOT,
    LiveTestCase,
    Process,
    ask,
    free_port,
    need,
    search_path,
    wait_until,
)
from tests.live.namespaces import network
from tests.live.routers import Bird

VIP, VIP6, WIDE = "192.0.2.53/32", "2001:db8::53/128", "198.51.100.0/24"

LEASE = 1.5

SITE = """\
[site]
admin = $host:$admin
state = $directory/run
control = $directory/lb.sock

[demo a]
http = $host:$origin

[pool web]
servers = a $host:$origin
check = http GET /
interval = 100ms
rise = 1
fall = 1

[http www]
listen = 0.0.0.0:$port
pool = web

[anycast web]
prefixes = 192.0.2.53/32 2001:db8::53/128 198.51.100.0/24
when = http:www, pool:web
neighbors =
    10.9.0.2 as=65001 hold-time=9s $neighbor
    fd09::2 as=65001 hold-time=9s $neighbor
local-as = 65010
lease = ${lease}s
$more
"""

MORE = "hold-down = 200ms\n"


def alive(pid: int) -> bool:
    """Whether the process runs; one that nobody waits for does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


class AnycastTestCase(LiveTestCase):
    """A balancer with a server, and a router on a link."""

    exabgp = "/usr/sbin"
    wrap: tuple[str, ...] = ()

    def setUp(self) -> None:
        """Make the network."""
        super().setUp()
        self.enterContext(network())
        need("ip", "setsid", "curl")
        if not (Path(self.exabgp) / "exabgp").exists():
            need("exabgp")
        # ExaBGP runs as another user, and its helper with it.
        self.directory.chmod(0o755)
        self.addCleanup(self.end_exabgp)

    def end_exabgp(self) -> None:
        """End what a killed balancer left: it is in a session of its own."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes()
                if str(self.directory).encode() in words and b"exabgp.conf" in words:
                    os.kill(int(process.name), signal.SIGKILL)
            except (OSError, ValueError):
                continue

    def begin(self, more: str = MORE, neighbor: str = "", options: str = "") -> None:
        """The router and the balancer, up to the announcement of all prefixes."""
        self.bird = Bird(self, options)
        self.port, self.admin, self.origin = free_port(), free_port(), free_port()
        self.values = {"host": LOOPBACK, "admin": self.admin, "origin": self.origin,
                       "port": self.port, "neighbor": neighbor, "more": more, "lease": LEASE,
                       "directory": self.directory}
        self.wrap = ("env", f"PATH={self.exabgp}:{search_path()}")
        self.process = self.balancer(SITE, self.port, self.admin, wrap=self.wrap, **self.values)
        for prefix in (VIP, VIP6, WIDE):
            self.bird.gets(prefix)

    def status(self) -> Mapping[str, Any]:
        """All of the balancer's status."""
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.admin}/api/status") as answer:
            found: Mapping[str, Any] = json.load(answer)
        return found

    def anycast(self) -> Mapping[str, Any]:
        """The section's part of it."""
        found: Mapping[str, Any] = self.status()["balancers"]["anycast:web"]
        return found

    def post(self, path: str) -> None:
        """Have the server fail or recover."""
        url = f"http://{LOOPBACK}:{self.origin}{path}"
        urllib.request.urlopen(urllib.request.Request(url, method="POST")).close()

    def exabgp_pid(self) -> int:
        """ExaBGP's process."""
        return int(self.anycast()["exabgp"]["pid"])

    def restart(self, name: str) -> Process:
        """Another balancer with the same site file."""
        process = self.twistd(self.directory / "site.ini", name=name, wrap=self.wrap)
        process.running(self.port, self.admin)
        return process


class Both:
    """What holds with each version of ExaBGP."""

    def test_verdict(self: Any) -> None:
        """A prefix comes with its attributes when its service is healthy, goes within 200 ms of the
        verdict that it is not, and comes back; its addresses are there before and gone after."""
        self.begin(MORE + "med = 100\ncommunity = 65010:7 65010:1:2\nprepend = 2\n")
        route = self.bird.route(VIP)
        for attribute in ("med: 100", "as_path: 65010 65010 65010\n", "(65010,7)",
                          "(65010, 1, 2)", "next_hop: 10.9.0.1"):
            self.assertIn(attribute, route)
        self.assertIn("next_hop: fd09::1", self.bird.route(VIP6))
        self.assertIn("192.0.2.53/32", ask("ip", "address", "show", "dev", "lo"))
        self.bird.run("ip", "route", "add", "198.51.100.0/24", "via", "10.9.0.1")
        self.bird.run("curl", "-s", "-m", "2", "-o", "/dev/null", f"http://198.51.100.77:{self.port}/")
        self.post("/down")
        gone = self.bird.loses(VIP, 5.0)
        self.bird.loses(VIP6, 0.2)
        verdict = [each["at"] for each in self.status()["events"] if each["event"] == "WentDown"]
        self.assertLess(gone - verdict[-1], 0.2)
        wait_until("its addresses are gone", lambda: "192.0.2.53" not in ask(
            "ip", "address", "show", "dev", "lo"), 2.0)
        self.assertEqual(self.anycast()["state"], "down")
        self.post("/up")
        self.bird.gets(VIP, 5.0)
        wait_until("both are told of",
                   lambda: self.anycast()["neighbors"]["10.9.0.2"]["routes"] == 2)

    def test_killed(self: Any) -> None:
        """A balancer that is killed is withdrawn within its lease, by ExaBGP's helper, which
        outlives it; the next one takes over and ends that ExaBGP."""
        self.begin()
        old = self.exabgp_pid()
        self.process.signal(signal.SIGKILL)
        start = time.monotonic()
        self.bird.loses(VIP, LEASE + 1.0)
        self.assertLess(time.monotonic() - start, LEASE + 0.5)
        self.process = self.restart("again")
        self.bird.gets(VIP)
        self.assertNotEqual(self.exabgp_pid(), old)
        wait_until("the old ExaBGP has ended", lambda: not alive(old), 2.0)

    def test_stopped(self: Any) -> None:
        """A balancer that hangs is withdrawn within its lease, and when it goes on it announces
        again after hold-down."""
        self.begin("hold-down = 1s\n")
        self.process.signal(signal.SIGSTOP)
        start = time.monotonic()
        self.bird.loses(VIP, LEASE + 1.0)
        self.assertLess(time.monotonic() - start, LEASE + 0.5)
        self.process.signal(signal.SIGCONT)
        self.assertGreater(self.bird.gets(VIP), 0.9)

    def test_exabgp_killed(self: Any) -> None:
        """When ExaBGP is killed a new one takes over, and no route is lost meanwhile."""
        self.begin()
        old = self.exabgp_pid()
        looks = self.bird.keeps(VIP, 6.5, lambda: os.kill(old, signal.SIGKILL))
        self.assertGreater(looks, 500)
        self.assertNotEqual(self.exabgp_pid(), old)
        self.assertEqual(self.bird.established(), 2)
        self.assertNotIn("stale", self.bird.route(VIP))
        self.post("/down")
        self.bird.loses(VIP, 2.0)

    def test_helper_killed(self: Any) -> None:
        """When the helper is killed the routes stay, and the next one withdraws what is to go."""
        self.begin()
        old = int(self.anycast()["exabgp"]["helper"])
        self.bird.keeps(VIP, 1.0, lambda: os.kill(old, signal.SIGKILL))
        wait_until("another helper", lambda: self.anycast()["exabgp"]["helper"] not in (None, old))
        os.kill(int(self.anycast()["exabgp"]["helper"]), signal.SIGKILL)
        self.post("/down")
        self.bird.loses(VIP, 3.0)
        self.bird.loses(VIP6, 0.2)

    def test_helper_hangs(self: Any) -> None:
        """A helper that hangs is noticed within two leases and replaced, and no route is lost
        meanwhile: the lease holds again."""
        self.begin()
        exabgp, old = self.exabgp_pid(), int(self.anycast()["exabgp"]["helper"])
        self.bird.keeps(VIP, 2 * LEASE, lambda: os.kill(old, signal.SIGSTOP))
        wait_until("another helper", lambda: self.anycast()["exabgp"]["helper"] not in (None, old),
                   3.0)
        self.assertIn("has not answered for 1.5 s", self.process.output)
        self.assertFalse(alive(old))
        self.assertEqual((exabgp, ""), (self.exabgp_pid(), self.anycast()["exabgp"]["fault"]))
        self.bird.keeps(VIP, 1.0, lambda: None)
        self.process.signal(signal.SIGKILL)
        self.bird.loses(VIP, LEASE + 1.0)

    def test_clean_stop(self: Any) -> None:
        """SIGTERM makes the route worse, then withdraws it, then drains: until the withdrawal
        new requests are served, and the end is clean."""
        more = "drain-wait = 1s\ndrain-community = graceful-shutdown\ndrain-prepend = 3\n"
        self.begin(MORE + more)
        self.process.signal(signal.SIGTERM)
        wait_until("the route is worse", lambda: "(65535,0)" in self.bird.route(VIP), 1.0)
        self.assertIn("as_path: 65010 65010 65010 65010\n", self.bird.route(VIP))
        answered = 0
        while self.bird.has(VIP):
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/", timeout=2) as answer:
                answered += answer.status == 200
        self.assertGreater(answered, 10)
        self.assertEqual(self.process.wait(), 0)
        self.assertNotIn("192.0.2.53", ask("ip", "address", "show", "dev", "lo"))
        wait_until("both sessions are closed", lambda: self.bird.established() == 0, 2.0)

    def test_password(self: Any) -> None:
        """A session with a TCP MD5 password and TTL security is established."""
        secret = self.directory / "secret"
        secret.write_text("only {for} us; #1\n")
        options = 'password "only {for} us; #1"; ttl security on;'
        self.begin(neighbor=f"password-file={secret} ttl-security=1", options=options)
        self.assertEqual(self.bird.established(), 2)

    def test_reload(self: Any) -> None:
        """A reload that changes what is announced does that and no more: the session stays."""
        self.begin()
        since = re.findall(r"b4 .*", self.bird.ask("show protocols"))
        site = self.directory / "site.ini"
        site.write_text(site.read_text().replace(WIDE, "203.0.113.0/24") + "med = 7\n")
        self.bird.keeps(VIP, 0.5, lambda: self.process.signal(signal.SIGHUP))
        self.bird.gets("203.0.113.0/24", 2.0)
        self.bird.loses(WIDE, 1.0)
        self.assertIn("med: 7", self.bird.route(VIP))
        self.assertEqual(re.findall(r"b4 .*", self.bird.ask("show protocols")), since)


class DebianTests(Both, AnycastTestCase):
    """ExaBGP 4.2, of Debian 12."""


class NewestTests(Both, AnycastTestCase):
    """ExaBGP 5.0, of PyPI."""

    exabgp = os.environ.get("EXABGP5", str(Path(sys.executable).parent))


class WaitTests(AnycastTestCase):
    """How long a prefix waits."""

    def test_damping(self) -> None:
        """What was withdrawn too often is announced again after the period only."""
        self.begin("hold-down = 100ms\ndamping = 2 in 3s\n")
        for _ in range(2):
            self.post("/down")
            self.bird.loses(VIP, 2.0)
            start = time.monotonic()
            self.post("/up")
            self.bird.gets(VIP, 5.0)
        self.assertGreater(time.monotonic() - start, 2.5)

    def test_missing(self) -> None:
        """Without ExaBGP the balancer works, says what is missing, and announces as soon as it is
        there."""
        self.bird = Bird(self)
        bin_ = self.directory / "bin"
        bin_.mkdir()
        (bin_ / "ip").symlink_to("/usr/sbin/ip")
        port, self.admin, origin = free_port(), free_port(), free_port()
        # The program is looked for where packages put it, too: that is hidden here.
        hide = ("unshare", "--mount", "sh", "-c",
                'mount --bind /dev/null /usr/sbin/exabgp && exec "$@"', "sh")
        self.process = self.balancer(
            SITE, port, self.admin, wrap=(*hide, "env", f"PATH={bin_}:/usr/bin:/bin"),
            host=LOOPBACK, admin=self.admin, origin=origin, port=port, neighbor="", more=MORE,
            lease=LEASE, directory=self.directory)
        wait_until("it says so", lambda: "not installed" in self.anycast()["exabgp"]["fault"])
        self.assertFalse(self.bird.has(VIP))
        program = bin_ / "exabgp"
        program.write_text(f"#!/bin/sh\nexec {NewestTests.exabgp}/exabgp \"$@\"\n")
        program.chmod(0o755)
        self.bird.gets(VIP, 30.0)

    def test_no_resolver(self) -> None:
        """It announces where the machine does not know its own name and no resolver answers:
        these may be beyond the routes that it is to announce."""
        self.bird = Bird(self)
        ask("ip", "neighbor", "add", "10.9.0.77", "lladdr", "02:00:00:00:00:77", "dev", "b0")
        names = self.directory / "resolv.conf"
        names.write_text("nameserver 10.9.0.77\n")
        nameless = ("unshare", "--mount", "--uts", "sh", "-e", "-c",
                    f'mount --bind {names} /etc/resolv.conf; hostname nowhere; exec "$@"', "sh")
        port, self.admin, origin = free_port(), free_port(), free_port()
        self.balancer(
            SITE, port, self.admin, wrap=(*nameless, "env", f"PATH={self.exabgp}:{search_path()}"),
            host=LOOPBACK, admin=self.admin, origin=origin, port=port, neighbor="", more=MORE,
            lease=LEASE, directory=self.directory)
        self.bird.gets(VIP, 15.0)
        self.assertEqual(self.anycast()["exabgp"]["starts_total"], 1)

    def test_crashing(self) -> None:
        """An ExaBGP that floods its log and ends with status 0 is started again, ever later."""
        bin_ = self.directory / "bin"
        bin_.mkdir()
        program = bin_ / "exabgp"
        program.write_text("#!/bin/sh\nyes 'it is all wrong' | head -c 3000000 >&2\nexit 0\n")
        program.chmod(0o755)
        self.exabgp = str(bin_)
        self.bird = Bird(self)
        port, self.admin, origin = free_port(), free_port(), free_port()
        process = self.balancer(
            SITE, port, self.admin, wrap=("env", f"PATH={bin_}:{search_path()}"), host=LOOPBACK,
            admin=self.admin, origin=origin, port=port, neighbor="",
            more=f"{MORE}drain-wait = 100ms\n", lease=LEASE, directory=self.directory)
        wait_until("it was tried again",
                   lambda: self.anycast()["exabgp"]["starts_total"] >= 3, 10.0)
        fault = self.anycast()["exabgp"]["fault"]
        self.assertIn("ended with status 0", fault)
        self.assertIn("it is all wrong", fault)
        self.assertLess(len(process.output), 20000)
        self.assertFalse(self.bird.has(VIP))
        self.assertEqual(process.stop(), 0)

    def test_device(self) -> None:
        """What cannot be placed is not announced; when its device goes it is withdrawn."""
        self.bird = Bird(self)
        port, self.admin, origin = free_port(), free_port(), free_port()
        self.balancer(
            SITE, port, self.admin, wrap=("env", f"PATH={self.exabgp}:{search_path()}"),
            host=LOOPBACK, admin=self.admin, origin=origin, port=port, neighbor="",
            more=f"{MORE}vip-device = vip0\n", lease=LEASE, directory=self.directory)
        wait_until("it says why", lambda: "vip0" in self.anycast()["vip_fault"])
        self.assertFalse(self.bird.has(VIP))
        ask("ip", "link", "add", "vip0", "type", "veth", "peer", "name", "vip1")
        ask("ip", "link", "set", "vip0", "up")
        self.bird.gets(VIP, 10.0)
        ask("ip", "link", "del", "vip0")
        self.bird.loses(VIP, 8.0)


NEIGHBORS = """\
import contextlib, socket
door = socket.create_server(("10.9.0.3", 179))
quiet = socket.create_server(("10.9.0.4", 179))  # the kernel accepts, nobody reads
while True:
    with contextlib.suppress(OSError), door.accept()[0] as link:
        link.sendall(b"GARBAGE" * 20000)
"""


class FaultyNeighborTests(AnycastTestCase):
    """Neighbors that are no good beside one that is."""

    def test_faulty(self) -> None:
        """One that refuses, one that sends garbage and one that takes the connection and says
        nothing: each has its state, and the good one has its routes all the time."""
        site = SITE.replace("    fd09", "    10.9.0.3 as=1\n    10.9.0.4 as=1 hold-time=3s\n"
                            "    10.9.0.5 as=1\n    fd09")
        self.bird = Bird(self)
        for last in (3, 4, 5):
            self.bird.run("ip", "address", "add", f"10.9.0.{last}/24", "dev", "r0")
        script = self.directory / "neighbors.py"
        script.write_text(NEIGHBORS)
        self.start(["nsenter", "-t", str(self.bird.process.pid), "-n", sys.executable,
                    str(script)], "neighbors")
        port, self.admin, self.origin = free_port(), free_port(), free_port()
        self.balancer(
            site, port, self.admin, wrap=("env", f"PATH={self.exabgp}:{search_path()}"),
            host=LOOPBACK, admin=self.admin, origin=self.origin, port=port, neighbor="", more=MORE,
            lease=LEASE, directory=self.directory)
        self.bird.gets(VIP)

        def errors() -> list[str]:
            found = self.anycast()["neighbors"]
            return [address for address in ("10.9.0.3", "10.9.0.5")
                    if found[address]["last_error"] and not found[address]["established"]]
        self.bird.keeps(VIP, 5.0, lambda: None)
        wait_until("the others' faults are told", lambda: len(errors()) == 2)
        self.assertFalse(self.anycast()["neighbors"]["10.9.0.4"]["established"])
        self.post("/down")
        self.bird.loses(VIP, 2.0)


class ExternalTests(AnycastTestCase):
    """An ExaBGP that the operator runs."""

    def test_external(self) -> None:
        """The configuration that the status shows is all that it needs; what else it announces is
        left alone. A helper that hangs is a fault until it goes on."""
        self.bird = Bird(self)
        port, self.admin, origin = free_port(), free_port(), free_port()
        process = self.balancer(
            SITE, port, self.admin, host=LOOPBACK, admin=self.admin, origin=origin, port=port,
            neighbor="", more=f"{MORE}exabgp = external\n", lease=LEASE,
            directory=self.directory)
        text = self.anycast()["exabgp"]["configuration"]
        self.assertIn("helper is not connected", self.anycast()["exabgp"]["fault"])
        # What a neighbor with a password has there.
        text = text.replace("    capability {", "    # md5-password as in /x;\n    capability {")
        text = text.replace("    family {", "    static { route 203.0.113.9/32 next-hop self; }\n"
                            "    family {", 1)
        path = self.directory / "own.conf"
        path.write_text(text)
        path.chmod(0o644)
        environment = {"exabgp.api.ack": "true", "exabgp.api.cli": "false",
                       "exabgp.daemon.user": "root", "PYTHONPATH": str(ROOT)}
        self.start(["env", *(f"{k}={v}" for k, v in environment.items()),
                    "/usr/sbin/exabgp", str(path)], "exabgp")
        self.bird.gets(VIP)
        self.bird.gets("203.0.113.9/32", 2.0)
        helper = int(self.anycast()["exabgp"]["helper"])
        os.kill(helper, signal.SIGSTOP)
        wait_until("it says that the helper hangs",
                   lambda: "has not answered" in self.anycast()["exabgp"]["fault"], 2 * LEASE)
        os.kill(helper, signal.SIGCONT)
        wait_until("it answers again", lambda: self.anycast()["exabgp"]["fault"] == "", 2.0)
        process.signal(signal.SIGKILL)
        self.bird.loses(VIP, LEASE + 1.0)
        self.assertTrue(self.bird.has("203.0.113.9/32"))
