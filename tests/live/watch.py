"""
The balancer from outside: what it says of itself at its admin address, and what the kernel says.

For tests that do it harm, and want to see that nothing of that stays.
"""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.live.harness import LOOPBACK, LiveTestCase, Process, free_port, wait_until

PAGE = 4096

SLACK = 2
"""Descriptors of health checks that may be in flight while one looks."""


class Watch:
    """A balancer's process and its admin address."""

    def __init__(self, process: Process, admin: int) -> None:
        self.process, self._admin = process, admin

    def get(self, path: str) -> bytes:
        """What the admin address answers, whatever its status."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self._admin}{path}",
                                        timeout=20) as answer:
                body: bytes = answer.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        return body

    def status(self) -> Any:
        """/api/status."""
        return json.loads(self.get("/api/status"))

    def total(self, name: str, **labels: str) -> float:
        """The sum of the metric over all samples that have `labels`."""
        return total(self.get("/metrics").decode(), name, **labels)

    def server(self, pool: str, name: str) -> Any:
        """A server as the status has it."""
        return self.status()["pools"][pool]["servers"][name]

    def becomes(self, state: str, pool: str, name: str, within: float = 5.0) -> float:
        """Wait until the server is in that state; how many seconds it took."""
        return wait_until(f"{pool}/{name} is {state}",
                          lambda: bool(self.server(pool, name)["state"] == state), within)

    @property
    def files(self) -> int:
        """How many file descriptors it has open, but for idle connections that it keeps."""
        return self.files_but_idle(self.get("/metrics").decode())

    def files_but_idle(self, metrics: str) -> int:
        """The same with the metrics of this moment."""
        idle = total(metrics, "balancer_http_idle_server_connections")
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir())) - int(idle)

    @property
    def memory(self) -> int:
        """Bytes of its resident set."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE

    @property
    def processor_seconds(self) -> float:
        """What it has used of the processor: user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def logged(self, text: str, within: float = 5.0) -> str:
        """Wait until a line of its log has `text`; the last such line."""
        def lines() -> list[str]:
            return [line for line in self.process.output.splitlines() if text in line]
        wait_until(f"a log line with {text!r} in\n{self.process.output[-4000:]}",
                   lambda: bool(lines()), within)
        return lines()[-1]

    def at_rest(self, files: int, within: float = 8.0) -> None:
        """Wait until nothing is left of what went on: no work in flight, no connection, no flow,
        and no more than `files` descriptors."""
        left: dict[str, float] = {}

        def nothing_left() -> bool:
            left.clear()
            metrics = self.get("/metrics").decode()
            for name in ("balancer_server_in_flight", "balancer_http_connections",
                         "balancer_tcp_connections", "balancer_udp_flows", "balancer_pool_queue"):
                if count := total(metrics, name):
                    left[name] = count
            over = self.files_but_idle(metrics) - files
            if over > SLACK:
                left["descriptors"] = over
            time.sleep(0.05)
            return not left

        try:
            wait_until("all is over", nothing_left, within)
        except AssertionError as error:
            raise AssertionError(f"{error}; left: {left}") from None


def total(metrics: str, name: str, **labels: str) -> float:
    """The sum of a metric in the text of `/metrics`. Reads only its lines: there may be many."""
    lines = re.findall(rf"^{name}[ {{].*\n", metrics, re.MULTILINE)
    return sum(sample.value for family in text_string_to_metric_families("".join(lines))
               for sample in family.samples if labels.items() <= sample.labels.items())


class WatchedTestCase(LiveTestCase):
    """A test with a watched balancer. `$host` and `$admin` are known to its site file."""

    watch: Watch
    files: int

    def watched(self, text: str, *ports: int, **options: Any) -> Watch:
        """The balancer with the site file `text`, once it works on `ports`; it is at rest, and
        `files` is how many descriptors it has then."""
        admin = free_port()
        process = self.balancer(text, *ports, admin, host=LOOPBACK, admin=admin, **options)
        self.watch = Watch(process, admin)
        self.files = self.steady(lambda: self.watch.files)
        return self.watch

    def steady(self, value: Callable[[], int]) -> int:
        """The least of some looks: what comes and goes is not there in one of them."""
        looks = []
        for _ in range(5):
            looks.append(value())
            time.sleep(0.03)
        return min(looks)
