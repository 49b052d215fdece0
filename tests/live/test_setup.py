"""
What balancer-setup writes, put to use: by systemd's own reader, by BIRD, by a TLS client, and by a
balancer that has the rights of the drop-in and no others.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

from balancer.setup import kernel
from tests.live.harness import (
    LOOPBACK,
    ROOT,
    LiveTestCase,
    Process,
    ask,
    free_port,
    need,
    wait_until,
)
from tests.live.namespaces import ip, need_root, network

SYSTEMD_UNIT = """\
[Service]
Type=exec
ExecStart=/bin/true
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
"""

ECMP = """
[site]
admin = off
[pool fw]
servers = a 10.1.0.2
check = none
[ecmp out]
prefix = 198.51.100.0/24
pool = fw
"""

HTTPS = """
[site]
admin = off
control = off
[http web]
listen = $host:$port tls=$tls
routes = -> respond 200 hello
"""


class SetupTestCase(LiveTestCase):
    """A root directory of the test's own."""

    def setUp(self) -> None:
        """What an installed machine has."""
        super().setUp()
        self.root = self.directory / "root"
        (self.root / "etc" / "bird").mkdir(parents=True)
        (self.root / "etc" / "group").write_text(f"balancer:x:{os.getgid()}:\n")

    def set_up(self, *words: str) -> str:
        """What `balancer-setup WORDS` prints."""
        return ask("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "balancer.setup.command",
                   "--root", str(self.root), *words)


class KernelTests(SetupTestCase):
    """`kernel`"""

    def test_systemd_reads_it(self) -> None:
        """systemd has nothing against the drop-in."""
        need("systemd-analyze")
        self.set_up("kernel")
        units = (self.root / kernel.PATH[1:]).parent.parent
        (units / "balancer.service").write_text(SYSTEMD_UNIT)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(units / "balancer.service")],
            capture_output=True, text=True, timeout=30, check=False)
        said = [line for line in (done.stdout + done.stderr).splitlines() if "kernel.conf" in line]
        self.assertEqual([], said)
        (units / "balancer.service.d" / "kernel.conf").write_text("[Service]\nPrivateUser=no\n")
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(units / "balancer.service")],
            capture_output=True, text=True, timeout=30, check=False)
        self.assertIn("kernel.conf", done.stdout + done.stderr)

    def balancer_with(self, capabilities: str) -> Process:
        """A balancer with [ecmp] and these capabilities alone."""
        need("setpriv")
        # Still root by its number, which noroot makes a number like others: another user might not
        # reach the Python that the tests run with.
        wrap = ("setpriv", "--securebits=+noroot,+noroot_locked", "--no-new-privs",
                f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}",
                f"--bounding-set={capabilities}")
        return self.twistd(self.site_file(ECMP), wrap=wrap)

    def test_rights_suffice(self) -> None:
        """With the drop-in's capability and no other right of root [ecmp] puts its route into the
        kernel; without it the start fails with 2."""
        need_root()
        text = self.set_up("kernel")
        given = re.findall(r"^ *AmbientCapabilities=CAP_(\w+)$", text, re.MULTILINE)
        self.assertEqual(["NET_ADMIN"], given)
        with network():
            ip("link", "add", "d0", "type", "bridge")
            ip("address", "add", "10.1.0.1/24", "dev", "d0")
            ip("link", "set", "d0", "up")
            lacking = self.balancer_with("-all")
            self.assertEqual(2, lacking.wait())
            self.assertIn("CAP_NET_ADMIN", lacking.output)
            process = self.balancer_with(f"-all,+{given[0].lower()}")
            process.running()
            wait_until("the route is there",
                       lambda: "198.51.100.0/24" in ask("ip", "route", "show"))
            self.assertEqual(0, process.stop())


class BfdTests(SetupTestCase):
    """`bfd`"""

    OURS, ROUTER = "10.9.0.1", "10.9.0.2"

    def bird(self, name: str, text: str, *wrap: str) -> Process:
        """A BIRD with the configuration `text` beside the file that it may include."""
        path = self.root / "etc" / "bird" / f"{name}.conf"
        if not path.exists():
            path.write_text(text)
        return self.start(
            [*wrap, "bird", "-f", "-c", str(path), "-s", str(self.directory / f"{name}.ctl"),
             "-P", str(self.directory / f"{name}.pid")], name)

    def sessions(self, name: str) -> str:
        """What BIRD says of its BFD sessions."""
        return ask("birdc", "-s", str(self.directory / f"{name}.ctl"), "show", "bfd", "sessions")

    def is_up(self, name: str) -> bool:
        """Whether its one session is."""
        return "Up" in self.sessions(name)

    def test_router_notices(self) -> None:
        """A router's BFD session with a machine that `bfd` has set up comes up; when the machine
        falls silent the router knows within a second."""
        need_root()
        need("bird", "birdc", "unshare", "nsenter")
        (self.root / "etc" / "bird" / "bird.conf").write_text(
            "router id 10.9.0.1;\nprotocol device {}\n")
        self.set_up("bfd", self.ROUTER, "--timers", "3x100ms")
        with network():
            ip("link", "add", "b0", "type", "veth", "peer", "name", "r0")
            holder = self.start(["unshare", "--net", "sleep", "80"], "holder")
            pid = str(holder.pid)
            ours = Path("/proc/thread-self/ns/net").stat().st_ino
            wait_until("the router has its network",
                       lambda: Path(f"/proc/{pid}/ns/net").stat().st_ino != ours)
            ip("link", "set", "r0", "netns", pid)
            ip("address", "add", f"{self.OURS}/24", "dev", "b0")
            ip("link", "set", "b0", "up")
            inside = ("nsenter", "-t", pid, "-n")
            ask(*inside, "ip", "address", "add", f"{self.ROUTER}/24", "dev", "r0")
            ask(*inside, "ip", "link", "set", "r0", "up")
            machine = self.bird("bird", "")
            self.bird("router", "router id 10.9.0.2;\nprotocol device {}\nprotocol bfd {\n"
                      'interface "*" { interval 100 ms; multiplier 3; };\n'
                      f"neighbor {self.OURS};\n}}\n", *inside)
            for name in ("bird", "router"):
                wait_until("BIRD answers", (self.directory / f"{name}.ctl").exists)
                wait_until("the session is up", partial(self.is_up, name))
            machine.kill()
            took = wait_until("the router knows", lambda: not self.is_up("router"), 5.0)
            self.assertLess(took, 2.0)


class CertificateTests(SetupTestCase):
    """`certificate`"""

    def test_served(self) -> None:
        """A client that trusts it speaks TLS with the balancer under its names, and one that does
        not refuses."""
        need("curl")
        self.set_up("certificate", "www.example.org", "*.example.net", LOOPBACK)
        file = self.root / "etc" / "balancer" / "tls" / "www.example.org.pem"
        port = free_port()
        self.balancer(HTTPS, port, host=LOOPBACK, port=port, tls=file.parent)
        for name in ("www.example.org", "a.example.net", LOOPBACK):
            self.assertEqual("hello", ask(
                "curl", "-s", "--cacert", str(file), "--resolve", f"{name}:{port}:{LOOPBACK}",
                f"https://{name}:{port}/").strip())
        for options in (("--cacert", str(file)), ()):
            host = "www.example.com" if options else "www.example.org"
            done = subprocess.run(
                ["curl", "-s", *options, "--resolve", f"{host}:{port}:{LOOPBACK}",
                 f"https://{host}:{port}/"], capture_output=True, timeout=20, check=False)
            self.assertEqual(60, done.returncode)  # CURLE_PEER_FAILED_VERIFICATION
