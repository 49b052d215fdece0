"""
Does harm to the lab while clients ask the anycast address, and counts what they saw.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from attrs import frozen

from lab.control import Control
from lab.hosts import wait_until
from lab.internet import Internet
from lab.load import Load
from lab.routes import listen
from lab.tally import Tally, tally
from lab.topology import ANYCAST, BALANCER

CLIENTS = ("ann", "bob")

BEFORE = 1.0
"""Seconds of requests before the harm, and after all is over."""

VICTIM = "east1"

BFD = "interval 50 ms; multiplier 3;"
"""The router's timers: those of conf/lab/*.ini."""


@frozen
class Harm:
    """`do` does it, `undo` makes it good again; `lasts` is how long clients may notice, in seconds,
    at the most."""

    text: str
    do: Callable[[Internet], None]
    undo: Callable[[Internet], None]
    lasts: float
    before: Callable[[Internet], None] = lambda internet: None
    """What it takes besides, done before clients ask."""


def _signal_balancer(number: int) -> Callable[[Internet], None]:
    return lambda internet: internet.hosts.signal(VICTIM, "balancer", number)


def _signal_server(internet: Internet) -> None:
    internet.hosts.signal("east-a", "server", signal.SIGKILL)


def _port(state: str) -> Callable[[Internet], None]:
    """The switch's port goes dead both ways, and neither end is told: the link stays up."""
    return lambda internet: _bridge(internet, state)


def _bridge(internet: Internet, state: str) -> None:
    internet.hosts.ask("r1", "bridge", "link", "set", "dev", VICTIM, "state", state)


def _bfd(internet: Internet, timers: str) -> None:
    """Have the router end sessions that BFD calls down; '': have it not."""
    router = internet.lab.routers[0]
    internet.reconfigure_bird(router, timers)
    if timers:
        wait_until("BFD is up", partial(_is_watched, internet))


def _is_watched(internet: Internet) -> bool:
    neighbors = internet.status(VICTIM)["balancers"]["anycast:www"]["neighbors"]
    return all(each["bfd"] == "up" for each in neighbors.values())


def _port_without_bfd(internet: Internet) -> None:
    _bfd(internet, "")
    _bridge(internet, "3")


def _drain_site(internet: Internet) -> None:
    for host in internet.lab.of_role(BALANCER, "east"):
        with Control(internet.hosts.home(host.name) / "run" / "lb.sock") as control:
            control.ask("drain", server="site")


def _start_site(internet: Internet) -> None:
    for host in internet.lab.of_role(BALANCER, "east"):
        wait_until(f"{host.name} has ended", partial(_has_ended, internet, host.name))
        internet.start_balancer(host.name)


def _has_ended(internet: Internet, name: str) -> bool:
    return internet.hosts.process(name, "balancer") is None


def _kill_exabgp(internet: Internet) -> None:
    pid = internet.status(VICTIM)["balancers"]["anycast:www"]["exabgp"]["pid"]
    outer = internet.hosts.outer(VICTIM, int(pid))
    assert outer is not None
    os.kill(outer, signal.SIGKILL)


def _nothing(internet: Internet) -> None:
    """It heals by itself."""


HARMS: Mapping[str, Harm] = {
    "server": Harm("a server is killed", _signal_server,
                   lambda internet: internet.start_server("east-a"), 1.0),
    "kill": Harm("a balancer is killed (`kill -9`)", _signal_balancer(signal.SIGKILL),
                 lambda internet: internet.start_balancer(VICTIM), 2.5),
    "stop": Harm("a balancer hangs (SIGSTOP)", _signal_balancer(signal.SIGSTOP),
                 _signal_balancer(signal.SIGCONT), 2.5),
    "link": Harm("a balancer's link loses everything, hold time 3 s", _port("0"), _port("3"), 9.5),
    "bfd": Harm("... with BFD of 3 times 50 ms", _port("0"), _port_without_bfd, 3.5,
                lambda internet: _bfd(internet, BFD)),
    "drain": Harm("a whole site is drained (`lbctl drain site`)", _drain_site, _start_site, 3.5),
    "exabgp": Harm("ExaBGP is killed (`kill -9`)", _kill_exabgp, _nothing, 3.0),
}


def suffer(internet: Internet, harm: Harm) -> Tally:
    """Do the harm under load, make it good, and come back when all works as before."""
    victim = internet.lab.host(VICTIM).address
    over = threading.Event()
    gone: list[float] = []

    def told(prefix: str, hops: frozenset[str]) -> None:
        if prefix == f"{ANYCAST}/32" and victim not in hops:
            gone.append(time.time())

    watcher = threading.Thread(target=listen, args=(internet, "r1", over, told), daemon=True)
    harm.before(internet)
    watcher.start()
    try:
        with Load(internet, ANYCAST, CLIENTS) as load:
            time.sleep(BEFORE)
            at = time.time()
            harm.do(internet)
            time.sleep(harm.lasts + BEFORE)
    finally:
        over.set()
        with suppress(OSError):
            harm.undo(internet)
    internet.wait()
    return tally(harm.text, at, load.requests, gone[0] if gone else None)
