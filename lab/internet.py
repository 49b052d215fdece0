"""
The lab's machines at work: makes them, starts what runs on them, and waits until all of it works.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Mapping
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from lab import resolving, routing, wiring
from lab.hosts import PYTHON, ROOT, SEARCH, Failed, Hosts, batch, wait_until
from lab.topology import ANYCAST, BALANCER, RESOLVER, ROUTER, SERVER, Lab, Router, small_internet

DIRECTORY: Final = Path("/var/lib/balancer-lab")
"""Where the lab is unless it is told otherwise."""

ADMIN: Final = 9180
"""The balancers' admin port, as their site files have it."""

READY: Final = 60.0
"""Seconds until all must work: five Pythons start at once, on a machine that may be busy."""

TOOLS: Final = ("ip", "unshare", "nsenter", "nginx", "unbound", "exabgp", "bird", "curl", "dig")

FRR: Final = Path("/usr/lib/frr")


@frozen
class Internet:
    """The lab in the directory of `hosts`."""

    hosts: Hosts
    lab: Lab = field(factory=small_internet)

    # -- up and down

    def up(self, second: str = "bird") -> None:
        """Make all anew, and come back when everything works. `second` is what r2 runs: bird or
        frr. Raises `Failed`, and leaves what there is for whoever looks for the reason."""
        missing = missing_tools(second)
        if missing:
            raise Failed(f"not installed: {' '.join(missing)}")
        self.down()
        self.hosts.directory.mkdir(parents=True)
        self._write_tools()
        roles = {**{each.name: ROUTER for each in self.lab.routers},
                 **{each.name: each.role for each in self.lab.hosts}}
        resolver = next(self.lab.of_role(RESOLVER))
        names = {**{each.name: each.core for each in self.lab.routers},
                 **{each.name: each.address for each in self.lab.hosts}}
        self.hosts.make({name: wiring.settings(role) for name, role in roles.items()},
                        names, resolver.address)
        batch(list(wiring.links(self.lab, self.hosts.pids())))
        for name in self.lab.names:
            lines = wiring.lines(self.lab, name)
            self.hosts.ask(name, "ip", "-batch", "-", data="".join(f"{x}\n" for x in lines))
        self._start_all(second)
        self.wait()

    def down(self) -> int:
        """Remove all of it; how many hosts there were. Harmless when there is nothing."""
        count = self.hosts.remove()
        if self.hosts.directory.exists():
            shutil.rmtree(self.hosts.directory)
        return count

    def _write_tools(self) -> None:
        """`lbctl` and `twistd` of this checkout, by these names in every host."""
        tools = self.hosts.directory / "bin"
        tools.mkdir()
        twistd = Path(PYTHON).parent / "twistd"
        for name, words in (("lbctl", "-m balancer.lbctl"), ("twistd", str(twistd))):
            (tools / name).write_text(f'#!/bin/sh\nexec {PYTHON} {words} "$@"\n')
            (tools / name).chmod(0o755)

    # -- what runs on them

    def _start_all(self, second: str) -> None:
        for router, kind in zip(self.lab.routers, ("bird", second), strict=True):
            self.start_router(router, kind)
        for host in self.lab.of_role(SERVER):
            self.start_server(host.name)
        for host in self.lab.of_role(RESOLVER):
            home = self.hosts.home(host.name)
            (home / "unbound.conf").write_text(resolving.unbound(self.lab, host))
            self.hosts.start(host.name, "unbound", "unbound", "-d", "-c", "unbound.conf")
        for host in self.lab.of_role(BALANCER):
            self.start_balancer(host.name)

    def start_router(self, router: Router, kind: str) -> None:
        """BIRD, or FRR's two daemons."""
        home = self.hosts.home(router.name)
        if kind == "bird":
            (home / "bird.conf").write_text(routing.bird(self.lab, router))
            self.hosts.start(router.name, "bird", "bird", "-f", "-c", "bird.conf")
            return
        (home / "zebra.conf").write_text(f"hostname {router.name}\n")
        (home / "bgpd.conf").write_text(routing.frr(self.lab, router))
        for daemon in ("zebra", "bgpd"):
            self.hosts.start(router.name, daemon, str(FRR / daemon), "-A", "127.0.0.1",
                             "-f", str(home / f"{daemon}.conf"), "--log", "stdout")

    def reconfigure_bird(self, router: Router, bfd: str) -> None:
        """Have BIRD watch its balancers by BFD with these timers; '': not."""
        home = self.hosts.home(router.name)
        (home / "bird.conf").write_text(routing.bird(self.lab, router, bfd))
        self.hosts.signal(router.name, "bird", signal.SIGHUP)

    def start_server(self, name: str) -> None:
        """A server: nginx."""
        config = ROOT / "conf" / "lab" / "server.conf"
        home = self.hosts.home(name)
        self.hosts.start(name, "server", "nginx", "-p", f"{home}/", "-c", str(config))

    def start_balancer(self, name: str) -> None:
        """A balancer, with the site file of its site."""
        site = ROOT / "conf" / "lab" / f"{self.lab.host(name).network}.ini"
        self.hosts.start(name, "balancer", "twistd", "-n", "--pidfile=", "lb", "--config",
                         str(site))

    def start(self, name: str) -> None:
        """Start the server or balancer of a host again, once it has ended. Raises `Failed`."""
        starts = {**{each.name: ("server", self.start_server) for each in self.lab.of_role(SERVER)},
                  **{each.name: ("balancer", self.start_balancer)
                     for each in self.lab.of_role(BALANCER)}}
        if name not in starts:
            raise Failed(f"expected one of {' '.join(starts)}, got {name!r}")
        what, start = starts[name]
        if self.hosts.process(name, what) is not None:
            raise Failed(f"{name}: the {what} runs")
        start(name)

    # -- looking at it

    def get(self, name: str, path: str, address: str = "127.0.0.1", port: int = ADMIN) -> bytes:
        """What HTTP at an address answers to a host. Raises OSError."""
        connection = HTTPConnection(address, port, timeout=5)
        with self.hosts.network(name):
            connection.connect()
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def status(self, name: str) -> Mapping[str, Any]:
        """The status of the balancer on a host; empty when it does not answer."""
        try:
            found: Mapping[str, Any] = json.loads(self.get(name, "/api/status"))
        except (OSError, ValueError, HTTPException):
            return {}
        return found

    def hops(self, router: str, prefix: str) -> frozenset[str]:
        """Where a router's kernel sends packets for a prefix: addresses of its neighbors."""
        found = json.loads(self.hosts.ask(router, "ip", "-j", "route", "show", prefix) or "[]")
        hops = [hop for route in found for hop in (*route.get("nexthops", ()), route)]
        return frozenset(hop["gateway"] for hop in hops if "gateway" in hop)

    def wait(self) -> None:
        """Come back when every balancer has its servers and the other site up, and its routes are
        at the routers."""
        for host in self.lab.of_role(BALANCER):
            wait_until(f"{host.name} announces", partial(self._announces, host.name), READY)
        for site in self.lab.sites:
            wait_until(f"the router has the routes of {site.name}",
                       partial(self.is_routed, site.name), READY)

    def is_routed(self, site: str) -> bool:
        """Whether a site's router sends what is for it to both of its balancers."""
        router = self.lab.network(site).router
        balancers = {each.address for each in self.lab.of_role(BALANCER, site)}
        prefixes = (ANYCAST, self.lab.site(site).service)
        return all(self.hops(router, prefix) == balancers for prefix in prefixes)

    def _announces(self, name: str) -> bool:
        if self.hosts.process(name, "balancer") is None:
            log = (self.hosts.home(name) / "balancer.log").read_text(errors="replace")
            raise Failed(f"{name}: the balancer has ended\n{log[-4000:]}")
        status = self.status(name)
        if not status:
            return False
        states = [server["state"] for pool in ("web", "sites")
                  for server in status["pools"][pool]["servers"].values()]
        sections = [each for key, each in status["balancers"].items()
                    if key.startswith("anycast:")]
        return all(state == "up" for state in states) and all(
            each["state"] == "up" for each in sections)


def missing_tools(second: str = "bird") -> list[str]:
    """What is not installed of what the lab runs."""
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=SEARCH)]
    if second == "frr" and not (FRR / "bgpd").exists():
        missing.append("frr")
    return missing
