"""
Holds kept-alive connections open: `python -m tests.bench.idle PORT COUNT [tls]`.

Each asks once and reads the answer. Prints how many stand, and holds them until its input ends.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.pool import ThreadPool

from tests.bench.handshakes import HOST, connect, context

AT_ONCE = 4
"""Connections that are being opened at any time."""

REQUEST = (b"GET / HTTP/1.1\r\nHost: www.example.test\r\nUser-Agent: idle\r\nAccept: */*\r\n"
           b"Accept-Encoding: gzip, deflate, br\r\nCookie: session=0123456789abcdef\r\n\r\n")


def ask(connection: socket.socket) -> None:
    """One request, answered."""
    connection.sendall(REQUEST)
    answer = connection.recv(65536)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"expected 200, got {answer[:80]!r}")


def open_plain(port: int) -> socket.socket:
    """A connection whose request has been answered."""
    connection = socket.create_connection((HOST, port), timeout=10)
    ask(connection)
    return connection


def tls_opener() -> Callable[[int], socket.socket]:
    """
    The same over TLS.

    Nothing more is to be said on it, so the client keeps the socket alone and lets go of the rest:
    what is to be measured is the server's memory.
    """
    client = context()

    def open_tls(port: int) -> socket.socket:
        secure = connect(port, client)
        ask(secure)
        return socket.socket(fileno=secure.detach())

    return open_tls


def alive(connection: socket.socket) -> bool:
    """Whether the peer has kept it open."""
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass  # tickets
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False


if __name__ == "__main__":
    open_one = tls_opener() if "tls" in sys.argv else open_plain
    with ThreadPool(AT_ONCE) as threads:
        held = threads.map(open_one, [int(sys.argv[1])] * int(sys.argv[2]))
    time.sleep(1.0)  # late ends come now
    print(sum(alive(connection) for connection in held), flush=True)
    sys.stdin.read()
