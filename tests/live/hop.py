"""
`python hop.py serve NAME ADDRESS...`: a next hop that answers each datagram to port 7777 of its
addresses with its name, and takes connections there. `python hop.py ask ADDRESS COUNT`: which next
hop answers each of COUNT flows, from the source ports 20000 and up, as JSON; null for none.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time

PORT = 7777
FIRST_SOURCE = 20000
PATIENCE = 1.0
"""Seconds that answers may take in all."""


def family(address: str) -> socket.AddressFamily:
    """The family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(name: str, addresses: list[str]) -> None:
    """Answer until killed."""
    chosen = selectors.DefaultSelector()
    for address in addresses:
        datagrams = socket.socket(family(address), socket.SOCK_DGRAM)
        datagrams.bind((address, PORT))
        chosen.register(datagrams, selectors.EVENT_READ)
        listener = socket.create_server((address, PORT), family=family(address), backlog=64)
        chosen.register(listener, selectors.EVENT_READ, "listener")
    print("ready", flush=True)
    while True:
        for key, _ in chosen.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if key.data:
                sock.accept()[0].close()
            else:
                sock.sendto(name.encode(), sock.recvfrom(100)[1])


def ask(address: str, count: int) -> None:
    """Print who answers which flow."""
    chosen = selectors.DefaultSelector()
    answers: dict[int, str | None] = {}
    for port in range(FIRST_SOURCE, FIRST_SOURCE + count):
        flow = socket.socket(family(address), socket.SOCK_DGRAM)
        flow.bind(("", port))
        flow.sendto(b"who", (address, PORT))
        answers[port] = None
        chosen.register(flow, selectors.EVENT_READ, port)
    deadline = time.monotonic() + PATIENCE
    while None in answers.values() and time.monotonic() < deadline:
        for key, _ in chosen.select(0.05):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            try:
                answers[key.data] = sock.recv(100).decode()
            except OSError:
                chosen.unregister(sock)  # unreachable, says a router
    print(json.dumps(answers))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], sys.argv[3:])
    else:
        ask(sys.argv[2], int(sys.argv[3]))
