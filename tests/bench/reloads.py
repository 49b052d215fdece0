"""
Reloads while requests come at a fixed rate: what they cost those requests.

Each reload changes the weight of a server, so that there is something to do.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import time
from threading import Event, Thread

from attrs import frozen

from tests.bench.latency import HEAD, Timed
from tests.bench.load import client
from tests.bench.peers import Peer
from tests.live.harness import LOOPBACK

OPTIONS = {"nginx": (), "haproxy": ("-W",), "balancer": ()}
"""What a program needs in order to reload: HAProxy does with a master process only."""

SIGNALS = {"nginx": signal.SIGHUP, "haproxy": signal.SIGUSR2, "balancer": signal.SIGHUP}
"""What tells the program to; `nginx -s reload` sends the same."""

EVERY = 1.0
"""Seconds from one reload to the next."""

HEAVY = 3
"""The first server's other weight; the second's is 1."""

ASKED = 40
"""Requests by which the last reload is seen to be in force."""


@frozen
class Reloaded:
    """A proxy's answers in peace, and with `reloads` while they came."""

    without: Timed
    during: Timed
    reloads: int


def reweigh(text: str, weight: int) -> str:
    """A configuration with another weight for its first server, in any of the three languages."""
    return re.sub(r"\bweight([ =])\d+", rf"weight\g<1>{weight}", text, count=1)


def reload(peer: Peer, weight: int) -> None:
    """Put the weight into the file at once, and signal."""
    new = peer.config.with_suffix(".new")
    new.write_text(reweigh(peer.config.read_text(), weight))
    os.replace(new, peer.config)
    peer.process.signal(SIGNALS[peer.name])


def share(peer: Peer) -> float:
    """What part of some requests the first server gets: its answers end with its name."""
    its = 0
    for _ in range(ASKED):
        with socket.create_connection((LOOPBACK, peer.http), timeout=5) as connection:
            connection.sendall(HEAD + b"Connection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
            its += answer.endswith(b"origin a\n")
    return its / ASKED


def load(peer: Peer, seconds: float) -> Timed:
    """The requests of one run."""
    return Timed(**json.loads(client(sys.executable, "-m", "tests.bench.latency", str(peer.http),
                                     str(seconds), within=seconds + 30)))


def reloading(peer: Peer, seconds: float) -> tuple[Timed, int]:
    """The same with a reload each second; and how many there were."""
    done = 0
    over = Event()

    def each_second() -> None:
        nonlocal done
        while not over.wait(EVERY):
            done += 1
            reload(peer, HEAVY if done % 2 else 1)

    thread = Thread(target=each_second)
    thread.start()
    try:
        return load(peer, seconds), done
    finally:
        over.set()
        thread.join()


def takes_effect(peer: Peer) -> bool:
    """Whether the program does as its file says a while after a reload."""
    shares = []
    for weight in (HEAVY, 1):
        time.sleep(EVERY)  # HAProxy misses a signal that comes while it begins anew
        reload(peer, weight)
        time.sleep(EVERY)
        shares.append(share(peer))
    heavy, light = shares
    return heavy > 0.65 and light < 0.6


def exercise(peer: Peer, seconds: float) -> Reloaded:
    """Both runs, one after the other."""
    without = load(peer, seconds)
    return Reloaded(without, *reloading(peer, seconds))
