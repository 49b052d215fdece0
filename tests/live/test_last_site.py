"""
`last-site = keep`: two sites with a router between them, which each has a link to, and BGP.
"""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from tests.live.harness import Process, free_port, search_path, wait_until
from tests.live.namespaces import ip
from tests.live.routers import ROUTER, ROUTER_AS, Bird
from tests.live.test_anycast import LEASE, VIP, AnycastTestCase

HERE, THERE, BEYOND = "10.9.0.1", "10.9.1.1", "10.9.1.2"
"""The two sites, and the router towards the second."""

SITE = """\
[site]
admin = 0.0.0.0:$admin
state = $directory/$name
control = $directory/$name.sock

[demo a]
http = $address:$origin

[pool web]
servers = a $address:$origin
check = http GET /
interval = 100ms
rise = 1
fall = 1

[anycast web]
prefixes = 192.0.2.53/32
when = pool:web
neighbors = $router as=65001 hold-time=9s
local-as = 65010
lease = ${lease}s
hold-down = 200ms
drain-wait = 0
damping = off
last-site = keep
sites = http://$other:$admin/
"""

SECOND = f"""
protocol bgp second {{
    local {BEYOND} as {ROUTER_AS}; neighbor {THERE} as 65010; passive;
    hold time 9; graceful restart on;
    ipv4 {{ import all; export none; }};
}}
"""

WAIT = 'until ip address show dev b1 2>/dev/null | grep -q 10.9; do sleep 0.05; done; exec "$@"'


class LastSiteTests(AnycastTestCase):
    """Two sites."""

    def setUp(self) -> None:
        """Start both, up to both announcements."""
        super().setUp()
        self.bird = Bird(self, more=SECOND)
        self.admin, self.origin = free_port(), free_port()
        self.first = self.site("first", HERE, THERE, ROUTER)
        self.second = self.site("second", THERE, HERE, BEYOND, (
            "unshare", "--net", "sh", "-c", WAIT, "sh"))
        self.link(str(self.second.pid))
        wait_until("the router has both routes", lambda: self.by(HERE) and self.by(THERE))
        wait_until("they hear of each other", lambda: self.heard(HERE) and self.heard(THERE), 5.0)

    def site(self, name: str, address: str, other: str, router: str,
             wrap: tuple[str, ...] = ()) -> Process:
        """One site."""
        path = self.directory / f"{name}.ini"
        path.write_text(Template(SITE).substitute(
            name=name, address=address, other=other, router=router, admin=self.admin,
            origin=self.origin, directory=self.directory, lease=LEASE))
        return self.twistd(path, name=name, wrap=(
            *wrap, "env", f"PATH={self.exabgp}:{search_path()}"))

    def link(self, pid: str) -> None:
        """The second site's link to the router, and ways from each site to the other."""
        ours = Path("/proc/thread-self/ns/net").stat().st_ino
        wait_until("it has its network", lambda: Path(f"/proc/{pid}/ns/net").stat().st_ino != ours)
        router = str(self.bird.process.pid)
        ip("link", "add", "b1", "netns", pid, "type", "veth", "peer", "name", "r1", "netns", router)
        self.bird.run("ip", "address", "add", f"{BEYOND}/24", "dev", "r1")
        self.bird.run("ip", "link", "set", "r1", "up")
        self.bird.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        ip("route", "add", "10.9.1.0/24", "via", ROUTER)
        for words in (("link", "set", "lo", "up"), ("link", "set", "b1", "up"),
                      ("address", "add", f"{THERE}/24", "dev", "b1"),
                      ("route", "add", "10.9.0.0/24", "via", BEYOND)):
            self.bird.run("nsenter", "-t", pid, "-n", "ip", *words)

    def by(self, address: str) -> bool:
        """Whether the router has the route by that site."""
        return f"via {address} " in self.bird.ask(f"show route {VIP}")

    def at(self, address: str) -> Mapping[str, Any]:
        """What the page of the one section says there."""
        url = f"http://{address}:{self.admin}/api/status/anycast:web"
        with urllib.request.urlopen(url, timeout=3) as answer:
            found: Mapping[str, Any] = json.load(answer)
        return found

    def state(self, address: str) -> str:
        """The section's state there."""
        return str(self.at(address)["state"])

    def heard(self, address: str) -> bool:
        """Whether that site has heard that the other is up."""
        return all(each["up"] for each in self.at(address)["sites"].values())

    def tell(self, address: str, path: str) -> None:
        """Have that site's server fail or recover."""
        url = f"http://{address}:{self.origin}{path}"
        urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=3).close()

    def test_one_after_the_other(self) -> None:
        """The first that fails is withdrawn within 200 ms of the verdict, the last one stays
        announced as kept, and goes when the other is back."""
        self.tell(HERE, "/down")
        wait_until("the first is withdrawn", lambda: not self.by(HERE), 5.0)
        gone = time.time()
        url = f"http://{HERE}:{self.admin}/api/status"
        with urllib.request.urlopen(url, timeout=3) as answer:
            events = json.load(answer)["events"]
        verdict = [each["at"] for each in events if each["event"] == "WentDown"]
        self.assertLess(gone - verdict[-1], 0.2)
        time.sleep(2.5)  # the second hears of it
        self.bird.keeps(VIP, 4.0, lambda: self.tell(THERE, "/down"))
        self.assertEqual(("down", "kept"), (self.state(HERE), self.state(THERE)))
        self.assertIn("no other site is up", self.at(THERE)["reason"])
        self.assertIn("is kept: pool:web", self.second.output)
        self.bird.keeps(VIP, 4.0, lambda: self.tell(HERE, "/up"))
        self.assertEqual((True, False), (self.by(HERE), self.by(THERE)))
        self.assertEqual(("up", "down"), (self.state(HERE), self.state(THERE)))

    def test_both_at_once(self) -> None:
        """When both fail at once the route is there again within two seconds, and stays."""
        self.tell(HERE, "/down")
        self.tell(THERE, "/down")
        wait_until("one keeps it", lambda: "kept" in (self.state(HERE), self.state(THERE)), 3.0)
        self.bird.gets(VIP, 2.0)
        self.bird.keeps(VIP, 4.0, lambda: None)
        self.tell(THERE, "/up")
        wait_until("the other gave way",
                   lambda: (self.state(HERE), self.state(THERE)) == ("down", "up"), 5.0)

    def test_other_is_dead(self) -> None:
        """A site that hangs does not count. What is kept goes on SIGTERM all the same, and within
        the lease when the balancer is killed."""
        self.second.signal(signal.SIGSTOP)
        wait_until("the first hears nothing", lambda: not self.heard(HERE), 5.0)
        self.tell(HERE, "/down")
        wait_until("it is kept", lambda: self.state(HERE) == "kept", 3.0)
        self.assertTrue(self.by(HERE))
        self.first.signal(signal.SIGKILL)
        self.bird.loses(VIP, LEASE + 1.0)
        self.second.signal(signal.SIGCONT)
        wait_until("the second announces again", lambda: self.by(THERE), 5.0)
        self.tell(THERE, "/down")
        wait_until("it is kept", lambda: self.state(THERE) == "kept", 3.0)
        self.assertEqual(0, self.second.stop())
        self.assertFalse(self.bird.has(VIP))
