"""
Holds kept-alive connections open: `python -m tests.bench.idle PORT COUNT`.

Each asks once and reads the answer. Prints how many stand, and holds them until its input ends.
"""

from __future__ import annotations

import socket
import sys
import time

HOST = "127.0.0.1"
REQUEST = (b"GET / HTTP/1.1\r\nHost: www.example.test\r\nUser-Agent: idle\r\nAccept: */*\r\n"
           b"Accept-Encoding: gzip, deflate, br\r\nCookie: session=0123456789abcdef\r\n\r\n")


def open_one(port: int) -> socket.socket:
    """A connection whose request has been answered."""
    connection = socket.create_connection((HOST, port), timeout=10)
    connection.sendall(REQUEST)
    answer = connection.recv(65536)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"expected 200, got {answer[:80]!r}")
    return connection


def alive(connection: socket.socket) -> bool:
    """Whether the peer has kept it open."""
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


if __name__ == "__main__":
    held = [open_one(int(sys.argv[1])) for _ in range(int(sys.argv[2]))]
    time.sleep(1.0)  # late ends come now
    print(sum(alive(connection) for connection in held), flush=True)
    sys.stdin.read()
