"""
A router that speaks BGP: BIRD in a network of its own, on a link to the test's network.
"""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.live.harness import LiveTestCase, need, search_path, wait_until
from tests.live.namespaces import ip

OURS, ROUTER = "10.9.0.1", "10.9.0.2"
OURS6, ROUTER6 = "fd09::1", "fd09::2"
OUR_AS, ROUTER_AS = 65010, 65001

CONFIGURATION = f"""\
router id {ROUTER};
log stderr all;
protocol device {{ }}
protocol bgp b4 {{
    local {ROUTER} as {ROUTER_AS}; neighbor {OURS} as {OUR_AS}; passive;
    hold time 9; graceful restart on; OPTIONS
    ipv4 {{ import all; export none; }};
}}
protocol bgp b6 {{
    local {ROUTER6} as {ROUTER_AS}; neighbor {OURS6} as {OUR_AS}; passive;
    hold time 9; graceful restart on; OPTIONS
    ipv6 {{ import all; export none; }};
}}
"""


class Bird:
    """The router, with `more` in its configuration. Asked on its control socket, which takes some
    0.1 ms."""

    def __init__(self, case: LiveTestCase, options: str = "", more: str = "") -> None:
        need("bird", "nsenter", "unshare")
        self._case = case
        directory = case.directory
        self._socket = directory / "bird.ctl"
        (directory / "bird.conf").write_text(CONFIGURATION.replace("OPTIONS", options) + more)
        # A namespace lives with its first process, so it is made before the link to it.
        self.process = case.start(
            ["unshare", "--net", "sh", "-c",
             "until ip -6 address show dev r0 | grep -q fd09 2>/dev/null; do sleep 0.02; done; "
             f"exec bird -f -c {directory}/bird.conf -s {self._socket} -P {directory}/bird.pid"],
            "bird")
        self._link()
        wait_until("BIRD answers", self._socket.exists)

    def _link(self) -> None:
        pid = str(self.process.pid)
        ours = Path("/proc/thread-self/ns/net").stat().st_ino
        wait_until("the router has its network",
                   lambda: Path(f"/proc/{pid}/ns/net").stat().st_ino != ours)
        ip("link", "add", "b0", "type", "veth", "peer", "name", "r0", "netns", pid)
        ip("address", "add", f"{OURS}/24", "dev", "b0")
        ip("address", "add", f"{OURS6}/64", "dev", "b0", "nodad")
        ip("link", "set", "b0", "up")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "link", "set", "r0", "up")
        self.run("ip", "address", "add", f"{ROUTER}/24", "dev", "r0")
        self.run("ip", "address", "add", f"{ROUTER6}/64", "dev", "r0", "nodad")

    def run(self, *command: str) -> None:
        """Run a command in the router's network."""
        subprocess.run(("nsenter", "-t", str(self.process.pid), "-n", *command), check=True,
                       timeout=10, env={"PATH": search_path()})

    def ask(self, question: str) -> str:
        """What BIRD answers to a command of birdc's."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(self._socket))
            client.sendall(f"{question}\n".encode())
            answer = ""
            # A reply ends with a line of a code and a space; the greeting is one, too.
            while len(re.findall(r"(?m)^\d{4} ", answer)) < 2 or not answer.endswith("\n"):
                data = client.recv(65536)
                if not data:
                    break
                answer += data.decode()
        return answer

    def has(self, prefix: str) -> bool:
        """Whether it would send packets for the prefix our way."""
        return "unicast" in self.ask(f"show route {prefix}")

    def route(self, prefix: str) -> str:
        """All that it knows of the route."""
        return self.ask(f"show route {prefix} all")

    def established(self) -> int:
        """How many sessions are."""
        return self.ask("show protocols").count("Established")

    def gets(self, prefix: str, within: float = 15.0) -> float:
        """Wait for the route; how many seconds it took."""
        return wait_until(f"the router has {prefix}", lambda: self.has(prefix), within)

    def loses(self, prefix: str, within: float) -> float:
        """Wait until it is gone; the time of that, in Unix seconds."""
        wait_until(f"the router has lost {prefix}", lambda: not self.has(prefix), within)
        return time.time()

    def keeps(self, prefix: str, seconds: float, meanwhile: Callable[[], None]) -> int:
        """Do `meanwhile`, and look all the time; how often the route was there. Fails if once it
        was not."""
        meanwhile()
        end, looks = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            self._case.assertTrue(self.has(prefix), f"{prefix} was gone after {looks} looks")
            looks += 1
            time.sleep(0.002)
        return looks
