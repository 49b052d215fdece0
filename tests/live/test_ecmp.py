"""
`[ecmp]` on a router with three next hops and a client, each in a network of its own: which next hop
answers a flow is asked of the wire.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

from tests.live.harness import ROOT, Process, ask, need, wait_until
from tests.live.namespaces import ip, network
from tests.live.watch import WatchedTestCase

HOP = str(Path(__file__).with_name("hop.py"))

SERVICE = "192.0.2.1"
SERVICE6 = "2001:db8:2::1"
FLOWS = 300

SITE = """\
[site]
admin = $host:$admin
control = lb.sock

[pool hops]
servers =
    a 10.1.0.11
    b 10.1.0.12
    c 10.1.0.13
check = tcp port=7777
interval = 100ms
timeout = 500ms
fall = 2

[ecmp out]
prefix = 192.0.2.0/24
pool = hops
"""

SIX = SITE.replace("10.1.0.", "[2001:db8:1::").replace("11\n", "11]\n").replace(
    "12\n", "12]\n").replace("13\n", "13]\n").replace("192.0.2.0/24", "2001:db8:2::/48")


class EcmpTestCase(WatchedTestCase):
    """A router whose namespace is that of the test."""

    def setUp(self) -> None:
        """Bridge the next hops `a`, `b` and `c`, and put the client behind another link."""
        super().setUp()
        need("ip", "unshare", "nsenter")
        self.enterContext(network())
        self.spaces: dict[str, int] = {}
        self.servers: dict[str, Process] = {}
        ip("link", "add", "br0", "type", "bridge")
        ip("link", "set", "br0", "up")
        for address in ("10.1.0.1/24", "2001:db8:1::1/64"):
            ip("address", "add", address, "dev", "br0", *(["nodad"] if ":" in address else []))
        for number, name in enumerate("abc", 11):
            self.join(name, "br0", (f"10.1.0.{number}/24", f"2001:db8:1::{number}/64"),
                      ("10.1.0.1", "2001:db8:1::1"))
            for service in (f"{SERVICE}/32", f"{SERVICE6}/128"):
                self.inside(name, "ip", "address", "add", service, "dev", "lo")
            self.serve(name, number)
        self.join("client", "", ("10.2.0.2/24", "2001:db8:3::2/64"), ("10.2.0.1", "2001:db8:3::1"))
        for address in ("10.2.0.1/24", "2001:db8:3::1/64"):
            ip("address", "add", address, "dev", "client",
               *(["nodad"] if ":" in address else []))
        for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding",
                       "ipv4/fib_multipath_hash_policy", "ipv6/fib_multipath_hash_policy"):
            Path("/proc/sys/net", switch).write_text("1")

    def join(self, name: str, bridge: str, addresses: tuple[str, ...],
             gateways: tuple[str, ...]) -> None:
        """A network by that name, whose end of a link has these addresses."""
        holder = self.start(("unshare", "--net", "sleep", "1000"), f"{name}-space")
        here = Path("/proc/thread-self/ns/net").readlink()
        wait_until("it has a network of its own",
                   lambda: Path(f"/proc/{holder.pid}/ns/net").readlink() != here
                   and Path(f"/proc/{holder.pid}/comm").read_text().strip() == "sleep")
        self.spaces[name] = holder.pid
        peer = ("peer", "name", "eth0", "netns", str(holder.pid))
        ip("link", "add", "name", name, "type", "veth", *peer)
        if bridge:
            ip("link", "set", "dev", name, "master", bridge)
        ip("link", "set", "dev", name, "up")
        for device in ("lo", "eth0"):
            self.inside(name, "ip", "link", "set", device, "up")
        for address in addresses:
            self.inside(name, "ip", "address", "add", address, "dev", "eth0",
                        *(["nodad"] if ":" in address else []))
        for gateway in gateways:
            self.inside(name, "ip", "route", "add", "default", "via", gateway)

    def inside(self, name: str, *command: str) -> str:
        """Run a command in the network of that name."""
        return ask("nsenter", "-t", str(self.spaces[name]), "-n", *command)

    def serve(self, name: str, number: int) -> None:
        """The next hop's server lives."""
        command = ("nsenter", "-t", str(self.spaces[name]), "-n", sys.executable, HOP, "serve",
                   name, SERVICE, SERVICE6, f"10.1.0.{number}", f"2001:db8:1::{number}")
        self.servers[name] = server = self.start(command, f"hop-{name}-{time.monotonic_ns()}")
        wait_until(f"{name} serves", lambda: "ready" in server.output)

    def flows(self, service: str = SERVICE, count: int = FLOWS) -> dict[str, str | None]:
        """Who answers each flow; the same ports each time."""
        found: dict[str, str | None] = json.loads(
            self.inside("client", sys.executable, HOP, "ask", service, str(count)))
        return found

    def hops(self) -> str:
        """The next hops in the status, in their order."""
        names = {f"10.1.0.{n}": name for n, name in enumerate("abc", 11)}
        names |= {f"2001:db8:1::{n}": name for n, name in enumerate("abc", 11)}
        found = self.status()["next_hops"]
        return "".join(sorted(names[each["address"]] for each in found))

    def status(self) -> Any:
        """The section's part of the status."""
        return self.watch.status()["balancers"]["ecmp:out"]

    def become(self, hops: str, within: float = 5.0) -> float:
        """Wait for these next hops."""
        return wait_until(f"next hops {hops!r}", lambda: self.hops() == hops, within)

    def begin(self, text: str = SITE) -> None:
        """Start with all three."""
        self.watched(text)
        self.become("abc")

    def again(self) -> None:
        """Another process with the same site file."""
        process = self.twistd(self.directory / "site.ini", name=f"again-{time.monotonic_ns()}")
        process.running(self.watch._admin)
        self.watch.process = process

    def lbctl(self, *words: str) -> str:
        """What the command prints."""
        return ask("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "balancer.lbctl", "--control",
                   str(self.directory / "lb.sock"), *words)


