"""The slots that we compute for flows against those that the kernel's nftables computes.

Needs root, `ip` and `nft`; works in a network namespace of its own and removes it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from ipaddress import ip_address

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from balancer.pool.jhash import flow_slot, seed_of, source_slot
from balancer.pool.maglev import SLOTS
from tests.live.harness import need, search_path

SEED = seed_of("web")

RULES = f"""
table inet slots {{
  set flows4 {{ type ipv4_addr . inet_service . mark; flags dynamic; size 4096; }}
  set flows6 {{ type ipv6_addr . inet_service . mark; flags dynamic; size 4096; }}
  set sources4 {{ type ipv4_addr . mark; flags dynamic; size 4096; }}
  set sources6 {{ type ipv6_addr . mark; flags dynamic; size 4096; }}
  chain in {{
    type filter hook input priority 0;
    udp dport 9 meta mark set jhash ip saddr . udp sport mod {SLOTS} seed {SEED} \
      add @flows4 {{ ip saddr . udp sport . meta mark }}
    udp dport 9 meta mark set jhash ip6 saddr . udp sport mod {SLOTS} seed {SEED} \
      add @flows6 {{ ip6 saddr . udp sport . meta mark }}
    tcp dport 9 meta mark set jhash ip saddr . tcp sport mod {SLOTS} seed {SEED} \
      add @flows4 {{ ip saddr . tcp sport . meta mark }}
    udp dport 9 meta mark set jhash ip saddr mod {SLOTS} seed {SEED} \
      add @sources4 {{ ip saddr . meta mark }}
    udp dport 9 meta mark set jhash ip6 saddr mod {SLOTS} seed {SEED} \
      add @sources6 {{ ip6 saddr . meta mark }}
  }}
}}
"""

SENDER = """
import socket

for i in range(1, 101):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((f"127.{i}.{255 - i}.{i * 7 % 251 + 1}", 1024 + i * 613))
        s.sendto(b"x", ("127.0.0.1", 9))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        s.bind((f"fd00::{i % 5}:1", 1024 + i * 631))
        s.sendto(b"x", ("::1", 9))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind((f"127.0.{i}.2", 2048 + i))
        s.connect_ex(("127.0.0.1", 9))
"""


def run(*command: str, text: str | None = None) -> str:
    """What a command prints; its failure is the test's."""
    environment = {**os.environ, "PATH": search_path()}
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=30, env=environment
    )
    if done.returncode:
        raise AssertionError(f"{command}: {done.stderr}")
    return done.stdout


class KernelSlotsTests(SynchronousTestCase):
    """Same input, same choice: userspace and kernel."""

    def setUp(self) -> None:
        need("ip", "nft")
        if os.geteuid() != 0 and os.environ.get("CI") == "true":
            self.fail("not root: no network namespace")
        if os.geteuid() != 0:
            raise SkipTest("needs root, for a network namespace")
        self.space = f"jhash{os.getpid()}"
        run("ip", "netns", "add", self.space)
        self.addCleanup(run, "ip", "netns", "del", self.space)
        run("ip", "-n", self.space, "link", "set", "lo", "up")
        for i in range(5):
            run("ip", "-n", self.space, "addr", "add", f"fd00::{i}:1/128", "dev", "lo", "nodad")
        self.inside("nft", "-f", "-", text=RULES)
        self.inside(sys.executable, "-c", SENDER)

    def inside(self, *command: str, text: str | None = None) -> str:
        """Run a command in the namespace."""
        return run("ip", "netns", "exec", self.space, *command, text=text)

    def seen(self, name: str) -> list[list[str | int]]:
        """The concatenations that the kernel put into a set."""
        listing = json.loads(self.inside("nft", "-j", "list", "set", "inet", "slots", name))
        (found,) = [item["set"] for item in listing["nftables"] if "set" in item]
        return [elem.get("elem", {}).get("val", elem)["concat"] for elem in found["elem"]]

    def test_flows(self) -> None:
        """Address and port give the kernel's slot, for UDP and TCP, IPv4 and IPv6."""
        flows = self.seen("flows4") + self.seen("flows6")
        self.assertEqual(len(flows), 300)
        for address, port, mark in flows:
            key = ip_address(address).packed + int(port).to_bytes(2, "big")
            self.assertEqual(flow_slot(key, SEED, SLOTS), int(mark), (address, port))

    def test_sources(self) -> None:
        """The address alone gives the kernel's slot, IPv4 and IPv6."""
        sources = self.seen("sources4") + self.seen("sources6")
        self.assertEqual(len(sources), 105)
        for address, mark in sources:
            self.assertEqual(source_slot(ip_address(address).packed, SEED, SLOTS), int(mark))
