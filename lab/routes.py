"""
A kernel's routes, as they change: for whoever wants to know when.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Event

from lab import notices
from lab.internet import Internet


def listen(
    internet: Internet, host: str, over: Event, told: Callable[[str, frozenset[str]], None]
) -> None:
    """Call `told` with each prefix whose route changes on a host, and its next hops, until
    `over`."""
    with internet.hosts.network(host):
        news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    with news:
        news.bind((0, notices.GROUP))
        news.settimeout(0.1)
        while not over.is_set():
            with suppress(TimeoutError):
                for prefix, hops in notices.changes(news.recv(65536)):
                    told(prefix, hops)