def moved(before: dict[str, str | None], after: dict[str, str | None], but: str = "") -> int:
    """How many flows have another next hop now, apart from those that were on `but`."""
    return sum(before[port] != after[port] for port in before if before[port] not in tuple(but))


class FlowTests(EcmpTestCase):
    """What becomes of flows."""

    def test_resilient(self) -> None:
        """Flows stay on next hops that live when another one dies, when it comes back, over a
        restart and over kill -9; those of the dead one go on elsewhere."""
        self.dies_and_returns(SITE + "idle-timer = 1h\n", SERVICE)

    def test_ipv6(self) -> None:
        """The same over IPv6."""
        self.dies_and_returns(SIX + "idle-timer = 1h\n", SERVICE6)

    def dies_and_returns(self, text: str, service: str) -> None:
        self.begin(text)
        start = self.flows(service)
        self.assertEqual(set(start.values()), {"a", "b", "c"})
        self.servers["b"].kill()
        self.become("ac")
        without = self.flows(service)
        self.assertEqual(moved(start, without, but="b"), 0)
        self.assertEqual(set(without.values()), {"a", "c"})

        self.serve("b", 12)
        self.become("abc")
        back = self.flows(service)
        self.assertEqual(moved(without, back), 0)  # no bucket was idle for an hour

        self.assertEqual(self.watch.process.stop(), 0)
        self.assertEqual(self.flows(service), back)
        self.again()
        self.assertEqual(self.flows(service), back)
        self.watch.process.kill()
        self.assertEqual(self.flows(service), back)
        self.again()
        self.become("abc")
        self.assertEqual(self.flows(service), back)
        self.assertNotIn("ip nexthop", self.watch.process.output)

    def test_returns(self) -> None:
        """A next hop that came back gets its share of flows once buckets were idle long enough."""
        self.begin(SITE + "idle-timer = 300ms\n")
        self.servers["b"].kill()
        self.become("ac")
        self.serve("b", 12)
        self.become("abc")
        time.sleep(1)
        self.assertIn("b", self.flows().values())

    def test_by_hash_alone(self) -> None:
        """Without resilience flows of others move as well; none is lost."""
        self.begin(SITE + "resilient = no\n")
        start = self.flows()
        ids = {each["id"]: each["gateway"] for each in json.loads(ask("ip", "-j", "nexthop"))
               if "gateway" in each}
        first = {"1": "a", "2": "b", "3": "c"}[ids[min(ids)][-1]]
        self.servers[first].kill()
        self.become("abc".replace(first, ""))
        after = self.flows()
        self.assertGreater(moved(start, after, but=first), FLOWS // 20)
        self.assertNotIn(None, after.values())

    def test_drain(self) -> None:
        """A drained next hop gets nothing more; given back it returns."""
        self.begin()
        self.lbctl("drain", "hops/a")
        self.become("bc")
        self.assertEqual(set(self.flows().values()), {"b", "c"})
        self.lbctl("ready", "hops/a")
        self.become("abc")

    def test_last(self) -> None:
        """With nobody left, `keep` leaves the last next hop, and `withdraw` no route."""
        self.begin()
        for name in "abc":
            self.servers[name].kill()
            self.watch.becomes("down", "hops", name)
        self.become("c")
        site = self.directory / "site.ini"
        site.write_text(site.read_text() + "last = withdraw\n")
        self.lbctl("reload")
        self.become("")
        self.assertEqual(ask("ip", "route", "show", "proto", "196"), "")
        self.serve("a", 11)
        self.become("a")
        self.assertEqual(set(self.flows().values()), {"a"})


class KernelTests(EcmpTestCase):
    """What others do to the kernel, and what it does by itself."""

    def test_in_time(self) -> None:
        """The kernel has a verdict within 200 ms of it."""
        self.begin()
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as listening:
            listening.bind((0, 0))
            listening.setsockopt(270, 1, struct.pack("=i", 32))
            listening.settimeout(5)
            self.servers["b"].kill()
            listening.recv(65536)
            told = time.time()
        self.become("ac")
        events = [each for each in self.watch.status()["events"] if each["event"] == "WentDown"]
        self.assertLess(abs(told - events[-1]["at"]), 0.2)

    def test_others(self) -> None:
        """A route that somebody removes is back at once, the second time after a second; the log
        says who it was. Routes and next hops of others are left alone, when the section goes too.
        """
        ip("nexthop", "add", "id", "5", "via", "10.1.0.99", "dev", "br0")
        ip("route", "add", "198.51.100.0/24", "nhid", "5", "proto", "99")
        self.begin()
        ip("route", "del", "192.0.2.0/24")
        self.become("abc", 0.5)
        ask("ip", "nexthop", "flush", "proto", "196")
        self.watch.logged("someone else keeps removing its route")
        self.become("abc", 3)
        self.assertIn("a", self.flows().values())
        self.assertEqual(self.watch.total("balancer_ecmp_lost_total", balancer="out"), 2)

        site = self.directory / "site.ini"
        site.write_text(site.read_text().partition("[ecmp")[0] + "[ecmp other]\npool = hops\n"
                        "prefix = 203.0.113.0/24\n")
        planned = self.lbctl("plan", str(site))
        self.assertIn("ip route del 192.0.2.0/24 nhid", planned)
        self.lbctl("reload")
        found = json.loads(ask("ip", "-j", "route"))
        self.assertEqual({each["dst"] for each in found if "nhid" in each},
                         {"198.51.100.0/24", "203.0.113.0/24"})
        self.assertEqual(len(json.loads(ask("ip", "-j", "nexthop"))), 5)
        self.assertNotIn("ip ", self.lbctl("plan", str(site)))

    def test_planned(self) -> None:
        """The commands that `lbctl plan` prints do what a reload does."""
        self.begin()
        site = self.directory / "site.ini"
        site.write_text(site.read_text().replace("a 10.1.0.11", "a 10.1.0.11 weight=2")
                        + "buckets = 64\n")
        lines = self.lbctl("plan", str(site)).splitlines()
        commands = [line for line in lines if line.startswith("ip ")]
        self.assertEqual(len(commands), 3)
        self.watch.process.stop()
        for command in commands:
            ip(*command.split()[1:])
        self.again()
        self.become("abc")
        self.assertNotIn("ip nexthop", self.watch.process.output)

    def test_link(self) -> None:
        """When the link goes so does the route, and both come back together; it may be another link
        by the same name."""
        self.begin()
        ip("link", "set", "br0", "down")
        self.become("")
        self.assertIn("10.1.0.11", self.status()["left_out"])
        ip("link", "set", "br0", "up")
        self.become("abc")
        ip("link", "del", "br0")
        self.become("")
        ip("link", "add", "br0", "type", "bridge")
        ip("link", "set", "br0", "up")
        ip("address", "add", "10.1.0.1/24", "dev", "br0")
        for name in "abc":
            ip("link", "set", "dev", name, "master", "br0")
        self.become("abc", 10)
        self.assertNotIn(None, self.flows().values())

    def test_flood(self) -> None:
        """Tens of thousands of changes of others' routes cost no next hop, and nothing is fought
        about."""
        self.begin()
        batch = self.directory / "routes"
        lines = [f"route {verb} 100.64.{n // 250}.{n % 250}/32 via 10.1.0.99"
                 for verb in ("add", "del") for n in range(10000)]
        batch.write_text("\n".join(lines))
        self.watch.process.signal(signal.SIGSTOP)  # so that the kernel's buffer runs over
        try:
            ip("-batch", str(batch))
        finally:
            self.watch.process.signal(signal.SIGCONT)
        wait_until("what was lost is noticed", lambda: self.status()["overruns_total"] > 0)
        ip("route", "del", "192.0.2.0/24")
        self.become("abc", 3)
        wait_until("the route is back", lambda: None not in self.flows().values())

    def test_no_privilege(self) -> None:
        """Without the privilege nothing starts, the exit code is 2, and it is said what lacks."""
        need("setpriv")
        site = self.site_file(SITE.replace("admin = $host:$admin", "admin = off"))
        without = ("setpriv", "--bounding-set=-net_admin")
        process = self.twistd(site, wrap=without)
        self.assertEqual(process.wait(), 2)
        self.assertIn("[ecmp out] lacks a privilege: routes need CAP_NET_ADMIN", process.output)
        self.assertEqual(ask("ip", "nexthop"), "")
