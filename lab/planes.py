"""
Looks at all planes of a balancer, all the time, from outside: what a client gets, what the kernels
say, and what the balancer tells. Each plane has a thread of its own.
"""

from __future__ import annotations

import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from typing import Any

from lab.control import Control
from lab.hosts import Failed, wait_until
from lab.internet import Internet
from lab.routes import listen
from lab.timeline import PLANES, Change, Course, settled, verdict
from lab.topology import ANYCAST, BALANCER, SERVER

PAUSE = 0.005
"""Seconds between two looks."""

VERDICT = 2 * 0.2 + 0.1
"""Seconds for the verdict that a server is down, or up: `fall` or `rise` times `interval`, and
`timeout`, as conf/lab has them."""

SETTLE = 3.0
"""Seconds in which all must have followed before one gives up."""

LOOKER = "ann"
"""Who asks the balancers of both sites."""


class Watch:
    """A balancer's planes, watched while the context lasts."""

    def __init__(self, internet: Internet, name: str) -> None:
        self.internet, self.name = internet, name
        self.host = internet.lab.host(name)
        self.changes: list[Change] = []
        self.events: list[Any] = []
        self._over = threading.Event()
        self._stack = ExitStack()
        self._now: dict[str, bool] = {}

    def __enter__(self) -> Watch:
        lab = self.internet.lab
        router, service = lab.network(self.host.network).router, lab.site(self.host.network).service
        path = self.internet.hosts.home(self.name) / "run" / "lb.sock"
        self._control = self._stack.enter_context(Control(path))
        self._events = Control(path)
        self._stack.callback(self._events.close)
        with self.internet.hosts.network(LOOKER):
            self._dns = self._stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        self._dns.settimeout(0.2)
        self._dns.connect((self.host.address, 53))
        self._run(self._looking, "http", self._http)
        self._run(self._looking, "tcp", self._tcp)
        self._run(self._looking, "dns", self._ask_dns)
        self._run(self._listening, self.name, {service: ("ecmp", "")})
        self._run(self._listening, router, {
            f"{ANYCAST}/32": ("bgp 192.0.2.1", self.host.address),
            service: ("bgp servers", self.host.address)})
        self._run(self._hearing)
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._stack.close()

    def _run(self, call: Callable[..., None], *words: Any) -> None:
        threading.Thread(target=call, args=words, daemon=True).start()

    def _became(self, plane: str, given: bool) -> None:
        if self._now.get(plane) is not given:
            self._now[plane] = given
            self.changes.append(Change(time.time(), plane, given))

    # -- those who ask

    def _looking(self, plane: str, look: Callable[[], bool | None]) -> None:
        while not self._over.wait(PAUSE):
            # While a dead server is still tried there may be no answer: that is no change yet.
            with suppress(OSError, HTTPException):
                given = look()
                if given is not None:
                    self._became(plane, given)

    def _http(self) -> bool | None:
        """503: there is no server to try."""
        connection = HTTPConnection(self.host.address, 80, timeout=1)
        with self.internet.hosts.network(LOOKER):
            connection.connect()
        try:
            connection.request("GET", "/")
            return {200: True, 503: False}.get(connection.getresponse().status)
        finally:
            connection.close()

    def _tcp(self) -> bool:
        """The balancer says whom it would choose by the code that chooses; to a client a server
        that refuses and none at all look alike."""
        question = {"from": "10.11.0.10:40000"}
        found = self._control.ask("explain", kind="tcp", name="raw", question=question)
        return found["chosen"] is not None

    def _ask_dns(self) -> bool | None:
        """Whether the site's name has an address."""
        labels = (self.host.network, "lab", "test")
        name = b"".join(bytes([len(each)]) + each.encode() for each in labels) + b"\0"
        self._dns.send(struct.pack(">6H", 7, 0, 1, 0, 0, 0) + name + struct.pack(">2H", 1, 1))
        answer = self._dns.recv(4096)
        flags, _, count = struct.unpack_from(">3H", answer, 2)
        return None if flags & 15 else count > 0

    # -- those who are told

    def _listening(self, host: str, prefixes: dict[str, tuple[str, str]]) -> None:
        """Prefixes with their planes, and the next hop that counts; none: any."""

        def told(prefix: str, hops: frozenset[str]) -> None:
            if prefix in prefixes:
                plane, hop = prefixes[prefix]
                self._became(plane, hop in hops if hop else bool(hops))

        listen(self.internet, host, self._over, told)

    def _hearing(self) -> None:
        with suppress(OSError, ValueError):
            for event in self._events.events(0):
                self.events.append(event)

    # -- what came of it

    def course(self, server: str, given: bool, began: float) -> Course:
        """How it took a server's death, or return: waits until all planes have followed."""
        name = "WentUp" if given else "WentDown"

        def followed() -> bool:
            there = verdict(list(self.events), name, server, began)
            return there is not None and self._planes(given, began).keys() == set(PLANES)

        with suppress(Failed):
            wait_until("all planes follow", followed, SETTLE)
        time.sleep(0.2)  # what changes back within that has not followed
        found = verdict(list(self.events), name, server, began)
        if found is None:
            raise Failed(f"{self.name}: no event {name} of {server}")
        return Course(self.name, given, began, VERDICT, found, self._planes(given, began))

    def _planes(self, given: bool, began: float) -> dict[str, float]:
        return settled(list(self.changes), given, began)


@contextmanager
def watching(internet: Internet, site: str) -> Iterator[list[Watch]]:
    """All balancers of a site."""
    with ExitStack() as stack:
        yield [stack.enter_context(Watch(internet, each.name))
               for each in internet.lab.of_role(BALANCER, site)]


def last_server_dies(internet: Internet, site: str) -> list[Course]:
    """Kill all servers of a site but one, then that one, and bring it back: how each balancer took
    its death, then its return. The others are brought back at the end."""
    *others, last = internet.lab.of_role(SERVER, site)
    server = f"web/{last.name[-1]}"
    for other in others:
        internet.hosts.signal(other.name, "server", signal.SIGKILL)
    for each in internet.lab.of_role(BALANCER, site):
        wait_until(f"{each.name} has one server", partial(_has_one, internet, each.name))
    try:
        with watching(internet, site) as watches:
            time.sleep(0.5)
            began = time.time()
            internet.hosts.signal(last.name, "server", signal.SIGKILL)
            courses = [watch.course(server, False, began) for watch in watches]
            began = time.time()
            internet.start_server(last.name)
            return courses + [watch.course(server, True, began) for watch in watches]
    finally:
        for other in others:
            internet.start_server(other.name)


def _has_one(internet: Internet, name: str) -> bool:
    servers = internet.status(name)["pools"]["web"]["servers"]
    return [each["state"] for each in servers.values()].count("up") == 1
